"""Seeded images to measure with: the same bytes in every run, on every machine.

Each corpus is pushed to a registry by plain HTTP requests over kept connections, one process
and no code of the product.
"""

from __future__ import annotations

import gzip
import http.client
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.support.images import Image, image, index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.registries import Remote

__all__ = ["CORPORA", "Corpus", "Entry"]

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One tag of the corpus."""

    repo: str
    tag: str
    image: Image


@dataclass(frozen=True, slots=True)
class Corpus:
    """What a corpus holds, known without making it again."""

    name: str
    repositories: tuple[str, ...]
    tags: int
    blobs: dict[str, int]
    manifests: int

    @property
    def unique_bytes(self) -> int:
        """The bytes of all blobs, each counted once."""
        return sum(self.blobs.values())


def shared(mib: int = 425) -> Iterator[Entry]:
    """Forty images in ten repositories on five bases; about `mib` unique MiB."""
    bases = [_layer(f"base {number}", mib * MIB // 10) for number in range(5)]
    own = mib * MIB // 2 // 40
    for number in range(40):
        layers = [bases[number % 5], _layer(f"app {number}", own)]
        yield Entry(f"shared/r{number % 10}", f"t{number}", image(f"s{number}", layers=layers))


def small(repositories: int = 50, tags: int = 20) -> Iterator[Entry]:
    """Many small images: one layer shared by a repository, one of each image's own."""
    for repo in range(repositories):
        base = _layer(f"small base {repo}", 4096)
        for tag in range(tags):
            layers = [base, _layer(f"small {repo} {tag}", 1024)]
            made = image(f"m{repo}/{tag}", layers=layers)
            yield Entry(f"small/r{repo}", f"t{tag}", made)


def multi(repositories: int = 4, tags: int = 5) -> Iterator[Entry]:
    """Indexes of two platforms."""
    for repo in range(repositories):
        for tag in range(tags):
            seed = f"multi {repo} {tag}"
            amd64 = image(f"{seed} amd64", layers=[_layer(f"{seed} a", 64 * 1024)])
            arm64 = image(
                f"{seed} arm64", layers=[_layer(f"{seed} b", 64 * 1024)], platform="linux/arm64"
            )
            yield Entry(f"multi/r{repo}", f"t{tag}", index(amd64, arm64))


def large(layers: int, mib: int, *, images: int = 1) -> Iterator[Entry]:
    """`images` images of `layers` layers of `mib` MiB each."""
    for number in range(images):
        made = [_layer(f"large {number} {layer}", mib * MIB) for layer in range(layers)]
        yield Entry("large/app", f"t{number}", image(f"large {number}", layers=made))


CORPORA: dict[str, Callable[[], Iterator[Entry]]] = {
    "shared": shared,
    "small": small,
    "multi": multi,
    "huge": lambda: large(4, 768),
    "sixteen": lambda: large(1, 256, images=16),
    "one": lambda: large(1, 512),
}


def push(remote: Remote, name: str, entries: Iterator[Entry]) -> Corpus:
    """Push a corpus and describe it."""
    connection = _connect(remote)
    pushed: set[tuple[str, str]] = set()
    blobs: dict[str, int] = {}
    repositories: dict[str, None] = {}
    tags = manifests = 0
    for entry in entries:
        repositories[entry.repo] = None
        tags += 1
        for digest, data in entry.image.blobs.items():
            blobs[digest] = len(data)
            if (entry.repo, digest) not in pushed:
                _put_blob(connection, entry.repo, digest, data)
                pushed.add((entry.repo, digest))
        for digest, (media_type, raw) in entry.image.manifests.items():
            manifests += 1
            ref = entry.tag if digest == entry.image.top else digest
            headers = {"Content-Type": media_type}
            _ask(connection, "PUT", f"/v2/{entry.repo}/manifests/{ref}", raw, headers)
    connection.close()
    return Corpus(name, tuple(repositories), tags, blobs, manifests)


def _connect(remote: Remote) -> http.client.HTTPConnection:
    if remote.tls:
        return http.client.HTTPSConnection(remote.host, context=remote.tls)
    return http.client.HTTPConnection(remote.host)


def _put_blob(connection: http.client.HTTPConnection, repo: str, digest: str, data: bytes) -> None:
    location = urlsplit(_ask(connection, "POST", f"/v2/{repo}/blobs/uploads/", b""))
    path = f"{location.path}?{location.query}&digest={digest}"
    _ask(connection, "PUT", path, data, {"Content-Type": "application/octet-stream"})


def _ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes,
    headers: dict[str, str] | None = None,
) -> str:
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    answer.read()
    assert answer.status < 300, (method, path, answer.status)
    return answer.headers.get("Location", "")


def _layer(seed: str, size: int) -> bytes:
    """Make a layer that no compression shortens: gzip's stored form of seeded bytes."""
    seeded = random.Random(seed)
    pieces = [seeded.randbytes(min(MIB, size - start)) for start in range(0, size, MIB)]
    return gzip.compress(b"".join(pieces), compresslevel=0, mtime=0)
