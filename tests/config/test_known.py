"""Known conflicts: what an entry covers, how a file of them is read, and that none is damaged."""

from __future__ import annotations

import os
from datetime import date
from typing import TYPE_CHECKING

import pytest

from imgmigrate.config.known import (
    Acknowledgement,
    append_known,
    known_path,
    read_day,
    read_known,
)
from imgmigrate.errors import ConfigError
from imgmigrate.foreign.load import load_config
from imgmigrate.oci.reference import Digest, Reference

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.config.known import KnownConflict

DIGEST, OTHER = Digest.of(b"theirs"), Digest.of(b"other")
ADDRESS = Reference.parse("registry.new/team/web:1.4")
RULES = 'images: [{source: "a.example/a", destination: "b.example/b"}]\n'
TODAY = date(2026, 12, 1)


def entry(address: str = str(ADDRESS), **fields: str) -> str:
    said = {"address": address, "digest": DIGEST, "until": "2027-03-31", "because": "hotfix"}
    return "{" + ", ".join(f'{key}: "{value}"' for key, value in (said | fields).items()) + "}"


def load(folder: Path, *entries: str) -> tuple[KnownConflict, ...]:
    path = folder / "imgmigrate.yaml"
    lines = "".join(f"  - {each}\n" for each in entries)
    path.write_text(f"version: 1\n{RULES}known_conflicts:\n{lines}")
    return load_config(path, environ={}).known


@pytest.mark.parametrize(
    ("address", "digest", "today", "covered"),
    [
        (str(ADDRESS), DIGEST, date(2027, 3, 31), True),
        (str(ADDRESS), DIGEST, date(2027, 4, 1), False),
        (str(ADDRESS), OTHER, TODAY, False),
        (str(ADDRESS), None, TODAY, False),
        ("registry.new/team/web:1.5", DIGEST, TODAY, False),
        ("registry.new/team/api:1.4", DIGEST, TODAY, False),
    ],
    ids=["its last day", "the day after", "another image", "nothing", "tag", "repository"],
)
def test_an_entry_covers_an_address_a_digest_and_a_time(
    tmp_path: Path, address: str, digest: Digest | None, today: date, covered: bool
) -> None:
    """All three, and nothing beside them."""
    (known,) = load(tmp_path, entry())
    assert known.covers(Reference.parse(address), digest, today) is covered


def test_an_entry_may_name_a_glob(tmp_path: Path) -> None:
    """The digest holds it narrow enough."""
    (known,) = load(tmp_path, entry("registry.new/team/**"))
    assert known.covers(ADDRESS, DIGEST, TODAY)
    assert not known.covers(Reference.parse("registry.new/other/web:1.4"), DIGEST, TODAY)


@pytest.mark.parametrize(
    ("fields", "key", "cause"),
    [
        ({"address": "web"}, "address", "names no registry"),
        ({"address": "registry.new/[x]*"}, "address", "cannot be"),
        ({"digest": "sha256:12"}, "digest", "not a digest"),
        ({"until": "2027-13-01"}, "until", "is not a day"),
        ({"until": "in spring"}, "until", "2027-03-31"),
        ({"until": "20270331"}, "until", "is not a day"),
        ({"because": "  "}, "because", "must say why"),
        ({"because": "x" * 501}, "because", "500 characters"),
    ],
)
def test_a_wrong_entry_is_named_with_its_key(
    tmp_path: Path, fields: dict[str, str], key: str, cause: str
) -> None:
    """File, line, key and what to write instead."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, entry(), entry(**fields))
    assert f"imgmigrate.yaml:5: known_conflicts[1].{key}" in caught.value.message
    assert cause in str(caught.value)


@pytest.mark.parametrize("key", ["address", "digest", "until", "because"])
def test_no_part_of_an_entry_may_be_missing(tmp_path: Path, key: str) -> None:
    """Least of all the reason."""
    said = {"address": str(ADDRESS), "digest": DIGEST, "until": "2027-03-31", "because": "x"}
    del said[key]
    text = "{" + ", ".join(f'{name}: "{value}"' for name, value in said.items()) + "}"
    with pytest.raises(ConfigError, match=rf"known_conflicts\[0\]\.{key}: is missing"):
        load(tmp_path, text)


def test_the_file_beside_the_config_is_read_with_it(tmp_path: Path) -> None:
    """After the entries of the config, and without a part in its digest: nothing else changes."""
    (tmp_path / "imgmigrate.yaml").write_text(f"version: 1\n{RULES}")
    before = load_config(tmp_path / "imgmigrate.yaml", environ={})
    path = known_path(tmp_path / "imgmigrate.yaml")
    append_known(path, [Acknowledgement(ADDRESS, DIGEST, date(2027, 3, 31), "hotfix")])
    after = load_config(tmp_path / "imgmigrate.yaml", environ={})
    assert before.known == ()
    assert [each.covers(ADDRESS, DIGEST, TODAY) for each in after.known] == [True]
    assert after.sha256 == before.sha256


class TestAppending:
    """The file is only ever added to, and never left in halves."""

    HEAD = "version: 1\nknown_conflicts:\n"
    NEW = Acknowledgement(ADDRESS, OTHER, date(2027, 6, 30), 'it is "theirs": # not ours \\ $X {y}')

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "# nothing but a comment\n",
            HEAD,
            f"{HEAD}  - {entry()}\n",
            f"{HEAD}  - {entry()}",
            f"# ours\n{HEAD}  # why\n  - {entry()}   # until spring\n# the end\n",
            f"\ufeff{HEAD}  - {entry()}\r\n",
        ],
        ids=["new", "comment", "emptied", "one", "no newline", "comments", "windows"],
    )
    def test_what_was_there_stays_as_it_was(self, tmp_path: Path, text: str) -> None:
        """Byte for byte, and the new entry says what was told."""
        path = tmp_path / "known.yaml"
        path.write_bytes(text.encode())
        before = read_known(path)
        append_known(path, [self.NEW])
        *others, last = read_known(path)
        assert tuple(others) == before
        assert last.covers(ADDRESS, OTHER, date(2027, 6, 30))
        assert last.because == self.NEW.because
        assert path.read_bytes().startswith(text.encode())
        assert os.listdir(tmp_path) == ["known.yaml"]

    @pytest.mark.parametrize(
        "text",
        [
            f"version: 1\nknown_conflicts: [{entry()}]\n",
            f"version: 1\nknown_conflicts:\n- {entry()}\n",
            f"version: 1\nknown_conflicts:\n    - {entry()}\n",
            f"known_conflicts:\n  - {entry()}\nversion: 1\n",
        ],
        ids=["flow", "another indentation", "deeper", "another order"],
    )
    def test_what_cannot_be_added_to_is_left_as_it_is(self, tmp_path: Path, text: str) -> None:
        """The lines to paste are told instead."""
        path = tmp_path / "known.yaml"
        path.write_text(text)
        with pytest.raises(ConfigError, match="is as it was") as caught:
            append_known(path, [self.NEW])
        assert OTHER in caught.value.message
        assert path.read_text() == text
        assert os.listdir(tmp_path) == ["known.yaml"]

    def test_a_damaged_file_is_not_added_to(self, tmp_path: Path) -> None:
        """Nor begun anew: somebody's entries are in it."""
        path = tmp_path / "known.yaml"
        path.write_text(f"{self.HEAD}<<<<<<< ours\n  - {entry()}\n")
        with pytest.raises(ConfigError):
            append_known(path, [self.NEW])
        assert "<<<<<<<" in path.read_text()

    def test_a_link_stays_a_link(self, tmp_path: Path) -> None:
        """What it points at is replaced."""
        real = tmp_path / "real.yaml"
        real.write_text(f"{self.HEAD}  - {entry()}\n")
        link = tmp_path / "known.yaml"
        link.symlink_to(real)
        append_known(link, [self.NEW])
        assert link.is_symlink()
        assert len(read_known(real)) == 2

    def test_others_may_read_it(self, tmp_path: Path) -> None:
        """It is meant to be committed."""
        path = tmp_path / "known.yaml"
        append_known(path, [self.NEW])
        assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("text", ["2027-03-31", "2028-02-29"])
def test_a_day_is_read(text: str) -> None:
    """As ISO 8601 writes it, with its hyphens."""
    assert read_day(text).isoformat() == text
