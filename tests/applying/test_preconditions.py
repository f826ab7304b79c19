"""What a destination shows decides whether a row is done, a conflict, or to be carried out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.events import Outcome
from imgmigrate.oci.reference import Digest, Reference, Repository
from imgmigrate.plan import Action, Change
from imgmigrate.state.record import Source
from imgmigrate.stores.base import TagMoved
from tests.applying.support import NEW, OLD, copy, run, stores
from tests.fakes.memory import image, index

if TYPE_CHECKING:
    from pathlib import Path

BASE, APP, EXTRA = b"base layer bytes", b"application", b"x" * 41


@pytest.mark.parametrize(
    ("planned", "shows", "outcome"),
    [("nothing", "after", Outcome.ALREADY), ("nothing", "alien", Outcome.CONFLICT),
     ("old", "alien", Outcome.CONFLICT), ("old", "nothing", Outcome.CONFLICT),
     ("old", "after", Outcome.ALREADY), ("old", "old", Outcome.APPLIED)],
)  # fmt: skip
async def test_destination_is_judged_before_anything_moves(
    tmp_path: Path, planned: str, shows: str, outcome: Outcome
) -> None:
    """As planned is go, as wanted is done, anything else is a conflict without a byte sent."""
    found, old, new = stores()
    manifest, blobs = image(BASE)
    digest = old.seed("r", "t", manifest, blobs)
    images = {"old": image(APP), "alien": image(EXTRA), "after": (manifest, blobs)}
    if shows in images:
        new.seed("r", "t", *images[shows])
    before = images[planned][0].digest if planned in images else None
    receipts = await run(found, tmp_path, copy("r", "t", digest, before=before))
    assert receipts[f"{NEW}/r:t"].outcome is outcome
    if outcome is not Outcome.APPLIED:
        assert new.calls["put_manifest"] == new.calls["start_upload"] == 0


async def test_destination_is_read_again_just_before_the_tag(tmp_path: Path) -> None:
    """A tag that somebody writes while the blobs travel is not overwritten."""
    found, old, new = stores()
    manifest, blobs = image(BASE)
    digest = old.seed("r", "t", manifest, blobs)
    alien, alien_blobs = image(EXTRA)
    new.hooks["commit"] = lambda repo, what: new.seed("r", "t", alien, alien_blobs)
    receipts = await run(found, tmp_path, copy("r", "t", digest))
    assert receipts[f"{NEW}/r:t"].outcome is Outcome.CONFLICT
    assert new.tags["r", "t"] == alien.digest


async def test_tag_that_moves_between_two_attempts_to_write_it_is_a_conflict(
    tmp_path: Path,
) -> None:
    """The store says that somebody else wrote it meanwhile, and this image alone gives way."""
    found, old, new = stores()
    manifest, blobs = image(BASE)
    digest = old.seed("r", "t", manifest, blobs)
    alien, alien_blobs = image(EXTRA)

    def move(repo: str, ref: str) -> None:
        new.seed(repo, ref, alien, alien_blobs)
        raise TagMoved(f"{NEW}/{repo}:{ref}", alien.digest)

    new.hooks["put_manifest"] = move
    receipts = await run(found, tmp_path, copy("r", "t", digest))
    assert receipts[f"{NEW}/r:t"].outcome is Outcome.CONFLICT
    assert alien.digest.short in str(receipts[f"{NEW}/r:t"].error)
    assert new.tags["r", "t"] == alien.digest


async def test_adopt_moves_nothing_and_checks_again(tmp_path: Path) -> None:
    """An adoption records what is there if it still is, and is a conflict if not."""
    found, _, new = stores()
    manifest, blobs = image(BASE)
    digest = new.seed("r", "t", manifest, blobs)

    def adopt(after: Digest) -> Change:
        source = Source(reference=Reference(Repository(OLD, "r"), "t"), digest=after)
        return Change(
            address=Reference(Repository(NEW, "r"), "t"),
            action=Action.ADOPT,
            reason="already_there",
            source=source,
            before=after,
            after=after,
        )

    same = await run(found, tmp_path, adopt(digest))
    moved = await run(found, tmp_path, adopt(Digest.of(b"other")))
    assert same[f"{NEW}/r:t"].outcome is Outcome.APPLIED
    assert moved[f"{NEW}/r:t"].outcome is Outcome.CONFLICT
    assert set(new.calls) == {"head"}


async def test_replace_walks_children_again(tmp_path: Path) -> None:
    """A replace trusts no child, looks for every blob, and writes all manifests again."""
    found, old, new = stores()
    child, blobs = image(BASE)
    top = index(child)
    digest = old.seed("r", "t", top, blobs, child)
    new.seed("r", "t", top, blobs, child)
    del new.blobs["r", Digest.of(BASE)]
    receipts = await run(found, tmp_path, copy("r", "t", digest, before=digest))
    assert receipts[f"{NEW}/r:t"].outcome is Outcome.APPLIED
    assert receipts[f"{NEW}/r:t"].moved == len(BASE)
    assert new.blobs["r", Digest.of(BASE)] == BASE
    assert new.calls["put_manifest"] == 2
