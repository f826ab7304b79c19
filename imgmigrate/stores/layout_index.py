"""The `index.json` of an OCI layout: which tag names which manifest.

Pure. Others write these files too: whatever is not ours to change is kept as it was found.
"""

from __future__ import annotations

import json
from types import NoneType
from typing import TYPE_CHECKING, Any

from imgmigrate.errors import ProtocolError
from imgmigrate.oci.manifest import Descriptor
from imgmigrate.oci.reference import Digest, is_tag

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["REF_NAME", "Index"]

# image-spec annotations.md: in a layout's index, the name of an entry.
REF_NAME = "org.opencontainers.image.ref.name"


class Index:
    """A parsed `index.json`; `name` is what errors call its layout. Never changed, only printed."""

    def __init__(self, name: str, document: dict[str, Any]) -> None:
        self._name, self._document = name, document
        self._entries: list[Any] = document.get("manifests") or []
        self._tags: dict[str, list[dict[str, Any]]] = {}
        self._types: dict[str, str] = {}
        for entry in self._entries:
            if isinstance(entry, dict):
                tag = _ref_name(entry)
                if tag is not None and is_tag(tag):
                    self._tags.setdefault(tag, []).append(entry)
                digest, media_type = entry.get("digest"), entry.get("mediaType")
                if isinstance(digest, str) and isinstance(media_type, str):
                    self._types.setdefault(digest, media_type)

    @classmethod
    def parse(cls, name: str, raw: bytes) -> Index:
        """Read the file's bytes; ProtocolError if they are no index."""
        try:
            document = json.loads(raw)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict) or not isinstance(
            document.get("manifests"), list | NoneType
        ):
            raise ProtocolError(
                name,
                "its index.json is not an image index",
                hint="it is damaged or no OCI layout; restore it from where it came from",
            )
        return cls(name, document)

    @property
    def tags(self) -> list[str]:
        """Every name that is a valid tag, in the order of the file."""
        return list(self._tags)

    def find(self, tag: str) -> Descriptor | None:
        """Find what a tag names; ProtocolError if that is ambiguous or not a descriptor."""
        entries = self._tags.get(tag, [])
        found = {str(entry.get("digest")) for entry in entries}
        subject = f"{self._name}:{tag}"
        if len(found) > 1:
            raise ProtocolError(
                subject,
                f"index.json gives this name to {' and to '.join(sorted(found))}",
                hint="remove all but one, for example with: umoci rm",
            )
        return _descriptor(subject, entries[0]) if entries else None

    def media_type(self, digest: Digest) -> str | None:
        """The type that the file states for a manifest, if it lists it."""
        return self._types.get(digest)

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

    def tagged(self, tag: str, descriptor: Descriptor) -> bytes:
        """Print the file with the tag pointed at a manifest; all else stays as it is."""
        mine = {**_fields(descriptor), "annotations": {REF_NAME: tag}}
        entries: list[Any] = []
        for entry in self._entries:
            if not isinstance(entry, dict) or _ref_name(entry) != tag:
                entries.append(entry)
            elif mine not in entries:
                entries.append(mine)
        if mine not in entries:
            entries.append(mine)
        document = {**self._document, "manifests": entries}
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()

    def untagged(self, tag: str) -> bytes:
        """Print the file without the entries that the tag names; all else stays as it is.

        The blobs stay: `umoci gc` and the like collect what nothing names any more.
        """
        entries = [
            entry
            for entry in self._entries
            if not isinstance(entry, dict) or _ref_name(entry) != tag
        ]
        document = {**self._document, "manifests": entries}
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _ref_name(entry: dict[str, Any]) -> str | None:
    annotations = entry.get("annotations")
    found = annotations.get(REF_NAME) if isinstance(annotations, dict) else None
    return found if isinstance(found, str) else None


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
