"""The `index.json` of an OCI layout: which tag names which manifest.

Pure. Others write these files too: whatever is not ours to change is kept as it was found.
"""

from __future__ import annotations

import json
import re
from functools import cached_property
from types import NoneType
from typing import TYPE_CHECKING, Any

from imgmigrate.errors import ProtocolError
from imgmigrate.oci.documents import refuse_bomb
from imgmigrate.oci.manifest import Descriptor
from imgmigrate.oci.reference import Digest, is_tag

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["LARGEST_INDEX", "REF_NAME", "Index"]

# image-spec annotations.md: in a layout's index, the name of an entry.
REF_NAME = "org.opencontainers.image.ref.name"
# 100,000 entries, of up to 20 elements each; more is no index but an attack. Bytes, elements.
LARGEST_INDEX = 64 * 1024 * 1024
MOST_ELEMENTS = 2_000_000
# Of the images that one tag may mean, in an error.
MOST_NAMED = 3
# What tools put before a tag: a repository, perhaps with its registry.
_PATH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,255}")


class Index:
    """A parsed `index.json`; `name` is what errors call its layout. Never changed, only printed.

    `skipped` are the names that a source cannot take, if it was read as one (`by_path`).
    """

    skipped: tuple[str, ...] = ()

    def __init__(self, name: str, document: dict[str, Any]) -> None:
        self._name, self._document = name, document
        self._entries: list[Any] = document.get("manifests") or []
        self._tags: dict[str, list[dict[str, Any]]] = {}
        self._types: dict[str, str] = {}
        # What is named otherwise than by a tag.
        self._named: dict[str, list[dict[str, Any]]] = {}
        for entry in self._entries:
            if isinstance(entry, dict):
                said = _ref_name(entry)
                if said is not None:
                    of_kind = self._tags if is_tag(said) else self._named
                    of_kind.setdefault(said, []).append(entry)
                digest, media_type = entry.get("digest"), entry.get("mediaType")
                if isinstance(digest, str) and isinstance(media_type, str):
                    self._types.setdefault(digest, media_type)

    @classmethod
    def parse(cls, name: str, raw: bytes) -> Index:
        """Read the file's bytes; ProtocolError if they are no index."""
        cause = "its index.json is not an image index"
        try:
            refuse_bomb(raw, MOST_ELEMENTS)
        except ValueError as error:
            raise ProtocolError(name, f"{cause}: {error}") from None
        try:
            document = json.loads(raw)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict) or not isinstance(
            document.get("manifests"), list | NoneType
        ):
            raise ProtocolError(
                name,
                cause,
                hint="it is damaged or no OCI layout; restore it from where it came from",
            )
        return cls(name, document)

    @property
    def tags(self) -> list[str]:
        """Every name that is a valid tag, in the order of the file."""
        return list(self._tags)

    @cached_property
    def by_path(self) -> Index:
        """The same file as a source: a name with a path is read by its tag where that is clear.

        `docker.io/library/app:1.2` is the tag `1.2` if all entries of that tag, with and without
        a path, are one image. A tag without a path is always itself.
        """
        index = Index(self._name, {})
        index._tags, index._types = dict(self._tags), self._types
        candidates: dict[str, list[str]] = {}
        skipped = []
        for name in self._named:
            tag = _tag_of(name)
            if tag is None:
                skipped.append(name)
            else:
                candidates.setdefault(tag, []).append(name)
        for tag, names in candidates.items():
            plain = self._tags.get(tag, [])
            entries = [*plain, *(entry for name in names for entry in self._named[name])]
            if len({str(entry.get("digest")) for entry in entries}) > 1:
                skipped += names
            elif not plain:
                index._tags[tag] = entries
        index.skipped = tuple(skipped)
        return index

    def find(self, tag: str) -> Descriptor | None:
        """Find what a tag names; ProtocolError if that is ambiguous or not a descriptor."""
        entries = self._tags.get(tag, [])
        found = {str(entry.get("digest")) for entry in entries}
        subject = f"{self._name}:{tag}"
        if len(found) > 1:
            raise ProtocolError(
                subject,
                f"index.json gives this name to {' and to '.join(sorted(found)[:MOST_NAMED])}",
                hint="remove all but one, for example with: umoci rm",
            )
        return _descriptor(subject, entries[0]) if entries else None

    def media_type(self, digest: Digest) -> str | None:
        """The type that the file states for a manifest, if it lists it."""
        return self._types.get(digest)

    def types(self) -> Iterator[tuple[Digest, str]]:
        """Every manifest that the file lists, by its digest, with the type that it states."""
        for text, media_type in self._types.items():
            try:
                digest = Digest.parse(text)
            except ValueError:
                continue
            yield digest, media_type

    def entries(self) -> Iterator[tuple[str | None, Descriptor | ProtocolError]]:
        """Every entry, with its name where that is a tag; what is no descriptor says why."""
        for number, entry in enumerate(self._entries, 1):
            name = _ref_name(entry) if isinstance(entry, dict) else None
            name = name if name is not None and is_tag(name) else None
            subject = f"{self._name}:{name}" if name else f"{self._name}: entry {number}"
            try:
                yield name, _descriptor(subject, entry if isinstance(entry, dict) else {})
            except ProtocolError as error:
                yield name, error

    def shows(self, tag: str, descriptor: Descriptor) -> bool:
        """Tell whether the file says already that the tag names this manifest."""
        entries = self._tags.get(tag, [])
        return len(entries) == 1 and all(
            entries[0].get(key) == value for key, value in _fields(descriptor).items()
        )

    def has(self, tag: str) -> bool:
        """Tell whether the file has the name, whatever it names."""
        return tag in self._tags

    def tagged(self, tags: Mapping[str, Descriptor]) -> bytes:
        """Print the file with each tag pointed at a manifest; all else stays as it is."""
        mine = {
            tag: {**_fields(descriptor), "annotations": {REF_NAME: tag}}
            for tag, descriptor in tags.items()
        }
        entries: list[Any] = []
        for entry in self._entries:
            name = _ref_name(entry) if isinstance(entry, dict) else None
            if name is None or name not in tags:
                entries.append(entry)
            elif name in mine:
                entries.append(mine.pop(name))
        return self._printed([*entries, *mine.values()])

    def untagged(self, tag: str) -> bytes:
        """Print the file without the entries that the tag names; all else stays as it is.

        The blobs stay: `umoci gc` and the like collect what nothing names any more.
        """
        entries = [
            entry
            for entry in self._entries
            if not isinstance(entry, dict) or _ref_name(entry) != tag
        ]
        return self._printed(entries)

    def _printed(self, entries: list[Any]) -> bytes:
        document = {**self._document, "manifests": entries}
        try:
            text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        except (RecursionError, ValueError):
            cause = "its index.json is nested too deeply, or has numbers that JSON cannot say"
            hint = "write it anew, for example by copying its images to another folder"
            raise ProtocolError(self._name, cause, hint=hint) from None
        try:
            data = text.encode()
        except UnicodeEncodeError:
            # Half of a surrogate pair, which JSON can say and UTF-8 cannot.
            data = json.dumps(document, separators=(",", ":")).encode()
        if len(data) > LARGEST_INDEX:
            cause = f"its index.json would have {len(data)} bytes; the limit is {LARGEST_INDEX}"
            raise ProtocolError(self._name, cause, hint="put some of its images elsewhere")
        return data


def _ref_name(entry: dict[str, Any]) -> str | None:
    """The name of an entry; one that is no text is told as JSON has it, and names no tag."""
    annotations = entry.get("annotations")
    found = annotations.get(REF_NAME) if isinstance(annotations, dict) else None
    return found if found is None or isinstance(found, str) else f"({type(found).__name__})"


def _tag_of(name: str) -> str | None:
    """Find the tag of a name with a path; None if there is none, or a digest beside it."""
    path, colon, tag = name.rpartition(":")
    return tag if colon and is_tag(tag) and _PATH.fullmatch(path) else None


def _fields(descriptor: Descriptor) -> dict[str, Any]:
    return {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size,
    }


def _descriptor(subject: str, entry: dict[str, Any]) -> Descriptor:
    media_type, size = entry.get("mediaType"), entry.get("size")
    try:
        digest = Digest.parse(str(entry.get("digest")))
    except ValueError as error:
        raise ProtocolError(subject, f"index.json: {error}") from None
    if not isinstance(media_type, str) or type(size) is not int or size < 0:
        raise ProtocolError(subject, "its entry in index.json has no media type or no size")
    return Descriptor(media_type, digest, size)
