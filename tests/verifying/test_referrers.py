"""What went along with an image is verified with it: there, whole, and found by who looks."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import TransientError
from imgmigrate.oci.companions import fallback_tag
from imgmigrate.oci.manifest import OCI_MANIFEST, Manifest
from imgmigrate.oci.reference import Digest, Repository
from imgmigrate.oci.referrers import entry_of, merged_list
from imgmigrate.render.reports.verify import verified_lines
from imgmigrate.state.record import Carried
from imgmigrate.stores.place import Place
from imgmigrate.verifying.verdict import Standing
from imgmigrate.verifying.verify import verify_records
from imgmigrate.verifying.walk import Walk
from tests.fakes.memory import MemoryStore, image
from tests.support.records import make_record
from tests.support.world import NEW, OLD, World

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.verifying.verdict import Verified

HERE, THERE = Repository(NEW, "team/api"), Repository(OLD, "team/api")
SBOM = "application/spdx+json"


def refer(store: MemoryStore, subject: Digest, seed: str = "x") -> Carried:
    """Attach an SBOM to a manifest."""
    blob = seed.encode()
    store.blobs["team/api", Digest.of(blob)] = blob
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": SBOM,
        "config": {"mediaType": "application/x", "digest": Digest.of(blob), "size": len(blob)},
        "layers": [],
        "subject": {"mediaType": OCI_MANIFEST, "digest": subject, "size": 1},
    }
    manifest = Manifest.parse(json.dumps(document).encode())
    store.manifests["team/api", manifest.digest] = manifest
    return carried(manifest, subject, "sbom")


def carried(manifest: Manifest, subject: Digest, kind: str, tag: str | None = None) -> Carried:
    """What a record says of it."""
    return Carried(
        refers_to=subject,
        digest=manifest.digest,
        media_type=manifest.media_type,
        size=len(manifest.raw),
        kind=kind,
        tag=tag,
    )


class Signed:
    """One image with two SBOMs and a signature of cosign's at a destination."""

    def __init__(self, folder: Path, *, api: bool) -> None:
        self.world = World(folder)
        self.store = self.world.new
        self.store.has_referrers = api
        manifest, blobs = image(b"layer")
        self.top = self.store.seed("team/api", "1", manifest, blobs)
        self.first, self.second = (refer(self.store, self.top, seed) for seed in ("x", "y"))
        tag = f"{fallback_tag(self.top)}.sig"
        signature, parts = image(b"signature")
        self.store.seed("team/api", tag, signature, parts)
        self.signature = carried(signature, self.top, "signature", tag)
        if not api:
            self.write_list(self.first, self.second)
        self.store.calls.clear()

    def write_list(self, *listed: Carried) -> None:
        """Write the list under the fallback tag."""
        manifests = [self.store.manifests["team/api", each.digest] for each in listed]
        made = merged_list(None, [entry_of(each) for each in manifests])
        assert made is not None
        self.store.seed("team/api", fallback_tag(self.top), made, {})

    async def verify(self) -> Verified:
        """Verify by a record that says all of this."""
        along = (self.first, self.second, self.signature)
        record = make_record(HERE.at("1"), THERE.at("1"), self.top, referrers=along)
        return await verify_records(self.world.workspace, [record])

    async def told(self) -> list[tuple[str, str, Digest | None]]:
        """What is wrong: kind, part and which referrer."""
        return [
            (fault.kind.value, fault.part, fault.referrer.digest if fault.referrer else None)
            for verdict in (await self.verify()).verdicts
            for fault in verdict.faults
        ]


@pytest.fixture(params=[True, False], ids=["api", "lists"])
def signed(tmp_path: Path, request: pytest.FixtureRequest) -> Signed:
    """A destination with the referrers API, and one without."""
    return Signed(tmp_path, api=request.param)


async def test_what_is_whole_is_asked_for_once(signed: Signed) -> None:
    """Each manifest once, a tag of cosign's in its digest's stead, and one list for its image."""
    verified = await signed.verify()
    assert (verified.verdicts, verified.referrers) == ((), 3)
    lists = 0 if signed.store.has_referrers else 1
    assert signed.store.calls["manifest"] == 4 + lists
    assert signed.store.calls["open_blob"] == 0


async def test_what_is_gone_is_missing_and_no_more(signed: Signed) -> None:
    """It is not called unlisted as well, though no API can list it any more."""
    del signed.store.manifests["team/api", signed.first.digest]
    assert await signed.told() == [("missing", "manifest", signed.first.digest)]


async def test_a_part_of_it_is_named_as_its_own(signed: Signed) -> None:
    """An SBOM without its bytes is no SBOM."""
    del signed.store.blobs["team/api", Digest.of(b"y")]
    assert await signed.told() == [("missing", "blob", signed.second.digest)]


async def test_what_a_list_does_not_name_is_unlisted(tmp_path: Path) -> None:
    """Its bytes are there, and nobody who asks for referrers finds them."""
    signed = Signed(tmp_path, api=False)
    signed.write_list(signed.first)
    assert await signed.told() == [("unlisted", "manifest", signed.second.digest)]
    del signed.store.tags["team/api", fallback_tag(signed.top)]
    assert len(await signed.told()) == 2


@pytest.mark.parametrize("other", [False, True])
async def test_a_tag_of_cosigns_has_to_show_it(signed: Signed, other: bool) -> None:
    """Without its tag, or with something else under it, cosign finds no signature."""
    tag = signed.signature.tag
    if other:
        signed.store.seed("team/api", str(tag), *image(b"other"))
    else:
        del signed.store.tags["team/api", str(tag)]
    assert await signed.told() == [("unlisted", "manifest", signed.signature.digest)]


async def test_of_an_image_that_is_not_there_nothing_else_is_asked(signed: Signed) -> None:
    """What brings it brings all that goes along; what was changed is another image's."""
    del signed.store.tags["team/api", "1"]
    assert await signed.told() == [("absent", "manifest", None)]
    assert signed.store.calls["referrers"] == 0


async def test_a_list_that_fails_leaves_it_unread(signed: Signed) -> None:
    """A registry that answers 503 has not said that there is none."""

    def down(repo: str, what: str) -> None:
        raise TransientError(f"{repo}@{what}", "503")

    signed.store.hooks["referrers"] = down
    [verdict] = (await signed.verify()).verdicts
    assert verdict.standing is Standing.UNREAD


async def test_what_nobody_could_ask_for_is_not_called_proved(signed: Signed) -> None:
    """The image is whole, and that nothing is known of its signatures is said beside it."""
    record = make_record(HERE.at("1"), THERE.at("1"), signed.top, referrers_pending=True)
    verified = await verify_records(signed.world.workspace, [record])
    assert (verified.verdicts, verified.pending) == ((), 1)
    assert "What refers to 1 image is not known" in "\n".join(
        verified_lines(verified, lambda *words: " ".join(words))
    )


async def test_images_of_one_digest_ask_once(signed: Signed) -> None:
    """A second tag of the same image costs nothing more for what refers to it."""
    place = Place(signed.store, "team/api")
    walk = Walk(place, asyncio.Semaphore(4), signed.world.sink, deep=False)
    along = (signed.first, signed.second, signed.signature)
    first, second = await asyncio.gather(walk.along(along), walk.along(along))
    assert first.faults == second.faults == []
    assert walk.referrers == 3
