"""Where this machine keeps what was read once: private, apart for each state, and never needed."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imgmigrate.machine import UNUSED_DAYS, cache_folder
from imgmigrate.workspace import open_workspace
from tests.support.machine import cached, clear_cache
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

LONG_AGO = time.time() - (UNUSED_DAYS + 1) * 24 * 3600


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"IMGMIGRATE_CACHE_DIR": "{}/own", "XDG_CACHE_HOME": "{}/xdg"}, "own"),
        ({"XDG_CACHE_HOME": "{}/xdg"}, "xdg/imgmigrate"),
        ({"XDG_CACHE_HOME": "relative"}, "home/.cache/imgmigrate"),
        ({"IMGMIGRATE_CACHE_DIR": "", "XDG_CACHE_HOME": ""}, "home/.cache/imgmigrate"),
        ({}, "home/.cache/imgmigrate"),
    ],
)
def test_its_place_is_that_of_the_user_s_other_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], place: str
) -> None:
    """Our own variable comes first, then XDG's, then its default; only its user looks inside."""
    for name in ("IMGMIGRATE_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name, value in settings.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    found = cache_folder("a state")
    assert found is not None
    assert found.parent == tmp_path / place
    assert found.parent.stat().st_mode & 0o777 == 0o700


def test_each_state_has_its_own() -> None:
    """The same one every time, and another for another state."""
    assert cache_folder("a") == cache_folder("a") != cache_folder("b")


def unusable(folder: Path, _: pytest.MonkeyPatch) -> None:
    folder.write_text("a file")


def of_another(_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)


@pytest.mark.parametrize("spoil", [unusable, of_another])
async def test_a_place_that_cannot_be_used_keeps_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Path, pytest.MonkeyPatch], None],
) -> None:
    """What another user could have written is not believed; a migration needs none of it."""
    spoil(Path(os.environ["IMGMIGRATE_CACHE_DIR"]), monkeypatch)
    assert cache_folder("a") is None
    world = World(tmp_path)
    world.seed("1")
    await world.migrate()
    assert (await world.plan()).changes == ()
    assert not cached()


def test_what_nobody_has_used_for_long_is_dropped() -> None:
    """But what is in use, whatever its age, and what was not made here."""
    old, used = cache_folder("old"), cache_folder("used")
    assert old is not None
    assert used is not None
    fresh, other = used.parent / ("0" * 16), used.parent / "notes"
    for each in (old, used, fresh, other):
        each.mkdir()
        (each / "file").write_text("")
    for each in (old, used, other):
        os.utime(each, (LONG_AGO, LONG_AGO))
    assert cache_folder("used") == used
    assert set(used.parent.iterdir()) == {used, fresh, other}
    assert used.stat().st_mtime > LONG_AGO


async def test_nothing_of_it_is_in_the_state(tmp_path: Path) -> None:
    """A plan leaves no trace of a state; an apply finds what the plan has read."""
    world = World(tmp_path)
    world.seed("1")
    plan = await world.plan()
    assert not world.config.state.exists()
    read = {path.name for path in cached()}
    assert world.old.tags["team/api", "1"].hex in read
    world.old.log.clear()
    await world.apply(plan)
    assert "manifest" not in {verb for verb, *_ in world.old.log}
    assert "cache" not in {path.name for path in world.config.state.iterdir()}


async def test_whoever_clears_it_does_no_harm(tmp_path: Path) -> None:
    """Between any two commands: what is lost is read again."""
    world = World(tmp_path)
    for tag in ("1", "2"):
        world.seed(tag)
        plan = await world.plan()
        clear_cache()
        assert len((await world.apply(plan)).unfinished) == 0
        clear_cache()
    assert (await world.plan()).changes == ()
    assert {tag for _, tag in world.new.tags} == {"1", "2"}


async def test_a_state_by_two_names_has_one(tmp_path: Path) -> None:
    """A link to its folder is the same place; a copy elsewhere is another."""
    world = World(tmp_path)
    world.seed("1")
    await world.migrate()
    link = tmp_path / "link"
    link.symlink_to(world.config.state)
    shutil.copytree(world.config.state, tmp_path / "copy")

    def kept(folder: str) -> Path | None:
        world.extra = f"state: {{path: {folder}}}"
        return open_workspace(world.config).kept

    assert kept("link") == kept("state/imgmigrate") != kept("copy")
