"""Answers that never end or explode, one for each repository name, and a victim to meet them.

usage: python -m tests.security.endless HOST

The victim asks a server that serves `script` once for each attack, in a process of its own,
and prints as JSON what each came to: the error and the growth of its resident memory.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from itertools import chain, count, repeat
from pathlib import Path
from typing import TYPE_CHECKING

import stamina

from imgmigrate.config.model import RegistryConfig
from imgmigrate.errors import ImgmigrateError
from imgmigrate.oci.manifest import OCI_INDEX, OCI_MANIFEST
from imgmigrate.stores.registry.http.session import Http
from imgmigrate.stores.registry.store import RegistryStore
from tests.security.raw import answer, chunk, chunked
from tests.support.blobs import described

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from imgmigrate.events import Event

MIB = 1024 * 1024
PIECE = b"x" * 65536
TYPE = f"Content-Type: {OCI_MANIFEST}"
BLOB = described(b"0123456789")


def script(_method: str, target: str) -> Iterable[bytes]:
    """Attack as the repository in the target says."""
    path = target.partition("?")[0]
    attack = path.split("/")[2] if path.count("/") > 2 else path.strip("/")
    if attack == "v2":
        return [answer()]
    if attack == "token":
        challenge = 'WWW-Authenticate: Bearer realm="/issue"'
        return [answer(b"", challenge, status=401)]
    return ATTACKS[attack]()


def _blob_range() -> Iterable[bytes]:
    return [answer(b"x", f"Content-Range: bytes 1-{'9' * 6000}/*", status=206)]


def _pages() -> Iterable[bytes]:
    link = f'Link: </v2/pages/tags/list?last={next(_NUMBERS)}{"x" * 60_000}>; rel="next"'
    return [answer(b'{"tags": ["v1"]}', link)]


_NUMBERS = count()
ATTACKS: dict[str, Callable[[], Iterable[bytes]]] = {
    "pages": _pages,
    "tags": lambda: chain([chunked(), chunk(b'{"tags": [')], repeat(chunk(b'"a",' * 16384))),
    "many-tags": lambda: [answer(b'{"tags": [' + b"[]," * (7 * MIB) + b"[]]}")],
    "manifest": lambda: chain([chunked(TYPE)], repeat(chunk(PIECE))),
    "many-entries": lambda: [answer(b'{"a": [' + b"[]," * (2 * MIB) + b"[]]}", TYPE)],
    "nesting": lambda: [answer(b"[" * (7 * MIB), f"Content-Type: {OCI_INDEX}")],
    "header": lambda: chain([b"HTTP/1.1 200 OK\r\nX: "], repeat(PIECE)),
    "headers": lambda: chain([b"HTTP/1.1 200 OK\r\n"], repeat(b"X: y\r\n" * 1000)),
    "status": lambda: chain([b"HTTP/1.1 200 "], repeat(PIECE)),
    "error": lambda: chain([chunked(status=400)], repeat(chunk(PIECE))),
    "issue": lambda: chain([chunked()], repeat(chunk(PIECE))),
    "trailers": lambda: chain([chunked(), b"0\r\n"], repeat(b"X: y\r\n" * 1000)),
    "blob": lambda: chain([chunked()], repeat(chunk(PIECE))),
    "blob-range": _blob_range,
}
LISTED = ("pages", "tags", "many-tags")
STREAMED = ("blob", "blob-range")


async def victim(host: str) -> dict[str, list[object]]:
    """Meet every attack in turn."""
    http, met = Http(), {}
    store = RegistryStore(host, lambda _: RegistryConfig(plain_http=True), http, _Nobody())
    for attack in [*ATTACKS, "token"]:
        before = _resident(reset=True)
        try:
            if attack in LISTED:
                await store.list_tags(attack)
            elif attack in STREAMED:
                await _drain(store.open_blob(attack, BLOB, int(attack == "blob-range")))
            else:
                await store.manifest(attack, "v1")
        except ImgmigrateError as error:
            met[attack] = [type(error).__name__, str(error), (_resident() - before) / 1024]
    await http.aclose()
    return met


async def _drain(pieces: AsyncIterator[bytes]) -> None:
    async for _ in pieces:
        pass


class _Nobody:
    def emit(self, event: Event) -> None:
        """Drop it."""


def _resident(*, reset: bool = False) -> int:
    """The peak of the resident memory in KiB, since the last `reset` where Linux can do that."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    return int(status.read_text().partition("VmHWM:")[2].split()[0])


if __name__ == "__main__":
    with stamina.set_testing(True, attempts=5, cap=True):
        sys.stdout.write(json.dumps(asyncio.run(victim(sys.argv[1]))))
