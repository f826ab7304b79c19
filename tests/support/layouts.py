"""Write and read OCI image layouts as the specification says, independent of our own store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support.images import MANIFEST_TYPES, OCI_INDEX, Document, Image, digest_of, links
from tests.support.registries import assert_equal

if TYPE_CHECKING:
    from pathlib import Path

REF_NAME = "org.opencontainers.image.ref.name"


def write_layout(path: Path, tag: str, image: Image) -> None:
    """Add an image to a layout directory, which is made if need be; a tag is moved."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    for digest, data in image.blobs.items():
        _write_blob(path, digest, data)
    for digest, (_, raw) in image.manifests.items():
        _write_blob(path, digest, raw)
    entries = [entry for entry in _entries(path) if _tag(entry) != tag]
    entries.append(
        {
            "mediaType": image.media_type,
            "digest": image.top,
            "size": len(image.raw),
            "annotations": {REF_NAME: tag},
        }
    )
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    (path / "index.json").write_text(json.dumps(document))


def layout_tags(path: Path) -> dict[str, str]:
    """Map the tags of a layout to their digests."""
    return {tag: entry["digest"] for entry in _entries(path) if (tag := _tag(entry))}


def read_layout(path: Path, tag: str) -> Image:
    """Read an image with every child and blob; AssertionError if anything is missing or wrong."""
    manifests: dict[str, tuple[str, bytes]] = {}
    blobs: dict[str, bytes] = {}

    def walk(digest: str, media_type: str) -> None:
        raw = read_blob(path, digest)
        assert media_type in MANIFEST_TYPES, media_type
        children, leaves = links(media_type, raw)
        if children:
            for entry in json.loads(raw)["manifests"]:
                walk(entry["digest"], entry["mediaType"])
        blobs.update({leaf: read_blob(path, leaf) for leaf in leaves})
        manifests[digest] = (media_type, raw)

    assert json.loads((path / "oci-layout").read_bytes())["imageLayoutVersion"] == "1.0.0"
    [top] = [entry for entry in _entries(path) if _tag(entry) == tag]
    walk(top["digest"], top["mediaType"])
    return Image(top["digest"], manifests, blobs)


def read_blob(path: Path, digest: str) -> bytes:
    """Read and verify one blob of a layout."""
    algorithm, _, hexadecimal = digest.partition(":")
    data = (path / "blobs" / algorithm / hexadecimal).read_bytes()
    assert digest_of(data, algorithm) == digest, f"{path}: {digest} holds other bytes"
    return data


def assert_layout_holds(path: Path, tag: str, image: Image) -> None:
    """Check that a layout holds exactly this image under `tag`, byte for byte."""
    assert_equal(read_layout(path, tag), image)


def _write_blob(path: Path, digest: str, data: bytes) -> None:
    algorithm, _, hexadecimal = digest.partition(":")
    folder = path / "blobs" / algorithm
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hexadecimal).write_bytes(data)


def _entries(path: Path) -> list[Document]:
    file = path / "index.json"
    entries = json.loads(file.read_bytes())["manifests"] if file.exists() else []
    assert isinstance(entries, list)
    return entries


def _tag(entry: Document) -> str | None:
    name = entry.get("annotations", {}).get(REF_NAME)
    assert name is None or isinstance(name, str)
    return name
