"""Find the signatures of an image where it comes from, and tell whether one holds.

Read are cosign's tag and what is listed as a signature, one after another, until nothing more is
asked. What cannot be read is no signature; only a list that fails leaves the question open.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from imgmigrate.errors import StoreError, on_side
from imgmigrate.signing.claims import BUNDLE, LARGEST_CLAIM, Form, bundle_claim, simple_claim
from imgmigrate.signing.verdict import unreadable
from imgmigrate.stores.place import read_blob, read_manifest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Sequence

    from imgmigrate.observing.referrers import Listings
    from imgmigrate.oci.manifest import Manifest
    from imgmigrate.oci.reference import Digest
    from imgmigrate.oci.referrers import Referrer
    from imgmigrate.signing.claims import Claim
    from imgmigrate.signing.verdict import Judge
    from imgmigrate.stores.cache import ManifestCache
    from imgmigrate.stores.place import Place

__all__ = ["find_flaws"]

# Of one image. A release has a few; whoever adds thousands wants the plan to read them.
MOST_SIGNATURES = 100
_SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"


async def find_flaws(
    place: Place,
    digest: Digest,
    tags: Collection[str],
    wanted: Sequence[Judge],
    cache: ManifestCache,
    listings: Listings,
) -> list[list[str] | None]:
    """Tell of each judge what is wrong with the image's signatures; None if one holds.

    `tags` are all of its repository. StoreError if it cannot be told what signatures there are.
    """
    flaws: list[list[str] | None] = [[] for _ in wanted]
    with on_side("source"):
        listed = await listings.of(place, digest, tags)
        async with aclosing(_claims(place, listed, cache)) as claims:
            async for claim in claims:
                raw = b""
                if not isinstance(claim, str) and claim.form is Form.MANIFEST:
                    raw = (await read_manifest(place, digest, cache)).raw
                for number, (judge, found) in enumerate(zip(wanted, flaws, strict=True)):
                    if found is None:
                        continue
                    flaw = claim if isinstance(claim, str) else judge(claim, digest, raw)
                    flaws[number] = None if flaw is None else [*found, flaw]
                if all(each is None for each in flaws):
                    break
    return flaws


async def _claims(
    place: Place, listed: Sequence[Referrer], cache: ManifestCache
) -> AsyncGenerator[Claim | str, None]:
    """Read what may be signatures, cosign's tag first; of what is none the reason."""
    count = 0
    for each in sorted(listed, key=lambda referrer: referrer.tag is None):
        if each.kind != "signature" and each.artifact_type is not None:
            continue
        try:
            manifest = await read_manifest(place, each.descriptor.digest, cache)
        except StoreError as error:
            yield unreadable(str(error))
            continue
        for layer in _layers(manifest):
            is_known = layer["mediaType"] == _SIMPLE_SIGNING or layer["mediaType"].startswith(
                BUNDLE
            )
            if not is_known and each.kind != "signature":
                continue
            count += 1
            if count > MOST_SIGNATURES:
                yield unreadable(f"there are more than {MOST_SIGNATURES}")
                return
            if is_known:
                yield await _claim(place, manifest, layer)
            else:
                yield unreadable(f"{layer['mediaType']} is not checked")


def _layers(manifest: Manifest) -> list[dict[str, Any]]:
    """What a manifest lists, each as often as it does: two keys sign the same bytes."""
    found = manifest.document.get("layers")
    return [] if manifest.is_index or not isinstance(found, list) else found


async def _claim(place: Place, manifest: Manifest, layer: dict[str, Any]) -> Claim | str:
    blob = next(each for each in manifest.blobs if each.digest == layer["digest"])
    if blob.size > LARGEST_CLAIM:
        return unreadable(f"it has more than {LARGEST_CLAIM} bytes")
    try:
        raw = await read_blob(place, blob, "a signature")
        if layer["mediaType"] == _SIMPLE_SIGNING:
            annotations = layer.get("annotations")
            return simple_claim(annotations if isinstance(annotations, dict) else {}, raw)
        return bundle_claim(raw)
    except (StoreError, ValueError) as error:
        return unreadable(str(error))
