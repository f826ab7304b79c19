"""Three monthly disks across an air gap: each holds only what is new, and nothing is lost.

From a real registry to OCI layouts, by hand to the other side, and into another registry. Every
command ends with 0, also those that may delete; in the end a reader that shares nothing with us
pulls every image there ever was.
"""

from __future__ import annotations

import io
import re
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from imgmigrate.cli import main
from tests.support.cli import write_config
from tests.support.images import Image, image, layer, two_platforms
from tests.support.layouts import layout_tags, read_layout
from tests.support.registries import assert_holds, list_tags, push

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartRegistry
    from tests.support.docker_registry import DockerRegistry

BASE = layer("base", 64 * 1024)


def on_base(seed: str) -> Image:
    """An image on the base that all share: on each disk it has to be whole."""
    return image(seed, layers=[BASE, layer(seed)])


# What each month brings: repository:tag -> image. `latest` moves, `web` comes in December, and
# January has nothing new of `api`.
MONTHS: dict[str, dict[str, Image]] = {
    "2026-11": {
        "api:2026-11.1": on_base("api 11"),
        "api:2026-11.2": two_platforms("api 11"),
        "tool:2026-11.1": on_base("tool 11"),
        "tool:latest": on_base("tool 11"),
    },
    "2026-12": {
        "api:2026-12.1": on_base("api 12"),
        "web:2026-12.1": on_base("web 12"),
        "tool:latest": on_base("tool 12"),
    },
    "2027-01": {
        "web:2027-01.1": two_platforms("web 01"),
        "tool:2027-01.1": on_base("tool 01"),
        "tool:latest": on_base("tool 01"),
    },
}


@dataclass
class Crossing:
    """Both sides of the gap, each with a config and a state of its own."""

    folder: Path
    patch: pytest.MonkeyPatch
    old: DockerRegistry
    new: DockerRegistry
    # Where the importing side finds a disk: always the same place, or one a month.
    source: str
    there: dict[str, Image] = field(default_factory=dict)

    def prepare(self) -> None:
        """Write the configs that serve every month."""
        for side in ("inside", "outside"):
            (self.folder / side).mkdir()
        exported = (
            f'  - {{source: "{self.old.host}/team/**", '
            'destination: "oci:disk-${MONTH}/{match}", tags: ["${MONTH}.*", latest]}'
        )
        write_config(self.folder / "outside", exported, self.old.host)
        imported = (
            f'  - {{source: "oci:{self.source}/**", destination: "{self.new.host}/prod/{{match}}",'
            " source_is_delta: true}"
        )
        write_config(self.folder / "inside", imported, self.new.host)

    def run(self, side: str, month: str, *arguments: str, code: int = 0) -> str:
        """Run a command on one side, without the time that a process takes; return its output."""
        self.patch.setenv("MONTH", month)
        with (
            chdir(self.folder / side),
            redirect_stdout(io.StringIO()) as out,
            redirect_stderr(io.StringIO()) as err,
        ):
            ended = main(arguments)
        assert ended == code, f"{arguments}: {out.getvalue()}\n{err.getvalue()}"
        return out.getvalue()

    def carry(self, month: str) -> Path:
        """Write this month's disk and carry it over; it holds what is new, and all of that."""
        for name, each in MONTHS[month].items():
            repo, tag = name.split(":")
            push(self.old.remote, f"team/{repo}", tag, each)
        self.run("outside", month, "plan", "--out", "plan.out")
        self.run("outside", month, "apply", "plan.out")
        disk = self.folder / "outside" / f"disk-{month}"
        found = {
            f"{layout.name}:{tag}": read_layout(layout, tag)
            for layout in disk.iterdir()
            for tag in layout_tags(layout)
        }
        assert {name: each.top for name, each in found.items()} == {
            name: each.top for name, each in MONTHS[month].items()
        }
        place = self.folder / "inside" / self.source.replace("${MONTH}", month)
        if place.exists():  # last month's disk is taken out
            place.rename(self.folder / f"read-{len(list(self.folder.iterdir()))}")
        disk.rename(place)
        return place

    def bring_in(self, month: str) -> str:
        """Import the disk, with leave to delete; then nothing is left to do, and all is whole."""
        leave = ("--allow-delete", "--allow-delete-gone")
        self.run("inside", month, "plan", *leave, "--out", "plan.out")
        ran = self.run("inside", month, "apply", "plan.out")
        self.there |= MONTHS[month]
        self.run("inside", month, "plan", "--detailed-exitcode")
        self.run("inside", month, "plan", "--detailed-exitcode", *leave, "--no-refresh")
        self.run("inside", month, "plan", "--detailed-exitcode", "--refresh-only")
        self.run("inside", month, "verify", "--deep")
        return ran

    def assert_all_there(self) -> None:
        """Pull every image that was ever carried over."""
        tags = {
            f"{repo}:{tag}"
            for repo in {name.split(":")[0] for name in self.there}
            for tag in list_tags(self.new.remote, f"prod/{repo}")
        }
        assert tags == set(self.there)
        for name, each in self.there.items():
            repo, tag = name.split(":")
            assert_holds(self.new.remote, f"prod/{repo}", tag, each)


@pytest.mark.integration
@pytest.mark.parametrize("source", ["disk", "disk-${MONTH}"], ids=["one place", "a place a month"])
def test_three_disks_with_only_what_is_new_arrive_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, docker_registry: StartRegistry, source: str
) -> None:
    """Exit 0 throughout, and everything whole at the end."""
    crossing = Crossing(
        tmp_path, monkeypatch, docker_registry("old"), docker_registry("new"), source
    )
    crossing.prepare()
    for month, brought in MONTHS.items():
        disk = crossing.carry(month)
        crossing.run("inside", month, "verify", *(f"oci:{each}" for each in disk.iterdir()))
        ran = crossing.bring_in(month)
        _, _, told = ran.partition("Apply complete: ")
        done = re.findall(r"(\d+) (?:copied|updated)", told)
        assert sum(map(int, done)) == len(brought)
        crossing.assert_all_there()
    recorded = crossing.run("inside", "2027-01", "state", "list", "--json")
    assert recorded.count('"type":"record"') == len(crossing.there)


@pytest.mark.integration
def test_a_disk_that_is_not_there_is_an_error_and_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, docker_registry: StartRegistry
) -> None:
    """A folder that was not mounted is no disk without anything new."""
    crossing = Crossing(
        tmp_path, monkeypatch, docker_registry("old"), docker_registry("new"), "disk"
    )
    crossing.prepare()
    crossing.carry("2026-11").rename(tmp_path / "kept")
    crossing.run("inside", "2026-11", "plan", "--allow-delete", code=3)
    (tmp_path / "kept").rename(tmp_path / "inside/disk")
    crossing.bring_in("2026-11")
    (tmp_path / "inside/disk").rename(tmp_path / "kept")
    crossing.run("inside", "2026-12", "plan", "--allow-delete", "--out", "p", code=3)
    crossing.run("inside", "2026-12", "apply", "p", code=3)
    crossing.assert_all_there()
