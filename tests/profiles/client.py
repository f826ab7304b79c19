"""A client that shares nothing with ours, for asking one profile at a time."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.fakes.registry import PROFILES, FakeRegistry, in_thread
from tests.support.images import digest_of
from tests.support.registries import Answer, Remote, request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.images import Image

REPO = "team/app"
DATA = b"0123456789"
BLOB = digest_of(DATA)
ABSENT = digest_of(b"absent")


class Client:
    """Asks one registry, authenticated by Basic; a token scheme is switched off."""

    def __init__(self, registry: FakeRegistry) -> None:
        self.registry = registry
        user = registry.user
        self._remote = Remote(registry.host, user.name, user.password)

    def __call__(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return request(self._remote, method, path, body=body, headers=sent)

    def begin(self) -> str:
        """Open an upload session."""
        answer = self("POST", f"/v2/{REPO}/blobs/uploads/", b"")
        assert answer.status == 202
        return str(answer.headers["Location"])

    def put(self, ref: str, image: Image) -> Answer:
        """Put the top manifest of an image whose parts are there."""
        for digest, data in image.blobs.items():
            self.registry.storage.add_blob(REPO, data, digest)
        return self("PUT", f"/v2/{REPO}/manifests/{ref}", image.raw, Content_Type=image.media_type)

    def tags(self, query: str = "") -> Any:
        """List the tags of one page."""
        answer = self("GET", f"/v2/{REPO}/tags/list{query}")
        assert answer.status == 200
        return json.loads(answer.body)["tags"]


@contextmanager
def serve(name: str, **switches: Any) -> Iterator[Client]:
    """Run a profile; whatever it authenticates with, it is Basic here."""
    registry = PROFILES[name](auth="none" if PROFILES[name].scheme == "none" else "basic")
    registry.storage.repository(REPO)
    for switch, value in switches.items():
        setattr(registry, switch, value)
    with in_thread(registry):
        yield Client(registry)
