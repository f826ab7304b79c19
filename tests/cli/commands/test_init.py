"""`init` and `validate`."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from imgmigrate.schemas import schema_text
from tests.cli.helpers import Terminal
from tests.support.schemas import config_errors

if TYPE_CHECKING:
    from tests.cli.helpers import Cli

WHY = "# imgmigrate: states and plans\n"


@pytest.mark.parametrize(
    "arguments", [["init"], ["init", "prod.yaml"], ["-c", "prod.yaml", "init"]]
)
def test_init_writes_a_config_that_is_valid(cli: Cli, arguments: list[str]) -> None:
    """The starter is valid as it stands, and the next commands are named."""
    name = "prod.yaml" if "prod.yaml" in arguments else "imgmigrate.yaml"
    assert cli(*arguments) == 0
    assert f"Wrote {name}" in cli.out
    assert "imgmigrate plan" in cli.out
    assert stat.S_IMODE((cli.folder / name).stat().st_mode) == 0o644
    assert cli("validate", "--config", name) == 0
    assert cli.out.startswith(f"{name} is valid: ")


def test_the_starter_meets_its_schema_which_lies_beside_it(cli: Cli) -> None:
    """The first line says where it is to an editor; one that is there already stays."""
    (cli.folder / "imgmigrate.schema.json").write_text("mine")
    assert cli("init") == 0
    text = (cli.folder / "imgmigrate.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=imgmigrate.schema.json\n")
    assert config_errors(text) == []
    assert (cli.folder / "imgmigrate.schema.json").read_text() == "mine"
    (cli.folder / "imgmigrate.schema.json").unlink()
    assert cli("init", "other.yaml") == 0
    assert (cli.folder / "imgmigrate.schema.json").read_text() == schema_text("config")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, f"{WHY}/state/\n/*.out\n"),
        ("*.pyc", f"*.pyc\n{WHY}/state/\n/*.out\n"),
        ("state\n", f"state\n{WHY}/*.out\n"),
        ("*.out\n/state/*\n!/state/README.md\n", "*.out\n/state/*\n!/state/README.md\n"),
        (b"\xff\xfe", b"\xff\xfe"),
    ],
)
def test_git_is_told_to_ignore_states_and_plans(
    cli: Cli, before: str | bytes | None, after: str | bytes
) -> None:
    """A line that is missing is added; what is there stays, and what is no text is left alone."""
    path = cli.folder / ".gitignore"
    if before is not None:
        path.write_bytes(before if isinstance(before, bytes) else before.encode())
    for name in ("a.yaml", "b.yaml"):
        assert cli("init", name) == 0
        assert path.read_bytes() == (after if isinstance(after, bytes) else after.encode())


def test_what_git_ignores_elsewhere_is_not_written_to(cli: Cli) -> None:
    """A link may lead anywhere."""
    (cli.folder / "elsewhere").write_text("mine\n")
    (cli.folder / ".gitignore").symlink_to("elsewhere")
    assert cli("init") == 0
    assert (cli.folder / "elsewhere").read_text() == "mine\n"


ENDS = ("--from", "harbor.old/team/**", "--to", "new.io/{match}", "--to", "oci:out/{match}")


def test_both_ends_are_the_first_rule(cli: Cli) -> None:
    """It is valid, needs no variable, and all else is a comment."""
    assert cli("init", *ENDS) == 0
    assert cli.out.count("--from") == 0
    text = (cli.folder / "imgmigrate.yaml").read_text()
    live = [line for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    assert live == [
        "version: 1",
        "defaults:",
        "  overwrite: owned",
        "images:",
        '  - source: "harbor.old/team/**"',
        '    destination: ["new.io/{match}", "oci:out/{match}"]',
    ]
    assert config_errors(text) == []
    assert cli("validate") == 0
    assert "is valid: 1 rule\n" in cli.out


@pytest.mark.parametrize(
    ("answers", "rules"),
    [
        (["q.io/a/b", "new.io/b oci:b"], ["q.io/a/b", "new.io/b", "oci:b"]),
        ([""], ["docker.io/library/alpine"]),
    ],
    ids=["both", "none"],
)
def test_a_terminal_is_asked_for_both_ends(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, answers: list[str], rules: list[str]
) -> None:
    """Two questions; without an answer to the first the examples are written."""
    monkeypatch.setattr("sys.stdin", Terminal("".join(f"{each}\n" for each in answers)))
    assert cli("init") == 0
    assert cli.err.count("?") == len(answers)
    assert cli("validate") == 0
    assert all(rule in cli.out for rule in rules)


def test_what_is_said_is_not_asked(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where both options are given, nor where nobody could answer."""
    monkeypatch.setattr("sys.stdin", Terminal(""))
    assert cli("init", *ENDS) == 0
    assert cli.err == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "q.io/a"], "--from is one end of two"),
        (["--to", "q.io/a"], "--to is one end of two"),
        (["--from", "Old/a", "--to", "new.io/a"], "--from Old/a: "),
        (["--from", "q.io/a", "--to", "new.io/**"], "--to new.io/**: "),
        (["--from", "q.io/a", "--to", "q.io/a"], "--to q.io/a: source and destination are"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_ends_that_are_no_rule_are_refused(cli: Cli, arguments: list[str], said: str) -> None:
    """Exit 64, the option is named, and no file is written."""
    assert cli("init", *arguments) == 64
    assert said in cli.err
    assert list(cli.folder.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
def test_init_never_overwrites(cli: Cli, kind: str) -> None:
    """Whatever has the name already stays as it is."""
    path = cli.folder / "imgmigrate.yaml"
    if kind == "file":
        path.write_text("mine")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    assert cli("init") == 64
    assert "exists already" in cli.err
    assert path.is_symlink() or path.is_dir() or path.read_text() == "mine"


def test_init_says_where_it_cannot_write(cli: Cli) -> None:
    """A folder that is not there is named."""
    assert cli("init", "missing/imgmigrate.yaml") == 1
    assert "missing/imgmigrate.yaml: cannot be written" in cli.err


def test_validate_says_what_it_found(cli: Cli) -> None:
    """Rules, registries, layouts and the state's place, without network."""
    (cli.folder / "imgmigrate.yaml").write_text(
        'version: 1\nstate: {path: "here"}\n'
        'registries: {"quay.io": {username: "${NOT_SET}", password: "${NOT_SET}"}}\n'
        "images:\n"
        '  - {source: "quay.io/a/b:1,2", destination: ["reg.new/x/b", "oci:out/b"]}\n'
        '  - {source: "nginx", destination: "reg.new/x/nginx"}\n'
    )
    assert cli("validate") == 0
    assert cli.out.splitlines() == [
        "imgmigrate.yaml is valid: 2 rules",
        "  1. quay.io/a/b (tags 1, 2)",
        "     -> reg.new/x/b",
        "     -> oci:out/b",
        "  2. docker.io/library/nginx (all tags)",
        "     -> reg.new/x/nginx",
        "registries: docker.io, quay.io, reg.new",
        "OCI layouts: 1",
        "state: here",
    ]


def test_validate_shows_rules_of_many_repositories(cli: Cli) -> None:
    """A wildcard and a placeholder are shown as written, and their registries are found."""
    (cli.folder / "imgmigrate.yaml").write_text(
        "version: 1\nimages:\n- source: 'harbor.old/team/**'\n"
        "  destination: ['acr.new/{repository}', 'oci:out/{match}']\n"
    )
    assert cli("validate") == 0
    assert "is valid: 1 rule\n  1. harbor.old/team/** (all tags)\n" in cli.out
    assert "     -> acr.new/{repository}\n     -> oci:out/{match}\n" in cli.out
    assert "registries: acr.new, harbor.old\n" in cli.out


def test_validate_names_file_and_line(cli: Cli) -> None:
    """A config error exits 64 and says where, on stderr."""
    path = cli.write_config()
    path.write_text(path.read_text() + "imagse: []\n")
    assert cli("validate") == 64
    assert cli.err.startswith("Error: imgmigrate.yaml:5: imagse: ")
    assert cli.out == ""


def test_without_a_config_init_is_advised(cli: Cli) -> None:
    """The first thing a new user does wrong has its fix."""
    assert cli("validate") == 64
    assert "imgmigrate init" in cli.err
