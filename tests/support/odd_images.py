"""Build what is no ordinary image: charts, models, caches, odd layers. Beside `images.py`."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from tests.support.images import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    KINDS,
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Document,
    Image,
    assemble,
    descriptor,
    digest_of,
    image,
    layer,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FOREIGN_LAYER", "ODD", "foreign", "oci_artifact", "schema_1"]

OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
FOREIGN_TYPE = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
FOREIGN_LAYER = layer("windows")
_EMPTY = b"{}"


def _made(
    config: tuple[str, bytes],
    *layers: tuple[str, bytes],
    media_type: str = OCI_MANIFEST,
    more: Mapping[str, Any] | None = None,
    entries: Mapping[str, Any] | None = None,
) -> Image:
    """Make a manifest; `more` are fields of its own, `entries` of each of its layers."""
    document: Document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": descriptor(*config),
        "layers": [descriptor(*each) | dict(entries or {}) for each in layers],
        **(more or {}),
    }
    return assemble(document, {digest_of(data): data for _, data in (config, *layers)})


def _chart() -> Image:
    config = "application/vnd.cncf.helm.config.v1+json", b'{"name":"app","version":"1.0.0"}'
    chart = "application/vnd.cncf.helm.chart.content.v1.tar+gzip", layer("chart")
    provenance = "application/vnd.cncf.helm.chart.provenance.v1.prov", b"-----BEGIN PGP"
    more = {"annotations": {"org.opencontainers.image.title": "app"}}
    return _made(config, chart, provenance, more=more)


def _wasm() -> Image:
    config = "application/vnd.wasm.config.v0+json", b'{"os":"wasip1","architecture":"wasm"}'
    return _made(config, ("application/wasm", b"\0asm\1\0\0\0"))


def _ollama() -> Image:
    parts = [
        ("application/vnd.ollama.image.model", b"GGUF" * 100),
        ("application/vnd.ollama.image.params", b'{"stop":["x"]}'),
    ]
    return _made((DOCKER_CONFIG, b'{"model_format":"gguf"}'), *parts, media_type=DOCKER_MANIFEST)


def _model() -> Image:
    more = {"artifactType": "application/vnd.cncf.model.manifest.v1+json"}
    config = "application/vnd.cncf.model.config.v1+json", b'{"descriptor":{}}'
    return _made(config, ("application/vnd.cncf.model.weight.v1.raw", b"weights"), more=more)


def _buildkit_cache() -> Image:
    """An index that lists layers and a config, as `--cache-to type=registry` writes it."""
    parts = [
        (OCI_LAYER, layer("cached")),
        ("application/vnd.buildkit.cacheconfig.v0", b'{"layers":[],"records":[]}'),
    ]
    document: Document = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [descriptor(*each) for each in parts],
    }
    return assemble(document, {digest_of(data): data for _, data in parts})


def _buildkit_image_cache() -> Image:
    """The same as a manifest (`image-manifest=true`)."""
    config = "application/vnd.buildkit.cacheconfig.v0", b'{"layers":[]}'
    return _made(config, (OCI_LAYER, layer("cached")))


def _embedded() -> Image:
    """Descriptors that hold their bytes besides naming them (image-spec `data`)."""
    data = b"small"
    more = {"data": base64.b64encode(data).decode()}
    return _made((OCI_EMPTY, _EMPTY), ("application/vnd.example", data), entries=more)


def _estargz() -> Image:
    more = {
        "annotations": {
            "containerd.io/snapshot/stargz/toc.digest": digest_of(b"toc"),
            "io.containers.estargz.uncompressed-size": "2048",
        }
    }
    return _made((OCI_CONFIG, _EMPTY), (OCI_LAYER, layer("estargz")), entries=more)


def _sha512_child() -> Image:
    """An index that names its image by sha512."""
    child = image("512")
    digest = digest_of(child.raw, "sha512")
    entry = descriptor(child.media_type, child.raw, "sha512")
    document: Document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
    named = Image(digest, {digest: (child.media_type, child.raw)}, child.blobs)
    return assemble(document, {}, children=(named,))


def oci_artifact() -> Image:
    """The manifest of artifacts that OCI 1.1 dropped again."""
    data = b"thing"
    document: Document = {
        "mediaType": OCI_ARTIFACT,
        "artifactType": "application/vnd.example",
        "blobs": [descriptor("application/vnd.example.file", data)],
    }
    return assemble(document, {digest_of(data): data})


def foreign() -> Image:
    """An image of Windows: its base is not to be distributed, and is not among its blobs."""
    own = layer("own")
    config = b'{"os":"windows","architecture":"amd64"}'
    base = descriptor(FOREIGN_TYPE, FOREIGN_LAYER) | {"urls": ["https://mcr.example/base"]}
    document: Document = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": descriptor(DOCKER_CONFIG, config),
        "layers": [base, descriptor(DOCKER_LAYER, own)],
    }
    return assemble(document, {digest_of(data): data for data in (config, own)})


def schema_1() -> Image:
    """What docker pushed until 2016."""
    media_type = "application/vnd.docker.distribution.manifest.v1+json"
    document: Document = {
        "schemaVersion": 1,
        "mediaType": media_type,
        "name": "app",
        "fsLayers": [],
        "history": [],
    }
    return assemble(document, {})


# Every one that has to arrive byte for byte.
ODD: Mapping[str, Image] = {
    "chart": _chart(),
    "wasm": _wasm(),
    "model-ollama": _ollama(),
    "model-cncf": _model(),
    "buildkit-cache": _buildkit_cache(),
    "buildkit-cache-manifest": _buildkit_image_cache(),
    "empty-config": _made((OCI_EMPTY, _EMPTY), (OCI_EMPTY, _EMPTY)),
    "no-layers": _made((OCI_CONFIG, _EMPTY)),
    "embedded-data": _embedded(),
    "zstd": _made(
        (OCI_CONFIG, _EMPTY),
        ("application/vnd.oci.image.layer.v1.tar+zstd", b"\x28\xb5\x2f\xfd" + b"z" * 99),
    ),
    "estargz": _estargz(),
    "unknown-fields": _made((OCI_CONFIG, _EMPTY), more={"x-odd": {"deep": [1, 2.5, None, "ü"]}}),
    "sha512-child": _sha512_child(),
    "foreign": foreign(),
    "named-twice": image("twice", layers=[layer("twice"), layer("twice")]),
    **{kind: make("odd") for kind, make in KINDS.items()},
}
