"""What a write test can find out about a registry: topics, answers, their words, their use.

Pure. An answer is one of the topic's, or a plain number; what could not be found out has none.
The names are kept on disk and told to programs: they stay, and new ones may join.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from imgmigrate.stores.registry.quirks import Quirks

__all__ = ["ANSWERS", "PAGES", "Found", "Left", "Topic", "improved"]


class Topic(StrEnum):
    """One question."""

    MOVED_TAG = "moved_tag"
    MISSING_BLOB = "missing_blob"
    SPARSE_INDEX = "sparse_index"
    MOUNT = "mount"
    RANGES = "ranges"
    BLOB_HOST = "blob_host"
    ONE_PUT = "one_put"
    ONE_POST = "one_post"
    CHUNKS = "chunks"
    LEAST_CHUNK = "least_chunk"
    UPLOAD_STATUS = "upload_status"
    BROKEN_UPLOAD = "broken_upload"
    REFERRERS = "referrers"
    SUBJECT = "subject"
    REFERRERS_TAG = "referrers_tag"
    HEAD = "head"
    ABSENT = "absent"
    TAG_PAGES = "tag_pages"
    LARGEST_PAGE = "largest_page"
    CATALOG = "catalog"
    DELETED_TAG = "deleted_tag"
    DELETED_DIGEST = "deleted_digest"

    @property
    def label(self) -> str:
        """The topic for people."""
        return _LABELS.get(self, self.value.replace("_", " "))


_LABELS = {
    Topic.MOVED_TAG: "moved tag",
    Topic.BLOB_HOST: "blobs are read",
    Topic.ONE_PUT: "blob in one PUT",
    Topic.ONE_POST: "blob in one POST",
    Topic.SUBJECT: "OCI-Subject",
    Topic.HEAD: "HEAD of a tag",
    Topic.ABSENT: "an absent tag",
}

# Where an answer is no word of these, it is a number or a status.
ANSWERS: Mapping[Topic, Mapping[str, str]] = {
    Topic.MOVED_TAG: {"yes": "yes", "no": "refused: a tag stays where it is"},
    Topic.MISSING_BLOB: {
        "refused": "a manifest without its blob is refused",
        "taken": "a manifest without its blob is taken",
    },
    Topic.SPARSE_INDEX: {
        "refused": "an index without one of its images is refused",
        "taken": "an index without one of its images is taken",
    },
    Topic.MOUNT: {
        "yes": "between repositories",
        "after_manifest": "between repositories, once a manifest names the blob",
        "no": "no: blobs are uploaded again",
        "untried": "not tried: there is no second repository",
    },
    Topic.RANGES: {
        "yes": "a part of a blob can be read",
        "ignored": "no: a whole blob comes instead",
        "no": "refused: blobs can only be read whole",
    },
    Topic.BLOB_HOST: {"own": "from itself", "other": "from another host, by a redirect"},
    Topic.ONE_PUT: {"yes": "yes", "no": "no"},
    Topic.ONE_POST: {"yes": "yes", "no": "no"},
    Topic.CHUNKS: {
        "yes": "a blob can be sent in several PATCH requests",
        "large": "small ones are refused, larger ones were not tried",
        "no": "refused",
        "damaged": "taken, and what is stored then is another blob",
    },
    Topic.LEAST_CHUNK: {"none": "it names none"},
    Topic.UPLOAD_STATUS: {
        "exact": "says how many bytes are there",
        "other": "is there, but does not tell how many bytes are",
        "none": "is not told",
    },
    Topic.BROKEN_UPLOAD: {
        "kept": "can go on where it broke",
        "empty": "stays, but has to begin anew",
        "lost": "is lost",
    },
    Topic.REFERRERS: {
        "api": "by the API of OCI 1.1",
        "empty": "the API is there, and does not list them",
        "tags": "by tags alone: it has no API for them",
        "refused": "none: a manifest with a subject is refused",
    },
    Topic.SUBJECT: {"yes": "said", "no": "not said"},
    Topic.REFERRERS_TAG: {
        "works": "a tag like any other",
        "shows_image": "shows the image itself if it is absent",
        "refused": "refused",
    },
    Topic.HEAD: {
        "same": "tells digest and length as GET does",
        "length": "tells another length than GET",
        "digest": "tells another digest than GET",
        "none": "tells too little to rely on",
    },
    Topic.ABSENT: {},
    Topic.TAG_PAGES: {
        "pages": "as short as asked for",
        "whole": "none: all tags come at once",
        "refused": "a short one is refused",
    },
    Topic.LARGEST_PAGE: {"none": "every size is refused"},
    Topic.CATALOG: {
        "pages": "in pages",
        "whole": "all at once",
        "listed": "is there",
        "none": "is not offered, or not to us",
    },
    Topic.DELETED_TAG: {
        "alone": "goes alone: its manifest and other tags stay",
        "with_manifest": "takes its manifest and all other tags along",
        "no": "refused",
    },
    Topic.DELETED_DIGEST: {
        "yes": "goes, with all its tags",
        "untagged": "goes, once no tag names it",
        "no": "refused",
    },
}


class Left(Struct, frozen=True):
    """Something that could not be deleted: `tag` or digest in `repo`, and why."""

    repo: str
    ref: str
    cause: str


class Found(Struct, frozen=True):
    """What a write test found out; `unknown` says why a topic has no answer."""

    facts: Mapping[Topic, str] = field(default_factory=dict)
    unknown: Mapping[Topic, str] = field(default_factory=dict)
    left: tuple[Left, ...] = ()
    # Blobs cannot be deleted: how many wait for the registry to see that nothing names them.
    blobs: int = 0
    # The repository that was mounted to; None: there is none.
    sibling: str | None = None


# What a list is asked for, longest first: ECR refuses more than a thousand.
PAGES = (10_000, 1_000, 100)
_SHORTER_PAGES = frozenset(map(str, PAGES))


def improved(row: Quirks, facts: Mapping[str, str]) -> Quirks:
    """Correct a row of the quirk table by what was seen, where a mistake would cost requests only.

    What was seen of tiny blobs says nothing of large ones: `largest_body` stays, and chunks that
    are known to be damaged or refused stay so. Two are exceptions to the first rule. A tag is
    deleted by its name only where its manifest and another tag of it were seen to stay. And an
    index is copied without some of its images where one was seen to be taken: if that is refused
    later, the row fails, and nothing is lost.
    """
    for topic, change in _USES.items():
        answer = facts.get(topic)
        if answer is not None:
            row = change(row, answer)
    return row


def _chunks(row: Quirks, answer: str) -> Quirks:
    return replace(row, takes_chunks=False) if answer in ("no", "damaged") else row


def _mounts(row: Quirks, answer: str) -> Quirks:
    if answer not in ("yes", "after_manifest"):
        return row
    return replace(row, mounts=True, mounts_need_manifest=answer == "after_manifest")


def _deletes_tags(row: Quirks, answer: str) -> Quirks:
    return replace(row, deletes_tags=answer == "alone")


def _ranges(row: Quirks, answer: str) -> Quirks:
    return replace(row, gives_ranges=answer == "yes")


_TAKEN = frozenset({"taken", "refused"})


def _takes_sparse(row: Quirks, answer: str) -> Quirks:
    return replace(row, takes_sparse=answer == "taken") if answer in _TAKEN else row


def _one_post(row: Quirks, answer: str) -> Quirks:
    return replace(row, takes_posts=answer == "yes")


def _page(row: Quirks, answer: str) -> Quirks:
    # Longer pages than all others get are no gain; a file may say anything.
    is_shorter = answer in _SHORTER_PAGES and int(answer) < row.tags_page
    return replace(row, tags_page=int(answer)) if is_shorter else row


_USES: Mapping[Topic, Callable[[Quirks, str], Quirks]] = {
    Topic.CHUNKS: _chunks,
    Topic.MOUNT: _mounts,
    Topic.DELETED_TAG: _deletes_tags,
    Topic.RANGES: _ranges,
    Topic.ONE_POST: _one_post,
    Topic.SPARSE_INDEX: _takes_sparse,
    Topic.LARGEST_PAGE: _page,
}
