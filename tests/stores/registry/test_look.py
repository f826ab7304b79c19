"""One look at a tag: absence is never a HEAD's word, and one request tells all where it can."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import IntegrityError, Rejected
from imgmigrate.oci.reference import Digest
from imgmigrate.stores.base import TagMoved
from imgmigrate.stores.registry.quirks import Quirks
from imgmigrate.stores.registry.wire import remote
from tests.stores.registry.samples import manifest as parsed
from tests.support.images import image

if TYPE_CHECKING:
    from imgmigrate.oci.manifest import Manifest
    from tests.fakes.registry import FakeRegistry
    from tests.stores.registry.conftest import Connect

DIGEST_HEADER = "Docker-Content-Digest"


def looks(registry: FakeRegistry) -> tuple[int, int]:
    """How many manifests were described, and how many read."""
    return registry.count("HEAD", "/manifests/"), registry.count("GET", "/manifests/")


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize("to_write", [True, False])
async def test_tag_that_head_denies_is_there_if_it_can_be_read(
    fake_registry: FakeRegistry, connect: Connect, status: int, is_new: bool, to_write: bool
) -> None:
    """A HEAD that says 404 or 410 proves nothing, whoever asks."""
    top = fake_registry.put_image("a", "1", image())
    fake_registry.fail("HEAD", "/manifests/", status=status)
    store = connect(fake_registry.host)
    found = await store.look("a", "1", is_new=is_new, to_write=to_write)
    assert found is not None
    assert found.digest == top
    assert looks(fake_registry) == (0 if is_new else 1, 1)


@pytest.mark.parametrize("status", [404, 410])
async def test_tag_that_cannot_be_read_is_absent(
    fake_registry: FakeRegistry, connect: Connect, status: int
) -> None:
    """A read that says so is the end of it, of a tag and of its repository."""
    fake_registry.put_image("a", "1", image())
    store = connect(fake_registry.host)
    assert await store.look("none", "1") is None
    fake_registry.fail("*", "/manifests/", status=status)
    assert await store.look("a", "2", is_new=True) is None
    assert await store.look("a", "2") is None


async def test_new_tag_costs_one_read_which_is_kept(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """What describes a new tag is its manifest: nobody asks for it again."""
    made = image()
    fake_registry.put_image("a", "1", made)
    kept: list[Manifest] = []
    found = await connect(fake_registry.host).look("a", "1", is_new=True, keep=kept.append)
    assert [each.raw for each in kept] == [made.raw]
    assert found == kept[0].descriptor
    assert looks(fake_registry) == (0, 1)


async def test_known_tag_costs_one_head(fake_registry: FakeRegistry, connect: Connect) -> None:
    """What is expected to be there is not read."""
    top = fake_registry.put_image("a", "1", image())
    found = await connect(fake_registry.host).look("a", "1")
    assert found is not None
    assert found.digest == top
    assert looks(fake_registry) == (1, 0)


@pytest.mark.parametrize("is_new", [True, False])
async def test_counted_reads_are_spent_only_after_a_404(
    fake_registry: FakeRegistry,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    is_new: bool,
) -> None:
    """Where a read is a pull, HEAD comes first, and its 404 costs one pull."""
    monkeypatch.setattr(remote, "quirks_of", lambda _: Quirks(is_metered=True))
    fake_registry.put_image("a", "1", image())
    store = connect(fake_registry.host)
    assert await store.look("a", "1", is_new=is_new) is not None
    assert looks(fake_registry) == (1, 0)
    assert await store.look("a", "2", is_new=is_new) is None
    assert looks(fake_registry) == (2, 1)


@pytest.mark.parametrize("status", [412, 451])
async def test_tag_that_may_not_be_read_is_there_if_head_describes_it(
    fake_registry: FakeRegistry, connect: Connect, status: int
) -> None:
    """A policy that refuses pulls hides nothing from who is about to overwrite it."""
    top = fake_registry.put_image("a", "1", image())
    fake_registry.fail("GET", "/manifests/", status=status)
    found = await connect(fake_registry.host).look("a", "1", is_new=True)
    assert found is not None
    assert found.digest == top


async def test_a_policy_that_refuses_heads_is_told_in_its_own_words(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """A HEAD has no body: what keeps an image from being pulled is read from the GET's."""
    fake_registry.put_image("a", "1", image())
    fake_registry.fail("HEAD", "/manifests/", status=412)
    fake_registry.fail("GET", "/manifests/", status=412, code="PROJECTPOLICYVIOLATION")
    for read in (connect(fake_registry.host).head, connect(fake_registry.host).look):
        with pytest.raises(Rejected, match=r"PROJECTPOLICYVIOLATION.*a policy of the registry"):
            await read("a", "1")


async def test_what_nobody_describes_stays_the_refusal_that_it_was(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """A refused read beside a HEAD that denies the tag is no absence."""
    fake_registry.fail("GET", "/manifests/", status=412)
    fake_registry.fail("HEAD", "/manifests/", status=404)
    with pytest.raises(Rejected):
        await connect(fake_registry.host).look("a", "1", is_new=True)


async def test_new_tag_of_other_bytes_than_stated_is_an_error(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """Bytes that are not what their digest says are not described by HEAD instead."""
    fake_registry.put_image("a", "1", image())
    fake_registry.rewrite("GET", "/manifests/", {DIGEST_HEADER: f"sha256:{'0' * 64}"})
    with pytest.raises(IntegrityError):
        await connect(fake_registry.host).look("a", "1", is_new=True)


async def test_further_attempt_never_takes_heads_word_that_the_tag_is_free(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """Somebody who took the tag between two attempts keeps it, also where HEAD denies it."""
    manifest = parsed()
    theirs = fake_registry.put_image("a", "1", image("theirs"))
    fake_registry.fail("HEAD", "/manifests/", status=404)
    fake_registry.fail("PUT", "/manifests/", status=500, times=1)
    with pytest.raises(TagMoved) as caught:
        await connect(fake_registry.host).put_manifest("a", "1", manifest, still={None})
    assert caught.value.found == Digest.parse(theirs)
    assert fake_registry.tags("a")["1"] == theirs


async def test_write_is_proved_by_reading_where_head_denies_it(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """An answer without a digest is no failure where only HEAD says so."""
    made = image()
    fake_registry.put_image("a", "1", made)
    fake_registry.rewrite("PUT", "/manifests/", {DIGEST_HEADER: None})
    fake_registry.fail("HEAD", "/manifests/", status=404)
    await connect(fake_registry.host).put_manifest("a", "new", parsed())
    assert fake_registry.tags("a")["new"] == made.top


async def test_registry_that_says_so_lacks_a_repository(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """Its words about a tag are known of the repository; a tag that is not there says nothing."""
    fake_registry.put_image("a", "1", image())
    store = connect(fake_registry.host)
    assert await store.look("a", "2", is_new=True) is None
    assert await store.look("b", "2", is_new=True) is None
    assert (store.lacks("a"), store.lacks("b")) == (False, True)
