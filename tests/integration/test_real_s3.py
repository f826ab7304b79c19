"""A real docker-registry whose blobs are in S3: it answers with signed URLs on another port."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from tests.fakes.faults import Break, FaultProxy, Refusal
from tests.support import images, registries, seaweed, token_server
from tests.support.cli import write_config
from tests.support.docker_registry import PASSWORD, USERNAME, put_on_disk
from tests.support.moves import assert_says, run
from tests.support.token_server import Account

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.conftest import StartRegistry
    from tests.fakes.faults import Fault, Relayed
    from tests.support.docker_registry import DockerRegistry
    from tests.support.seaweed import Seaweed

pytestmark = pytest.mark.integration

IMAGE = images.two_platforms()
WRONG = "Tr0ub4dor-and-3"
PLAIN = "plain_http: true"
LOGIN = f"{PLAIN}, username: {USERNAME}, password: '{PASSWORD}'"


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """One S3 server for all tests here; each registry has a place of its own in it."""
    with seaweed.serve(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture
async def relay(storage: Seaweed) -> AsyncIterator[FaultProxy]:
    """What passes between the world and the S3 server."""
    async with FaultProxy(storage.host) as proxy:
        yield proxy


def signed(relay: FaultProxy) -> list[Relayed]:
    """The requests that came by a signed URL: a client's, not the registry's own."""
    return [request for request in relay.requests if "X-Amz-Signature=" in request.target]


def configure(folder: Path, source: str, destination: str, entry: str = PLAIN) -> None:
    """Move `app` from host to host; `entry` is what the config says of both."""
    entries = "".join(f"  '{host}': {{{entry}}}\n" for host in (source, destination))
    write_config(
        folder,
        f"  - {{source: {source}/app, destination: {destination}/app}}",
        registries=entries,
    )


@pytest.fixture
def plain(tmp_path: Path, docker_registry: StartRegistry) -> DockerRegistry:
    """A registry that has the image, and keeps it as files."""
    put_on_disk(tmp_path / "plain", "app", "1", IMAGE)
    return docker_registry("plain")


@pytest.mark.parametrize("scheme", ["Basic", "Bearer"])
async def test_credentials_do_not_travel_to_the_storage(
    tmp_path: Path,
    storage: Seaweed,
    relay: FaultProxy,
    plain: DockerRegistry,
    docker_registry: StartRegistry,
    scheme: str,
) -> None:
    """In and out again: the registry gets the password or the token, the storage neither."""
    behind, accounts = storage.through(relay.host), {USERNAME: Account(PASSWORD)}
    with token_server.serve(tmp_path / "bundle.pem", accounts) as tokens:
        auth = {"htpasswd": True} if scheme == "Basic" else {"tokens": tokens}
        s3 = await asyncio.to_thread(docker_registry, "s3", s3=behind, **auth)
        configure(tmp_path, plain.host, s3.host, LOGIN)
        await run(tmp_path, "apply", "--auto-approve", "--state", "state/in")
        last = docker_registry("last")
        configure(tmp_path, s3.host, last.host, LOGIN)
        await run(tmp_path, "apply", "--auto-approve", "--state", "state/out")
        registries.assert_holds(last.remote, "app", "1", IMAGE)
        pair = b64encode(f"{USERNAME}:{PASSWORD}".encode())
        secrets = [pair, *(token.encode() for token in tokens.tokens)]
    came = signed(relay)
    assert {request.path.rpartition("sha256/")[2][3:67] for request in came} == {
        digest.partition(":")[2] for digest in IMAGE.blobs
    }
    assert {request.headers.get("authorization") for request in came} == {None}
    assert [request.target for request in relay.requests if has_any(request, secrets)] == []
    redirected = [line for line in s3.access_log() if line.status == 307]
    assert len(redirected) == len(came)


@pytest.mark.parametrize(
    "fault",
    [Break("reset", "body", 0.5), Break("close", "body", 0.5), Refusal(403), Refusal(503)],
    ids=["reset", "truncated", "expired", "unavailable"],
)
async def test_a_signed_url_is_never_used_twice(
    tmp_path: Path,
    storage: Seaweed,
    relay: FaultProxy,
    docker_registry: StartRegistry,
    fault: Fault,
) -> None:
    """Where the storage breaks off or refuses, the registry is asked for a new URL each time."""
    old = await asyncio.to_thread(docker_registry, "old", s3=storage.through(relay.host))
    new = docker_registry("new")
    # The registry is reached through the storage's relay, which lives in this loop.
    await asyncio.to_thread(registries.push, old.remote, "app", "1", IMAGE)
    del relay.requests[:]
    relay.script = lambda request: fault if is_first(request, relay) else None
    configure(tmp_path, old.host, new.host)
    await run(tmp_path, "apply", "--auto-approve", impatient=True)
    registries.assert_holds(new.remote, "app", "1", IMAGE)
    came = signed(relay)
    assert len(relay.faults) == len(IMAGE.blobs)
    assert len(came) == 2 * len(IMAGE.blobs)
    assert len([line for line in old.access_log() if line.status == 307]) == len(came)
    assert set(new.uploads().values()) == {1}


async def test_a_wrong_password_gets_no_signed_url(
    tmp_path: Path, storage: Seaweed, relay: FaultProxy, docker_registry: StartRegistry
) -> None:
    """One sentence names the registry and whose credentials were refused; exit 3."""
    behind = storage.through(relay.host)
    old = await asyncio.to_thread(docker_registry, "old", htpasswd=True, s3=behind)
    new = docker_registry("new")
    configure(tmp_path, old.host, new.host, LOGIN.replace(PASSWORD, WRONG))
    ran = await run(tmp_path, "plan", "--out", "plan.out", code=3)
    row = next(line for line in ran.out.splitlines() if f"source {old.host}" in line)
    assert_says(row, "401", "the credentials of the config were refused")
    assert WRONG not in ran.out + ran.err
    assert signed(relay) == []


@pytest.mark.parametrize("entry", ["tls: {ca_file: old/ca.pem}", "tls: {}"])
async def test_storage_in_the_clear_behind_tls_is_refused(
    tmp_path: Path,
    storage: Seaweed,
    relay: FaultProxy,
    docker_registry: StartRegistry,
    entry: str,
) -> None:
    """A step from https to http is not taken, an unknown authority not trusted; exit 3, why."""
    behind = storage.through(relay.host)
    old = await asyncio.to_thread(docker_registry, "old", tls=True, s3=behind)
    new = docker_registry("new")
    await asyncio.to_thread(registries.push, old.remote, "app", "1", IMAGE)
    del relay.requests[:]
    rule = f"  - {{source: {old.host}/app, destination: {new.host}/app}}"
    write_config(tmp_path, rule, new.host, registries=f"  '{old.host}': {{{entry}}}\n")
    ran = await run(tmp_path, "apply", "--auto-approve", code=3)
    cause = "https to http" if "ca_file" in entry else ".tls.ca_file"
    assert_says(ran.out, f"source {old.host}/app", cause)
    assert signed(relay) == []
    assert registries.list_tags(new.remote, "app") == []


def is_first(request: Relayed, relay: FaultProxy) -> bool:
    """Tell whether a blob is asked of the storage for the first time by a client."""
    asked = [each for each in signed(relay) if each.path == request.path]
    return request in signed(relay) and len(asked) == 1


def has_any(request: Relayed, secrets: list[bytes]) -> bool:
    """Tell whether a request carries one of these."""
    return any(secret in request.head for secret in secrets)
