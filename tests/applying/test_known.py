"""What is known already: which blobs the engine neither asks for nor sends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.events import Outcome
from imgmigrate.oci.reference import Digest
from imgmigrate.stores.cache import ManifestCache
from tests.applying.support import NEW, copy, make_engine, recorded, run, stores
from tests.fakes.memory import image

if TYPE_CHECKING:
    from pathlib import Path

BASE, APP, EXTRA = b"base layer bytes", b"application", b"x" * 41


async def test_new_repository_is_asked_once_and_no_blob_is_looked_for(tmp_path: Path) -> None:
    """One listing that says "nothing here" spares a HEAD for every blob."""
    found, old, new = stores()
    changes = []
    for number in range(5):
        manifest, blobs = image(BASE, f"own {number}".encode())
        changes.append(
            copy("r", f"t{number}", old.seed("r", f"t{number}", manifest, blobs), size=9)
        )
    receipts = await run(found, tmp_path, *changes)
    assert {receipt.outcome for receipt in receipts.values()} == {Outcome.APPLIED}
    assert new.calls["list_tags"] == 1
    assert new.calls["blob_exists"] == 0
    assert (new.calls["head"], new.calls["manifest"]) == (0, 5)


async def test_repository_with_images_is_asked_for_each_blob(tmp_path: Path) -> None:
    """Where something is and the state knows nothing, blobs that are there are not sent."""
    found, old, new = stores()
    manifest, blobs = image(BASE, APP)
    digest = old.seed("r", "t", manifest, blobs)
    there, there_blobs = image(BASE)
    new.seed("r", "other", there, there_blobs)
    receipts = await run(found, tmp_path, copy("r", "t", digest))
    assert receipts[f"{NEW}/r:t"].moved == len(APP)
    assert new.calls["blob_exists"] == 3


async def test_recorded_images_vouch_for_their_blobs(tmp_path: Path) -> None:
    """A blob of a recorded image, whose manifest is cached, is neither asked for nor sent."""
    found, old, new = stores()
    first, first_blobs = image(BASE)
    second, second_blobs = image(BASE, APP)
    new.seed("r", "one", first, first_blobs)
    digest = old.seed("r", "two", second, second_blobs)
    ManifestCache(tmp_path / "cache").put(first)
    engine = make_engine(found, tmp_path, state=recorded("r", "one", first.digest))
    async with engine.run([copy("r", "two", digest, size=9)]) as stream:
        (receipt,) = [each async for each in stream]
    assert (receipt.outcome, receipt.moved) == (Outcome.APPLIED, len(APP))
    assert new.calls["blob_exists"] == 1
    assert new.calls["list_tags"] == 0


async def test_blob_that_the_state_believed_in_is_sent_when_it_is_gone(tmp_path: Path) -> None:
    """A belief that the destination refutes costs one refused manifest, never the image."""
    found, old, new = stores()
    first, _ = image(BASE)
    second, second_blobs = image(BASE, APP)
    digest = old.seed("r", "two", second, second_blobs)
    ManifestCache(tmp_path / "cache").put(first)
    engine = make_engine(found, tmp_path, state=recorded("r", "one", first.digest))
    async with engine.run([copy("r", "two", digest)]) as stream:
        (receipt,) = [each async for each in stream]
    assert receipt.outcome is Outcome.APPLIED
    assert new.blobs["r", Digest.of(BASE)] == BASE


@pytest.mark.parametrize("needs_manifest", [False, True])
async def test_blob_of_an_earlier_run_is_mounted_from_where_it_is_recorded(
    tmp_path: Path, needs_manifest: bool
) -> None:
    """A new repository takes a base that another one of the store got in an earlier run."""
    found, old, new = stores()
    new.mounts_need_manifest = needs_manifest
    first, first_blobs = image(BASE)
    second, second_blobs = image(BASE, APP)
    new.seed("r", "one", first, first_blobs)
    digest = old.seed("other", "two", second, second_blobs)
    ManifestCache(tmp_path / "cache").put(first)
    engine = make_engine(found, tmp_path, state=recorded("r", "one", first.digest))
    async with engine.run([copy("other", "two", digest)]) as stream:
        (receipt,) = [each async for each in stream]
    assert (receipt.outcome, receipt.moved) == (Outcome.APPLIED, len(APP))
    assert ("mount", "other", Digest.of(BASE)) in new.log
    assert ("start_upload", "other", Digest.of(BASE)) not in new.log
