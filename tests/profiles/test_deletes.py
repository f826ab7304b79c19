"""Deleting one tag at every vendor's registry: it goes or it stays, and no other tag is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.events import Outcome
from tests.profiles.journey import Journey, rows, travel
from tests.profiles.vendors import VENDORS, Vendor
from tests.support import images
from tests.support.images import digest_of

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.plan import Plan
    from tests.support.images import Image

# Where deleting is not offered as the registry comes, what the error says.
REFUSED = {
    "distribution-2.8": "REGISTRY_STORAGE_DELETE_ENABLED=true",
    "distribution-3": "REGISTRY_STORAGE_DELETE_ENABLED=true",
    "ghcr": "deletes nothing",
}
# Who deletes a tag by its name.
BY_NAME = ("gar",)


async def one_to_delete(journey: Journey) -> tuple[Plan, Image]:
    """Of three tags on one digest, one of ours has left the source."""
    image = images.two_platforms()
    for tag in ("gone", "kept"):
        journey.put(tag, image)
    (await journey.migrate()).assert_done()
    journey.new.put_image(journey.new_repo, "theirs", image)
    del journey.old.repositories[journey.old_repo].tags["gone"]
    plan = await journey.plan(allow_delete_gone=True)
    assert rows(plan) == {"gone": ("delete", "source_gone")}
    return plan, image


def assert_others_stay(journey: Journey, image: Image) -> None:
    """Check that the digest and its other tags are as they were."""
    for tag in ("kept", "theirs"):
        journey.assert_arrived(tag, image)
    assert image.top in journey.new.repositories[journey.new_repo].manifests


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
async def test_profile_deletes_one_tag_or_none(
    vendor: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tag is gone afterwards, or is what it was and the error says why; others stay."""
    async with travel(vendor, "destination", tmp_path, monkeypatch) as journey:
        plan, image = await one_to_delete(journey)
        journey.new.requests.clear()
        ended = await journey.apply(plan)
        if vendor.name in REFUSED:
            ended.assert_failed("gone", REFUSED[vendor.name])
            assert not journey.new.matching("PUT", "/manifests/")
            journey.assert_arrived("gone", image)
        else:
            ended.assert_done()
            assert sorted(journey.new.tags(journey.new_repo)) == ["kept", "theirs"]
        assert_others_stay(journey, image)
        is_by_name = vendor.name in BY_NAME
        assert bool(journey.new.matching("DELETE", "/manifests/gone")) is is_by_name
        left = journey.new.repositories[journey.new_repo].manifests.keys() - image.manifests.keys()
        assert not left


@pytest.fixture
def plain() -> Vendor:
    """An ordinary registry in the role of a vendor's."""
    return Vendor("zot")


async def test_a_tag_that_would_take_its_manifest_along_is_never_deleted_by_name(
    plain: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing is known of a registry, only a placeholder's digest is deleted."""
    async with travel(plain, "destination", tmp_path, monkeypatch) as journey:
        journey.new.tag_takes_manifest = True
        plan, image = await one_to_delete(journey)
        (await journey.apply(plan)).assert_done()
        assert_others_stay(journey, image)


async def test_a_refusal_that_comes_late_finds_the_old_image_again(
    plain: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registry that keeps what is tagged refuses late: the old manifest is put back."""
    async with travel(plain, "destination", tmp_path, monkeypatch) as journey:
        journey.new.tagged_stay = "DENIED_WHILE_TAGGED"
        plan, image = await one_to_delete(journey)
        journey.new.requests.clear()
        ended = await journey.apply(plan)
        ended.assert_failed("gone", "DENIED_WHILE_TAGGED")
        assert len(journey.new.matching("PUT", "/manifests/gone")) == 2
        journey.assert_arrived("gone", image)
        assert_others_stay(journey, image)
        journey.new.tagged_stay = None
        assert (await journey.apply(plan)).counts == {Outcome.APPLIED: 1}
        assert_others_stay(journey, image)


@pytest.mark.parametrize("name", ["harbor", "artifactory", "quay"])
async def test_the_right_to_delete_is_asked_for_where_it_is_needed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token to push is tried first: quay gives none at all to who asks for more."""
    async with travel(Vendor(name), "destination", tmp_path, monkeypatch) as journey:
        plan, _ = await one_to_delete(journey)
        (await journey.apply(plan)).assert_done()
        asked = [one for one in journey.new.requests if "delete" in str(one.query)]
        assert bool(asked) is (name != "quay")


async def test_a_placeholder_is_small_and_its_config_is_uploaded_once(
    plain: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten deletes in a repository upload one config, and leave no manifest behind."""
    async with travel(plain, "destination", tmp_path, monkeypatch) as journey:
        image = images.image()
        for number in range(10):
            journey.put(f"v{number}", image)
        journey.put("kept", image)
        (await journey.migrate()).assert_done()
        for number in range(10):
            del journey.old.repositories[journey.old_repo].tags[f"v{number}"]
        blobs = set(journey.new.blobs)
        (await journey.migrate(allow_delete_gone=True)).assert_done()
        (config,) = set(journey.new.blobs) - blobs
        assert config == digest_of(journey.new.blobs[config])
        assert len(journey.new.blobs[config]) < 100
        assert list(journey.new.tags(journey.new_repo)) == ["kept"]
