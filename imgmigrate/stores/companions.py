"""Find referrers by the tags that name their subject: the fallback list, and cosign's tags.

Which of these tags there are is told by a list of all tags that whoever asks has anyway: an image
without any costs no request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.errors import NotFound, ProtocolError
from imgmigrate.oci.companions import cosign_tags, fallback_tag
from imgmigrate.oci.manifest import OCI_INDEX
from imgmigrate.oci.referrers import Referrer, listed_in

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from imgmigrate.oci.manifest import Manifest
    from imgmigrate.oci.reference import Digest
    from imgmigrate.stores.base import Store

__all__ = ["find_by_tags", "once_each", "read_list"]


async def find_by_tags(
    store: Store, repo: str, digest: Digest, tags: Collection[str]
) -> list[Referrer]:
    """List what companion tags of a digest name, as far as `tags` has them."""
    found: list[Referrer] = []
    if fallback_tag(digest) in tags:
        listing = await read_list(store, repo, digest)
        if listing is not None:
            try:
                found += listed_in(listing, digest)
            except ValueError as error:
                raise ProtocolError(f"{store.identity}/{repo}@{digest}", str(error)) from None
    for tag, kind in cosign_tags(digest).items():
        if tag in tags:
            shown = await store.look(repo, tag)
            if shown is not None:
                found.append(Referrer(digest, shown, kind, tag))
    return found


def once_each(referrers: Iterable[Referrer]) -> tuple[Referrer, ...]:
    """Leave out what was found in two ways; under a tag it is another thing than in a list."""
    return tuple({each.key: each for each in referrers}.values())


async def read_list(store: Store, repo: str, digest: Digest) -> Manifest | None:
    """Read the fallback list of a digest; None if nothing is there, or something else.

    GitLab takes such a tag for the digest and gives the image itself (protocol 3.5).
    """
    try:
        found = await store.manifest(repo, fallback_tag(digest))
    except NotFound:
        return None
    is_list = found.media_type == OCI_INDEX and found.digest != digest
    return found if is_list else None
