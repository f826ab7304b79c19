"""ECR answers 404 for what is archived, and lists it: that is not absent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import Archived
from imgmigrate.stores.registry.quirks import Quirks, quirks_of
from imgmigrate.stores.registry.wire import remote
from tests.support.images import image

if TYPE_CHECKING:
    from tests.fakes.registry import FakeRegistry
    from tests.stores.registry.conftest import Connect

ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"


@pytest.fixture(autouse=True)
def _archives(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Quirks(archives=True, restoring=quirks_of(ECR).restoring)
    monkeypatch.setattr(remote, "quirks_of", lambda _: told)


def archive(registry: FakeRegistry, tag: str) -> None:
    """Let a tag that is there be listed only."""
    registry.put_image("a", tag, image(tag))
    registry.fail("*", f"/manifests/{tag}$", status=404, code="MANIFEST_UNKNOWN")


@pytest.mark.parametrize("is_new", [True, False])
async def test_listed_tag_that_is_not_given_is_archived(
    fake_registry: FakeRegistry, connect: Connect, is_new: bool
) -> None:
    """It is an error with the fix, at whatever side, and never absence."""
    archive(fake_registry, "1")
    with pytest.raises(Archived, match="it is archived") as caught:
        await connect(fake_registry.host).look("a", "1", is_new=is_new, to_write=is_new)
    assert "update-image-storage-class" in (caught.value.hint or "")


async def test_tag_that_no_list_names_is_absent(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """New tags cost one list a repository, however many they are."""
    archive(fake_registry, "1")
    store = connect(fake_registry.host)
    for tag in ("2", "3", "4"):
        assert await store.look("a", tag, is_new=True) is None
    assert await store.look("none", "1", is_new=True) is None
    assert fake_registry.count("GET", "/a/tags/list") == 1


async def test_list_that_is_old_is_read_again_before_it_counts(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """What somebody deleted since the list was read is absent."""
    fake_registry.put_image("a", "1", image())
    store = connect(fake_registry.host)
    assert await store.look("a", "2") is None
    fake_registry.storage.repositories["a"].tags.clear()
    assert await store.look("a", "1") is None
    assert fake_registry.count("GET", "/a/tags/list") == 2


def test_ecr_is_known_to_archive() -> None:
    """The row of the table says so, and no other vendor's does."""
    assert quirks_of(ECR).archives
    assert not quirks_of("docker.io").archives
