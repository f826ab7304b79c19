"""Move an image into a layout through the store, the way the engine does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.oci.manifest import Descriptor, Manifest
from imgmigrate.oci.reference import Digest
from imgmigrate.stores.base import Mounted

if TYPE_CHECKING:
    from imgmigrate.stores.layout.store import LayoutStore
    from tests.support.images import Image

# What a layout is made of before it holds anything, and the lock of whoever writes to it.
EMPTY = [".imgmigrate.lock", "oci-layout"]


async def put_blob(store: LayoutStore, repo: str, data: bytes, digest: str | None = None) -> None:
    """Upload a blob in two pieces."""
    found = Digest.parse(digest) if digest else Digest.of(data)
    descriptor = Descriptor("application/octet-stream", found, len(data))
    upload = await store.start_upload(repo, descriptor)
    assert not isinstance(upload, Mounted)
    for piece in (data[: len(data) // 2], data[len(data) // 2 :]):
        await upload.write(piece)
    await upload.commit()


async def put_image(store: LayoutStore, repo: str, tag: str, image: Image) -> None:
    """Upload blobs, then children, then the top under its tag."""
    await put_blobs(store, repo, image)
    for digest, (media_type, raw) in image.manifests.items():
        ref = tag if digest == image.top else digest
        await store.put_manifest(repo, ref, Manifest.parse(raw, media_type))


async def put_blobs(store: LayoutStore, repo: str, image: Image) -> None:
    """Upload what an image's manifests refer to, and none of them."""
    for digest, data in image.blobs.items():
        await put_blob(store, repo, data, digest)


async def read_blob(
    store: LayoutStore, repo: str, descriptor: Descriptor, offset: int = 0
) -> bytes:
    """Read a blob to its end."""
    return b"".join([piece async for piece in store.open_blob(repo, descriptor, offset)])
