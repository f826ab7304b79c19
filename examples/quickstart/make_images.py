"""Write the quick start's sample images: three small OCI layouts, a few KB in all.

Stand-alone, standard library only, and deterministic: the same machine always gets the same
digests. The images are for this machine's architecture, so that other tools can open them.

    python3 make_images.py [FOLDER]        default: the folder `images` beside this file
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import struct
import sys
import tarfile
import zlib
from pathlib import Path
from typing import Any

OCI = "application/vnd.oci.image"
REF_NAME = "org.opencontainers.image.ref.name"

# What uname calls a machine -> what images call it.
ARCHITECTURES = {
    "x86_64": "amd64",
    "amd64": "amd64",
    "aarch64": "arm64",
    "arm64": "arm64",
    "armv7l": "arm",
    "armv6l": "arm",
    "i386": "386",
    "i686": "386",
    "loongarch64": "loong64",
}

Document = dict[str, Any]


def main() -> None:
    """Write the three layouts."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images"
    host = ARCHITECTURES.get(platform.machine().lower(), platform.machine().lower())
    other = "arm64" if host != "arm64" else "amd64"

    web = Layout(folder / "web")
    base = {"etc/os-release": "NAME=quickstart\n"}
    for version in ("1.0", "1.1"):
        page = {"srv/index.html": f"<h1>Hello from web {version}</h1>\n"}
        web.tag(version, web.image(host, base, page))
    web.tag("latest", web.image(host, base, page))
    web.close()

    api = Layout(folder / "api")
    for version in ("v1", "v2"):
        images = {
            name: api.image(name, base, {"srv/api": f"api {version} for {name}\n"})
            for name in (host, other)
        }
        api.tag(version, api.index(images))
    api.close()

    tools = Layout(folder / "tools")
    tools.tag("stable", tools.image(host, {"usr/bin/hello": "#!/bin/sh\necho hello\n"}))
    tools.close()


class Layout:
    """An OCI image layout that is being written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[Document] = []
        (path / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)

    def image(self, architecture: str, *layers: dict[str, str]) -> Document:
        """Add an image; a layer maps paths to texts."""
        archives = [_tar(files) for files in layers]
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Cmd": ["/bin/true"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(each) for each in archives]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": self.blob(f"{OCI}.config.v1+json", _json(config)),
            "layers": [self.blob(f"{OCI}.layer.v1.tar+gzip", _gzip(each)) for each in archives],
        }
        return self.blob(f"{OCI}.manifest.v1+json", _json(manifest))

    def index(self, images: dict[str, Document]) -> Document:
        """Add an index of one image for each architecture."""
        document = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.index.v1+json",
            "manifests": [
                image | {"platform": {"architecture": architecture, "os": "linux"}}
                for architecture, image in images.items()
            ],
        }
        return self.blob(f"{OCI}.index.v1+json", _json(document))

    def tag(self, name: str, descriptor: Document) -> None:
        """Name an image or index."""
        self.entries.append(descriptor | {"annotations": {REF_NAME: name}})

    def blob(self, media_type: str, data: bytes) -> Document:
        """Write a blob and describe it."""
        digest = _digest(data)
        (self.path / "blobs" / "sha256" / digest.removeprefix("sha256:")).write_bytes(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def close(self) -> None:
        """Write what makes the folder a layout."""
        index = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.index.v1+json",
            "manifests": self.entries,
        }
        (self.path / "index.json").write_bytes(_json(index))
        (self.path / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))


def _tar(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, text in files.items():
            data = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _gzip(data: bytes) -> bytes:
    # gzip.compress writes a header that differs between Python versions.
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflate.compress(data) + deflate.flush()
    header = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
    return header + body + struct.pack("<LL", zlib.crc32(data), len(data))


def _json(document: Document) -> bytes:
    return json.dumps(document, indent=2).encode() + b"\n"


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


if __name__ == "__main__":
    main()
