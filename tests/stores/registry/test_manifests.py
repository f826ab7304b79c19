"""Manifests are bytes with proved digests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from imgmigrate.config.model import RegistryConfig
from imgmigrate.errors import (
    AccessDenied,
    IntegrityError,
    NotFound,
    ProtocolError,
    Rejected,
    TransientError,
)
from imgmigrate.oci.manifest import LARGEST_MANIFEST, Manifest
from imgmigrate.oci.reference import Digest
from imgmigrate.stores.base import TagMoved
from tests.fakes.registry import Distribution2, FakeRegistry
from tests.fakes.registry.profiles import Ghcr
from tests.stores.registry.samples import foreign
from tests.stores.registry.samples import manifest as parsed
from tests.support.images import KINDS, image

if TYPE_CHECKING:
    from tests.stores.registry.conftest import Connect

DIGEST_HEADER = "Docker-Content-Digest"


@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_manifest_is_read_byte_for_byte(
    fake_registry: FakeRegistry, connect: Connect, kind: str
) -> None:
    """By tag and by digest, every kind comes as it was stored."""
    made = KINDS[kind]("a")
    fake_registry.put_image("a", "1", made)
    store = connect(fake_registry.host)
    for ref in ("1", made.top):
        found = await store.manifest("a", ref)
        assert (found.raw, found.media_type, found.digest) == (made.raw, made.media_type, made.top)
        assert await store.head("a", ref) == found.descriptor


@pytest.mark.parametrize("header", [DIGEST_HEADER, "Content-Type"])
async def test_head_that_says_too_little_is_asked_again_with_get(
    fake_registry: FakeRegistry, connect: Connect, header: str
) -> None:
    """A missing header costs one GET, and the digest is then computed."""
    top = fake_registry.put_image("a", "1", image())
    value = "text/html" if header == "Content-Type" else None
    fake_registry.rewrite("HEAD", "/manifests/", {header: value})
    found = await connect(fake_registry.host).head("a", "1")
    assert found is not None
    assert found.digest == top
    assert fake_registry.count("GET", "/manifests/") == 1


@pytest.mark.parametrize("status", [400, 403, 405, 412, 501])
async def test_head_that_is_not_offered_is_asked_again_with_get(
    fake_registry: FakeRegistry, connect: Connect, status: int
) -> None:
    """Some registries do not do HEAD."""
    top = fake_registry.put_image("a", "1", image())
    fake_registry.fail("HEAD", "/manifests/", status=status)
    found = await connect(fake_registry.host).head("a", "1")
    assert found is not None
    assert found.digest == top


async def test_absent_manifest_is_none_to_head_and_not_found_to_read(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """Only a 404 is absence, of the tag or of its repository."""
    fake_registry.put_image("a", "1", image())
    store = connect(fake_registry.host)
    assert await store.head("a", "2") is None
    assert await store.head("none", "1") is None
    with pytest.raises(NotFound, match=f"{fake_registry.host}/a:2"):
        await store.manifest("a", "2")


async def test_other_bytes_than_the_digest_asked_for_are_an_integrity_error(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """A reference by digest means exactly those bytes."""
    wanted = fake_registry.put_image("a", "1", image())
    other = image("b")
    headers = {"Content-Type": other.media_type}
    fake_registry.fail("GET", "/manifests/", status=200, body=other.raw, headers=headers)
    with pytest.raises(IntegrityError, match=f"a@{wanted}"):
        await connect(fake_registry.host).manifest("a", wanted)


async def test_digest_header_that_lies_is_an_integrity_error(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """Of the same algorithm it must be the digest of the bytes."""
    fake_registry.put_image("a", "1", image())
    fake_registry.rewrite("GET", "/manifests/", {DIGEST_HEADER: f"sha256:{'0' * 64}"})
    with pytest.raises(IntegrityError, match="says that its digest"):
        await connect(fake_registry.host).manifest("a", "1")


async def test_digest_header_that_is_none_is_a_protocol_error(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """What would go into a path is validated first."""
    fake_registry.put_image("a", "1", image())
    fake_registry.rewrite("*", "/manifests/", {DIGEST_HEADER: "sha256:../../etc"})
    with pytest.raises(ProtocolError, match=DIGEST_HEADER):
        await connect(fake_registry.host).head("a", "1")


@pytest.mark.parametrize("content", [b"<html>", b'{"schemaVersion": 1}', b"[]"])
async def test_what_is_no_manifest_is_a_protocol_error(
    fake_registry: FakeRegistry, connect: Connect, content: bytes
) -> None:
    """Login pages and docker schema 1 are refused with a reason."""
    fake_registry.fail("GET", "/manifests/", status=200, body=content)
    with pytest.raises(ProtocolError, match=f"{fake_registry.host}/a:1"):
        await connect(fake_registry.host).manifest("a", "1")


async def test_manifest_that_is_too_large_is_not_read_to_its_end(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """A hostile length fills no memory."""
    content = b" " * (LARGEST_MANIFEST + 1)
    fake_registry.fail("GET", "/manifests/", status=200, body=content)
    with pytest.raises(ProtocolError, match="longer than"):
        await connect(fake_registry.host).manifest("a", "1")


def prepared(registry: FakeRegistry, kind: str = "image") -> None:
    """Store an image under another tag, so that its blobs and children are there."""
    registry.put_image("a", "there", KINDS[kind]("a"))


@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_manifest_is_written_byte_for_byte(
    fake_registry: FakeRegistry, connect: Connect, kind: str
) -> None:
    """By tag and by digest, with exactly its own type."""
    prepared(fake_registry, kind)
    manifest = parsed(kind)
    store = connect(fake_registry.host)
    await store.put_manifest("a", "new", manifest)
    await store.put_manifest("a", manifest.digest, manifest)
    assert fake_registry.tags("a")["new"] == manifest.digest
    sent = fake_registry.matching("PUT", "/manifests/")
    assert [each.headers["content-type"] for each in sent] == [manifest.media_type] * 2
    assert fake_registry.count("HEAD", "/manifests/") == 0


async def test_large_manifest_is_sent_in_pieces(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """Megabytes arrive whole, with their length."""
    raw = image().raw + b" " * (3 * 1024 * 1024)
    prepared(fake_registry)
    manifest = Manifest.parse(raw, image().media_type)
    await connect(fake_registry.host).put_manifest("a", "large", manifest)
    assert fake_registry.tags("a")["large"] == manifest.digest


async def test_written_manifest_without_a_digest_is_proved_by_head(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """An answer that proves nothing costs one HEAD."""
    prepared(fake_registry)
    fake_registry.rewrite("PUT", "/manifests/", {DIGEST_HEADER: None})
    await connect(fake_registry.host).put_manifest("a", "new", parsed())
    assert fake_registry.count("HEAD", "/manifests/new") == 1


async def test_server_that_answers_200_to_everything_has_stored_nothing(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """A friendly web server is not a registry."""
    fake_registry.fail("PUT", "/manifests/", status=200, body=b"ok")
    with pytest.raises(ProtocolError, match="does not have it"):
        await connect(fake_registry.host).put_manifest("a", "new", parsed())


async def test_other_digest_than_was_written_is_an_integrity_error(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """A registry that converts what it stores is found out."""
    prepared(fake_registry)
    fake_registry.rewrite("PUT", "/manifests/", {DIGEST_HEADER: f"sha256:{'0' * 64}"})
    with pytest.raises(IntegrityError, match="instead of"):
        await connect(fake_registry.host).put_manifest("a", "new", parsed())


async def test_sha512_answered_with_sha256_is_proved(connect: Connect) -> None:
    """Distribution 2.8 names a sha512 manifest by its sha256."""
    async with Distribution2() as registry:
        prepared(registry)
        raw = image().raw
        digest = Digest.of(raw, "sha512")
        manifest = Manifest.parse(raw, image().media_type, expected=digest)
        store = connect(registry.host)
        await store.put_manifest("a", digest, manifest)
        assert await store.head("a", digest) == manifest.descriptor
        assert (await store.manifest("a", digest)).digest == digest


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "MANIFEST_BLOB_UNKNOWN"), (404, "BLOB_UNKNOWN"), (400, "MANIFEST_INVALID")],
)
async def test_refused_manifest_is_rejected_with_its_code(
    fake_registry: FakeRegistry, connect: Connect, status: int, code: str
) -> None:
    """A missing blob is no missing repository, and the code says what to heal."""
    fake_registry.fail("PUT", "/manifests/", status=status, code=code)
    with pytest.raises(Rejected) as caught:
        await connect(fake_registry.host).put_manifest("a", "new", parsed())
    assert caught.value.code == code
    assert fake_registry.arrivals == 1


async def test_manifest_that_is_only_among_the_blobs_is_read_there(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """What was pushed as a blob is found by its digest, and never by a tag."""
    made = image()
    fake_registry.storage.add_blob("a", made.raw, made.top)
    store = connect(fake_registry.host)
    found = await store.manifest("a", made.top)
    assert (found.raw, found.media_type) == (made.raw, made.media_type)
    with pytest.raises(NotFound):
        await store.manifest("a", "1")
    assert fake_registry.count("GET", "/blobs/") == 1


@pytest.mark.parametrize("data", [b"a layer", b"{}", b" " * (LARGEST_MANIFEST + 1)])
async def test_blob_that_is_no_manifest_is_not_found_as_one(
    fake_registry: FakeRegistry, connect: Connect, data: bytes
) -> None:
    """An index may list layers: they are told from manifests without being read whole."""
    digest = Digest.of(data)
    fake_registry.storage.add_blob("a", data, digest)
    with pytest.raises(NotFound, match="MANIFEST_UNKNOWN"):
        await connect(fake_registry.host).manifest("a", digest)


async def test_web_page_instead_of_a_manifest_is_tried_again(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """GAR's front end says 200 and means an error."""
    top = fake_registry.put_image("a", "1", image())
    headers = {"Content-Type": "text/html; charset=utf-8"}
    fake_registry.fail("*", "/manifests/", status=200, body=b"<p>", headers=headers, times=3)
    store = connect(fake_registry.host)
    found = await store.head("a", "1")
    assert found is not None
    assert found.digest == top
    fake_registry.fail("GET", "/manifests/", status=200, body=b"<p>", headers=headers)
    with pytest.raises(TransientError, match="web page"):
        await store.manifest("a", "1")


async def test_head_of_who_is_about_to_write_has_the_right_to_push(connect: Connect) -> None:
    """A repository that is not there yet is hidden from readers, and is told to writers."""
    async with Ghcr() as registry:
        user = registry.user
        assert user is not None
        config = RegistryConfig(plain_http=True, username=user.name, password=user.password)
        store = connect(registry.host, config)
        with pytest.raises(AccessDenied):
            await store.head("team/new", "1")
        assert await store.head("team/new", "1", to_write=True) is None


@pytest.mark.parametrize(("status", "code"), [(429, "TOOMANYREQUESTS"), (504, "UNKNOWN")])
async def test_manifest_that_was_taken_all_the_same_is_not_sent_again(
    fake_registry: FakeRegistry, connect: Connect, status: int, code: str
) -> None:
    """Pulp answers 429 to what it goes on doing."""
    prepared(fake_registry)
    fake_registry.put_image("a", "new", image("a"))
    fake_registry.fail("PUT", "/manifests/", status=status, code=code)
    await connect(fake_registry.host).put_manifest("a", "new", parsed())
    assert [each.method for each in fake_registry.requests] == ["PUT", "HEAD"]


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "TAG_INVALID"), (403, "DENIED"), (409, "TAG_IMMUTABLE"), (412, "PRECONDITION")],
)
async def test_tag_that_may_not_be_overwritten_is_rejected_unless_it_is_right(
    fake_registry: FakeRegistry, connect: Connect, status: int, code: str
) -> None:
    """ECR refuses even what the tag shows already; that is done, anything else is said."""
    message = "the tag cannot be overwritten because the repository is immutable"
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    fake_registry.fail("PUT", "/manifests/", status=status, body=body)
    fake_registry.put_image("a", "same", image("a"))
    fake_registry.put_image("a", "other", image("b"))
    store = connect(fake_registry.host)
    await store.put_manifest("a", "same", parsed())
    with pytest.raises(Rejected, match="lift its protection") as caught:
        await store.put_manifest("a", "other", parsed())
    assert caught.value.code == code
    assert fake_registry.count("PUT", "/manifests/other") == 1


async def test_refusal_of_foreign_layers_dressed_as_a_failure_is_final(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """Distribution answers 500 to their URLs, for ever; to anything else a 500 may pass."""
    fake_registry.fail("PUT", "/manifests/", status=500)
    store = connect(fake_registry.host)
    with pytest.raises(Rejected, match="foreign layers"):
        await store.put_manifest("a", "foreign", foreign())
    assert fake_registry.count("PUT", "/manifests/foreign") == 1
    with pytest.raises(TransientError):
        await store.put_manifest("a", "own", parsed())
    assert fake_registry.count("PUT", "/manifests/own") == 5


async def test_repository_that_must_be_created_first_is_not_found(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """The hint says to create it."""
    fake_registry.fail("PUT", "/manifests/", status=404, code="NAME_UNKNOWN")
    with pytest.raises(NotFound, match="create the repository"):
        await connect(fake_registry.host).put_manifest("a", "new", parsed())


async def test_manifest_is_sent_again_after_a_broken_connection(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """Writing the same bytes twice is writing them once."""
    prepared(fake_registry)
    fake_registry.drop("PUT", "/manifests/", when="answer", times=2)
    await connect(fake_registry.host).put_manifest("a", "new", parsed())
    assert fake_registry.tags("a")["new"] == parsed().digest


async def test_server_that_keeps_failing_is_given_up(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """After five attempts the last error is told."""
    fake_registry.fail("GET", "/manifests/", status=503)
    with pytest.raises(TransientError, match="503"):
        await connect(fake_registry.host).manifest("a", "1")
    assert fake_registry.arrivals == 5


@pytest.mark.parametrize("still", [{None}, None])
async def test_a_tag_that_moved_meanwhile_is_not_written_by_a_later_attempt(
    fake_registry: FakeRegistry, connect: Connect, still: set[Digest | None] | None
) -> None:
    """Between attempts somebody else may write: what the caller saw must still be there."""
    alien = fake_registry.put_image("a", "1", image("alien"))
    made = fake_registry.put_image("a", "elsewhere", image("made"))
    store = connect(fake_registry.host)
    manifest = await store.manifest("a", "elsewhere")
    fake_registry.fail("PUT", "/manifests/1", status=503, times=1)
    if still is None:
        await store.put_manifest("a", "1", manifest)
        assert fake_registry.tags("a")["1"] == made
        return
    with pytest.raises(TagMoved, match="since, and was not written") as caught:
        await store.put_manifest("a", "1", manifest, still=still)
    assert caught.value.found == alien
    assert fake_registry.tags("a")["1"] == alien
