"""The form in which a registry takes blobs is learnt once, and the blob is sent again in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import Rejected, StoreError
from imgmigrate.oci.manifest import Descriptor
from imgmigrate.oci.reference import Digest
from imgmigrate.stores.base import Mounted, OtherForm
from imgmigrate.stores.registry.quirks import Quirks, quirks_of
from imgmigrate.stores.registry.uploads.forms import BODIES, CHUNK, LARGEST_CHUNK, MIB, Form, Forms
from tests.support.blobs import described
from tests.support.images import layer

if TYPE_CHECKING:
    from imgmigrate.stores.registry.store import RegistryStore
    from tests.fakes.registry import FakeRegistry
    from tests.stores.registry.conftest import Connect

DATA = layer("form", 2 * MIB)[: 2 * MIB]
BLOB = described(DATA)


def refusal(status: int, code: str | None = None) -> StoreError:
    return Rejected("r/a", "refused", status=status, code=code)


async def put(store: RegistryStore, data: bytes = DATA, *, most: int = 6) -> int:
    """Upload as the engine does, and count the attempts."""
    blob = described(data)
    for attempt in range(most):
        upload = await store.start_upload("a", blob)
        assert not isinstance(upload, Mounted)
        try:
            if data:
                await upload.write(data)
            await upload.commit()
        except OtherForm:
            await upload.abort()
            continue
        return attempt + 1
    raise AssertionError


@pytest.mark.parametrize("status", [400, 404, 405, 411, 415, 422, 501])
def test_refused_put_is_followed_by_a_patch(status: int) -> None:
    """Whatever says that the way is not offered teaches the other way, once."""
    forms = Forms(Quirks())
    assert forms.of(10) is Form.PUT
    assert forms.teaches(refusal(status), Form.PUT, 10, BLOB)
    assert forms.of(10) is Form.PATCH
    assert not forms.teaches(refusal(status), Form.PATCH, 10, BLOB)
    # Refused both ways: it was the blob.
    assert forms.of(10) is Form.PUT
    assert not forms.teaches(refusal(status), Form.PUT, 10, BLOB)


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "NAME_UNKNOWN"), (400, "NAME_INVALID"), (403, "DENIED"), (409, None), (500, None)],
)
def test_refusal_of_something_else_teaches_nothing(status: int, code: str | None) -> None:
    """A missing repository or right is no question of form."""
    forms = Forms(Quirks())
    assert not forms.teaches(refusal(status, code), Form.PUT, 10, BLOB)
    assert forms.of(10) is Form.PUT


def test_form_that_has_worked_is_kept() -> None:
    """A stored blob proves the form for all that are no larger; a chunked one proves nothing."""
    forms = Forms(Quirks())
    forms.accepted(Form.CHUNKS, 100)
    forms.accepted(Form.PUT, 10)
    assert not forms.teaches(refusal(400), Form.PUT, 10, BLOB)
    assert forms.of(11) is Form.PUT
    assert forms.teaches(refusal(400), Form.PUT, 11, BLOB)
    forms.accepted(Form.PATCH, 11)
    for body in (11, 12):
        assert not forms.teaches(refusal(400), Form.PATCH, body, BLOB)
        assert forms.of(body) is Form.PATCH


def test_blob_in_a_form_given_up_meanwhile_is_sent_again() -> None:
    """Many blobs are on their way when the first one teaches."""
    forms = Forms(Quirks())
    assert forms.teaches(refusal(405), Form.PUT, 10, BLOB)
    assert forms.teaches(refusal(405), Form.PUT, 10, BLOB)
    assert forms.of(10) is Form.PATCH


def test_empty_blob_teaches_nothing() -> None:
    """GAR takes no empty blobs in any form."""
    empty = Descriptor("x", Digest.of(b""), 0)
    assert not Forms(Quirks()).teaches(refusal(400), Form.PUT, 0, empty)


def test_damaged_blob_is_sent_once_more() -> None:
    """Bytes are checked before they leave, so they may have been damaged on the way."""
    forms = Forms(Quirks())
    forms.accepted(Form.PUT, 10)
    error = refusal(400, "DIGEST_INVALID")
    assert forms.teaches(error, Form.PUT, 10, BLOB)
    assert not forms.teaches(error, Form.PUT, 10, BLOB)


def test_too_large_body_lowers_the_limit_step_by_step() -> None:
    """Each 413 halves our hopes until there is nothing smaller; smaller blobs go as before."""
    forms = Forms(Quirks())
    body = 200 * MIB
    for limit in BODIES:
        assert forms.teaches(refusal(413), Form.CHUNKS, body, BLOB)
        assert forms.of(limit) is Form.PUT
        assert forms.of(limit + 1) is Form.CHUNKS
        assert forms.chunk(0) == min(limit, CHUNK)
        body = limit
    assert not forms.teaches(refusal(413), Form.CHUNKS, body, BLOB)


@pytest.mark.parametrize("host", ["ghcr.io", "europe-docker.pkg.dev", "gcr.io", "eu.gcr.io"])
def test_registry_that_takes_no_chunks_never_gets_any(host: str) -> None:
    """GHCR corrupts what comes in chunks without a word."""
    forms = Forms(quirks_of(host))
    assert not forms.teaches(refusal(413), Form.PUT, 100 * MIB, BLOB)
    assert forms.of(100 * MIB) is Form.PUT


def test_azure_gets_chunks_from_the_first_large_blob_on() -> None:
    """It cuts larger bodies, so that there is no refusal to learn from."""
    forms = Forms(quirks_of("team.azurecr.io"))
    assert forms.of(16 * MIB) is Form.PUT
    assert forms.of(16 * MIB + 1) is Form.CHUNKS


@pytest.mark.parametrize(
    ("shortest", "expected"),
    [(0, CHUNK), (20 * MIB, 20 * MIB), (10**12, LARGEST_CHUNK)],
)
def test_chunks_are_as_long_as_wanted_within_bounds(shortest: int, expected: int) -> None:
    """A registry may ask for long ones, not for all of our memory."""
    assert Forms(Quirks()).chunk(shortest) == expected


@pytest.mark.parametrize("status", [400, 405, 501])
async def test_registry_that_refuses_whole_puts_gets_patches(
    fake_registry: FakeRegistry, connect: Connect, status: int
) -> None:
    """The first blob pays for the lesson, the others know."""
    fake_registry.whole_put_status = status
    store = connect(fake_registry.host)
    assert await put(store) == 2
    assert await put(store, b"another") == 1
    assert await put(store, b"") == 1
    assert fake_registry.blobs[BLOB.digest] == DATA
    methods = [each.method for each in fake_registry.requests]
    assert methods[:5] == ["POST", "PUT", "POST", "PATCH", "PUT"]
    assert methods[5:] == ["POST", "PATCH", "PUT"] * 2
    (patch, *_) = fake_registry.matching("PATCH", "")
    assert patch.headers["content-length"] == str(len(DATA))
    assert "content-range" not in patch.headers


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_patch_may_be_answered_in_several_ways(
    fake_registry: FakeRegistry, connect: Connect, status: int
) -> None:
    """ECR says 201, older Pulps 204."""
    fake_registry.whole_put_status = 405
    fake_registry.patch_status = status
    assert await put(connect(fake_registry.host)) == 2
    assert fake_registry.blobs[BLOB.digest] == DATA


async def test_end_of_an_upload_that_is_not_answered_is_looked_up(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """A commit may have happened although its answer was lost: the bytes are not sent again."""
    fake_registry.whole_put_status = 405
    store = connect(fake_registry.host)
    await put(store, b"first")
    fake_registry.drop("PUT", "/uploads/", when="answer")
    assert await put(store) == 1
    assert fake_registry.count("PATCH", "") == 2
    assert fake_registry.count("HEAD", BLOB.digest) == 1


async def test_end_of_an_upload_that_fails_is_tried_again(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """A 503 to the end costs one request, not the blob."""
    fake_registry.whole_put_status = 405
    store = connect(fake_registry.host)
    await put(store, b"first")
    fake_registry.fail("PUT", "/uploads/", status=503, times=1)
    assert await put(store) == 1
    assert fake_registry.count("PATCH", "") == 2


async def test_body_that_is_too_large_is_sent_in_chunks(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """A proxy that limits bodies costs one refusal."""
    fake_registry.fail("PUT", "/uploads/", status=413, body=b"<html>", times=1)
    store = connect(fake_registry.host)
    assert await put(store) == 2
    assert fake_registry.blobs[BLOB.digest] == DATA
    assert [each.headers["content-range"] for each in fake_registry.matching("PATCH", "")] == [
        f"0-{MIB - 1}",
        f"{MIB}-{2 * MIB - 1}",
    ]


async def test_body_that_cannot_be_smaller_is_rejected(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """Who refuses a megabyte is given up, with a hint."""
    fake_registry.fail("*", "/uploads/[0-9a-f]", status=413, body=b"<html>")
    with pytest.raises(Rejected, match=r"413.*limits"):
        await put(connect(fake_registry.host))
