"""DELETE of manifests and tags on the wire, and what its refusals mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import NotFound, Rejected
from imgmigrate.stores.base import NoDeletes
from tests.fakes.registry import Distribution2, FakeRegistry
from tests.fakes.registry.profiles import Ghcr
from tests.support.images import digest_of, image

if TYPE_CHECKING:
    from tests.stores.registry.conftest import Connect


async def test_a_tag_and_a_manifest_are_deleted(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """By its name a tag goes alone, by its digest a manifest with all its tags."""
    top = ""
    for tag in ("1", "2", "3"):
        top = fake_registry.put_image("a", tag, image())
    store = connect(fake_registry.host)
    await store.delete("a", "1")
    assert sorted(await store.list_tags("a")) == ["2", "3"]
    await store.delete("a", top)
    assert await store.head("a", "2") is None
    assert not store.deletes_tags


@pytest.mark.parametrize("repo", ["a", "absent"])
async def test_absent_manifest_is_not_found(
    fake_registry: FakeRegistry, connect: Connect, repo: str
) -> None:
    """404 says that nothing is left to delete."""
    fake_registry.put_image("a", "1", image())
    with pytest.raises(NotFound):
        await connect(fake_registry.host).delete(repo, digest_of(b"absent"))


@pytest.mark.parametrize("profile", [Distribution2, Ghcr])
async def test_a_registry_that_deletes_nothing_says_how_to_allow_it(
    profile: type[FakeRegistry], connect: Connect
) -> None:
    """405 is told apart from what is refused for this manifest alone."""
    async with profile(auth="none") as registry:
        top = registry.put_image("a", "1", image())
        with pytest.raises(NoDeletes, match="REGISTRY_STORAGE_DELETE_ENABLED=true"):
            await connect(registry.host).delete("a", top)


async def test_a_refusal_of_one_tag_is_not_one_of_all(connect: Connect) -> None:
    """Where distribution 2.8 deletes manifests, it answers 400 to the name of a tag."""
    async with Distribution2(auth="none") as registry:
        registry.deletes = True
        registry.put_image("a", "1", image())
        with pytest.raises(Rejected, match="DIGEST_INVALID") as caught:
            await connect(registry.host).delete("a", "1")
        assert not isinstance(caught.value, NoDeletes)
