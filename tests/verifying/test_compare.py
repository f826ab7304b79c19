"""What two places show, side by side: equal, different, or on one side only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import AccessDenied, UsageError
from imgmigrate.oci.companions import fallback_tag
from imgmigrate.verifying.compare import CompareOptions, Likeness, compare, parse_ends
from tests.fakes.memory import image, index
from tests.support.world import NEW, OLD, World

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.verifying.compare import Comparison

A, B = f"{OLD}/team/api", f"{NEW}/team/api"


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """Two repositories: `1` is equal, `2` differs, `3` is here alone and `4` there alone."""
    world = World(tmp_path)
    for tag in ("1", "2", "3"):
        world.seed(tag)
    world.new.seed("team/api", "1", *image(b"1"))
    world.new.seed("team/api", "2", *image(b"other"))
    world.new.seed("team/api", "4", *image(b"4"))
    world.old.calls.clear()
    world.new.calls.clear()
    return world


async def compared(
    world: World, here: str = A, there: str = B, *, referrers: bool = False
) -> Comparison:
    """Compare two places of a world."""
    ends = parse_ends(here, there)
    return await compare(world.workspace, *ends, CompareOptions(referrers))


def told(comparison: Comparison) -> dict[str, str]:
    """How each name compares, by its address here."""
    return {str(one.here).partition("/")[2]: one.likeness.value for one in comparison.found}


async def test_each_name_is_one_of_four(world: World) -> None:
    """Tags are listed once a side, and only what both have is looked at; no blob is."""
    found = await compared(world)
    assert told(found) == {
        "team/api:1": "equal",
        "team/api:2": "differs",
        "team/api:3": "only_here",
        "team/api:4": "only_there",
    }
    for store in (world.old, world.new):
        assert store.calls == {"list_tags": 1, "head": 2}


@pytest.mark.parametrize(
    ("here", "there"),
    [
        (f"{A}:1", B),
        (A, f"{B}:1"),
        (f"{A}:1", f"{B}:1"),
        (f"{A}:/^1$/", B),
    ],
)
async def test_tags_behind_one_side_hold_for_both(world: World, here: str, there: str) -> None:
    """A name, a glob or a regex."""
    assert told(await compared(world, here, there)) == {"team/api:1": "equal"}


async def test_two_images_may_be_called_otherwise(world: World) -> None:
    """What was renamed is compared by naming both tags, which needs no list."""
    world.new.seed("team/api", "stable", *image(b"3"))
    assert told(await compared(world, f"{A}:3", f"{B}:stable")) == {"team/api:3": "equal"}
    assert told(await compared(world, f"{A}:3", f"{B}:none")) == {"team/api:3": "only_here"}
    assert told(await compared(world, f"{A}:none", f"{B}:no")) == {"team/api:none": "unread"}
    assert world.old.calls["list_tags"] == world.new.calls["list_tags"] == 0


async def test_globs_pair_up_by_what_is_behind_them(world: World) -> None:
    """A prefix that differs is no difference; a repository that one side lacks is."""
    world.new.seed("copy/api", "1", *image(b"1"))
    world.new.seed("copy/web", "1", *image(b"1"))
    world.seed("1", repo="team/sub/app")
    found = await compared(world, f"{OLD}/team/**:1", f"{NEW}/copy/**")
    assert told(found) == {
        "team/api:1": "equal",
        "team/sub/app:1": "only_here",
        "team/web:1": "only_there",
    }
    assert [str(one.there) for one in found.of(Likeness.ONLY_HERE)] == [f"{NEW}/copy/sub/app:1"]


async def test_an_index_in_another_form_is_told_as_that(world: World) -> None:
    """It differs, as its digest does; that the images are the same is worth knowing."""
    first, blobs = image(b"amd64")
    second, others = image(b"arm64")
    top, turned = index(first, second), index(second, first)
    world.old.seed("team/api", "5", top, {**blobs, **others}, first, second)
    world.new.seed("team/api", "5", turned, {**blobs, **others}, first, second)
    [one] = (await compared(world, f"{A}:5")).found
    assert (one.likeness, one.same_images) == (Likeness.DIFFERS, True)
    assert not (await compared(world, f"{A}:2")).found[0].same_images


async def test_what_cannot_be_read_is_neither(world: World) -> None:
    """A side that refuses us says nothing of any image."""

    def denied(*_: str) -> None:
        raise AccessDenied("it", "denied")

    world.new.hooks["list_tags"] = denied
    [one] = (await compared(world)).found
    assert (one.likeness, one.error and one.error.side) == (Likeness.UNREAD, "destination")


async def test_referrers_are_compared_where_that_is_asked(world: World) -> None:
    """A signature that one side lacks makes equal images differ; a list is never an image."""
    top = image(b"1")[0].digest
    signature = f"{fallback_tag(top)}.sig"
    world.seed(signature, b"signature")
    world.seed(fallback_tag(top), b"a list")
    assert told(await compared(world, f"{A}:*")) == {
        **told(await compared(world, f"{A}:/^[0-9]$/")),
        f"team/api:{signature}": "only_here",
    }
    world.old.tags.pop(("team/api", fallback_tag(top)))
    found = await compared(world, f"{A}:1", f"{B}:1", referrers=True)
    [one] = found.found
    assert one.likeness is Likeness.DIFFERS
    assert [each.kind for each in one.refer_here] == ["signature"]
    assert one.refer_there == ()


@pytest.mark.parametrize(
    ("here", "there", "said"),
    [
        (f"{OLD}/team/**", B, "is a glob of repositories"),
        (f"{A}@sha256:{'0' * 64}", B, "a digest shows only itself"),
        ("*/team/**", f"{NEW}/**", "name one registry"),
        ("https://old.example/a", B, "is a URL"),
    ],
)
def test_what_cannot_be_meant_is_refused(here: str, there: str, said: str) -> None:
    """With the reason, before anything is asked."""
    with pytest.raises(UsageError, match=said):
        parse_ends(here, there)
