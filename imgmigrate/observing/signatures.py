"""Find the signatures of an image where it comes from, and tell whether one holds.

Read are cosign's tag and what is listed as a signature, one after another, until nothing more is
asked. What is damaged or not there is no signature; what cannot be had now (a registry that is
down, or does not let us in) leaves the question open, unless another one holds.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from imgmigrate.errors import (
    AccessDenied,
    AuthenticationError,
    QuotaExhausted,
    StoreError,
    TransientError,
    on_side,
)
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

# Of one referrer, and of one image. A release has a few; whoever adds thousands wants the plan to
# read them, or not to get as far as the one that holds.
MOST_OF_ONE = 100
MOST_SIGNATURES = 1000
# What another try may find.
_PASSING = (TransientError, AuthenticationError, AccessDenied, QuotaExhausted)
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
    trouble: StoreError | None = None
    with on_side("source"):
        listed = await listings.of(place, digest, tags)
        async with aclosing(_claims(place, listed, cache)) as claims:
            async for claim in claims:
                if isinstance(claim, StoreError):
                    trouble = trouble or claim
                    continue
                raw = b""
                if not isinstance(claim, str) and claim.form is Form.MANIFEST:
                    manifest = await read_manifest(place, digest, cache)
                    raw = manifest.raw
                    if not manifest.has_shape:
                        claim = unreadable("what it signs is no image")
                for number, (judge, found) in enumerate(zip(wanted, flaws, strict=True)):
                    if found is None:
                        continue
                    flaw = claim if isinstance(claim, str) else judge(claim, digest, raw)
                    flaws[number] = None if flaw is None else [*found, flaw]
                if all(each is None for each in flaws):
                    return flaws
        if trouble is not None:
            raise trouble
    return flaws


async def _claims(
    place: Place, listed: Sequence[Referrer], cache: ManifestCache
) -> AsyncGenerator[Claim | str | StoreError, None]:
    """Read what may be signatures, cosign's tag first; of what is none the reason.

    An error is given where another try may find one.
    """
    count = 0
    for each in sorted(listed, key=lambda referrer: referrer.tag is None):
        if each.kind != "signature" and each.artifact_type is not None:
            continue
        try:
            manifest = await read_manifest(place, each.descriptor.digest, cache)
        except _PASSING as error:
            yield error
            continue
        except StoreError as error:
            yield unreadable(str(error))
            continue
        layers = _layers(manifest)
        known = [layer for layer in layers if _is_known(layer)]
        if not known and layers and each.kind == "signature":
            yield unreadable(f"{layers[0]['mediaType']} is not checked")
        for layer in known[:MOST_OF_ONE]:
            count += 1
            if count > MOST_SIGNATURES:
                yield unreadable(f"there are more than {MOST_SIGNATURES}")
                return
            yield await _claim(place, manifest, layer)
        if len(known) > MOST_OF_ONE:
            yield unreadable(f"there are more than {MOST_OF_ONE} in one")


def _is_known(layer: dict[str, Any]) -> bool:
    kind: str = layer["mediaType"]
    return kind == _SIMPLE_SIGNING or kind.startswith(BUNDLE)


def _layers(manifest: Manifest) -> list[dict[str, Any]]:
    """What a manifest lists, each as often as it does: two keys sign the same bytes."""
    found = manifest.document.get("layers")
    return [] if manifest.is_index or not isinstance(found, list) else found


async def _claim(
    place: Place, manifest: Manifest, layer: dict[str, Any]
) -> Claim | str | StoreError:
    blob = next(each for each in manifest.blobs if each.digest == layer["digest"])
    if blob.size > LARGEST_CLAIM:
        return unreadable(f"it has more than {LARGEST_CLAIM} bytes")
    try:
        raw = await read_blob(place, blob, "a signature")
        if layer["mediaType"] == _SIMPLE_SIGNING:
            annotations = layer.get("annotations")
            return simple_claim(annotations if isinstance(annotations, dict) else {}, raw)
        return bundle_claim(raw)
    except _PASSING as error:
        return error
    except (StoreError, ValueError) as error:
        return unreadable(str(error))
