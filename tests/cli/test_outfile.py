"""Where output may go: into what the user names, never over what imgmigrate lives from."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from imgmigrate.plan import read_plan

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.helpers import Cli, Engine

MAIN = """\
version: 1
include: [teams/*.yaml]
state: {path: records}
"""
TEAM = 'images: [{source: "oci:images/os:12", destination: "oci:bundle/os"}]\n'


@pytest.fixture
def home(cli: Cli) -> Path:
    """A config with everything around it that must not be lost."""
    for name in ("teams", "records/backups", "other/backups", "bundle/blobs/sha256"):
        (cli.folder / name).mkdir(parents=True)
    contents = {
        "imgmigrate.yaml": MAIN,
        "teams/a.yaml": TEAM,
        "globs.txt": "oci:bundle/os:12\n",
        "other/journal.jsonl": "{}\n",
        "other/backups/3.snapshot.jsonl": "{}\n",
        "bundle/oci-layout": "{}",
        "bundle/index.json": "{}",
    }
    for name, text in contents.items():
        (cli.folder / name).write_text(text)
    (cli.folder / "by-link.yaml").symlink_to("imgmigrate.yaml")
    os.link(cli.folder / "imgmigrate.yaml", cli.folder / "by-name.yaml")
    (cli.folder / "away").symlink_to("records")
    return cli.folder


def tree(folder: Path) -> dict[str, bytes]:
    """Every file's bytes."""
    return {str(each): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


@pytest.mark.parametrize(
    "place",
    [
        "imgmigrate.yaml",
        "./teams/../imgmigrate.yaml",
        "by-link.yaml",
        "by-name.yaml",
        "teams/a.yaml",
        "imgmigrate.lock.yaml",
        "imgmigrate.known-conflicts.yaml",
        "globs.txt",
        "records/journal.jsonl",
        "records/snapshot.jsonl",
        "records/lock",
        "records/lock.json",
        "records/backups/1.journal.jsonl",
        "records/backups",
        "away/journal.jsonl",
        "other/journal.jsonl",
        "other/lock",
        "other/backups/3.snapshot.jsonl",
        "bundle/index.json",
        "bundle/blobs/sha256/plan.out",
    ],
)
def test_a_plan_never_replaces_what_imgmigrate_lives_from(
    cli: Cli, engine: Engine, home: Path, place: str
) -> None:
    """Config, includes, pins, states and layouts are refused before planning, however spelled."""
    before = tree(home)
    assert cli("plan", "--target-file", "globs.txt", "--out", place) == 64
    assert f"--out {place.removeprefix('./')}: " in cli.err.replace("\n", " ")
    assert not engine.planned
    assert tree(home) == before


@pytest.mark.parametrize("place", ["records/plan.out", "other/plan.out", "bundle/plan.out", "lock"])
def test_a_name_that_nothing_of_ours_has_is_free(
    cli: Cli, engine: Engine, home: Path, place: str
) -> None:
    """Beside a state or in a layout's folder a plan may be saved under its own name."""
    cli("plan", "--out", place)
    assert read_plan(home / place).changes == engine.plan.changes


def test_a_rollback_is_saved_by_the_same_rules(cli: Cli, home: Path) -> None:
    """The second command with --out refuses the journal as well."""
    assert cli("rollback", "20261124T075602Z-9f3a", "--out", "records/journal.jsonl") == 64
    assert "this name belongs to the state" in cli.err


@pytest.mark.parametrize("arguments", [("init", "journal.jsonl"), ("init", "lock")])
def test_a_new_config_takes_no_name_of_a_state(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, home: Path, arguments: tuple[str, str]
) -> None:
    """Also a name that the state does not use yet."""
    monkeypatch.chdir(home / "other")
    (home / "other" / "snapshot.jsonl").write_text("{}\n")
    (home / "other" / "journal.jsonl").unlink()
    assert cli(*arguments) == 64
    assert not (home / "other" / arguments[1]).exists()


REGSYNC = """\
version: 1
creds: [{registry: a.io, user: u, pass: secret-word}]
sync: [{source: 'a.io/x:1', target: 'b.io/x:1', type: image}]
"""


def test_a_converted_config_goes_into_a_pipe_and_makes_no_file(cli: Cli) -> None:
    """Nothing stands beside a device or a pipe: passwords then need a file that is named."""
    (cli.folder / "r.yml").write_text(REGSYNC)
    pipe, got = cli.folder / "pipe", list[str]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    assert cli("convert", "regsync", "r.yml", "--out", "pipe") == 0
    reader.join(60)
    assert "images:" in got[0]
    assert sorted(each.name for each in cli.folder.iterdir()) == ["pipe", "r.yml"]
    assert "name an --env-file" in cli.err


def test_the_config_and_its_passwords_are_two_files(cli: Cli) -> None:
    """One name for both would lose one of them."""
    (cli.folder / "r.yml").write_text(REGSYNC)
    (cli.folder / "here").symlink_to(".")
    arguments = ("--out", "new.yaml", "--env-file", "here/new.yaml")
    assert cli("convert", "regsync", "r.yml", *arguments) == 64
    assert not (cli.folder / "new.yaml").exists()


def test_pins_are_written_through_a_link(tmp_path: Path) -> None:
    """A link stays a link, also where nobody named the file."""
    from imgmigrate.planning.desired.pins import write_pins

    (tmp_path / "shared").mkdir()
    path = tmp_path / "imgmigrate.lock.yaml"
    path.symlink_to("shared/pins.yaml")
    assert write_pins(path, {})
    assert path.is_symlink()
    assert "pins: {}" in (tmp_path / "shared" / "pins.yaml").read_text()
