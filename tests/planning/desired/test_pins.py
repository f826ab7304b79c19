"""Pins: their file, and the config that asks for exactly them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import ConfigError
from imgmigrate.foreign.load import load_config
from imgmigrate.oci.reference import Digest, Reference
from imgmigrate.planning.desired.pins import (
    Pin,
    decode_pins,
    encode_pins,
    lock_config,
    locked,
    pins_path,
    read_pins,
    write_pins,
)

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.config.model import Config

ONE, TWO = Digest.of(b"one"), Digest.of(b"two")
FILE = "imgmigrate.lock.yaml"


def pin(address: str, source: str, digest: Digest = ONE) -> Pin:
    return Pin(Reference.parse(address), Reference.parse(source), digest)


def lines(*pins: Pin) -> list[str]:
    return [line for line in encode_pins(pins).decode().splitlines() if line.startswith("  ")]


def text(*entries: str) -> str:
    return "version: 1\npins:\n" + "".join(f"  {each}\n" for each in entries)


def config(folder: Path, *rules: str) -> Config:
    path = folder / "imgmigrate.yaml"
    path.write_text("version: 1\nimages:\n" + "".join(f"- {rule}\n" for rule in rules))
    return load_config(path, environ={})


PINS = (
    pin("new.example/b:1", "old.example/b:1"),
    pin("new.example/a:2", "old.example/a:v2", TWO),
    pin("oci:bundle/odd name #1:x", "docker.io/library/nginx:1.27"),
    pin("new.example/d:fixed", f"old.example/d@{ONE}"),
    pin(f"new.example/d@{ONE}", f"old.example/d@{ONE}"),
)


def test_the_file_has_one_sorted_line_an_address() -> None:
    """A pin is one line, in the order of the addresses, source, tag and digest in full."""
    assert lines(*PINS[:2]) == [
        f'  "new.example/a:2": "old.example/a:v2@{TWO}"',
        f'  "new.example/b:1": "old.example/b:1@{ONE}"',
    ]


def test_what_was_written_is_read_back() -> None:
    """Tags, digests, layouts with odd names and Docker Hub's short names survive the file."""
    found = decode_pins(encode_pins(PINS).decode(), FILE)
    assert found == {each.address: each for each in PINS}
    assert decode_pins(encode_pins([]).decode(), FILE) == {}


def test_a_moved_pin_is_a_diff_of_one_line() -> None:
    """Nothing but the line of the pin changes with it: no date, no checksum, no count."""
    before = encode_pins(PINS).splitlines()
    after = encode_pins([pin("new.example/b:1", "old.example/b:1", TWO), *PINS[1:]]).splitlines()
    assert len(before) == len(after)
    assert sum(one != other for one, other in zip(before, after, strict=True)) == 1


def test_pins_lie_beside_the_config_and_are_for_others_to_read(tmp_path: Path) -> None:
    """The file is named after the config; it is written only if that changes it."""
    made = config(tmp_path, "{source: old.example/b, destination: new.example/b}")
    path = pins_path(made)
    assert path == tmp_path / FILE
    assert write_pins(path, {each.address: each for each in PINS})
    assert path.stat().st_mode & 0o777 == 0o644
    assert not write_pins(path, {each.address: each for each in PINS})
    assert read_pins(path) == {each.address: each for each in PINS}


@pytest.mark.parametrize(
    ("broken", "line", "said"),
    [
        ("", 1, "it is empty"),
        ("# only a comment\n", 1, "it is empty"),
        ("pins: {}\n", 1, "version"),
        ("version: 2\npins: {}\n", 1, "pins of version 1"),
        ("version: 1\n", 1, "pins: must be a mapping"),
        ("version: 1\npins: [a]\n", 2, "must be a mapping"),
        ("version: 1\npin: {}\n", 2, "is not a known key"),
        (text('"n.io/a:1": "o.io/a:1"'), 3, "not a digest"),
        (text('"n.io/a:1": "o.io/a:1@sha256:12"'), 3, "not a digest"),
        (text(f'"n.io/a:1": "@{ONE}"'), 3, "names no repository"),
        (text(f'"n.io/a": "o.io/a:1@{ONE}"'), 3, "the address names no tag"),
        (text(f'"n.io/A:1": "o.io/a:1@{ONE}"'), 3, "lower case"),
        (text(f'"a:1": "o.io/a:1@{ONE}"'), 3, "is not how imgmigrate writes"),
        (text(f'"n.io/a:1": ["o.io/a:1@{ONE}"]'), 3, "must be one text"),
        (text(f'"n.io/a:1": "o.io/a:1@{ONE}"', f'"n.io/a:1": "o.io/a:2@{ONE}"'), 4, "given twice"),
        ("version: 1\npins:\n<<<<<<< HEAD\n=======\n>>>>>>> other\n", 3, "a merge left its marks"),
        (text(f'"n.io/a:1": "o.io/a:1@{ONE}'), 3, ""),
    ],
)
def test_a_broken_file_is_refused_with_its_line(broken: str, line: int, said: str) -> None:
    """Whatever a hand or a merge left behind is named with its line."""
    with pytest.raises(ConfigError) as caught:
        decode_pins(broken, FILE)
    assert said in str(caught.value)
    assert (caught.value.file, caught.value.line) == (FILE, line)


def test_every_broken_line_is_named_at_once(tmp_path: Path) -> None:
    """Two mistakes are two lines of one error; a file that is not there says how to make it."""
    with pytest.raises(ConfigError, match=rf"{FILE}:3: .*\n{FILE}:4: "):
        decode_pins(text('"n.io/a:1": "x"', '"n.io/b:1": "y"'), FILE)
    with pytest.raises(ConfigError, match="imgmigrate pin"):
        read_pins(tmp_path / FILE)


RULES = (
    "{source: 'old.example/a:v1,v2', destination: 'new.example/a:1,2'}",
    "{source: old.example/b, destination: [new.example/b, 'oci:b'], tags: ['v*', x]}",
    f"{{source: 'old.example/d@{ONE}', destination: 'new.example/d:fixed'}}",
    "{source: 'old.example/team/**', destination: 'new.example/{match}', tags: {newest: 1}}",
)
ASKED = (
    pin("new.example/a:1", "old.example/a:v1"),
    pin("new.example/a:2", "old.example/a:v2", TWO),
    pin("new.example/b:x", "old.example/b:x"),
    pin("oci:b:x", "old.example/b:x", TWO),
    pin("new.example/b:v7", "old.example/b:v7"),
    pin("new.example/d:fixed", f"old.example/d@{ONE}"),
    pin("new.example/x/y:3", "old.example/team/x/y:3"),
)


def test_a_locked_config_remembers_which_pins_it_was_made_of(tmp_path: Path) -> None:
    """It carries what sha256sum prints for the file, comments included; no other config does."""
    made = config(tmp_path, *RULES)
    write_pins(pins_path(made), {each.address: each for each in ASKED})
    with pins_path(made).open("a") as file:
        file.write("# reviewed\n")
    found = locked(made)
    assert found.lock_sha256 == hashlib.sha256(pins_path(made).read_bytes()).hexdigest()
    assert found.sha256 == made.sha256
    assert made.lock_sha256 == ""
    assert found.rules == lock_config(made, read_pins(pins_path(made)), pins_path(made)).rules


def test_a_locked_config_asks_for_exactly_the_pins(tmp_path: Path) -> None:
    """Each pin becomes a rule of its digest and address; patterns and globs are settled."""
    made = config(tmp_path, *RULES)
    found = lock_config(made, {each.address: each for each in ASKED}, tmp_path / FILE)
    assert found.globs == ()
    assert not any(rule.has_patterns for rule in found.rules)
    asked = {
        address: (rule.source, rule.pinned_tag, rule.digest)
        for rule in found.rules
        for address in rule.digest_addresses()
    }
    assert asked == {
        each.address: (each.source.repository, each.source.tag, each.digest) for each in ASKED
    }


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (pin("new.example/a:3", "old.example/a:v3"), "no rule asks for this"),
        (pin("new.example/a:1", "old.example/z:v1"), "no rule asks for this"),
        (pin("new.example/b:w1", "old.example/b:w1"), "no rule asks for this"),
        (pin("new.example/d:fixed", f"old.example/d@{TWO}", TWO), "no rule asks for this"),
        (pin("new.example/x:3", "old.example/other/x:3"), "no rule asks for this"),
    ],
    ids=lambda value: str(value.address) if isinstance(value, Pin) else "",
)
def test_a_pin_that_no_rule_asks_for_is_an_error(tmp_path: Path, extra: Pin, said: str) -> None:
    """The error names the pin, its line, and the command that writes the pins anew."""
    made = config(tmp_path, *RULES)
    pins = decode_pins(encode_pins({p.address: p for p in (*ASKED, extra)}.values()).decode(), FILE)
    with pytest.raises(ConfigError, match=said) as caught:
        lock_config(made, pins, tmp_path / FILE)
    assert str(extra.address) in str(caught.value)
    assert f"{FILE}:{pins[extra.address].line}: " in str(caught.value)
    assert "imgmigrate pin" in str(caught.value)


@pytest.mark.parametrize(
    ("missing", "line", "said"),
    [
        ("new.example/a:2", 3, "new.example/a:2 has no pin"),
        ("oci:b:x", 4, "oci:b:x has no pin"),
        ("new.example/d:fixed", 5, "new.example/d:fixed has no pin"),
        ("new.example/x/y:3", 6, "the rule has no pin"),
    ],
)
def test_what_is_asked_for_without_a_pin_is_an_error(
    tmp_path: Path, missing: str, line: int, said: str
) -> None:
    """An address that a rule names, and a rule of patterns without any pin, are named."""
    made = config(tmp_path, *RULES)
    pins = {each.address: each for each in ASKED if str(each.address) != missing}
    with pytest.raises(ConfigError, match=said) as caught:
        lock_config(made, pins, tmp_path / FILE)
    assert caught.value.line == line
    assert "imgmigrate pin" in str(caught.value)


def test_a_rule_that_may_select_nothing_needs_no_pin(tmp_path: Path) -> None:
    """Whoever writes `min: 0` also plans from a file without a pin for it."""
    rule = "{source: old.example/a, destination: new.example/a, tags: {semver: '>=9', min: 0}}"
    made = config(tmp_path, rule)
    assert lock_config(made, {}, tmp_path / FILE).rules == ()
