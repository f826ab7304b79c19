"""image-syncer's files as they are: what nothing fits is told and skipped, as the tool does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.applying.apply import ApplyOptions, apply_plan
from imgmigrate.events import Warned
from imgmigrate.foreign.formats.image_syncer import Options
from imgmigrate.foreign.load import load_pair
from imgmigrate.oci.manifest import Manifest
from imgmigrate.oci.reference import Digest
from imgmigrate.planning.planner import PlanOptions, make_plan
from tests.fakes.memory import image
from tests.support import images
from tests.support.world import NEW, OLD, World, rows

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.plan import Plan
    from imgmigrate.workspace import Workspace


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def opened(world: World, text: str, options: Options | None = None) -> Workspace:
    """Write a file of rules, and open it."""
    path = world.folder / "images.yaml"
    path.write_text(text)
    return world.over(load_pair(path, None, options, environ={}))


async def plan(world: World, text: str, options: Options | None = None) -> Plan:
    """Plan a file of rules."""
    return await make_plan(opened(world, text, options), PlanOptions())


def warned(world: World) -> list[tuple[str, str]]:
    return [(each.code, each.message) for each in world.sink.events if isinstance(each, Warned)]


async def test_a_regex_without_a_match_is_skipped(world: World) -> None:
    """It is told with its line; the other rules are planned."""
    world.seed("1")
    world.seed("2", repo="team/web")
    found = await plan(world, f"{OLD}/team/api:/zzz/: {NEW}/api\n{OLD}/team/web:/2/: {NEW}/web\n")
    assert rows(found) == {f"{NEW}/web:2": ("copy", "new")}
    ((code, message),) = warned(world)
    assert code == "rule_matches_nothing"
    assert "images.yaml:1: " in message
    assert message.endswith("; skipped")


async def test_a_source_that_lost_all_tags_is_still_an_error(world: World) -> None:
    """Images came from it: an empty listing never means that there is nothing to do."""
    world.seed("1")
    text = f"{OLD}/team/api:/1/: {NEW}/api\n"
    await apply_plan(opened(world, text), await plan(world, text), ApplyOptions())
    del world.old.tags["team/api", "1"]
    manifest, _ = image(b"untagged")
    world.old.manifests["team/api", manifest.digest] = manifest
    found = await plan(world, text)
    assert ("error", "unreadable") in rows(found).values()


async def test_an_image_without_the_platforms_is_skipped(world: World) -> None:
    """One that has them is planned."""
    options = Options(os=("linux",), arch=("arm64",))
    for tag, name in (("1", "amd64"), ("2", "arm64")):
        made = images.image(name, platform=f"linux/{name}")
        ((media_type, raw),) = made.manifests.values()
        blobs = {Digest(digest): data for digest, data in made.blobs.items()}
        world.old.seed("team/api", tag, Manifest.parse(raw, media_type), blobs)
    found = await plan(world, f"{OLD}/team/api: {NEW}/api\n", options)
    assert rows(found) == {f"{NEW}/api:2": ("copy", "new")}
    ((code, message),) = warned(world)
    assert code == "no_such_platform"
    assert message.endswith(": skipped")


async def test_a_file_of_comments_asks_for_nothing(world: World) -> None:
    """There is nothing to do, and the plan says why; nothing that was copied is let go."""
    world.seed("1")
    text = f"{OLD}/team/api:1: {NEW}/api\n"
    await apply_plan(opened(world, text), await plan(world, text), ApplyOptions())
    idle = opened(world, f"# {text}")
    found = await make_plan(idle, PlanOptions(allow_delete=True, allow_delete_gone=True))
    assert found.changes == ()
    assert any("there is nothing to do" in each for each in found.header.notes)
