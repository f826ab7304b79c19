"""What a profile says of itself, in the words of a write test; read from its fields and rules."""

from __future__ import annotations

from fnmatch import fnmatchcase
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from imgmigrate.probing.trial.ground import LAYER_SIZE
from imgmigrate.probing.trial.uploads import BROKEN_AFTER
from imgmigrate.stores.registry.known.facts import PAGES, Topic
from tests.fakes.registry.storage import Session
from tests.support.images import digest_of, image

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.registry import FakeRegistry

TAG = "imgmigrate-0123456789ab"
HALF = LAYER_SIZE // 2


def facts_of(make: Callable[[], FakeRegistry], repo: str) -> dict[Topic, str]:
    """What is true of the registry that `make` makes; none of it is asked by requests."""
    registry = make()
    return {
        **_manifests(registry, repo),
        **_uploads(registry, repo),
        **_lists(registry),
        Topic.MOUNT: _mount(make(), repo),
        Topic.BROKEN_UPLOAD: _broken(make(), repo),
        Topic.REFERRERS_TAG: _referrers_tag(make(), repo),
    }


def _manifests(registry: FakeRegistry, repo: str) -> dict[Topic, str]:
    entry = {"digest": digest_of(b"absent")}
    head = registry.absent_head
    deletes_tags = registry.deletes and registry.deletes_tags
    return {
        Topic.MOVED_TAG: "no" if any(fnmatchcase(TAG, g) for g in registry.immutable) else "yes",
        Topic.MISSING_BLOB: _taken(registry.missing(repo, {"layers": [entry]})),
        Topic.SPARSE_INDEX: _taken(registry.missing(repo, {"manifests": [entry]})),
        Topic.REFERRERS: "api" if registry.referrers_api else "tags",
        Topic.SUBJECT: "yes" if registry.referrers_api and registry.says_subject else "no",
        Topic.HEAD: "length" if registry.head_padding else "same",
        Topic.ABSENT: "404" if head is None else f"{head[0]} to HEAD, 404 to GET",
        Topic.DELETED_TAG: (
            "no" if not deletes_tags
            else "with_manifest" if registry.tag_takes_manifest else "alone"
        ),
        Topic.DELETED_DIGEST: (
            "no" if not registry.deletes else "untagged" if registry.tagged_stay else "yes"
        ),
    }  # fmt: skip


def _taken(missing: list[str]) -> str:
    return "refused" if missing else "taken"


def _uploads(registry: FakeRegistry, repo: str) -> dict[Topic, str]:
    is_refused = registry.whole_put_status and registry.largest_whole_put < LAYER_SIZE
    announced = registry.smallest_patch if registry.announces_smallest else None
    session = Session(repo, "name", "state", bytearray(HALF), [HALF])
    told = registry.progress(session)["Range"]
    return {
        Topic.RANGES: "yes",
        Topic.BLOB_HOST: "other" if registry.redirect_status else "own",
        Topic.ONE_PUT: "no" if is_refused else "yes",
        Topic.ONE_POST: "yes" if registry.single_post else "no",
        Topic.CHUNKS: _chunks(registry, session),
        Topic.LEAST_CHUNK: str(announced or "none"),
        Topic.UPLOAD_STATUS: "exact" if told == f"0-{HALF - 1}" else "other",
    }


def _chunks(registry: FakeRegistry, session: Session) -> str:
    if registry.most_patches is not None and registry.most_patches < 2:
        return "no"
    if registry.smallest_patch is not None and registry.smallest_patch > HALF:
        return "large"
    registry.begin_piece(session)
    is_kept = len(session.data) == HALF
    session.pieces.append(HALF)
    return "yes" if is_kept or registry.verifies(session) else "damaged"


def _lists(registry: FakeRegistry) -> dict[Topic, str]:
    limit = registry.largest_n if registry.pages_tags else None
    largest = next((size for size in PAGES if limit is None or size <= limit), "none")
    return {
        Topic.TAG_PAGES: "pages" if registry.pages_tags else "whole",
        Topic.LARGEST_PAGE: str(largest),
        Topic.CATALOG: "none" if registry.catalog_status else "pages",
    }


def _mount(registry: FakeRegistry, repo: str) -> str:
    made = image("mounted")
    (digest,) = list(made.blobs)[:1]
    call: Any = SimpleNamespace(query={"mount": digest, "from": repo})
    registry.storage.add_blob(repo, made.blobs[digest], digest)
    if registry.mount_status is not None:
        return "no"
    if registry.mounted(call, f"{repo}/mount", digest, repo):
        return "yes"
    registry.put_image(repo, "1", made)
    return "after_manifest" if registry.mounted(call, f"{repo}/mount", digest, repo) else "no"


def _broken(registry: FakeRegistry, repo: str) -> str:
    session = Session(repo, "name", "state", bytearray(BROKEN_AFTER))
    registry.storage.sessions[session.name] = session
    registry.interrupted(session)
    if session.name not in registry.storage.sessions:
        return "lost"
    end = registry.progress(session)["Range"].rpartition("-")[2]
    return "kept" if int(end) > 0 else "empty"


def _referrers_tag(registry: FakeRegistry, repo: str) -> str:
    digest = registry.put_image(repo, "1", image())
    found = registry.storage.repository(repo)
    shown = registry.resolve(found, digest.replace(":", "-"))
    return "shows_image" if shown == digest else "works"
