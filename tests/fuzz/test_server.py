"""Servers that answer anything to any verb: no crash, no hang, only errors of ours."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import cycle
from typing import TYPE_CHECKING

import pytest
import stamina
from hypothesis import given, settings
from hypothesis import strategies as st

from imgmigrate.config.model import RegistryConfig
from imgmigrate.errors import StoreError
from imgmigrate.oci.manifest import OCI_INDEX, OCI_MANIFEST
from imgmigrate.stores.registry.http.limits import Timeouts
from imgmigrate.stores.registry.http.session import Http
from imgmigrate.stores.registry.store import RegistryStore
from tests.security.raw import answer, raw_server
from tests.security.verbs import BLOB, DATA, WAYS, Way, ask
from tests.stores.registry.conftest import Recorder
from tests.support import images
from tests.support.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Iterable

MANIFEST = images.image("fuzz")
# Those that clients act upon come more often.
OFTEN = (200, 200, 200, 201, 202, 206, 307, 401, 401, 404)
SELDOM = (100, 204, 301, 304, 308, 400, 403, 405, 409, 412, 413, 415, 416, 429, 500, 503, 599, 999)
WORDS = st.sampled_from(
    [
        *("", "0", "-1", "10", "9" * 5000, "x", "\x00", "\x1b[2J", "é", " ", ",", '"', "a=b"),
        *("/", "/v2/", "//", "..", "http://[", "https://127.0.0.1:1/", "http://127.0.0.1:1/x"),
        *("/v2/a/tags/list?last=x", "/v2/b/blobs/uploads/1?_state=%2F", "sha256:../x", "*/*"),
        *(BLOB.digest, MANIFEST.top, OCI_MANIFEST, OCI_INDEX, "application/json", "text/html"),
        *('</v2/a/tags/list?n=1>; rel="next"', "bytes 0-9/10", "bytes 9-0/*", "0-0", "0-9"),
        *(
            'Bearer realm="/token",scope="repository:a:pull"',
            'Basic realm="x"',
            "Bearer",
            "Negotiate",
        ),
        *('299 - "\x1b[2J"', "gzip", "chunked", "close", "keep-alive", "0;w=21600", "100;w=0"),
    ]
)
NAMES = st.sampled_from(
    [
        *("Content-Type", "Content-Length", "Docker-Content-Digest", "Location", "Link", "Range"),
        *("WWW-Authenticate", "Content-Range", "Retry-After", "Warning", "OCI-Chunk-Min-Length"),
        *("Transfer-Encoding", "Content-Encoding", "Connection", "OCI-Subject", "Set-Cookie"),
        *("ratelimit-limit", "ratelimit-remaining"),
    ]
)
BODIES = st.sampled_from(
    [
        *(b"", b"{}", b"null", b"[]", b"\xff\xfe", b"<html>", DATA, b"[" * 5000, b"9" * 5000),
        *(b'{"tags":["v1"]}', b'{"tags":null}', b'{"tags":[1,{}]}', b'{"tags":"x"}'),
        *(b'{"token":"x"}', b'{"token":1}', b'{"access_token":"a","expires_in":1e999}'),
        *(b'{"token":"x","expires_in":%s,"issued_at":"x"}' % (b"9" * 400), b'{"token":"\\n"}'),
        *(b'{"errors":[{"code":"DENIED"}]}', b'{"errors":[[]]}', b'{"errors":{}}'),
        *(b'{"errors":[{"code":1,"message":["x"]}]}', MANIFEST.manifests[MANIFEST.top][1]),
    ]
) | st.binary(max_size=30)


@st.composite
def _answers(draw: st.DrawFn) -> bytes:
    """An answer of plausible parts in an implausible order; sometimes not even HTTP."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(min_size=1, max_size=80))
    headers = draw(st.lists(st.tuples(NAMES, WORDS), max_size=5))
    lines = [f"{name}: {value}" for name, value in headers]
    length = draw(st.none() | st.none() | st.integers(0, 40))
    raw = answer(draw(BODIES), *lines, status=draw(st.sampled_from(OFTEN + SELDOM)), length=length)
    return raw[: draw(st.integers(1, len(raw)))] if draw(st.booleans()) else raw


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=100)
@given(answers=st.lists(_answers(), min_size=1, max_size=4))
def test_any_answer_to_any_verb_is_used_or_refused(way: Way, answers: list[bytes]) -> None:
    """The verb returns or raises a StoreError, whatever it is told."""
    with stamina.set_testing(True, attempts=2, cap=True):
        asyncio.run(_meet(way, answers))


async def _meet(way: Way, answers: list[bytes]) -> None:
    given_answers = cycle(answers)

    def reply(_method: str, _target: str) -> Iterable[bytes]:
        return [next(given_answers)]

    async with raw_server(reply) as host:
        # A pause that a server asks for is not waited for.
        http = Http(Timeouts(longest_pause=0))
        settings_of_all = RegistryConfig(username="me", password="Secret-1", plain_http=True)
        # Whoever answers nothing but 429 is asked for half an hour: by a clock that hurries.
        clock = ManualClock(hurried=True)
        store = RegistryStore(host, lambda _: settings_of_all, http, Recorder(), clock=clock)
        try:
            with suppress(StoreError):
                await ask(store, way)
        finally:
            await http.aclose()
