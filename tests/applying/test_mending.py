"""`plan --replace` believes nothing: what is damaged or gone is brought again, shared or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.events import Outcome
from imgmigrate.oci.reference import Digest
from tests.fakes.memory import image, index
from tests.support.world import NEW, World

if TYPE_CHECKING:
    from pathlib import Path

API = f"{NEW}/team/api"
LAYER = Digest.of(b"amd64")


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """An index of two images, moved and recorded."""
    world = World(tmp_path)
    first, blobs = image(b"base", b"amd64")
    second, others = image(b"base", b"arm64")
    top = index(first, second)
    world.old.seed("team/api", "1", top, {**blobs, **others}, first, second)
    await world.migrate()
    return world


async def replaced(world: World) -> None:
    """Replace what is there; every row is done."""
    finished = await world.apply(await world.plan(replace=(f"{API}:1",)))
    assert set(finished.counts) == {Outcome.APPLIED}


async def test_a_blob_with_other_bytes_is_sent_again(world: World) -> None:
    """A registry says that it has it; only its bytes say that it does not."""
    world.new.blobs["team/api", LAYER] = b"amd65"
    await replaced(world)
    assert world.new.blobs["team/api", LAYER] == b"amd64"


async def test_each_blob_is_read_once_and_what_is_right_is_not_sent(world: World) -> None:
    """The base of both platforms, and the config of both, are one read each."""
    world.new.calls.clear()
    await replaced(world)
    assert world.new.calls["open_blob"] == 4
    assert world.new.calls["start_upload"] == 0


async def test_another_row_that_believes_a_child_does_not_spare_the_check(world: World) -> None:
    """A new tag of the same children asks for them by HEAD; the row that replaces walks them."""
    first = next(m for m in world.old.manifests.values() if any(b.size == 5 for b in m.blobs))
    world.old.seed("team/api", "0", index(first), {}, first)
    del world.new.blobs["team/api", LAYER]
    await replaced(world)
    assert world.new.blobs["team/api", LAYER] == b"amd64"
