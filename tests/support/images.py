"""Build images from nothing: deterministic bytes, every kind of manifest a migrator meets.

Knows neither stores nor sockets, and uses nothing of the code under test, so that a mistake
there cannot hide here. `registries.py` and `layouts.py` beside it move images in and out.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import struct
import tarfile
import zlib
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"

MANIFEST_TYPES = frozenset({OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST})

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Image:
    """A manifest or index with all it reaches; `manifests` lists children before parents."""

    top: str
    manifests: Mapping[str, tuple[str, bytes]] = field(repr=False)
    blobs: Mapping[str, bytes] = field(repr=False)
    # What an index that lists this image says of it.
    platform: str | None = None
    annotations: Mapping[str, str] | None = None

    @property
    def media_type(self) -> str:
        """The media type of the top manifest."""
        return self.manifests[self.top][0]

    @property
    def raw(self) -> bytes:
        """The bytes of the top manifest."""
        return self.manifests[self.top][1]

    @property
    def document(self) -> Document:
        """The top manifest, parsed."""
        return parse(self.raw)

    @property
    def size(self) -> int:
        """The bytes of all blobs together."""
        return sum(len(data) for data in self.blobs.values())


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    """Digest `data`."""
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def parse(raw: bytes) -> Document:
    """Parse a JSON object."""
    document = json.loads(raw)
    assert isinstance(document, dict)
    return document


def links(media_type: str, raw: bytes) -> tuple[list[str], list[str]]:
    """List the digests of the manifests and of the blobs that a manifest reaches directly."""
    document = parse(raw)
    if media_type in (OCI_INDEX, DOCKER_LIST):
        return [entry["digest"] for entry in document["manifests"]], []
    config = [document["config"]] if "config" in document else []
    return [], [entry["digest"] for entry in [*config, *document.get("layers", [])]]


def layer(seed: str, size: int = 2048) -> bytes:
    """Make a gzip layer of one file with `size` bytes that do not compress."""
    return _layer(seed, size)


@cache
def _layer(seed: str, size: int) -> bytes:
    content = random.Random(seed).randbytes(size)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        entry = tarfile.TarInfo(f"data/{digest_of(seed.encode())[7:19]}")
        entry.size = size
        archive.addfile(entry, io.BytesIO(content))
    return compressed(buffer.getvalue())


def compressed(data: bytes) -> bytes:
    """Compress with gzip; the same bytes on every Python (its header is not)."""
    deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflate.compress(data) + deflate.flush()
    trailer = struct.pack("<LL", zlib.crc32(data), len(data) & 0xFFFFFFFF)
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + body + trailer


def image(
    seed: str = "a",
    *,
    layers: list[bytes] | None = None,
    size: int = 2048,
    platform: str = "linux/amd64",
    docker: bool = False,
    algorithm: str = "sha256",
) -> Image:
    """Make an image of one platform; two layers of `size` bytes unless `layers` are given.

    `algorithm` digests the layers; the config and the manifest stay sha256.
    """
    layers = [layer(f"{seed}/0", size), layer(f"{seed}/1", size)] if layers is None else layers
    os, architecture, *variant = platform.split("/")
    config = _json(
        {
            "architecture": architecture,
            "os": os,
            **({"variant": variant[0]} if variant else {}),
            "config": {"Labels": {"seed": seed}},
            "rootfs": {
                "type": "layers",
                "diff_ids": [digest_of(gzip.decompress(each)) for each in layers],
            },
        }
    )
    blobs = {digest_of(config): config} | {digest_of(one, algorithm): one for one in layers}
    document: Document = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST if docker else OCI_MANIFEST,
        "config": descriptor(DOCKER_CONFIG if docker else OCI_CONFIG, config),
        "layers": [
            descriptor(DOCKER_LAYER if docker else OCI_LAYER, one, algorithm) for one in layers
        ],
    }
    return assemble(document, blobs, platform=platform)


def index(
    *children: Image, docker: bool = False, annotations: dict[str, str] | None = None
) -> Image:
    """List `children`, each with its own platform and annotations."""
    entries = []
    for child in children:
        entry = descriptor(child.media_type, child.raw)
        if child.platform:
            entry["platform"] = _platform(child.platform)
        if child.annotations:
            entry["annotations"] = dict(child.annotations)
        entries.append(entry)
    document: Document = {
        "schemaVersion": 2,
        "mediaType": DOCKER_LIST if docker else OCI_INDEX,
        "manifests": entries,
    }
    if annotations:
        document["annotations"] = annotations
    return assemble(document, {}, children=children)


def docker_image(seed: str = "a") -> Image:
    """Make a Docker schema 2 image."""
    return image(seed, docker=True)


def two_platforms(seed: str = "a") -> Image:
    """Make an index of two images that share a layer."""
    shared = layer(f"{seed}/shared")
    return index(
        *(
            image(seed, layers=[shared, layer(f"{seed}/{name}")], platform=f"linux/{name}")
            for name in ("amd64", "arm64")
        )
    )


def docker_list(seed: str = "a") -> Image:
    """Make a Docker manifest list of two images."""
    return index(
        image(seed, docker=True, platform="linux/amd64"),
        image(seed, docker=True, platform="linux/arm/v7"),
        docker=True,
    )


def attested(seed: str = "a") -> Image:
    """Make an index with an attestation beside the image, as BuildKit does."""
    subject = image(seed)
    return index(subject, attestation_of(subject))


def attestation_of(subject: Image) -> Image:
    """Make what BuildKit lists beside an image: a manifest for no platform."""
    statement = _json({"_type": "https://in-toto.io/Statement/v0.1", "subject": subject.top})
    config = _json(
        {
            "architecture": "unknown",
            "os": "unknown",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(statement)]},
        }
    )
    document: Document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(OCI_CONFIG, config),
        "layers": [
            descriptor("application/vnd.in-toto+json", statement)
            | {"annotations": {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}}
        ],
    }
    return assemble(
        document,
        {digest_of(config): config, digest_of(statement): statement},
        platform="unknown/unknown",
        annotations={
            "vnd.docker.reference.digest": subject.top,
            "vnd.docker.reference.type": "attestation-manifest",
        },
    )


def artifact(
    seed: str = "a", *, files: list[bytes] | None = None, subject: Image | None = None
) -> Image:
    """Make an OCI artifact: an artifactType, the empty config, any bytes as layers."""
    files = [seed.encode() * 10] if files is None else files
    config = b"{}"
    document: Document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/vnd.example.thing",
        "config": descriptor(OCI_EMPTY, config),
        "layers": [descriptor("application/vnd.example.thing.file", one) for one in files],
    }
    if subject:
        document["subject"] = descriptor(subject.media_type, subject.raw)
    return assemble(document, {digest_of(one): one for one in [config, *files]})


def nested(seed: str = "a") -> Image:
    """Make an index that lists an index and an image."""
    return index(two_platforms(seed), image(f"{seed}/beside"))


def with_empty_blob(seed: str = "a") -> Image:
    """Make an artifact one of whose blobs has no bytes."""
    return artifact(seed, files=[b"", seed.encode()])


def with_sha512(seed: str = "a") -> Image:
    """Make an image whose layers are named by sha512."""
    return image(seed, algorithm="sha512")


def sharing(count: int, seed: str = "a", *, size: int = 2048) -> list[Image]:
    """Make `count` images that share two base layers and each add one of their own."""
    base = [layer(f"{seed}/base/{number}", size) for number in range(2)]
    return [
        image(f"{seed}/{number}", layers=[*base, layer(f"{seed}/own/{number}", size)])
        for number in range(count)
    ]


# Every kind, to parametrise a test with.
KINDS: Mapping[str, Callable[[str], Image]] = {
    "image": image,
    "docker": docker_image,
    "two-platforms": two_platforms,
    "docker-list": docker_list,
    "attested": attested,
    "artifact": artifact,
    "nested": nested,
    "empty-blob": with_empty_blob,
    "sha512": with_sha512,
}


def descriptor(media_type: str, data: bytes, algorithm: str = "sha256") -> Document:
    """Describe `data`."""
    return {"mediaType": media_type, "digest": digest_of(data, algorithm), "size": len(data)}


def labelled(child: Image, platform: str | None, **annotations: str) -> Image:
    """Change what an index will say of `child`."""
    return replace(child, platform=platform, annotations=annotations or None)


def assemble(
    document: Document,
    blobs: dict[str, bytes],
    *,
    children: tuple[Image, ...] = (),
    platform: str | None = None,
    annotations: dict[str, str] | None = None,
) -> Image:
    raw = json.dumps(document, indent=2).encode()
    manifests: dict[str, tuple[str, bytes]] = {}
    for child in children:
        manifests |= child.manifests
        blobs = blobs | dict(child.blobs)
    manifests[digest_of(raw)] = (document["mediaType"], raw)
    return Image(digest_of(raw), manifests, blobs, platform, annotations)


def _platform(text: str) -> dict[str, str]:
    return dict(zip(("os", "architecture", "variant"), text.split("/"), strict=False))


def _json(document: Document) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
