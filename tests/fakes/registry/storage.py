"""What the fake holds, in memory; a blob is visible only in repositories it is linked to."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from tests.support.images import Image, digest_of, links


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest as it was put."""

    media_type: str
    raw: bytes


@dataclass(slots=True)
class Session:
    """An open upload. `state` is in the only Location that is good now."""

    repo: str
    name: str
    state: str
    data: bytearray = field(default_factory=bytearray)
    # The size of each PATCH so far.
    pieces: list[int] = field(default_factory=list)

    def renew(self) -> None:
        """Make the next Location differ from all before; its escapes must come back as sent."""
        self.state = f"{secrets.token_hex(4)}%2F%2B{secrets.token_hex(4)}%3D"


@dataclass(slots=True)
class FakeRepository:
    """One repository: tags and manifests by digest, and the digests of its blobs."""

    tags: dict[str, str] = field(default_factory=dict)
    manifests: dict[str, StoredManifest] = field(default_factory=dict)
    blobs: set[str] = field(default_factory=set)

    def resolve(self, ref: str) -> str | None:
        """Find the digest of a tag or digest that is here."""
        digest = ref if ":" in ref else self.tags.get(ref)
        return digest if digest in self.manifests else None


@dataclass(slots=True)
class Storage:
    """All repositories and the bytes of all blobs."""

    repositories: dict[str, FakeRepository] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    # Where the next page begins, by the opaque token that was given out for it.
    cursors: dict[str, int] = field(default_factory=dict)
    # In signed URLs. Needs its escapes: whoever re-quotes a redirect gets 403, as from S3.
    signature: str = field(default_factory=lambda: f"a%2Fb%2B{secrets.token_hex(8)}%3D")

    def repository(self, repo: str) -> FakeRepository:
        """Find a repository, or make it."""
        return self.repositories.setdefault(repo, FakeRepository())

    def has_blob(self, repo: str, digest: str) -> bool:
        """Tell whether the repository shows the blob."""
        found = self.repositories.get(repo)
        return found is not None and digest in found.blobs

    def add_blob(self, repo: str, data: bytes, digest: str | None = None) -> str:
        """Store a blob and link it to the repository."""
        digest = digest or digest_of(data)
        self.blobs[digest] = data
        self.repository(repo).blobs.add(digest)
        return digest

    def add_manifest(self, repo: str, ref: str, media_type: str, raw: bytes) -> str:
        """Store a manifest, under its digest and possibly a tag, without any check."""
        digest = ref if ":" in ref else digest_of(raw)
        found = self.repository(repo)
        found.manifests[digest] = StoredManifest(media_type, raw)
        if ":" not in ref:
            found.tags[ref] = digest
        return digest

    def add_image(self, repo: str, tag: str, image: Image) -> str:
        """Store all of an image."""
        for digest, data in image.blobs.items():
            self.add_blob(repo, data, digest)
        for digest, (media_type, raw) in image.manifests.items():
            self.add_manifest(repo, tag if digest == image.top else digest, media_type, raw)
        return image.top

    def image(self, repo: str, ref: str) -> Image:
        """Collect an image; AssertionError if the repository lacks any of it."""
        found = self.repository(repo)
        manifests: dict[str, tuple[str, bytes]] = {}
        blobs: dict[str, bytes] = {}

        def walk(digest: str) -> None:
            stored = found.manifests.get(digest)
            assert stored is not None, f"{repo}: manifest {digest} is missing"
            children, leaves = links(stored.media_type, stored.raw)
            for child in children:
                walk(child)
            for leaf in leaves:
                assert leaf in found.blobs, f"{repo}: blob {leaf} is missing"
                blobs[leaf] = self.blobs[leaf]
            manifests[digest] = (stored.media_type, stored.raw)

        top = found.resolve(ref)
        assert top is not None, f"{repo}: {ref} is missing"
        walk(top)
        return Image(top, manifests, blobs)
