"""An upload that breaks goes on at the offset that the registry confirms, where it keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import TransientError
from imgmigrate.oci.reference import Digest
from imgmigrate.stores.base import OtherForm
from imgmigrate.stores.registry.quirks import Quirks
from imgmigrate.stores.registry.uploads import start as uploads
from imgmigrate.stores.registry.uploads.start import ResumedUpload, WholeUpload
from imgmigrate.stores.registry.wire import remote
from tests.fakes.registry import Distribution2, FakeRegistry
from tests.support.blobs import described
from tests.support.images import layer

if TYPE_CHECKING:
    from imgmigrate.stores.base import Upload
    from imgmigrate.stores.registry.store import RegistryStore
    from tests.stores.registry.conftest import Connect

PIECE = 300_000
DATA = layer("resumed", 5 * PIECE)[: 4 * PIECE + 17]
CUT = 400_000


@pytest.fixture(autouse=True)
def _keeping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every registry of these tests is known to keep sessions, of small blobs too."""
    monkeypatch.setattr(remote, "quirks_of", lambda _: Quirks(keeps_uploads=True))
    monkeypatch.setattr(uploads, "KEPT_FROM", 1)


async def begin(store: RegistryStore, data: bytes = DATA) -> Upload:
    upload = await store.start_upload("a", described(data))
    assert isinstance(upload, (WholeUpload, ResumedUpload))
    return upload


async def send(upload: Upload, data: bytes = DATA) -> None:
    for start in range(0, len(data), PIECE):
        await upload.write(data[start : start + PIECE])
    await upload.commit()


async def broken(registry: FakeRegistry, store: RegistryStore, *, at: int = CUT) -> None:
    """Begin an upload that is cut after so many bytes."""
    registry.cut_upload("/uploads/[0-9a-f]", at=at)
    upload = await begin(store)
    with pytest.raises(TransientError):
        await send(upload)
    await upload.abort()


def held(registry: FakeRegistry) -> int:
    """How far the only open session is."""
    (session,) = registry.storage.sessions.values()
    return len(session.data)


async def test_upload_goes_on_where_it_broke(fake_registry: FakeRegistry, connect: Connect) -> None:
    """Only what is missing is sent, whoever hands over everything again."""
    store = connect(fake_registry.host)
    await broken(fake_registry, store)
    offset = held(fake_registry)
    assert 0 < offset < len(DATA)
    upload = await begin(store)
    assert isinstance(upload, ResumedUpload)
    assert upload.held == offset
    await send(upload)
    assert fake_registry.blobs[Digest.of(DATA)] == DATA
    *_, last = fake_registry.matching("PATCH", "")
    assert last.headers["content-range"] == f"{offset}-{len(DATA) - 1}"
    assert last.received == len(DATA) - offset
    assert fake_registry.count("POST", "/uploads/") == 1


async def test_upload_goes_on_as_often_as_it_breaks(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """Each time from where it has come to."""
    store = connect(fake_registry.host)
    for _ in range(3):
        await broken(fake_registry, store, at=200_000)
    await send(await begin(store))
    assert fake_registry.blobs[Digest.of(DATA)] == DATA
    assert fake_registry.count("POST", "/uploads/") == 1


async def test_upload_that_lacks_only_its_end_is_ended(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """No byte is sent where the registry has all of them."""
    store = connect(fake_registry.host)
    fake_registry.drop("PUT", "/uploads/", times=None)
    upload = await begin(store)
    with pytest.raises(TransientError):
        await send(upload)
    await upload.abort()
    fake_registry.clear()
    await send(await begin(store))
    assert fake_registry.blobs[Digest.of(DATA)] == DATA
    assert fake_registry.count("PATCH", "/uploads/") == 1


async def test_session_that_is_gone_is_asked_for_once(connect: Connect) -> None:
    """Distribution 2.8 loses what broke in a request: it is begun anew, whatever was believed."""
    async with Distribution2() as registry:
        store = connect(registry.host)
        await broken(registry, store)
        await send(await begin(store))
        assert registry.blobs[Digest.of(DATA)] == DATA
        assert registry.count("GET", "/uploads/") == 1
        assert registry.count("POST", "/uploads/") == 2


@pytest.mark.parametrize("said", ["0-99999999", "bytes=0-400000", "0-0", "nonsense", None])
async def test_offset_that_cannot_be_is_not_gone_on_at(
    fake_registry: FakeRegistry, connect: Connect, said: str | None
) -> None:
    """It is the registry's word, and not believed blindly."""
    store = connect(fake_registry.host)
    await broken(fake_registry, store)
    fake_registry.rewrite("GET", "/uploads/", {"Range": said})
    upload = await begin(store)
    assert isinstance(upload, WholeUpload)
    await send(upload)
    assert fake_registry.blobs[Digest.of(DATA)] == DATA


async def test_registry_that_holds_other_bytes_finds_out(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """Its check of the digest is the check; then the blob is sent whole, and not so again."""
    store = connect(fake_registry.host)
    await broken(fake_registry, store)
    (session,) = fake_registry.storage.sessions.values()
    session.data[:3] = b"???"
    with pytest.raises(OtherForm):
        await send(await begin(store))
    assert Digest.of(DATA) not in fake_registry.blobs
    upload = await begin(store)
    assert isinstance(upload, WholeUpload)
    await send(upload)
    assert fake_registry.blobs[Digest.of(DATA)] == DATA


async def test_registry_that_takes_no_patch_is_not_asked_for_ever(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """The form that a session is kept for may be refused: then it is the usual one."""
    fake_registry.fail("PATCH", "/uploads/", status=405)
    store = connect(fake_registry.host)
    with pytest.raises(OtherForm):
        await send(await begin(store))
    await send(await begin(store))
    assert fake_registry.blobs[Digest.of(DATA)] == DATA


async def test_mount_that_is_refused_does_not_lose_what_was_sent(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """The session that a mount opens instead is cancelled."""
    store = connect(fake_registry.host)
    await broken(fake_registry, store)
    upload = await store.start_upload("a", described(DATA), mount_from="b")
    assert isinstance(upload, ResumedUpload)
    await send(upload)
    assert fake_registry.blobs[Digest.of(DATA)] == DATA
    assert not fake_registry.storage.sessions


async def test_upload_that_is_done_or_never_began_is_not_kept(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """What is left of it would only be asked about in vain."""
    store = connect(fake_registry.host)
    upload = await begin(store)
    await upload.abort()
    await send(await begin(store))
    await begin(store)
    assert fake_registry.count("GET", "/uploads/") == 0
