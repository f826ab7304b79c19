"""How a registry keeps manifests and names: moved tags, what is missing, referrers, lists, deletes.

Each question leaves what it has put to whoever cleans up (`Ground`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from msgspec.structs import replace

from imgmigrate.errors import NotFound, ProtocolError, StoreError
from imgmigrate.oci.documents import refuse_bomb
from imgmigrate.oci.manifest import OCI_INDEX, OCI_MANIFEST, Platform
from imgmigrate.oci.reference import Digest
from imgmigrate.probing.trial.ground import Blob, image, index
from imgmigrate.stores.registry import manifests
from imgmigrate.stores.registry.auth.access import Access
from imgmigrate.stores.registry.http.limits import TAGS_BODY
from imgmigrate.stores.registry.http.urls import next_link
from imgmigrate.stores.registry.known.facts import PAGES, Topic

if TYPE_CHECKING:
    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.probing.trial.ground import Ground
    from imgmigrate.stores.registry.http.answer import Answer
    from imgmigrate.stores.registry.wire.calls import Call

__all__ = [
    "absence",
    "catalog",
    "deleted_digest",
    "deleted_tag",
    "heads",
    "missing",
    "moved_tag",
    "pages",
    "referrers",
]

_SUBJECT = "OCI-Subject"
# Elements of a list that a server may send.
MOST_NAMES = 1_000_000


async def missing(ground: Ground, config: Blob, shown: Descriptor) -> dict[Topic, str]:
    """Put an image without its layer, and an index of an image that is there and one that is not.

    The index is what `index: keep` writes: some registries ask for the images of some platforms.
    """
    absent = Blob.random(media_type=OCI_MANIFEST).descriptor
    there, elsewhere = Platform("linux", "amd64"), Platform("linux", "s390x")
    manifests_of = {
        Topic.MISSING_BLOB: image(config, Blob.random()),
        Topic.SPARSE_INDEX: index(
            replace(shown, platform=there), replace(absent, platform=elsewhere)
        ),
    }
    return {
        topic: "taken" if await ground.puts(manifest) else "refused"
        for topic, manifest in manifests_of.items()
    }


async def moved_tag(ground: Ground, tag: str, config: Blob, layer: Blob) -> dict[Topic, str]:
    """Put another image under a tag that shows one."""
    is_moved = await ground.puts(image(config, layer), tag)
    return {Topic.MOVED_TAG: "yes" if is_moved else "no"}


async def referrers(
    ground: Ground, subject: Descriptor, config: Blob, layer: Blob
) -> dict[Topic, str]:
    """Put what refers to an image, ask the API for it, and try the tag that stands in for it."""
    found = await _tag_of_referrers(ground, subject)
    referrer = image(config, layer, subject=subject)
    put = await ground.put(referrer)
    if isinstance(put, StoreError):
        return {Topic.REFERRERS: "refused", Topic.SUBJECT: "no", **found}
    is_said = put.header(_SUBJECT) == subject.digest
    answer = await ground.ask(ground.call("GET", f"referrers/{subject.digest}", limit=TAGS_BODY))
    said = "tags"
    if not isinstance(answer, StoreError) and _type(answer) == OCI_INDEX:
        listed = _list(answer, "manifests")
        digests = [each.get("digest") for each in listed if isinstance(each, dict)]
        said = "api" if referrer.descriptor.digest in digests else "empty"
    return {Topic.REFERRERS: said, Topic.SUBJECT: "yes" if is_said else "no", **found}


async def _tag_of_referrers(ground: Ground, subject: Descriptor) -> dict[Topic, str]:
    """Read the tag while it is absent, then put one (distribution-spec "Referrers Tag Schema")."""
    tag = subject.digest.replace(":", "-")
    shown = await ground.shows(tag)
    if shown is not None:
        return {Topic.REFERRERS_TAG: "shows_image"}
    is_there = await ground.puts(index(subject), tag)
    return {Topic.REFERRERS_TAG: "works" if is_there else "refused"}


async def heads(ground: Ground, tag: str) -> dict[Topic, str]:
    """Compare what HEAD and GET say of one tag."""
    whole = await ground.remote.call(ground.read("GET", tag))
    head = await ground.ask(ground.read("HEAD", tag))
    if isinstance(head, StoreError) or head.status != 200:
        return {Topic.HEAD: "none"}
    stated, length = head.header("Docker-Content-Digest"), head.length
    if not stated or length is None:
        return {Topic.HEAD: "none"}
    if stated != Digest.of(whole.body):
        return {Topic.HEAD: "digest"}
    return {Topic.HEAD: "same" if length == len(whole.body) else "length"}


async def absence(ground: Ground) -> dict[Topic, str]:
    """Ask for a tag that nobody has put: the statuses of HEAD and of GET."""
    tag = ground.new_tag()
    statuses = []
    for method in ("HEAD", "GET"):
        answer = await ground.ask(ground.read(method, tag))
        statuses.append(f"{answer.status}")
    head, whole = statuses
    return {Topic.ABSENT: head if head == whole else f"{head} to HEAD, {whole} to GET"}


async def pages(ground: Ground) -> dict[Topic, str]:
    """List the tags one by one, and in the longest pages; there are several."""
    answer = await ground.ask(_listing(ground, "tags/list?n=1"))
    said = {Topic.TAG_PAGES: _cut(answer, "tags") or "refused"}
    for size in PAGES:
        answer = await ground.ask(_listing(ground, f"tags/list?n={size}"))
        if not isinstance(answer, StoreError):
            return {**said, Topic.LARGEST_PAGE: str(size)}
    return {**said, Topic.LARGEST_PAGE: "none"}


async def catalog(ground: Ground) -> dict[Topic, str]:
    """List the repositories one by one; whether there are several nobody knows."""
    call = ground.call("GET", "/v2/_catalog?n=1", access=Access(catalog=True), limit=TAGS_BODY)
    said = _cut(await ground.ask(call), "repositories")
    return {Topic.CATALOG: "none" if said == "refused" else said or "listed"}


async def deleted_tag(ground: Ground, shown: Descriptor, tag: str, other: str) -> dict[Topic, str]:
    """Delete one of two tags of an image; the other and the image should stay."""
    if not await _deletes(ground, tag):
        return {Topic.DELETED_TAG: "no"}
    if await ground.shows(tag) is not None:
        raise ProtocolError(f"{ground.remote.host}/{ground.repo}:{tag}", "it is still there")
    stays = (await ground.shows(other), await ground.shows(shown.digest))
    is_alone = stays == (shown.digest, shown.digest)
    return {Topic.DELETED_TAG: "alone" if is_alone else "with_manifest"}


async def deleted_digest(
    ground: Ground, tagged: Descriptor, untagged: Descriptor
) -> dict[Topic, str]:
    """Delete a manifest that a tag names; where that is refused, one that none does."""
    for each, said in ((tagged, "yes"), (untagged, "untagged")):
        if await _deletes(ground, each.digest):
            return {Topic.DELETED_DIGEST: said}
    return {Topic.DELETED_DIGEST: "no"}


async def _deletes(ground: Ground, ref: str) -> bool:
    try:
        await manifests.delete(ground.remote, ground.repo, ref)
    except NotFound:
        raise
    except StoreError as error:
        if error.status is None:
            raise
        return False
    return True


def _listing(ground: Ground, target: str) -> Call:
    return ground.call("GET", target, access=Access(ground.repo), limit=TAGS_BODY)


def _cut(answer: Answer | StoreError, key: str) -> str | None:
    """How a list came of which one name was asked for; None if it has one and no more."""
    if isinstance(answer, StoreError):
        return "refused"
    names = [name for name in _list(answer, key) if isinstance(name, str)]
    if len(names) > 1:
        return "whole"
    try:
        return "pages" if next_link(answer.headers("Link")) else None
    except ValueError:
        return None


def _list(answer: Answer, key: str) -> list[object]:
    try:
        refuse_bomb(answer.body, MOST_NAMES)
        found = json.loads(answer.body)[key]
    except (ValueError, LookupError, TypeError, RecursionError):
        return []
    return found if isinstance(found, list) else []


def _type(answer: Answer) -> str:
    return (answer.header("Content-Type") or "").partition(";")[0].strip()
