"""Images that real tools signed: `signed/` has the layouts, this knows what hangs on what.

`1.0` is an index of two platforms. On the index: a cosign signature and an attestation under tags,
a sigstore bundle of a signature and one of an attestation, a cosign signature with a subject, an
SBOM, and a scan of that SBOM. On the child for amd64: a cosign signature under a tag. `1.1` is an
image without anything.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support import registries
from tests.support.images import (
    MANIFEST_TYPES,
    OCI_INDEX,
    Image,
    artifact,
    descriptor,
    digest_of,
    links,
)
from tests.support.layouts import layout_tags

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.registry import FakeRegistry

FOLDER = Path(__file__).parent / "signed"
INDEX = "sha256:487ab5717954b4df6da685f4fb219f5970a0f2c5bba209259892cc70808b145d"
CHILD = "sha256:15672775a1e4b645eb950259ccd7bb63e8e312500c3528c98bb3d4b88d20952a"
PLAIN = "sha256:d710c6d21da4f8d79ea2966589b60bce94fdd44d22520ae752f04126cd7a0120"


@dataclass(frozen=True, slots=True)
class Signed:
    """What a layout holds: bytes by digest, manifests in an order in which they can be pushed."""

    path: Path
    blobs: dict[str, bytes]
    manifests: dict[str, tuple[str, bytes]]
    tags: dict[str, str]

    @property
    def cosign(self) -> dict[str, str]:
        """The tags of cosign's own."""
        return {tag: top for tag, top in self.tags.items() if tag.endswith((".sig", ".att"))}

    @property
    def lists(self) -> dict[str, str]:
        """The tags that list referrers."""
        cosign = self.cosign
        lists = {tag: top for tag, top in self.tags.items() if tag.startswith("sha256-")}
        return {tag: top for tag, top in lists.items() if tag not in cosign}

    @property
    def referrers(self) -> dict[str, str]:
        """What has a subject, and which."""
        return {
            digest: document["subject"]["digest"]
            for digest, (_, raw) in self.manifests.items()
            if "subject" in (document := json.loads(raw))
        }

    @property
    def scan(self) -> str:
        """The referrer of a referrer."""
        [found] = [each for each, subject in self.referrers.items() if subject != INDEX]
        return found

    def put(self, registry: FakeRegistry, repo: str) -> None:
        """Store all of it; what has the API keeps no lists under tags."""
        skipped = set(self.lists.values()) if registry.referrers_api else set()
        for digest, data in self.blobs.items():
            registry.storage.add_blob(repo, data, digest)
        for digest, (media_type, raw) in self.manifests.items():
            if digest not in skipped:
                registry.storage.add_manifest(repo, digest, media_type, raw)
        for tag, top in self.tags.items():
            if top not in skipped:
                registry.storage.repository(repo).tags[tag] = top


def signed(name: str = "fallback") -> Signed:
    """Read one of the layouts, `fallback` or `referrers`."""
    path = FOLDER / name
    found = {digest_of(file.read_bytes()): file.read_bytes() for file in _files(path)}
    manifests: dict[str, tuple[str, bytes]] = {}
    left = {digest: raw for digest, raw in found.items() if _type(raw)}
    while left:
        for digest, raw in list(left.items()):
            children, _ = links(_type(raw) or "", raw)
            if not left.keys() & set(children):
                manifests[digest] = (_type(raw) or "", left.pop(digest))
    blobs = {digest: data for digest, data in found.items() if digest not in manifests}
    return Signed(path, blobs, manifests, layout_tags(path))


def grown(sample: Signed) -> Signed:
    """Add what the tools did not make: a Notation signature, and an attestation of the SBOM."""
    sbom = sample.referrers[sample.scan]
    blobs, manifests, tags = dict(sample.blobs), dict(sample.manifests), dict(sample.tags)
    for subject, artifact_type in (
        (INDEX, "application/vnd.cncf.notary.signature"),
        (sbom, "application/vnd.in-toto+json"),
    ):
        about = Image(subject, {subject: sample.manifests[subject]}, {})
        made = artifact(artifact_type, subject=about)
        raw = made.raw.replace(b'application/vnd.example.thing"', f'{artifact_type}"'.encode(), 1)
        blobs |= made.blobs
        manifests[digest_of(raw)] = made.media_type, raw
        tag = f"sha256-{subject[7:]}"
        if tag in tags:
            document = json.loads(manifests.pop(tags[tag])[1])
            entry = descriptor(made.media_type, raw) | {"artifactType": artifact_type}
            document["manifests"].append(entry)
            longer = json.dumps(document).encode()
            manifests[digest_of(longer)] = OCI_INDEX, longer
            tags[tag] = digest_of(longer)
    return Signed(sample.path, blobs, manifests, tags)


def push_signed(remote: registries.Remote | str, repo: str, sample: Signed, *, lists: bool) -> None:
    """Push all of it, with or without the lists under tags."""
    for digest, data in sample.blobs.items():
        registries.put_blob(remote, repo, data, digest)
    skipped = set() if lists else set(sample.lists.values())
    for digest, (media_type, raw) in sample.manifests.items():
        if digest not in skipped:
            registries.put_manifest(remote, repo, digest, media_type, raw)
    for tag, top in sample.tags.items():
        if top not in skipped:
            registries.put_manifest(remote, repo, tag, *sample.manifests[top])


def _files(path: Path) -> Iterator[Path]:
    return (path / "blobs/sha256").iterdir()


def _type(raw: bytes) -> str | None:
    """The media type of what is a manifest; None of any other blob."""
    try:
        document = json.loads(raw)
    except ValueError:
        return None
    found = document.get("mediaType") if isinstance(document, dict) else None
    return found if found in MANIFEST_TYPES | {OCI_INDEX} else None
