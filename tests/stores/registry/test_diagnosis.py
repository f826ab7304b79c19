"""What is said of an answer that is no help: the reason from its body, and the fix.

The first table is of answers alone, the second of what a whole request meets.
"""

from __future__ import annotations

import gzip
import json
import ssl
import zlib
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trustme

from imgmigrate.config.model import RegistryConfig, Tls
from imgmigrate.errors import AccessDenied, NotFound, Rejected, StoreError, UsageError
from imgmigrate.oci.reference import Digest
from imgmigrate.stores.registry.http.coding import decoded
from imgmigrate.stores.registry.http.failures import failure, proxy_refusal
from imgmigrate.stores.registry.http.trust import Trust
from imgmigrate.stores.registry.wire.redirects import pointed_at
from tests.fakes.registry import FakeRegistry, User
from tests.support.images import image

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.stores.registry.conftest import Connect

PAGE = b"<!DOCTYPE html><html><body>nothing here</body></html>"
ME = User("me", "swordfish")
WRITER = User("writer", "swordfish", pull=("own/*",))


def said(code: str, message: str = "") -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


@pytest.mark.parametrize(
    ("error", "cause", "fix"),
    [
        (
            failure("r/a:1", 403, said("DENIED", "quota exceeded: 10GiB of 10GiB")),
            "denied (403): DENIED: quota exceeded: 10GiB of 10GiB",
            "free some space there, or have the quota raised",
        ),
        (
            failure("r/a:1", 413, said("DENIED", "The storage Quota of project x is used up")),
            "too large (413): DENIED: The storage Quota of project x is used up",
            "free some space there, or have the quota raised",
        ),
        (failure("r/a:1", 507), "failed (507)", "the registry has no space left"),
        (
            failure("r/a:1", 412, said("PROJECTPOLICYVIOLATION", "3 findings"), writes=False),
            "refused (412): PROJECTPOLICYVIOLATION: 3 findings",
            "a policy of the registry keeps it from being pulled",
        ),
        (failure("r/a:1", 412, writes=False), "refused (412)", "a policy of the registry"),
        (failure("r/a:1", 412), "refused (412)", "cannot be overwritten"),
        (
            failure("r/a:1", 404, PAGE, writes=False),
            "not found (404)",
            "check that a registry answers at this address",
        ),
        (
            failure("r/a:1", 404, said("NAME_UNKNOWN"), writes=False),
            "not found (404): NAME_UNKNOWN",
            "check its name",
        ),
        (
            failure("r/a:1", 404, said("NAME_UNKNOWN")),
            "not found (404): NAME_UNKNOWN",
            "create the repository there",
        ),
        (
            proxy_refusal("r/a:1", "r", 403),
            "the proxy does not let us through to r (403)",
            "name it in NO_PROXY",
        ),
        (
            proxy_refusal("r/a:1", "r", 407),
            "the proxy wants credentials (407)",
            "password in the proxy's URL",
        ),
    ],
)
def test_the_reason_is_the_one_that_the_body_gives(error: StoreError, cause: str, fix: str) -> None:
    """A status has many causes; each has its own words and its own fix."""
    assert error.cause == cause
    assert fix in (error.hint or "")


@pytest.mark.parametrize(
    ("host", "url", "hint"),
    [
        ("reg.io:5000", "http://reg.io/v2/a/blobs/uploads/1", "pass on the Host header"),
        ("reg.io", "https://s3.example/x", "s3.example has to be reachable"),
    ],
)
def test_who_pointed_to_a_server_that_is_not_there_is_named(host: str, url: str, hint: str) -> None:
    """An address that the user never wrote is not theirs to check."""
    assert hint in pointed_at(host, url)
    assert pointed_at(host, url).startswith(f"{host} pointed there")


async def test_a_location_that_lost_its_port_says_so(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """The name and the network are well: the registry gave another address."""
    fake_registry.put_image("a", "1", image())
    fake_registry.fail(
        "GET", "/tags/list", status=307, body=b"", headers={"Location": "http://127.0.0.1:1/v2/x"}
    )
    with pytest.raises(StoreError, match=r"pointed there.*Host header with its port"):
        await connect(fake_registry.host).list_tags("a")


async def test_a_manifest_under_the_label_of_a_page_is_taken(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """Bytes of the right digest are the manifest, whatever their label says."""
    digest = Digest.parse(fake_registry.put_image("a", "1", image()))
    fake_registry.rewrite("GET", "/manifests/", {"Content-Type": "text/html"})
    assert (await connect(fake_registry.host).manifest("a", digest)).digest == digest


async def test_who_may_push_but_not_pull_lacks_pull(connect: Connect) -> None:
    """Looking at a tag before it is written needs the right to read."""
    async with FakeRegistry(auth="basic", users=[WRITER]) as registry:
        registry.put_image("team/a", "1", image())
        registry.private = ("*",)
        config = RegistryConfig(plain_http=True, username="writer", password="swordfish")
        with pytest.raises(AccessDenied, match="lack pull there"):
            await connect(registry.host, config).head("team/a", "1", to_write=True)


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate", "raw deflate"])
def test_a_document_that_came_compressed_is_read(coding: str) -> None:
    """Some servers compress although identity was asked for."""
    text = b'{"tags": ["1"]}' * 100
    packed = gzip.compress(text) if "gzip" in coding else zlib.compress(text)
    if coding == "raw deflate":
        packed = packed[2:-4]
    assert decoded(packed, coding.removeprefix("raw "), len(text)) == text
    with pytest.raises(ValueError, match="longer than"):
        decoded(packed, coding.removeprefix("raw "), len(text) - 1)
    with pytest.raises(ValueError, match=r"too early|cannot be decompressed"):
        decoded(packed[:-9], coding.removeprefix("raw "), len(text))


@pytest.mark.parametrize(
    ("coding", "body"), [(None, b"x"), ("identity", b"\x1f\x8b"), ("gzip", b"{}"), ("br", b"")]
)
def test_what_is_not_compressed_is_taken_as_it_is(coding: str | None, body: bytes) -> None:
    """A label alone changes no byte."""
    assert decoded(body, coding, 10) == body


def test_an_unknown_coding_is_named() -> None:
    """What cannot be read is an error that says why."""
    with pytest.raises(ValueError, match=r"compressed \(br\)"):
        decoded(b"\x0b\x02", "br", 100)


async def test_a_compressed_manifest_has_the_digest_of_its_bytes(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """What is checked and passed on is what was pushed, not how it travelled."""
    fake_registry.put_image("a", "1", image())
    raw = image().raw
    fake_registry.fail(
        "GET",
        "/manifests/",
        status=200,
        body=gzip.compress(raw),
        headers={
            "Content-Encoding": "gzip",
            "Content-Type": "application/vnd.oci.image.manifest.v1+json",
        },
    )
    assert (await connect(fake_registry.host).manifest("a", "1")).raw == raw


async def test_a_redirect_to_another_registry_is_followed_as_nobody(connect: Connect) -> None:
    """Its tokens for everybody are asked for; our login stays at the host that has it."""
    async with FakeRegistry(auth="token", users=[ME]) as behind, FakeRegistry() as front:
        behind.put_image("a", "1", image())
        realm = f'Bearer realm="http://{behind.host}/token",scope="repository:a:pull"'
        behind.fail("GET", "/manifests/", status=401, headers={"WWW-Authenticate": realm}, times=1)
        where = f"http://{behind.host}/v2/a/manifests/1"
        front.fail("GET", "/manifests/", status=307, body=b"", headers={"Location": where})
        config = RegistryConfig(plain_http=True, username="own", password="s3cret-login")
        store = connect(front.host, config)
        assert (await store.manifest("a", "1")).raw == image().raw
        # The fake takes no token but those that it has issued; nobody named us there.
        paths = [(each.path, each.authorised) for each in behind.requests]
        manifest = "/v2/a/manifests/1"
        assert paths == [(manifest, False), ("/token", False), (manifest, True)]


async def test_a_redirect_to_a_registry_that_is_private_is_named(connect: Connect) -> None:
    """Where there is no token for everybody the message names the other registry."""
    async with FakeRegistry(auth="token", users=[ME]) as behind, FakeRegistry() as front:
        behind.put_image("a", "1", image())
        behind.private = ("*",)
        where = f"http://{behind.host}/v2/a/manifests/1"
        front.fail("GET", "/manifests/", status=307, body=b"", headers={"Location": where})
        with pytest.raises(StoreError, match=f"redirects to {behind.host}, which wants a login"):
            await connect(front.host).manifest("a", "1")


@asynccontextmanager
async def tls_registry(folder: Path, *names: str, ended: bool) -> AsyncIterator[tuple[str, Path]]:
    """Serve TLS with a certificate for `names`, which may have ended."""
    authority = trustme.CA()
    day = datetime(2020, 1, 31, tzinfo=UTC)
    leaf = authority.issue_cert(
        *names,
        not_before=day - timedelta(days=30),
        not_after=day if ended else datetime.now(UTC) + timedelta(days=1),
    )
    authority.cert_pem.write_to_path(folder / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    leaf.configure_cert(context)
    async with FakeRegistry(tls=context) as registry:
        yield registry.host, folder / "ca.pem"


@pytest.mark.parametrize(
    ("names", "ended", "words"),
    [
        (("127.0.0.1",), True, r"has expired: it ended Jan 31 00:00:00 2020 GMT.*renewed"),
        (
            ("other.example",),
            False,
            r"it is for other\.example.*a name that the certificate is for",
        ),
    ],
)
async def test_a_certificate_says_what_is_wrong_with_it(
    tmp_path: Path, connect: Connect, names: tuple[str, ...], ended: bool, words: str
) -> None:
    """No authority would mend a date or a name: they are told instead."""
    async with tls_registry(tmp_path, *names, ended=ended) as (host, ca_file):
        config = RegistryConfig(tls=Tls(ca_file=ca_file))
        with pytest.raises(Rejected, match=words):
            await connect(host, config).list_tags("a")


def test_a_proxy_with_a_bad_port_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry is not to blame for it."""
    with pytest.raises(UsageError, match=r"proxy whose port is no number.*HOST:PORT"):
        assert Trust("reg.io", Tls(), "http://127.0.0.1:notaport").proxy


async def test_a_page_for_every_address_is_no_registry(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """A web server answers 404 to all that it does not know."""
    fake_registry.fail("GET", "/v2/", status=404, body=PAGE)
    with pytest.raises(NotFound, match="check that a registry answers at this address"):
        await connect(fake_registry.host).list_tags("a")
