"""Speak to a registry with urllib alone: the checker that shares nothing with our client.

Blocking. In a test that runs a `FakeRegistry` in its own event loop, call these through
`asyncio.to_thread`, or use the fake's own `put_image` and `image`.
"""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.cli import TIMEOUT
from tests.support.images import MANIFEST_TYPES, Image, digest_of, links

if TYPE_CHECKING:
    import ssl
    from email.message import Message


@dataclass(frozen=True, slots=True)
class Remote:
    """A registry: its host[:port], and what it takes to be let in."""

    host: str
    username: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | None = None

    @property
    def url(self) -> str:
        """The root of the registry's URLs."""
        return f"{'https' if self.tls else 'http'}://{self.host}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a registry said."""

    status: int
    headers: Message
    body: bytes


@dataclass(frozen=True, slots=True)
class RawManifest:
    """A manifest as served. `digest` is of the bytes, `said` is the server's own header."""

    raw: bytes
    media_type: str
    digest: str
    said: str | None


def request(
    remote: Remote | str,
    method: str,
    path: str,
    *,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Send one request; any status is an answer. `path` may be a whole URL."""
    remote = Remote(remote) if isinstance(remote, str) else remote
    url = urllib.parse.urljoin(remote.url, path)
    # Without a type urllib calls a body a form, and servers read it away as one.
    headers = {"Content-Type": "application/octet-stream", **(headers or {})}
    sent = urllib.request.Request(url, data=body, method=method, headers=headers)
    if remote.username is not None:
        pair = base64.b64encode(f"{remote.username}:{remote.password}".encode()).decode()
        sent.add_unredirected_header("Authorization", f"Basic {pair}")
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=remote.tls)
    )
    try:
        with opener.open(sent, timeout=TIMEOUT) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())


def list_tags(remote: Remote | str, repo: str) -> list[str]:
    """List the tags of a repository, sorted; none if it does not exist."""
    tags: list[str] = []
    path: str | None = f"/v2/{repo}/tags/list"
    while path:
        answer = request(remote, "GET", path)
        if answer.status == 404:
            return []
        _expect(answer, 200, f"tags of {repo}")
        tags += json.loads(answer.body)["tags"] or []
        link = answer.headers.get("Link")
        path = link[link.index("<") + 1 : link.index(">")] if link else None
    return sorted(tags)


def get_manifest(remote: Remote | str, repo: str, ref: str) -> RawManifest | None:
    """Read a manifest by tag or digest; None if it is not there."""
    accept = {"Accept": ", ".join([*sorted(MANIFEST_TYPES), "*/*"])}
    answer = request(remote, "GET", f"/v2/{repo}/manifests/{ref}", headers=accept)
    if answer.status == 404:
        return None
    _expect(answer, 200, f"manifest {repo} {ref}")
    algorithm = ref.partition(":")[0] if ":" in ref else "sha256"
    digest = digest_of(answer.body, algorithm)
    assert ":" not in ref or digest == ref, f"{repo}: {ref} served with other bytes"
    return RawManifest(
        answer.body,
        answer.headers["Content-Type"],
        digest,
        answer.headers.get("Docker-Content-Digest"),
    )


def get_blob(remote: Remote | str, repo: str, digest: str) -> bytes | None:
    """Read a blob; None if it is not there; AssertionError if its bytes are not its own."""
    answer = request(remote, "GET", f"/v2/{repo}/blobs/{digest}")
    if answer.status == 404:
        return None
    _expect(answer, 200, f"blob {repo} {digest}")
    found = digest_of(answer.body, digest.partition(":")[0])
    assert found == digest, f"{repo}: {digest} served with other bytes"
    return answer.body


def put_blob(remote: Remote | str, repo: str, data: bytes, digest: str | None = None) -> str:
    """Upload a blob and return its digest."""
    digest = digest or digest_of(data)
    opened = request(remote, "POST", f"/v2/{repo}/blobs/uploads/", body=b"")
    _expect(opened, 202, f"upload to {repo}")
    location = opened.headers["Location"]
    join = "&" if "?" in location else "?"
    answer = request(remote, "PUT", f"{location}{join}digest={digest}", body=data)
    _expect(answer, 201, f"blob {repo} {digest}")
    return digest


def put_manifest(remote: Remote | str, repo: str, ref: str, media_type: str, raw: bytes) -> None:
    """Write a manifest under a tag or its digest."""
    headers = {"Content-Type": media_type}
    answer = request(remote, "PUT", f"/v2/{repo}/manifests/{ref}", body=raw, headers=headers)
    _expect(answer, 201, f"manifest {repo} {ref}")


def push(remote: Remote | str, repo: str, tag: str, image: Image) -> None:
    """Push all of an image, its top under `tag`."""
    for digest, data in image.blobs.items():
        put_blob(remote, repo, data, digest)
    for digest, (media_type, raw) in image.manifests.items():
        put_manifest(remote, repo, tag if digest == image.top else digest, media_type, raw)


def pull(remote: Remote | str, repo: str, ref: str) -> Image:
    """Read an image with every child and blob; AssertionError if anything is missing or wrong."""
    manifests: dict[str, tuple[str, bytes]] = {}
    blobs: dict[str, bytes] = {}

    def walk(wanted: str) -> str:
        found = get_manifest(remote, repo, wanted)
        assert found is not None, f"{repo}: manifest {wanted} is missing"
        children, leaves = links(found.media_type, found.raw)
        for child in children:
            if child not in manifests:
                walk(child)
        for leaf in leaves:
            if leaf not in blobs:
                data = get_blob(remote, repo, leaf)
                assert data is not None, f"{repo}: blob {leaf} is missing"
                blobs[leaf] = data
        manifests[found.digest] = (found.media_type, found.raw)
        return found.digest

    return Image(walk(ref), manifests, blobs)


def assert_holds(remote: Remote | str, repo: str, tag: str, image: Image) -> None:
    """Check that a registry serves exactly this image: every manifest and blob, byte for byte."""
    assert_equal(pull(remote, repo, tag), image)


def assert_same_image(
    remote_a: Remote | str,
    repo_a: str,
    ref_a: str,
    remote_b: Remote | str,
    repo_b: str,
    ref_b: str,
) -> None:
    """Check that two registries serve one image: every manifest and blob, byte for byte."""
    assert_equal(pull(remote_a, repo_a, ref_a), pull(remote_b, repo_b, ref_b))


def assert_equal(found: Image, wanted: Image) -> None:
    """Compare two images by bytes and media types."""
    assert found.top == wanted.top
    assert dict(found.manifests) == dict(wanted.manifests)
    # Names first: a failing comparison of megabytes is unreadable.
    assert sorted(found.blobs) == sorted(wanted.blobs)
    assert all(data == wanted.blobs[digest] for digest, data in found.blobs.items())


def _expect(answer: Answer, status: int, what: str) -> None:
    assert answer.status == status, f"{what}: {answer.status} {answer.body[:500]!r}"
