"""Loading: the file as a whole, its version, variables, paths, and every kind of wrong file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgmigrate.cli.starter import STARTER
from imgmigrate.config.model import Defaults
from imgmigrate.errors import ConfigError
from imgmigrate.foreign.load import load_config
from imgmigrate.rules.rule import Overwrite

if TYPE_CHECKING:
    from tests.config.conftest import Load, Refuse

IMAGES = "images:\n- source: q.io/a/b\n  destination: x.io/a/b\n"
MINIMAL = f"version: 1\n{IMAGES}"


def test_the_smallest_config_has_defaults(load: Load, tmp_path: Path) -> None:
    """Version and one image are all it takes."""
    found = load(MINIMAL)
    assert found.path == tmp_path / "prod.yaml"
    assert found.base == tmp_path
    assert found.state == tmp_path / "state" / "prod"
    assert found.defaults == Defaults(overwrite=Overwrite.OWNED)
    assert found.sha256 == hashlib.sha256(MINIMAL.encode()).hexdigest()
    assert len(found.rules) == 1


@pytest.mark.parametrize(
    ("path", "expected"),
    [("s", "s"), ("./s/../t", "t"), ("../s", "../s"), ("/srv/s", "/srv/s"), ("${S}/x", "env/x")],
)
def test_the_state_lives_relative_to_the_config(
    load: Load, tmp_path: Path, path: str, expected: str
) -> None:
    """Not relative to where the command runs."""
    found = load(f'{MINIMAL}state: {{path: "{path}"}}\n', S="env")
    assert found.state == Path(tmp_path, expected).resolve()


def test_a_relative_config_path_has_an_absolute_base(
    monkeypatch: pytest.MonkeyPatch, load: Load, tmp_path: Path
) -> None:
    """What is derived from the config does not move with the working directory."""
    load(MINIMAL)
    monkeypatch.chdir(tmp_path)
    found = load_config(Path("prod.yaml"))
    assert (found.base, found.state) == (tmp_path, tmp_path / "state" / "prod")
    assert found.rules[0].file == "prod.yaml"


def test_scalars_are_tags_as_written(load: Load) -> None:
    """YAML's numbers, dates, booleans and nulls stay text."""
    (found,) = load(f"{MINIMAL}  tags: [1.20, 010, 2024-01-01, on, null, 0x1]\n").rules
    assert found.explicit_tags == ("1.20", "010", "2024-01-01", "on", "null", "0x1")


def test_variables_are_expanded_in_values_alone(load: Load) -> None:
    """After parsing: what a variable holds cannot change the structure."""
    text = 'version: 1\nimages:\n- source: "${HOST}/a"\n  destination: "x.io/${D:-b}"\n'
    (found,) = load(text, HOST="q.io").rules
    assert (str(found.source), str(found.destinations[0].repository)) == ("q.io/a", "x.io/b")


def test_the_environment_is_the_processes_by_default(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only tests and embedders pass their own."""
    load(f'{MINIMAL}  tags: "${{TAG_OF_TEST:-v1}}"\n')
    monkeypatch.setenv("TAG_OF_TEST", "v2")
    assert load_config(tmp_path / "prod.yaml").rules[0].explicit_tags == ("v2",)


def test_a_byte_order_mark_is_no_part_of_the_text(load: Load) -> None:
    """Editors on other systems write one."""
    assert load(b"\xef\xbb\xbf" + MINIMAL.encode()).rules


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "prod.yaml:1: it is empty; start from what this writes: imgmigrate init"),
        ("- a\n", "prod.yaml:1: its top must be a mapping"),
        (b"a: \xff\n", "prod.yaml:1: it is not UTF-8: byte 0xFF; save it as UTF-8"),
        (b"\xff\xfea\x00", "prod.yaml:1: it is not UTF-8"),
        ("# x\nimages: []\n", "prod.yaml:2: version: is missing; write version: 1 at the top"),
        (f"version: 2\nlater: x\n{IMAGES}", "prod.yaml:1: version: '2' is not supported; this"),
        (f"version: 1.0\n{IMAGES}", "version: '1.0' is not supported"),
        (f"version: [1]\n{IMAGES}", "version: this is not supported"),
        ("version: 1\n", "prod.yaml:1: images: is missing; write images: and below it"),
        ("version: 1\nimages: []\n", "prod.yaml:2: images: must be a list of at least one image"),
        ("version: 1\nimages: {a: b}\n", "prod.yaml:2: images: must be a list"),
        ("version: 1\nimages: a\n", "images: must be a list of at least one image"),
        ("version: 1\nimages:\n- a\n", "prod.yaml:3: images[0]: must be a mapping"),
        ("version: 1\nimages:\n- source: q.io/a\n", "images[0].destination: is missing; write"),
        (f"{MINIMAL}imagse: x\n", "prod.yaml:5: imagse: is not a known key; did you mean images?"),
        (f"{MINIMAL}zzz: x\n", "zzz: is not a known key; known here: version, state, registries"),
        (
            f"{MINIMAL}  tag: x\n",
            "prod.yaml:5: images[0].tag: is not a known key; did you mean tags?",
        ),
        (f"{MINIMAL}include: [x]\n", "prod.yaml:5: include[0]: there is no 'x'"),
        (f"{MINIMAL}protect: [x]\n", "prod.yaml:5: protect[0]: 'x' names no registry"),
        (f"{MINIMAL}max_delete: some\n", "prod.yaml:5: max_delete: must be a number or a perc"),
        (f"{MINIMAL}max_delete: 101%\n", "max_delete: must be a number or a percentage"),
        (f"{MINIMAL}moved: [x]\n", "prod.yaml:5: moved[0]: must be a mapping"),
        (f"{MINIMAL}moved: [{{from: a.io/b}}]\n", "prod.yaml:5: moved[0].to: is missing"),
        (
            f"{MINIMAL}moved: [{{from: a.io/b, to: a.io/c, when: x}}]\n",
            "prod.yaml:5: moved[0].when: is not a known key; known here: from, to",
        ),
        (
            f"{MINIMAL}moved: [{{from: a.io/b, to: b.io/b}}]\n",
            "prod.yaml:5: moved[0]: a.io/b and b.io/b are in two registries",
        ),
        (
            f"{MINIMAL}moved: [{{from: 'a.io/b/*', to: a.io/c}}]\n",
            "prod.yaml:5: moved[0]: a.io/b/* and a.io/c: both must have the same wildcards",
        ),
        (f"{MINIMAL}keep_previous_for: 30\n", "5: keep_previous_for: '30' is not a duration"),
        (f"{MINIMAL}  keep_previous_for: x\n", "5: images[0].keep_previous_for: 'x' is not a"),
        (f"{MINIMAL}keep_previous: x\n", "prod.yaml:5: keep_previous: 'x' has no {tag}"),
        (f"{MINIMAL}  keep_previous: x\n", "5: images[0].keep_previous: 'x' has no {tag}"),
        (f"{MINIMAL}  protect: x\n", "images[0].protect: is not supported yet"),
        (f"{MINIMAL}  include: x\n", "images[0].include: is not a known key; it selects tags"),
        (f"{MINIMAL}defaults: {{overwrite: x}}\n", "defaults.overwrite: 'x' is none of 'owned'"),
        (f"{MINIMAL}defaults: x\n", "defaults: must be a mapping"),
        (f"{MINIMAL}state: x\n", "state: must be a mapping"),
        (f"{MINIMAL}state: {{}}\n", "prod.yaml:5: state: needs one of path"),
        (f"{MINIMAL}state: {{path: ~/x}}\n", "prod.yaml:5: state.path: ~ is not expanded"),
        (f"{MINIMAL}version: 1\n", "prod.yaml:5: version: the key is given twice, first in line 1"),
        (
            f"{MINIMAL}  tags: ['${{X}}']\n",
            "images[0].tags[0]: the environment variable X is not set",
        ),
        (f"{MINIMAL}  tags: ['${{X']\n", "images[0].tags[0]: its ${...} is not a variable"),
        (f"{MINIMAL}  tags: [*-rc*]\n", "prod.yaml:5: a value that begins with * is an alias"),
    ],
)
def test_a_wrong_file_is_refused_with_line_key_and_fix(
    refuse: Refuse, text: str | bytes, expected: str
) -> None:
    """Nothing is ignored, and the message is where an editor can jump to."""
    assert expected in refuse(text)


def test_several_mistakes_are_named_at_once(refuse: Refuse) -> None:
    """By line, one a line; beyond ten they are counted."""
    said = refuse(f"{MINIMAL}  tag: x\nfoo: x\nstate: {{}}\n").split("\n")
    assert [line.split(": ")[1] for line in said] == ["images[0].tag", "foo", "state"]


def test_too_many_mistakes_are_counted(load: Load) -> None:
    """The first must not scroll out of sight."""
    with pytest.raises(ConfigError) as caught:
        load(MINIMAL + "".join(f"k{number}: x\n" for number in range(15)))
    assert len(str(caught.value).split("\n")) == 11
    assert str(caught.value).endswith("and 5 more errors")
    assert (caught.value.line, caught.value.key) == (5, "k0")


def test_a_missing_file_says_how_to_begin(tmp_path: Path) -> None:
    """The fix is a command."""
    with pytest.raises(ConfigError, match="there is no such file") as caught:
        load_config(tmp_path / "imgmigrate.yaml")
    assert str(caught.value).endswith("write a first one with: imgmigrate init")


def test_a_folder_is_no_config(tmp_path: Path) -> None:
    """Neither is what cannot be opened."""
    with pytest.raises(ConfigError, match="it is a folder"):
        load_config(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "file" / "imgmigrate.yaml")


def test_the_starter_config_is_valid_as_it_stands(load: Load) -> None:
    """`imgmigrate init` then `imgmigrate validate` succeeds, without any variable set."""
    found = load(STARTER)
    assert [rule.has_patterns for rule in found.rules] == [False, True]
    assert found.rules[0].explicit_tags == ("3.20", "3.21")
    assert found.rules[1].selects("v0.14.2")
    assert found.rules[1].selects("v0.15.0")
    assert not found.rules[1].selects("v0.15.0-rc1")
    with pytest.raises(ConfigError, match="REGISTRY_USERNAME is not set"):
        found.registry("registry.example.com")


def test_the_starter_config_stays_valid_when_its_comments_are_taken_away(load: Load) -> None:
    """What it teaches in comments is true, too."""
    shown = []
    for line in STARTER.splitlines():
        bare = line.lstrip()
        code = bare.removeprefix("# ")
        is_code = code.lstrip("- ").startswith(('"', *_KEYS)) and code.count(":") > 0
        indent = line[: len(line) - len(bare)]
        shown.append(indent + code if bare.startswith("# ") and is_code else line)
    text = "\n".join(line for line in shown if "pem" not in line and "client" not in line)
    found = load(text)
    assert len(found.rules) == 4
    assert found.state.name == "imgmigrate"
    assert found.registry("localhost:5000").plain_http
    assert found.rules[3].overwrite is Overwrite.ALWAYS


_KEYS = (
    "state:",
    "path:",
    "concurrency:",
    "tls:",
    "verify:",
    "plain_http:",
    "source:",
    "destination:",
    "overwrite:",
)


@given(st.text(alphabet="version: 1\nimages- source:qio/ab{}[]*&!|>'\"#${}~", max_size=60))
def test_any_file_is_a_config_or_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    """Whatever the file holds, loading never fails otherwise."""
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    for candidate in (text, f"{MINIMAL}  tags: {text}\n", f"{MINIMAL}registries: {text}\n"):
        path.write_text(candidate)
        try:
            found = load_config(path, environ={})
        except ConfigError:
            continue
        assert found.rules
