"""A registry whose entry says `insecure`: which scheme it speaks, found out before credentials."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.config.model import RegistryConfig
from imgmigrate.errors import ConfigError, Rejected, StoreError, Symptom, TransientError
from imgmigrate.events import Warned
from imgmigrate.foreign.load import load_config
from imgmigrate.stores.registry.wire.scheme import Scheme
from tests.fakes.registry import FakeRegistry
from tests.fakes.registry.access import User
from tests.stores.registry.conftest import TIMEOUTS
from tests.support.certificates import make_certificates
from tests.support.images import image

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from imgmigrate.stores.registry.http.answer import Answer
    from imgmigrate.stores.registry.http.session import Request
    from tests.stores.registry.conftest import Connect, Recorder

ME = User("me", "s3cret-pass")
INSECURE = RegistryConfig(username=ME.name, password=ME.password, insecure=True)


@pytest.fixture(params=["plain", "tls"])
async def registry(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[FakeRegistry]:
    """A registry with passwords: in the clear, and with a certificate that nobody trusts."""
    tls = make_certificates(tmp_path).server if request.param == "tls" else None
    async with FakeRegistry(auth="token", users=[ME], tls=tls) as registry:
        registry.put_image("a", "1", image())
        yield registry


async def test_the_scheme_is_found_before_any_credential_is_sent(
    registry: FakeRegistry, connect: Connect, sink: Recorder
) -> None:
    """The first request that arrives is GET /v2/ without credentials, and then all works."""
    store = connect(registry.host, INSECURE)
    both = await asyncio.gather(store.list_tags("a"), store.head("a", "1"))
    assert both[0] == ["1"]
    assert both[1] is not None
    first = registry.requests[0]
    assert (first.method, first.path) == ("GET", "/v2/")
    assert "Authorization" not in first.headers
    assert store.remote.origin == registry.url
    told = [event.code for event in sink.events if isinstance(event, Warned)]
    assert told == (["no_tls"] if registry.url.startswith("http:") else [])


async def test_only_hosts_that_say_insecure_are_asked_in_the_clear(
    registry: FakeRegistry, connect: Connect
) -> None:
    """Any other registry is never tried without TLS or without its certificate."""
    config = RegistryConfig(username=ME.name, password=ME.password)
    with pytest.raises(Rejected, match=r"does not speak TLS|is not trusted"):
        await connect(registry.host, config).list_tags("a")
    assert not registry.requests


class _Http:
    """Stands in for the network: what each scheme's request ends with."""

    def __init__(self, **ends: Exception | None) -> None:
        self.timeouts, self.ends = TIMEOUTS, ends
        self.asked: list[str] = []

    async def send(self, request: Request) -> Answer:
        scheme = request.url.partition(":")[0]
        self.asked.append(scheme)
        assert not request.headers
        error = self.ends[scheme]
        if error is not None:
            raise error
        raise AssertionError


class _Refused(Exception):
    os_error = ConnectionRefusedError(errno.ECONNREFUSED, "refused")


def _caused(error: StoreError, cause: Exception) -> StoreError:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("failure", "falls_back"),
    [
        (
            Rejected("x", "x does not speak TLS", symptoms=frozenset({Symptom.NO_TLS})),
            True,
        ),
        (Rejected("x", "x says: does not speak TLS"), False),
        (_caused(TransientError("x", "x cannot be reached"), _Refused()), True),
        (TransientError("x", "TLS with x failed: handshake failure"), False),
        (TransientError("x", "x did not answer in time"), False),
        (TransientError("x", "the connection to x broke"), False),
        (Rejected("x", "x wants a client certificate that it knows"), False),
    ],
)
async def test_a_handshake_that_only_fails_moves_nothing_into_the_clear(
    failure: StoreError, falls_back: bool, sink: Recorder
) -> None:
    """In the clear goes only what no server could have taken over TLS."""
    http: Any = _Http(https=failure, http=Rejected("x", "no HTTP either"))
    trust: Any = None
    with pytest.raises(StoreError):
        await Scheme("x", http, trust, sink).origin()
    assert ("http" in http.asked) is falls_back


def test_insecure_is_said_of_a_host_and_once(tmp_path: Path) -> None:
    """Not beside plain_http, and not of a part of a registry."""
    with pytest.raises(ValueError, match="keep one"):
        RegistryConfig(insecure=True, plain_http=True)
    path = tmp_path / "c.yaml"
    path.write_text(
        "version: 1\nregistries: {x.io/a: {insecure: true}}\n"
        "images: [{source: a, destination: x.io/a}]\n"
    )
    with pytest.raises(ConfigError, match=r'"x.io/a".insecure: is a registry'):
        load_config(path)
