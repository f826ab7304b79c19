"""Read images as whoever pulls them does: raw HTTP, or the files of a layout; nothing of ours."""

from __future__ import annotations

import hashlib
import http.client
import json
from typing import TYPE_CHECKING

from tests.integration.chaos.places import LAYOUTS
from tests.support.images import MANIFEST_TYPES, links
from tests.support.tools import run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.chaos.places import Place

__all__ = ["Reader"]

_ACCEPT = ", ".join(sorted(MANIFEST_TYPES))


class Reader:
    """Reads from the registries themselves, by store, not from what stands before them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.behind: dict[str, str] = {}
        self._lines: dict[str, http.client.HTTPConnection] = {}

    def connect(self, store: str, host: str) -> None:
        """Read a store here from now on."""
        if store in self._lines:
            self._lines.pop(store).close()
        self.behind[store] = host

    def close(self) -> None:
        """Hang up."""
        for line in self._lines.values():
            line.close()

    def faults(self, place: Place, digest: str) -> dict[str, str]:
        """Map what is missing of an image, or wrong, to which of both it is."""
        faults: dict[str, str] = {}
        todo, seen = [(digest, True)], set()
        while todo:
            what, is_manifest = todo.pop()
            if what in seen:
                continue
            seen.add(what)
            data = self._read(place, what, is_manifest)
            if data is None:
                faults[what] = "missing"
            elif f"sha256:{hashlib.sha256(data).hexdigest()}" != what:
                faults[what] = "wrong"
            elif is_manifest:
                children, blobs = links(json.loads(data)["mediaType"], data)
                todo += [(each, True) for each in children] + [(each, False) for each in blobs]
        return faults

    def parts(self, place: Place, digest: str) -> list[str]:
        """List the blobs of an image whose manifests can be read."""
        found, todo = set(), [digest]
        while todo:
            digest = todo.pop()
            data = self._read(place, digest, True)
            if data is not None and f"sha256:{hashlib.sha256(data).hexdigest()}" == digest:
                children, blobs = links(json.loads(data)["mediaType"], data)
                todo += children
                found |= set(blobs)
        return sorted(found)

    def can_pull(self, place: Place, digest: str) -> bool:
        """Tell whether skopeo takes such an image: in layouts it takes no Docker media types."""
        data = self._read(place, digest, True)
        kind = str(json.loads(data)["mediaType"]) if data else ""
        return place.store != LAYOUTS or kind.startswith("application/vnd.oci.")

    def pull(self, place: Place, folder: Path) -> None:
        """Let skopeo read an image; AssertionError with its words if it cannot."""
        if place.store == LAYOUTS:
            name = f"oci:{self.root / place.repo}:{place.tag}"
        else:
            name = f"docker://{self.behind[place.store]}/{place.repo}:{place.tag}"
        run(
            *("skopeo", "--insecure-policy", "copy", "--quiet", "--all"),
            *("--src-tls-verify=false", name, f"dir:{folder}"),
        )

    def _read(self, place: Place, digest: str, is_manifest: bool) -> bytes | None:
        if place.store == LAYOUTS:
            try:
                return (self.root / place.repo / "blobs" / digest.replace(":", "/")).read_bytes()
            except OSError:
                return None
        kind = "manifests" if is_manifest else "blobs"
        status, data = self._ask(place.store, f"/v2/{place.repo}/{kind}/{digest}")
        return data if status == 200 else None

    def _ask(self, store: str, path: str) -> tuple[int, bytes]:
        line = self._lines.get(store)
        if line is None:
            line = http.client.HTTPConnection(self.behind[store], timeout=30)
            self._lines[store] = line
        try:
            line.request("GET", path, headers={"Accept": _ACCEPT})
            answer = line.getresponse()
            return answer.status, answer.read()
        except http.client.IncompleteRead as short:
            # A blob whose file is shorter than the registry says.
            self._lines.pop(store).close()
            return 200, short.partial
