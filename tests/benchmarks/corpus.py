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

from tests.support.images import MANIFEST_TYPES, Image, image, index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.registries import Remote

__all__ = ["CORPORA", "MIB", "Corpus", "Entry", "is_all_at", "push"]

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
    # repository -> tag -> digest
    repositories: dict[str, dict[str, str]]
    # digest -> size
    blobs: dict[str, int]

    @property
    def tags(self) -> int:
        """How many tags there are."""
        return sum(map(len, self.repositories.values()))

    @property
    def unique_bytes(self) -> int:
        """The bytes of all blobs, each counted once."""
        return sum(self.blobs.values())


# The layers of a base in MiB and those that a service adds in parts of its own size: as many as a
# language's image on a distribution and a Dockerfile of a few COPY and RUN lines make.
BASE_LAYERS = (28, 15, 10, 6, 3, 2, 1)
OWN_LAYERS = (0.6, 0.25, 0.1, 0.04, 0.01)


def shared(bases: int = 4, images: int = 40, mib: int = 425) -> Iterator[Entry]:
    """Services built on few bases: 40 repositories of one image, 2.7 GiB of which 425 MiB differ.

    Every ten images share a base of 65 MiB in seven layers and add some 4 MiB in five: who copies
    repository by repository moves each base ten times, unless it mounts.
    """
    made = [
        [_layer(f"base {number} {layer}", size * MIB) for layer, size in enumerate(BASE_LAYERS)]
        for number in range(bases)
    ]
    own = (mib - bases * sum(BASE_LAYERS)) * MIB // images
    for number in range(images):
        layers = [_layer(f"app {number} {part}", int(own * part)) for part in OWN_LAYERS]
        made_of = image(f"s{number}", layers=[*made[number % bases], *layers])
        yield Entry(f"shared/r{number}", f"t{number}", made_of)


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
    connection = connect(remote)
    homes: dict[str, str] = {}
    pushed: set[tuple[str, str]] = set()
    blobs: dict[str, int] = {}
    repositories: dict[str, dict[str, str]] = {}
    for entry in entries:
        repositories.setdefault(entry.repo, {})[entry.tag] = entry.image.top
        for digest, data in entry.image.blobs.items():
            blobs[digest] = len(data)
            if (entry.repo, digest) not in pushed:
                _put_blob(connection, entry.repo, digest, data, homes.get(digest))
                pushed.add((entry.repo, digest))
                homes.setdefault(digest, entry.repo)
        for digest, (media_type, raw) in entry.image.manifests.items():
            ref = entry.tag if digest == entry.image.top else digest
            headers = {"Content-Type": media_type}
            _ask(connection, "PUT", f"/v2/{entry.repo}/manifests/{ref}", raw, headers)
    connection.close()
    return Corpus(name, repositories, blobs)


def is_all_at(remote: Remote, corpus: Corpus) -> bool:
    """Tell whether a registry has every tag, each with the digest that it should have."""
    connection = connect(remote)
    found = True
    for repo, tags in corpus.repositories.items():
        for tag, digest in tags.items():
            headers = {"Accept": ", ".join(sorted(MANIFEST_TYPES))}
            connection.request("HEAD", f"/v2/{repo}/manifests/{tag}", headers=headers)
            answer = connection.getresponse()
            answer.read()
            found = found and answer.headers.get("Docker-Content-Digest") == digest
    connection.close()
    return found


def connect(remote: Remote) -> http.client.HTTPConnection:
    """Keep one connection to a registry, whose certificate is trusted."""
    if remote.tls:
        return http.client.HTTPSConnection(remote.host, context=remote.tls)
    return http.client.HTTPConnection(remote.host)


def _put_blob(
    connection: http.client.HTTPConnection, repo: str, digest: str, data: bytes, home: str | None
) -> None:
    if home:
        _ask(connection, "POST", f"/v2/{repo}/blobs/uploads/?mount={digest}&from={home}", b"")
        return
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
