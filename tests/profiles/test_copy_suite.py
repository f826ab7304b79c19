"""What must work between any two registries, for every profile as source and as destination."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.events import Outcome
from tests.fakes.registry import Hostile
from tests.fakes.registry.profiles import BAD_TAGS
from tests.profiles.journey import rows, travel
from tests.profiles.vendors import VENDORS
from tests.support import images

if TYPE_CHECKING:
    from pathlib import Path

    from tests.profiles.journey import Journey
    from tests.profiles.vendors import Vendor

# Most names on a page, where a test wants several pages.
SHORT_PAGE = 2
# The request of an apply at which every token ends: in the midst of its blobs.
LAPSE = 6


async def test_profile_moves_every_kind_of_image(journey: Journey) -> None:
    """All manifest shapes arrive byte for byte; what is refused is said and stops nothing else."""
    kinds = {kind: make("a") for kind, make in images.KINDS.items()}
    for kind, image in kinds.items():
        journey.put(kind, image)
    plan = await journey.plan()
    assert rows(plan) == dict.fromkeys(kinds, ("copy", "new"))
    ended = await journey.apply(plan)
    refused = dict(journey.refuses)
    assert sorted(ended.errors) == sorted(refused), ended.errors
    for kind, words in refused.items():
        ended.assert_failed(kind, f"^destination .*{words}")
    for kind in kinds.keys() - refused.keys():
        journey.assert_arrived(kind, kinds[kind])
    assert rows(await journey.plan()) == dict.fromkeys(refused, ("copy", "new"))


async def test_profile_lists_every_page(journey: Journey) -> None:
    """A listing is whole however it is cut, and holds nothing that is no tag."""
    for registry in (journey.old, journey.new):
        registry.page_size = registry.default_page = SHORT_PAGE
        if isinstance(registry, Hostile):
            registry.extra_tags = BAD_TAGS
    image = images.image()
    tags = [f"v{number}" for number in range(3 * SHORT_PAGE)]
    for tag in tags:
        journey.put(tag, image)
    journey.new.put_image(journey.new_repo, tags[0], image)
    plan = await journey.plan()
    assert rows(plan) == {tags[0]: ("adopt", "already_there")} | dict.fromkeys(
        tags[1:], ("copy", "new")
    )
    (await journey.apply(plan)).assert_done()
    assert rows(await journey.plan()) == {}
    assert sorted(journey.new.tags(journey.new_repo)) == tags


async def test_profile_updates_a_moved_tag(journey: Journey) -> None:
    """A tag that moved at the source moves at the destination, and nothing else does."""
    old, new, still = images.image("old"), images.image("new"), images.image("still")
    journey.put("1", old)
    journey.put("2", still)
    (await journey.migrate()).assert_done()
    journey.put("1", new)
    plan = await journey.plan()
    assert rows(plan) == {"1": ("update", "source_moved")}
    (await journey.apply(plan)).assert_done()
    journey.assert_arrived("1", new)
    journey.assert_arrived("2", still)


async def test_profile_leaves_a_foreign_tag_alone(journey: Journey) -> None:
    """What somebody else put there is a conflict until the user says otherwise."""
    ours, theirs = images.image("ours"), images.image("theirs")
    journey.put("1", ours)
    journey.new.put_image(journey.new_repo, "1", theirs)
    plan = await journey.plan()
    assert rows(plan) == {"1": ("conflict", "foreign")}
    ended = await journey.apply(plan)
    assert ended.counts == {Outcome.CONFLICT: 1}
    journey.assert_arrived("1", theirs)
    (await journey.migrate(allow_overwrite=("**",))).assert_done()
    journey.assert_arrived("1", ours)


async def test_profile_adopts_what_is_there(journey: Journey) -> None:
    """What is there already is recorded without a byte sent, and is ours from then on."""
    image = images.two_platforms()
    journey.put("1", image)
    journey.new.put_image(journey.new_repo, "1", image)
    plan = await journey.plan()
    assert rows(plan) == {"1": ("adopt", "already_there")}
    ended = await journey.apply(plan)
    assert (ended.counts, ended.run.moved) == ({Outcome.APPLIED: 1}, 0)
    assert not journey.new.matching("POST", "/blobs/") + journey.new.matching("PUT", "/")
    assert rows(await journey.plan()) == {}


async def test_profile_heals_a_cut(journey: Journey) -> None:
    """A stream that breaks at the profile's side is carried on within the run."""
    image = images.image(size=300_000)
    journey.put("1", image)
    if journey.role == "source":
        fault = journey.old.cut("/blobs/", at=100_000)
    else:
        fault = journey.new.cut_upload(at=100_000)
    (await journey.migrate()).assert_done()
    assert fault.hits == 1
    journey.assert_arrived("1", image)


async def test_profile_resumes_the_same_plan(journey: Journey) -> None:
    """What a run could not finish, the same plan finishes; what is done is not done again."""
    first, second = images.image("first"), images.image("second")
    journey.put("first", first)
    journey.put("second", second)
    plan = await journey.plan()
    if journey.role == "source":
        layer = images.digest_of(images.layer("second/0"))
        journey.old.cut(f"/blobs/{layer}", at=100, times=None)
    else:
        journey.new.drop("PUT", "/manifests/second$", times=None)
    ended = await journey.apply(plan)
    assert set(ended.errors) == {"second"}
    ended.assert_failed("second", f"^{journey.role} ")
    journey.assert_arrived("first", first)
    journey.old.clear()
    journey.new.clear()
    before = journey.new.arrivals
    ended = await journey.apply(plan)
    assert ended.counts == {Outcome.ALREADY: 1, Outcome.APPLIED: 1}
    journey.assert_arrived("second", second)
    again = [one for one in journey.new.requests if one.number > before]
    assert not [one for one in again if "first" in one.path]


async def test_profile_renews_a_token_that_ends(journey: Journey) -> None:
    """A token that is refused in the middle of a run is replaced, whatever the challenge says."""
    image = images.two_platforms()
    journey.put("1", image)
    plan = await journey.plan()
    registry = journey.old if journey.role == "source" else journey.new
    registry.lapses.add(registry.arrivals + LAPSE)
    (await journey.apply(plan)).assert_done()
    journey.assert_arrived("1", image)
    assert registry.auth != "token" or registry.arrivals >= LAPSE


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
async def test_profile_makes_a_repository_or_says_why_not(
    vendor: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repository comes into being with its first image; where it cannot, the error says so."""
    image = images.two_platforms()
    async with travel(vendor, "destination", tmp_path, monkeypatch) as journey:
        journey.put("1", image)
        journey.new_repo = vendor.fresh
        plan = await journey.plan()
        assert rows(plan) == {"1": ("copy", "new")}
        ended = await journey.apply(plan)
        if vendor.fresh_refused is not None:
            ended.assert_failed("1", f"^destination .*{vendor.fresh_refused}")
        else:
            ended.assert_done()
            journey.assert_arrived("1", image)


@pytest.mark.parametrize(
    "vendor", [each for each in VENDORS if each.homeless], ids=lambda vendor: vendor.name
)
async def test_profile_says_that_a_namespace_is_missing(
    vendor: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing can be made, the image fails with the place and the right that is missing."""
    assert vendor.homeless is not None
    async with travel(vendor, "destination", tmp_path, monkeypatch) as journey:
        journey.put("1", images.image())
        journey.new_repo = vendor.homeless
        ended = await journey.migrate()
        ended.assert_failed("1", f"^destination .*{vendor.homeless}.*{vendor.homeless_refused}")
        assert not journey.new.tags(vendor.homeless)
