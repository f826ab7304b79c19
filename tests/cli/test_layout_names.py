"""One layout under many names: absolute, relative, through links; and records under old ones."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from imgmigrate.state.local.store import LocalState
from tests.support.images import image
from tests.support.layouts import layout_tags, write_layout

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.helpers import Cli

TAGS = ("1", "2", "3")


@pytest.fixture
def home(cli: Cli) -> Path:
    """A folder with a source of three images, a link, and a config in a folder below it."""
    for tag in TAGS:
        write_layout(cli.folder / "in/team/api", tag, image(tag))
    (cli.folder / "out").mkdir()
    (cli.folder / "link").symlink_to("out")
    (cli.folder / "work").mkdir()
    return cli.folder


def write(home: Path, destination: str, *, source: str = "../in/team/api", more: str = "") -> None:
    """Write the config: one rule."""
    rule = {"source": f"oci:{source}", "destination": f"oci:{destination.format(home)}"}
    text = f"version: 1\nimages: [{json.dumps(rule)}]\n{more}"
    (home / "work/imgmigrate.yaml").write_text(text)


def apply(cli: Cli, *options: str) -> int:
    """Plan and apply at once."""
    arguments = ("--auto-approve", "-c", "work/imgmigrate.yaml", *options)
    return cli("apply", *arguments)


def recorded(cli: Cli) -> set[str]:
    """The addresses of all records."""
    found = LocalState(cli.folder / "work/state/imgmigrate").read()
    return {str(record.address) for record in found.live()}


NAMES = ["../out", "{}/out", "../link", "{}/link", "{}/in/../out"]


@pytest.mark.parametrize("old", NAMES)
@pytest.mark.parametrize("new", NAMES)
def test_a_record_under_an_old_name_gets_the_new_one(
    cli: Cli, home: Path, old: str, new: str
) -> None:
    """Nothing is adopted, forgotten or deleted: the record is renamed in its place."""
    write(home, old)
    assert apply(cli) == 0
    write(home, new)
    assert cli("plan", "-c", "work/imgmigrate.yaml", "--allow-delete", "--out", "p") == 0
    assert "Nothing to do: all 3 images are as the config says." in cli.out
    assert cli("apply", "p", "-c", "work/imgmigrate.yaml") == 0
    name = os.path.normpath(new.format(home))
    assert recorded(cli) == {f"oci:{name}:{tag}" for tag in TAGS}
    assert set(layout_tags(home / "out")) == set(TAGS)


@pytest.mark.parametrize("new", ["{}/out", "../link"])
def test_a_plan_with_work_renames_first(cli: Cli, home: Path, new: str) -> None:
    """An update of one image, and the records of the others, which have no row."""
    write(home, "../out")
    assert apply(cli) == 0
    write_layout(home / "in/team/api", "2", image("moved"))
    write(home, new)
    assert cli("plan", "-c", "work/imgmigrate.yaml", "--allow-delete", "--out", "p") == 0
    assert cli.out.startswith("Plan: 1 to update, 2 unchanged.")
    assert cli("apply", "p", "-c", "work/imgmigrate.yaml") == 0, cli.out + cli.err
    name = os.path.normpath(new.format(home))
    assert recorded(cli) == {f"oci:{name}:{tag}" for tag in TAGS}
    assert cli("plan", "-c", "work/imgmigrate.yaml", "--detailed-exitcode") == 0


def test_names_that_a_glob_makes_are_found_too(cli: Cli, home: Path) -> None:
    """No rule names the layout: it is what becomes of a source."""
    write(home, "../out/{{name}}", source="../in/**")
    assert apply(cli) == 0
    assert recorded(cli) == {f"oci:../out/api:{tag}" for tag in TAGS}
    write(home, "{}/link/{{name}}", source=f"{home}/in/**")
    assert cli("plan", "-c", "work/imgmigrate.yaml", "--allow-delete") == 0
    assert "Nothing to do: all 3 images" in cli.out
    assert apply(cli, "--allow-delete") == 0
    assert recorded(cli) == {f"oci:{home}/link/api:{tag}" for tag in TAGS}


def test_of_two_records_of_one_image_the_newer_stays(cli: Cli, home: Path) -> None:
    """A state that has both names keeps one of them, and nothing is deleted for it."""
    write(home, "../out")
    assert apply(cli) == 0
    (home / "link").unlink()
    write(home, "../link")
    assert apply(cli) == 0
    shutil.rmtree(home / "link")
    (home / "link").symlink_to("out")
    assert len(recorded(cli)) == 6
    write(home, "../out")
    assert apply(cli, "--allow-delete") == 0
    assert recorded(cli) == {f"oci:../out:{tag}" for tag in TAGS}
    assert set(layout_tags(home / "out")) == set(TAGS)


@pytest.mark.parametrize("new", ["{}/out", "../link"])
def test_what_is_no_longer_asked_for_is_ours_under_the_new_name(
    cli: Cli, home: Path, new: str
) -> None:
    """A tag that the rule leaves out is still found, and deleted only as one that it leaves out."""
    write(home, "../out")
    assert apply(cli) == 0
    write(home, new)
    path = home / "work/imgmigrate.yaml"
    path.write_text(path.read_text().replace('"}', '", "tags": ["1", "2"]}'))
    assert apply(cli, "--allow-delete") == 0
    assert set(layout_tags(home / "out")) == {"1", "2"}


def test_an_absolute_layout_is_where_it_is_written_wherever_the_config_lies(
    cli: Cli, home: Path
) -> None:
    """A plan of one checkout is applied in a deeper one, and another plans from its state."""
    more = f"state: {{path: {home}/state}}\n"
    write(home, "{}/out", source=f"{home}/in/team/api", more=more)
    assert cli("plan", "-c", "work/imgmigrate.yaml", "--out", "p") == 0
    assert f'"oci:{home}/out:1"' in (home / "p").read_text()
    deeper = home / "ci/job/deeper"
    deeper.mkdir(parents=True)
    shutil.copy(home / "work/imgmigrate.yaml", deeper)
    assert cli("apply", "p", "-c", "ci/job/deeper/imgmigrate.yaml") == 0
    found = {path.parent for path in home.rglob("oci-layout")}
    assert found == {home / "out", home / "in/team/api"}
    assert cli("plan", "-c", "work/imgmigrate.yaml", "--detailed-exitcode", "--allow-delete") == 0


def test_a_config_reached_through_a_link_writes_beside_itself(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path is relative to the folder that the config really is in."""
    (home / "real/deep").mkdir(parents=True)
    write(home, "../out", source=f"{home}/in/team/api")
    (home / "work/imgmigrate.yaml").rename(home / "real/deep/imgmigrate.yaml")
    (home / "short").symlink_to("real/deep")
    assert cli("apply", "--auto-approve", "-c", "short/imgmigrate.yaml") == 0
    assert set(layout_tags(home / "real/out")) == set(TAGS)
    monkeypatch.chdir(home / "short")
    assert cli("plan", "--detailed-exitcode", "--allow-delete") == 0
    monkeypatch.chdir(home / "real/deep")
    assert cli("plan", "--detailed-exitcode", "--allow-delete") == 0


def test_relative_layouts_move_with_their_config(cli: Cli, home: Path) -> None:
    """A folder with config, state and bundle is as good in another place."""
    write(home, "bundle", source=f"{home}/in/team/api")
    assert apply(cli) == 0
    (home / "work").rename(home / "elsewhere")
    assert cli("plan", "-c", "elsewhere/imgmigrate.yaml", "--detailed-exitcode") == 0
    assert "oci:bundle" in (home / "elsewhere/state/imgmigrate/snapshot.jsonl").read_text()


@pytest.mark.parametrize("pattern", ["../out:*", "{}/out:*", "{}/**"])
def test_protection_means_a_layout_by_either_path(cli: Cli, home: Path, pattern: str) -> None:
    """Whether its address is absolute or relative."""
    for destination in ("../out", "{}/out"):
        write(home, destination, more=f"protect: ['oci:{pattern.format(home)}']\n")
        assert apply(cli) == 0
    path = home / "work/imgmigrate.yaml"
    path.write_text(path.read_text().replace('"}', '", "tags": ["1"]}'))
    apply(cli, "--allow-delete")
    assert set(layout_tags(home / "out")) == set(TAGS)


@pytest.mark.parametrize("new", ["{}/out", "../link"])
def test_pins_under_an_old_name_are_found(cli: Cli, home: Path, new: str) -> None:
    """The lock file outlives the way in which the config writes a path."""
    write(home, "../out")
    assert cli("pin", "-c", "work/imgmigrate.yaml") == 0
    write(home, new)
    assert cli("pin", "-c", "work/imgmigrate.yaml", "--check") == 0
    assert cli("apply", "--locked", "-c", "work/imgmigrate.yaml", "--auto-approve") == 0
    assert set(layout_tags(home / "out")) == set(TAGS)


def test_a_run_is_undone_under_the_new_name(cli: Cli, home: Path) -> None:
    """The way back finds what was written under the old one."""
    write(home, "../out")
    assert apply(cli) == 0
    write_layout(home / "in/team/api", "2", image("moved"))
    before = layout_tags(home / "out")
    assert apply(cli) == 0
    write(home, "{}/out")
    assert cli("state", "log", "-c", "work/imgmigrate.yaml", "--json") == 0
    # The newest comes first.
    last = next(run for line in cli.out.splitlines() if (run := json.loads(line).get("run")))
    assert cli("rollback", last, "-c", "work/imgmigrate.yaml", "--out", "back") == 0
    assert cli("apply", "back", "-c", "work/imgmigrate.yaml") == 0
    assert layout_tags(home / "out") == before


@pytest.mark.parametrize("source", ["{}/in/**", "{}/in/*/api", "{}/**/api"])
def test_a_glob_of_absolute_layouts_lists_absolute_ones(cli: Cli, home: Path, source: str) -> None:
    """Sources are called as the rule calls them; placeholders stay relative to the config."""
    rule = {"source": f"oci:{source.format(home)}", "destination": "oci:out/{name}"}
    (home / "imgmigrate.yaml").write_text(f"version: 1\nimages: [{json.dumps(rule)}]\n")
    assert cli("apply", "--auto-approve") == 0
    assert set(layout_tags(home / "out/api")) == set(TAGS)
    snapshot = (home / "state/imgmigrate/snapshot.jsonl").read_text()
    assert f"oci:{home}/in/team/api:1" in snapshot
