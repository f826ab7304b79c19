"""The floor: what aiohttp and the servers allow, with nothing of what makes a tool.

`python -m tests.benchmarks.floor SOURCE DESTINATION REPO...` streams, hashes and uploads each
unique blob once, mounts it elsewhere, and writes every manifest. No plan, no state, no checks
before writes, no events, no retries. Plain HTTP, or TLS with `--ca FILE`.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import ssl
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

IMAGES, STREAMS = 32, 16
PIECE = 512 * 1024
ACCEPT = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.docker.distribution.manifest.v2+json"
)


class Floor:
    """One copy of everything."""

    def __init__(self, session: aiohttp.ClientSession, source: str, destination: str) -> None:
        self.session, self.source, self.destination = session, source, destination
        self.streams = asyncio.Semaphore(STREAMS)
        self.images = asyncio.Semaphore(IMAGES)
        self.blobs: dict[str, asyncio.Task[str]] = {}
        self.mounts: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)
        self.there: set[tuple[str, str]] = set()

    async def copy_repository(self, repo: str) -> None:
        """Copy every tag."""
        async with self.session.get(f"{self.source}/v2/{repo}/tags/list") as answer:
            tags = (await answer.json(content_type=None))["tags"]
        async with asyncio.TaskGroup() as group:
            for tag in tags:
                group.create_task(self.copy_image(repo, tag))

    async def copy_image(self, repo: str, ref: str) -> None:
        """Copy one manifest and all below it."""
        async with self.images:
            await self.copy_manifest(repo, ref)

    async def copy_manifest(self, repo: str, ref: str) -> None:
        """Blobs, children, manifest."""
        url = f"{self.source}/v2/{repo}/manifests/{ref}"
        async with self.session.get(url, headers={"Accept": ACCEPT}) as answer:
            raw, kind = await answer.read(), answer.headers["Content-Type"]
        document: dict[str, Any] = json.loads(raw)
        entries = [document["config"], *document["layers"]] if "layers" in document else []
        async with asyncio.TaskGroup() as group:
            for entry in entries:
                group.create_task(self.bring(repo, entry["digest"], entry["size"]))
            for child in document.get("manifests", ()):
                group.create_task(self.copy_manifest(repo, child["digest"]))
        put = f"{self.destination}/v2/{repo}/manifests/{ref}"
        async with self.session.put(put, data=raw, headers={"Content-Type": kind}) as answer:
            assert answer.status == 201, answer.status

    async def bring(self, repo: str, digest: str, size: int) -> None:
        """Upload a blob once, then mount it where else it is needed."""
        if digest not in self.blobs:
            self.blobs[digest] = asyncio.create_task(self.upload(repo, digest, size))
        origin = await self.blobs[digest]
        async with self.mounts[repo, digest]:
            if origin == repo or (repo, digest) in self.there:
                return
            url = f"{self.destination}/v2/{repo}/blobs/uploads/?mount={digest}&from={origin}"
            async with self.session.post(url) as answer:
                assert answer.status == 201, answer.status
            self.there.add((repo, digest))

    async def upload(self, repo: str, digest: str, size: int) -> str:
        """Stream one blob from source to destination."""
        async with self.streams:
            opened = asyncio.create_task(
                self.session.post(f"{self.destination}/v2/{repo}/blobs/uploads/").__aenter__()
            )
            async with self.session.get(f"{self.source}/v2/{repo}/blobs/{digest}") as answer:
                session = await opened
                location = session.headers["Location"]
                session.release()
                url = f"{location}{'&' if '?' in location else '?'}digest={digest}"
                headers = {
                    "Content-Length": str(size),
                    "Content-Type": "application/octet-stream",
                }
                body = pieces(answer, digest)
                async with self.session.put(
                    URL(url, encoded=True), data=body, headers=headers
                ) as done:
                    assert done.status == 201, done.status
        return repo


async def pieces(answer: aiohttp.ClientResponse, digest: str) -> AsyncIterator[bytes]:
    """Hash and hand on."""
    hasher, held, size = hashlib.sha256(), [], 0
    async for piece in answer.content.iter_any():
        hasher.update(piece)
        held.append(piece)
        size += len(piece)
        if size >= PIECE:
            yield b"".join(held)
            held, size = [], 0
    assert f"sha256:{hasher.hexdigest()}" == digest
    yield b"".join(held)


async def copy(source: str, destination: str, repositories: list[str], ca: str | None) -> None:
    """Copy all repositories at once."""
    trust: Any = ssl.create_default_context(cafile=ca) if ca else True
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=trust),
        auto_decompress=False,
        requote_redirect_url=False,
        timeout=aiohttp.ClientTimeout(total=None),
        headers={"Accept-Encoding": "identity"},
    ) as session:
        floor = Floor(session, source, destination)
        async with asyncio.TaskGroup() as group:
            for repo in repositories:
                group.create_task(floor.copy_repository(repo))


def main() -> None:
    """Copy, and say nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("destination")
    parser.add_argument("repositories", nargs="+")
    parser.add_argument("--ca")
    options = parser.parse_args()
    scheme = "https" if options.ca else "http"
    source, destination = f"{scheme}://{options.source}", f"{scheme}://{options.destination}"
    asyncio.run(copy(source, destination, options.repositories, options.ca))


if __name__ == "__main__":
    main()
