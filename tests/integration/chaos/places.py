"""Where images are, and what stands there: plain facts that no code under test had a part in."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support.docker_registry import put_on_disk
from tests.support.images import Image
from tests.support.layouts import layout_tags, write_layout

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LAYOUTS", "SOURCE", "TARGET", "Disks", "Place", "Shelf"]

# The stores: a registry to read from, one to write to, and all layouts together.
SOURCE, TARGET, LAYOUTS = "source", "target", "layouts"


class Place(NamedTuple):
    """One tag of one repository, whatever names lead there; a layout is a repository."""

    store: str
    repo: str
    tag: str

    def __str__(self) -> str:
        return f"{self.store}/{self.repo}:{self.tag}"


class Shelf:
    """The storage of a docker-registry, changed behind its back; it keeps nothing in memory."""

    def __init__(self, store: str, folder: Path) -> None:
        self.store, self.folder = store, folder
        self.root = folder / "storage/docker/registry/v2"

    def tags(self) -> dict[Place, str]:
        """Map every tag to the digest that it names, also where that is gone."""
        found = {}
        for repo in self.repositories():
            below = self._repository(repo) / "_manifests/tags"
            for tag in os.listdir(below) if below.exists() else ():
                link = below / tag / "current/link"
                found[Place(self.store, repo, tag)] = link.read_text()
        return found

    def repositories(self) -> list[str]:
        """List the repositories, also those without any tag."""
        top = str(self.root / "repositories")
        found = []
        for folder, names, _ in os.walk(top):
            if "_manifests" in names:
                found.append(os.path.relpath(folder, top))
            names[:] = [name for name in names if not name.startswith("_")]
        return sorted(found)

    def has_manifest(self, repo: str, digest: str) -> bool:
        """Tell whether a repository serves this manifest."""
        return (self._revision(repo, digest) / "link").exists()

    def put(self, repo: str, tag: str, image: Image) -> None:
        """Push an image."""
        put_on_disk(self.folder, repo, tag, image)

    def put_manifest(self, repo: str, ref: str, raw: bytes) -> str:
        """Take a manifest as a registry does that asks for none of its parts."""
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        kind = json.loads(raw).get("mediaType", "")
        tag = digest[7:] if ":" in ref else ref
        put_on_disk(self.folder, repo, tag, Image(digest, {digest: (kind, raw)}, {}))
        if ":" in ref:
            self.untag(repo, tag)
        return digest

    def untag(self, repo: str, tag: str) -> None:
        """Take a tag away; its manifest stays."""
        shutil.rmtree(self._repository(repo) / "_manifests/tags" / tag, ignore_errors=True)

    def dangle(self, repo: str, digest: str) -> None:
        """Take a manifest away; its tags stay."""
        shutil.rmtree(self._revision(repo, digest), ignore_errors=True)

    def unlink(self, repo: str, digest: str) -> None:
        """Take a blob away from a repository."""
        path = self._repository(repo) / "_layers" / digest.replace(":", "/")
        shutil.rmtree(path, ignore_errors=True)

    def truncate(self, digest: str) -> None:
        """Cut the bytes of a blob, in all repositories."""
        algorithm, _, name = digest.partition(":")
        path = self.root / "blobs" / algorithm / name[:2] / name / "data"
        path.write_bytes(path.read_bytes()[:-7])

    def drop(self, repo: str) -> None:
        """Take a repository away."""
        shutil.rmtree(self._repository(repo), ignore_errors=True)

    def wipe(self) -> None:
        """Take everything away."""
        shutil.rmtree(self.folder / "storage", ignore_errors=True)

    def _repository(self, repo: str) -> Path:
        return self.root / "repositories" / repo

    def _revision(self, repo: str, digest: str) -> Path:
        return self._repository(repo) / "_manifests/revisions" / digest.replace(":", "/")


class Disks:
    """The layouts below a folder, changed as people and other tools change them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def tags(self) -> dict[Place, str]:
        """Map every tag of every layout to its digest."""
        found = {}
        for repo in self.repositories():
            for tag, digest in layout_tags(self.root / repo).items():
                found[Place(LAYOUTS, repo, tag)] = digest
        return found

    def repositories(self) -> list[str]:
        """List the layouts that have an index."""
        found = (path.parent for path in self.root.glob("lay/*/index.json"))
        return sorted(path.relative_to(self.root).as_posix() for path in found)

    def put(self, repo: str, tag: str, image: Image) -> None:
        """Write an image."""
        write_layout(self.root / repo, tag, image)

    def untag(self, repo: str, tag: str) -> None:
        """Take a tag away; everything else stays."""
        file = self.root / repo / "index.json"
        document = json.loads(file.read_bytes())
        document["manifests"] = [each for each in document["manifests"] if _name(each) != tag]
        file.write_text(json.dumps(document))

    def blobs(self, repo: str) -> list[Path]:
        """List the files of the blobs, manifests among them, in the order of their names."""
        return sorted((self.root / repo / "blobs").glob("sha*/*"))


def _name(entry: dict[str, Any]) -> str | None:
    name = entry.get("annotations", {}).get("org.opencontainers.image.ref.name")
    return name if isinstance(name, str) else None
