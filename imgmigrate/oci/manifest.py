"""Read manifests without ever re-serialising them: raw bytes kept, everything else derived.

Pure. What is derived is what a copy needs: children, blobs, platforms, the subject. Bytes
come from servers, so anything ambiguous is refused (CVE-2021-41190: a document that is an
image to one reader and an index to another). Source: image-spec `manifest.md`, `image-index.md`
and docker's manifest schema 2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from imgmigrate.oci.documents import read_object
from imgmigrate.oci.reference import Digest

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ACCEPT",
    "INDEXES",
    "LARGEST_MANIFEST",
    "MANIFESTS",
    "SCHEMA1",
    "Descriptor",
    "Manifest",
    "Platform",
    "same_images",
]

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"

INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})
MANIFESTS = INDEXES | {OCI_MANIFEST, OCI_ARTIFACT, DOCKER_MANIFEST}
SCHEMA1 = frozenset({DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED})

# Too narrow an Accept makes servers answer 404, or silently another manifest (protocol 2.1).
ACCEPT = ", ".join(
    [
        OCI_INDEX,
        OCI_MANIFEST,
        DOCKER_LIST,
        DOCKER_MANIFEST,
        OCI_ARTIFACT,
        DOCKER_SCHEMA1_SIGNED,
        DOCKER_SCHEMA1,
        "*/*;q=0.1",
    ]
)

# Everyone must accept 4 MiB; regclient reads up to 8 (protocol 2.1).
LARGEST_MANIFEST = 8 * 1024 * 1024
# Far above any real image; a bomb is refused before anything is requested for it.
MOST_ENTRIES = 10_000
MOST_ELEMENTS = 500_000
LARGEST_BLOB = 1 << 50
# Media types and platforms are shown to people and written to files: nothing else belongs there.
_TEXT = re.compile(r"[ -~]{1,255}")

_FOREIGN = frozenset(
    {
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    }
)


class Platform(Struct, frozen=True):
    """What an entry of an index runs on."""

    os: str
    architecture: str
    variant: str | None = None
    os_version: str | None = None

    def __str__(self) -> str:
        parts = [self.os, self.architecture] + ([self.variant] if self.variant else [])
        return "/".join(parts) + (f":{self.os_version}" if self.os_version else "")


class Descriptor(Struct, frozen=True):
    """What a manifest says of a blob or of another manifest. `size` is in bytes."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None

    @property
    def is_foreign(self) -> bool:
        """Tell whether this layer is not to be distributed (image-spec `layer.md`)."""
        return self.media_type in _FOREIGN

    @property
    def is_manifest(self) -> bool:
        """Tell whether the media type is that of a manifest or an index."""
        return self.media_type in MANIFESTS


@dataclass(frozen=True)
class Manifest:
    """A manifest or index as it was served: `raw` bytes, their digest and media type.

    Of a sparse index some children are `absent`, on purpose: its bytes list them, and whoever asks
    for its children is not told of them.
    """

    raw: bytes = field(repr=False)
    media_type: str
    digest: Digest
    _document: dict[str, Any] = field(repr=False, compare=False)
    absent: frozenset[Digest] = field(default=frozenset(), compare=False)

    @classmethod
    def parse(
        cls, raw: bytes, media_type: str | None = None, *, expected: Digest | None = None
    ) -> Manifest:
        """Read `raw`; ValueError if it is not one unambiguous manifest with the expected digest.

        `media_type` is what the server said; parameters are ignored. Without it the
        document's own `mediaType` counts, else its shape (layouts store no type).
        """
        if len(raw) > LARGEST_MANIFEST:
            msg = f"a manifest of {len(raw)} bytes; the limit is {LARGEST_MANIFEST}"
            raise ValueError(msg)
        if expected is not None and not expected.matches(raw):
            msg = f"its bytes do not have the digest {expected}"
            raise ValueError(msg)
        document = read_object(raw, MOST_ELEMENTS)
        said = media_type.partition(";")[0].strip() if media_type else None
        found = _media_type(document, said)
        manifest = cls(raw, found, expected or Digest.of(raw), document)
        _ = manifest.children, manifest.blobs, manifest.subject  # refuse a bad descriptor now
        return manifest

    def without(self, absent: Iterable[Digest]) -> Manifest:
        """Leave some children of an index out of what is told of it; its bytes stay."""
        return replace(self, absent=self.absent | frozenset(absent))

    @property
    def is_index(self) -> bool:
        """Tell an index, which has children, from an image or artifact, which has blobs."""
        return self.media_type in INDEXES

    @property
    def has_shape(self) -> bool:
        """Tell an image or an index from any other JSON that a server calls one.

        What is signed for another purpose, and public, may be served as a manifest.
        """
        if self._document.get("schemaVersion") != 2:
            return False
        if self.is_index:
            return isinstance(self._document.get("manifests"), list)
        has_layers = isinstance(self._document.get("layers"), list)
        return has_layers and isinstance(self._document.get("config"), dict)

    @property
    def descriptor(self) -> Descriptor:
        """Describe the manifest itself."""
        return Descriptor(self.media_type, self.digest, len(self.raw))

    @cached_property
    def children(self) -> tuple[Descriptor, ...]:
        """The entries of an index, in its order, each digest once; what is `absent` left out."""
        entries = _descriptors(self._document.get("manifests")) if self.is_index else ()
        return tuple(each for each in entries if each.digest not in self.absent)

    @cached_property
    def blobs(self) -> tuple[Descriptor, ...]:
        """The config and the layers (of an artifact manifest: its blobs), each digest once."""
        if self.is_index:
            return ()
        config = self._document.get("config")
        entries = ([config] if config is not None else []) + [
            *_list(self._document, "layers"),
            *(_list(self._document, "blobs") if self.media_type == OCI_ARTIFACT else []),
        ]
        return _descriptors(entries)

    @cached_property
    def subject(self) -> Descriptor | None:
        """The manifest that this one refers to, such as the image a signature is for."""
        found = self._document.get("subject")
        return _descriptor(found) if found is not None else None

    @property
    def platforms(self) -> tuple[str, ...]:
        """The platforms of an index's entries; attestations (`unknown/unknown`) left out."""
        names = [str(child.platform) for child in self.children if child.platform]
        return tuple(dict.fromkeys(name for name in names if not name.startswith("unknown/")))

    @property
    def document(self) -> dict[str, Any]:
        """The parsed JSON, to explain a difference; never to be written again."""
        return self._document


def same_images(one: Manifest, other: Manifest) -> bool:
    """Tell whether two indexes list the same children, in whatever order and bytes."""
    ours = sorted(child.digest for child in one.children)
    return ours == sorted(child.digest for child in other.children)


def _media_type(document: dict[str, Any], said: str | None) -> str:
    own = document.get("mediaType")
    if own is not None and not isinstance(own, str):
        msg = "its mediaType is not a string"
        raise ValueError(msg)
    if said in SCHEMA1 or own in SCHEMA1 or document.get("schemaVersion") == 1:
        msg = "it is docker schema 1, which today's registries refuse; rebuild or re-push the image"
        raise ValueError(msg)
    known = said if said in MANIFESTS else None
    if known and own and own != known:
        msg = f"it was served as {known} but calls itself {own}"
        raise ValueError(msg)
    found = known or own or _by_shape(document)
    if found not in MANIFESTS:
        msg = f"{found or said!r} is not a manifest type that can be copied"
        raise ValueError(msg)
    index_like = "manifests" in document
    image_like = any(key in document for key in ("layers", "config", "blobs", "fsLayers"))
    if index_like and image_like:
        msg = "it holds the fields of an image and of an index (CVE-2021-41190)"
        raise ValueError(msg)
    if index_like != (found in INDEXES) and (index_like or image_like):
        msg = f"its fields are not those of {found}"
        raise ValueError(msg)
    return found


def _by_shape(document: dict[str, Any]) -> str | None:
    if document.get("schemaVersion") != 2:
        return None
    return OCI_INDEX if "manifests" in document else OCI_MANIFEST


def _list(document: dict[str, Any], key: str) -> list[Any]:
    found = document.get(key)
    if found is None:
        return []
    if not isinstance(found, list):
        msg = f"its {key} is not a list"
        raise ValueError(msg)
    return found


def _descriptors(entries: Any) -> tuple[Descriptor, ...]:
    if entries is None:
        return ()
    if not isinstance(entries, list) or len(entries) > MOST_ENTRIES:
        msg = f"its entries are not a list of at most {MOST_ENTRIES}"
        raise ValueError(msg)
    found: dict[Digest, Descriptor] = {}
    for entry in entries:
        descriptor = _descriptor(entry)
        same = found.setdefault(descriptor.digest, descriptor)
        if same.size != descriptor.size:
            msg = f"it gives {descriptor.digest} two sizes"
            raise ValueError(msg)
    return tuple(found.values())


def _descriptor(entry: Any) -> Descriptor:
    if not isinstance(entry, dict):
        msg = "an entry is not an object"
        raise ValueError(msg)
    media_type, size = entry.get("mediaType"), entry.get("size")
    if not isinstance(media_type, str) or not _TEXT.fullmatch(media_type):
        msg = "an entry has no mediaType"
        raise ValueError(msg)
    if type(size) is not int or not 0 <= size <= LARGEST_BLOB:
        msg = f"an entry has no sane size: {size!r}"
        raise ValueError(msg)
    return Descriptor(
        media_type, Digest.parse(entry.get("digest", "")), size, _platform(entry.get("platform"))
    )


def _platform(entry: Any) -> Platform | None:
    if not isinstance(entry, dict):
        return None
    values = [entry.get(key) for key in ("os", "architecture", "variant", "os.version")]
    texts = [value if isinstance(value, str) and value else None for value in values]
    if not all(_TEXT.fullmatch(text) for text in texts if text):
        msg = "an entry's platform holds characters that no platform has"
        raise ValueError(msg)
    if texts[0] is None or texts[1] is None:
        return None
    return Platform(texts[0], texts[1], texts[2], texts[3])
