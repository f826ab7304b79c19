"""What the questions of a write test share: a repository of our own, and what was put there.

Everything that is pushed has random bytes in it, so every digest is ours alone, and every tag has
a random name: what is deleted in the end can be nobody else's.
"""

from __future__ import annotations

import gzip
import io
import json
import secrets
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from imgmigrate.errors import RateLimited, StoreError, TransientError
from imgmigrate.oci.manifest import ACCEPT, OCI_INDEX, OCI_MANIFEST, Descriptor
from imgmigrate.oci.reference import Digest
from imgmigrate.stores.base import Mounted, OtherForm
from imgmigrate.stores.registry import manifests
from imgmigrate.stores.registry.auth.access import Access
from imgmigrate.stores.registry.uploads.start import Uploads
from imgmigrate.stores.registry.wire.calls import Call

if TYPE_CHECKING:
    from imgmigrate.stores.registry.http.answer import Answer
    from imgmigrate.stores.registry.wire.remote import Remote

__all__ = ["ATTEMPTS", "Blob", "Ground", "image", "index"]

# Somebody waits for the answer, and can ask again.
ATTEMPTS = 2
# Statuses of servers that are out of order, not of those that refuse.
_OUT_OF_ORDER = frozenset({429, 502, 503, 504})
# Enough for a part in its middle, and for several pieces.
LAYER_SIZE = 4096
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_ANNOTATION = "imgmigrate.write-test"


class Blob(Struct, frozen=True):
    """Bytes, and what a manifest says of them."""

    data: bytes
    descriptor: Descriptor

    @classmethod
    def of(cls, data: bytes, media_type: str) -> Blob:
        """Describe bytes."""
        return cls(data, Descriptor(media_type, Digest.of(data), len(data)))

    @classmethod
    def random(cls, size: int = LAYER_SIZE, media_type: str = _LAYER) -> Blob:
        """Make bytes that nobody has."""
        return cls.of(secrets.token_bytes(size), media_type)


class Ground:
    """One repository of a registry, `repo`; `sibling` is a second one, if there can be one.

    Owns what it has put: `tags` and `digests`, in their order. Whatever is put is noted before it
    is sent, since who is interrupted does not know whether it arrived.
    """

    def __init__(self, remote: Remote, repo: str) -> None:
        self.remote, self.repo = remote, repo
        self._uploads = Uploads(remote)
        self.sibling: str | None = None
        self.tags: dict[str, None] = {}
        self.digests: dict[Digest, None] = {}
        self.blobs = 0

    def call(
        self,
        method: str,
        target: str,
        *,
        accepts: frozenset[int] = frozenset({200}),
        access: Access | None = None,
        **more: Any,
    ) -> Call:
        """Lay out a request, with the right to write unless another is given."""
        path = target if target.startswith(("/v2/_", "http")) else f"/v2/{self.repo}/{target}"
        subject = f"{self.remote.host}/{self.repo}"
        return Call(method, path, subject, access or Access(self.repo, push=True), accepts, **more)

    async def ask(self, call: Call) -> Answer | StoreError:
        """Send; a refusal is an answer too. StoreError if the registry is out of order."""
        try:
            return await self.remote.call(call, attempts=ATTEMPTS)
        except RateLimited:
            raise
        except StoreError as error:
            is_no_answer = isinstance(error, TransientError) and error.status is None
            if is_no_answer or error.status in _OUT_OF_ORDER:
                raise
            return error

    def new_tag(self) -> str:
        """Name a tag that is ours."""
        return f"imgmigrate-{secrets.token_hex(6)}"

    async def push(self, blob: Blob) -> None:
        """Upload a blob as images are uploaded; a way that is refused leads to another."""
        self.blobs += 1
        while True:
            try:
                return await self._push_once(blob)
            except OtherForm:
                continue

    async def _push_once(self, blob: Blob) -> None:
        upload = await self._uploads.start(self.repo, blob.descriptor)
        if isinstance(upload, Mounted):
            return
        try:
            await upload.write(blob.data)
            await upload.commit()
        except BaseException:
            await upload.abort()
            raise

    async def push_image(self) -> tuple[Blob, Blob]:
        """Upload the blobs of a new image: its config and its layer."""
        config, layer = _blobs()
        for blob in (config, layer):
            await self.push(blob)
        return config, layer

    async def put(self, manifest: Blob, ref: str | None = None) -> Answer | StoreError:
        """Put a manifest under a tag or else its digest: whatever the registry says is an answer.

        It is noted before it is sent.
        """
        digest = manifest.descriptor.digest
        if ref is not None:
            self.tags[ref] = None
        self.digests[digest] = None
        call = self.call(
            "PUT",
            f"manifests/{ref or digest}",
            accepts=frozenset({200, 201, 202}),
            headers={"Content-Type": manifest.descriptor.media_type},
            data=manifest.data,
        )
        return await self.ask(call)

    async def puts(self, manifest: Blob, ref: str | None = None) -> bool:
        """Put a manifest, and tell whether it is there then."""
        answer = await self.put(manifest, ref)
        digest = manifest.descriptor.digest
        if isinstance(answer, StoreError):
            return False
        return await self.shows(ref or digest) == digest

    async def shows(self, ref: str) -> Digest | None:
        """The digest that a tag shows now, or the digest itself; None if it is not there."""
        found = await manifests.look(self.remote, self.repo, ref, to_write=True)
        return found.digest if found is not None else None

    def read(self, method: str, ref: str) -> Call:
        """Ask for a manifest, with every refusal as an answer."""
        accepts = frozenset({200, *range(400, 500)}) - {401, 429}
        return replace(
            self.call(method, f"manifests/{ref}", accepts=accepts, access=Access(self.repo)),
            headers={"Accept": ACCEPT},
        )


def image(config: Blob, layer: Blob, *, subject: Descriptor | None = None) -> Blob:
    """Lay out the manifest of an image, unlike any before."""
    document = {"config": _entry(config.descriptor), "layers": [_entry(layer.descriptor)]}
    if subject is not None:
        document["subject"] = _entry(subject)
    return _manifest(document, OCI_MANIFEST)


def index(*children: Descriptor) -> Blob:
    """Lay out an index of images, unlike any before."""
    return _manifest({"manifests": [_entry(child) for child in children]}, OCI_INDEX)


def _manifest(document: dict[str, Any], media_type: str) -> Blob:
    only = {"annotations": {_ANNOTATION: secrets.token_hex(8)}}
    whole = {"schemaVersion": 2, "mediaType": media_type, **document, **only}
    return Blob.of(json.dumps(whole).encode(), media_type)


def _entry(descriptor: Descriptor) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size,
    }
    if (platform := descriptor.platform) is not None:
        entry["platform"] = {"os": platform.os, "architecture": platform.architecture}
    return entry


def _blobs() -> tuple[Blob, Blob]:
    """Make the blobs of an image of one small file: some registries look into layers."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("imgmigrate-write-test")
        entry.size = LAYER_SIZE
        archive.addfile(entry, io.BytesIO(secrets.token_bytes(LAYER_SIZE)))
    unpacked = buffer.getvalue()
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(unpacked))]},
    }
    layer = Blob.of(gzip.compress(unpacked), _LAYER)
    return Blob.of(json.dumps(document).encode(), _CONFIG), layer
