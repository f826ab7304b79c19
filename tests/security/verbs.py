"""One verb of a client at a time, by the way in which an attack reaches it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from imgmigrate.oci.manifest import Manifest
from imgmigrate.stores.base import Mounted
from tests.support import images
from tests.support.blobs import described

if TYPE_CHECKING:
    from imgmigrate.stores.registry.store import RegistryStore

__all__ = ["BLOB", "DATA", "WAYS", "Way", "ask"]

Way = Literal["tags", "head", "manifest", "exists", "blob", "upload", "mount", "put"]
WAYS: tuple[Way, ...] = ("tags", "head", "manifest", "exists", "blob", "upload", "mount", "put")
DATA = b"0123456789"
_IMAGE = images.image("put")
_MANIFEST = Manifest.parse(_IMAGE.manifests[_IMAGE.top][1], _IMAGE.manifests[_IMAGE.top][0])
BLOB = described(DATA)


async def ask(store: RegistryStore, way: Way) -> None:
    """Read from repository `a`, or write to `b`."""
    match way:
        case "tags":
            await store.list_tags("a")
        case "head":
            await store.head("a", "v1")
        case "manifest":
            await store.manifest("a", "v1")
        case "exists":
            await store.blob_exists("a", BLOB.digest)
        case "blob":
            async for _ in store.open_blob("a", BLOB):
                pass
        case "upload" | "mount":
            await _upload(store, "a" if way == "mount" else None)
        case "put":
            await store.put_manifest("b", "v1", _MANIFEST)


async def _upload(store: RegistryStore, mount_from: str | None) -> None:
    upload = await store.start_upload("b", BLOB, mount_from)
    if isinstance(upload, Mounted):
        return
    try:
        await upload.write(DATA)
    except BaseException:
        await upload.abort()
        raise
    await upload.commit()
