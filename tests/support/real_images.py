"""Build images with real tools: umoci layers from a Debian package, skopeo for schema 2.

Indexes and artifacts, which neither tool can make, are composed around those images.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.support import images
from tests.support.layouts import read_layout
from tests.support.tools import run, skopeo_copy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.support.images import Image

# Installed with the tools the tests need anyway, and never the same in two packages.
DOCUMENTS = tuple(
    Path(f"/usr/share/doc/{package}/copyright") for package in ("umoci", "skopeo", "time")
)


def umoci_image(
    layout: Path,
    tag: str,
    documents: Iterable[Path] = DOCUMENTS,
    *,
    architecture: str = "amd64",
) -> Image:
    """Make an image in a layout, one layer a document, and read it back."""
    reference = f"{layout}:{tag}"
    if not layout.exists():
        run("umoci", "init", "--layout", layout)
    run("umoci", "new", "--image", reference)
    run(
        *("umoci", "config", "--image", reference, "--no-history"),
        *("--architecture", architecture, "--os", "linux"),
    )
    for document in documents:
        target = f"/usr/share/doc/{document.parent.name}"
        run("umoci", "insert", "--rootless", "--image", reference, document, target)
    image = read_layout(layout, tag)
    return images.labelled(image, f"linux/{architecture}")


def push_schema2(layout: Path, tag: str, host: str, repo: str, pushed_tag: str) -> None:
    """Convert a layout's image to Docker schema 2 and push it, as skopeo does."""
    target = f"docker://{host}/{repo}:{pushed_tag}"
    skopeo_copy(f"oci:{layout}:{tag}", target, "--format", "v2s2")


def real_images(folder: Path) -> Mapping[str, Image]:
    """Make one image of each kind around layers by umoci; `folder` must be empty.

    Docker schema 2 is missing: it is made by pushing (`push_schema2`), from the tag `amd64`
    of the layout `folder/umoci`.
    """
    layout = folder / "umoci"
    amd64 = umoci_image(layout, "amd64")
    arm64 = umoci_image(layout, "arm64", DOCUMENTS[:2], architecture="arm64")
    both = images.index(amd64, arm64)
    signature = images.artifact("signature", files=[DOCUMENTS[0].read_bytes()], subject=amd64)
    return {
        "image": amd64,
        "two-platforms": both,
        "attested": images.index(amd64, images.attestation_of(amd64)),
        "artifact": signature,
        "nested": images.index(both, arm64),
    }
