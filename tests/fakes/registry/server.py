"""The honest registry: routes requests by the distribution specification, and seeds a store.

`FakeRegistry` keeps to the specification and to what distribution does where it is silent.
A vendor is a subclass that overrides class attributes and single methods (`profiles/`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aiohttp import web

from tests.fakes.registry.calls import Call, Refusal
from tests.fakes.registry.pushes import Pushes

if TYPE_CHECKING:
    from tests.fakes.registry.storage import FakeRepository
    from tests.support.images import Image

_REPO = r"(?P<repo>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
_DIGEST = r"(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})"
_REF = rf"(?P<ref>[A-Za-z0-9_][A-Za-z0-9._-]{{0,127}}|{_DIGEST})"
_UPLOAD = rf"/v2/{_REPO}/blobs/uploads/(?P<name>[0-9a-f]+)"

# Path, then the method of the fake for each HTTP method.
ROUTES: tuple[tuple[re.Pattern[str], dict[str, str]], ...] = tuple(
    (re.compile(pattern), methods)
    for pattern, methods in (
        (r"/v2/", {"GET": "get_root", "HEAD": "get_root"}),
        (r"/v2/_catalog", {"GET": "get_catalog"}),
        (rf"/v2/{_REPO}/tags/list", {"GET": "get_tags"}),
        (
            rf"/v2/{_REPO}/manifests/{_REF}",
            {
                "GET": "get_manifest",
                "HEAD": "get_manifest",
                "PUT": "put_manifest",
                "DELETE": "delete_manifest",
            },
        ),
        (
            rf"/v2/{_REPO}/blobs/(?P<digest>{_DIGEST})",
            {"GET": "get_blob", "HEAD": "get_blob"},
        ),
        (rf"/v2/{_REPO}/referrers/(?P<digest>{_DIGEST})", {"GET": "get_referrers"}),
        (rf"/v2/{_REPO}/blobs/uploads/", {"POST": "start_upload"}),
        (
            _UPLOAD,
            {
                "GET": "get_upload",
                "PATCH": "write_upload",
                "PUT": "commit_upload",
                "DELETE": "cancel_upload",
            },
        ),
    )
)


class FakeRegistry(Pushes):
    """An in-memory registry on a free loopback port, for the length of an `async with`."""

    # Whose row of the table of quirks is meant to apply; None: nobody's.
    vendor_host: str | None = None

    @property
    def blobs(self) -> dict[str, bytes]:
        """The bytes of all blobs, whatever repository shows them."""
        return self.storage.blobs

    @property
    def repositories(self) -> dict[str, FakeRepository]:
        """The repositories by name."""
        return self.storage.repositories

    def put_image(self, repo: str, tag: str, image: Image) -> str:
        """Store an image under a tag and return its digest; no request is made."""
        return self.storage.add_image(repo, tag, image)

    def image(self, repo: str, ref: str) -> Image:
        """Read an image back with all it reaches; AssertionError if anything is missing."""
        return self.storage.image(repo, ref)

    def tags(self, repo: str) -> dict[str, str]:
        """Map the tags of a repository to their digests; none if it does not exist."""
        found = self.storage.repositories.get(repo)
        return dict(found.tags) if found else {}

    def uploads_of(self, digest: str) -> int:
        """Count the uploads of a blob that were committed over the network."""
        return self.count("*", rf"/blobs/uploads/.*digest={re.escape(digest)}", status=201)

    def mounts_of(self, digest: str) -> int:
        """Count the mounts of a blob that succeeded."""
        return self.count("POST", rf"/blobs/uploads/.*mount={re.escape(digest)}", status=201)

    async def answer(self, call: Call) -> web.StreamResponse:
        """Route a request."""
        if call.path == self.token_path and self.auth == "token":
            return await self.issue_token(call)
        for pattern, methods in ROUTES:
            found = pattern.fullmatch(call.path)
            if found:
                name = methods.get(call.method)
                if name is None:
                    raise Refusal(405, "UNSUPPORTED", f"{call.method} {call.path}")
                response = await getattr(self, name)(call, **found.groupdict())
                assert isinstance(response, web.StreamResponse)
                return response
        raise Refusal(404, "NAME_INVALID", call.path)
