"""The same against Debian's docker-registry, with passwords and with TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.config.model import RegistryConfig, Tls
from imgmigrate.errors import AuthenticationError, NotFound, Rejected
from imgmigrate.oci.manifest import Descriptor, Manifest
from imgmigrate.oci.reference import Digest
from imgmigrate.stores.base import Mounted, OtherForm
from imgmigrate.stores.registry.quirks import Quirks
from imgmigrate.stores.registry.uploads.forms import Form, Forms
from imgmigrate.stores.registry.wire import remote
from tests.stores.registry.samples import foreign
from tests.support import registries
from tests.support.docker_registry import PASSWORD, USERNAME
from tests.support.images import KINDS, layer

if TYPE_CHECKING:
    from imgmigrate.stores.registry.store import RegistryStore
    from tests.conftest import StartRegistry
    from tests.stores.registry.conftest import Connect
    from tests.support.docker_registry import DockerRegistry
    from tests.support.images import Image

pytestmark = pytest.mark.integration


def described(data: bytes, digest: str) -> Descriptor:
    return Descriptor("application/octet-stream", Digest.parse(digest), len(data))


async def upload(store: RegistryStore, repo: str, digest: str, data: bytes) -> None:
    opened = await store.start_upload(repo, described(data, digest))
    assert not isinstance(opened, Mounted)
    if data:
        await opened.write(data)
    await opened.commit()


async def push(store: RegistryStore, repo: str, tag: str, image: Image) -> None:
    for digest, data in image.blobs.items():
        await upload(store, repo, digest, data)
    for digest, (media_type, raw) in image.manifests.items():
        manifest = Manifest.parse(raw, media_type)
        await store.put_manifest(repo, tag if digest == image.top else digest, manifest)


def settings(server: DockerRegistry, **options: object) -> RegistryConfig:
    tls = server.ca_file is not None
    values = {"plain_http": not tls, "tls": Tls(ca_file=server.ca_file), **options}
    return RegistryConfig.model_validate(values)


@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_image_comes_back_byte_for_byte(
    docker_registry: StartRegistry, connect: Connect, kind: str
) -> None:
    """What we push, an independent client reads; what it has, we read."""
    server = docker_registry()
    image = KINDS[kind]("real")
    store = connect(server.host, settings(server))
    await push(store, "team/a", "v1", image)
    registries.assert_holds(server.remote, "team/a", "v1", image)
    assert await store.list_tags("team/a") == ["v1"]
    assert (await store.manifest("team/a", "v1")).raw == image.raw
    for digest, data in image.blobs.items():
        offset = len(data) // 2
        stream = store.open_blob("team/a", described(data, digest), offset)
        assert b"".join([piece async for piece in stream]) == data[offset:]


async def test_tls_and_password(docker_registry: StartRegistry, connect: Connect) -> None:
    """With our own authority and Basic credentials, nothing of which reaches a message."""
    server = docker_registry(tls=True, htpasswd=True)
    image = KINDS["image"]("real")
    store = connect(server.host, settings(server, username=USERNAME, password=PASSWORD))
    await push(store, "a", "v1", image)
    registries.assert_holds(server.remote, "a", "v1", image)
    wrong = connect(server.host, settings(server, username=USERNAME, password="not this one"))
    with pytest.raises(AuthenticationError, match="were refused") as caught:
        await wrong.list_tags("a")
    assert "not this one" not in str(caught.value)
    with pytest.raises(AuthenticationError, match="docker login"):
        await connect(server.host, settings(server)).list_tags("a")


async def test_unknown_authority_names_the_setting(
    docker_registry: StartRegistry, connect: Connect
) -> None:
    """A certificate nobody vouches for is refused at once; `verify: false` accepts it."""
    server = docker_registry(tls=True)
    with pytest.raises(Rejected, match=r"not trusted.*tls\.ca_file"):
        await connect(server.host, RegistryConfig()).list_tags("a")
    trusting = connect(server.host, RegistryConfig(tls=Tls(verify=False)))
    with pytest.raises(NotFound):
        await trusting.list_tags("a")


async def test_blob_is_mounted_and_uploaded_once(
    docker_registry: StartRegistry, connect: Connect
) -> None:
    """A mount moves no byte; where it cannot be, the session that it opened is used."""
    server = docker_registry()
    store = connect(server.host, settings(server))
    data = layer("real", 1_000_000)
    blob = described(data, Digest.of(data))
    await upload(store, "a", blob.digest, data)
    assert await store.start_upload("b", blob, "a") == Mounted()
    opened = await store.start_upload("c", blob, "nowhere")
    assert not isinstance(opened, Mounted)
    await opened.write(data)
    await opened.commit()
    assert await store.blob_exists("b", blob.digest)
    assert server.uploads() == {blob.digest: 2}
    assert server.mounts() == {blob.digest: 1}


async def test_aborted_upload_leaves_nothing(
    docker_registry: StartRegistry, connect: Connect
) -> None:
    """Before and after the first byte."""
    server = docker_registry()
    store = connect(server.host, settings(server))
    data = layer("real", 3_000_000)
    blob = described(data, Digest.of(data))
    for pieces in ([], [data[:1_000_000]]):
        opened = await store.start_upload("a", blob)
        assert not isinstance(opened, Mounted)
        for piece in pieces:
            await opened.write(piece)
        await opened.abort()
    assert not await store.blob_exists("a", blob.digest)
    await upload(store, "a", blob.digest, data)
    assert await store.blob_exists("a", blob.digest)


async def test_wrong_bytes_and_missing_blobs_are_rejected(
    docker_registry: StartRegistry, connect: Connect
) -> None:
    """With the registry's own codes."""
    server = docker_registry()
    store = connect(server.host, settings(server))
    data = layer("real")
    for kind in (OtherForm, Rejected):  # whole by PUT, then by PATCH
        with pytest.raises(kind, match="DIGEST_INVALID"):
            await upload(store, "a", Digest.of(data), bytes(len(data)))
    image = KINDS["image"]("real")
    with pytest.raises(Rejected) as caught:
        await store.put_manifest("a", "v1", Manifest.parse(image.raw, image.media_type))
    assert caught.value.code == "MANIFEST_BLOB_UNKNOWN"
    assert await store.head("a", "v1") is None


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("size", [0, 1, 100_000, 250_000])
async def test_every_form_of_upload_is_taken(
    docker_registry: StartRegistry,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    form: Form,
    size: int,
) -> None:
    """In one PUT, in one PATCH, and in chunks of 100,000 bytes."""
    if form is Form.CHUNKS:
        monkeypatch.setattr(remote, "quirks_of", lambda _: Quirks(largest_body=100_000))
    if form is Form.PATCH:
        monkeypatch.setattr(Forms, "of", lambda *_: form)
    server = docker_registry()
    data = layer("real", 300_000)[:size]
    await upload(connect(server.host, settings(server)), "a", Digest.of(data), data)
    assert registries.get_blob(server.remote, "a", Digest.of(data)) == data


async def test_foreign_layers_are_refused_for_good(
    docker_registry: StartRegistry, connect: Connect
) -> None:
    """The registry says 500, which would be tried again for anything else."""
    server = docker_registry()
    store = connect(server.host, settings(server))
    config = next(iter(foreign().blobs))
    for digest, data in KINDS["image"]("a").blobs.items():
        if digest == config.digest:
            await upload(store, "a", digest, data)
    with pytest.raises(Rejected, match=r"500.*validation\.manifests\.urls\.allow"):
        await store.put_manifest("a", "v1", foreign())
