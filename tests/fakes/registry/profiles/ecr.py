"""Amazon ECR: repositories that must exist, Basic, opaque cursors, parts of 5 MiB."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING

from aiohttp import web

from tests.fakes.registry.access import User
from tests.fakes.registry.calls import Call, HungUp, Refusal
from tests.fakes.registry.pushes import entries_of
from tests.fakes.registry.server import FakeRegistry
from tests.fakes.registry.signatures import is_signed_for_aws
from tests.support.images import parse

if TYPE_CHECKING:
    from tests.fakes.registry.storage import Session

ACCOUNT = "123456789012"
REGION = "eu-west-1"
TARGET = "AmazonEC2ContainerRegistry_V20150921.DescribeRepositories"


class Ecr(FakeRegistry):
    """A private registry of Amazon ECR."""

    vendor_host = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
    scheme = "basic"
    user = User("AWS", "Secret-of-Amazon-1")
    default_page = 100
    largest_n = 1000
    n_refused = (405, "UNSUPPORTED")
    redirect_status = 307
    # PATCH is answered 201; parts below 5 MiB are refused unless last (protocol 3.3).
    patch_status = 201
    smallest_patch = 5 * 1024 * 1024
    most_patches = 4200
    # Even what a tag shows already may not be put again (containers-roadmap#2380).
    immutable_same = True
    referrers_api = True
    # Uploads to a repository that is not there are cut, not answered (sdk-container-builds#279).
    cuts_absent: bool = False
    # What signs requests to its API.
    access_key = ("AKIAFAKEFAKEFAKE", "Secret-of-the-Key-1")
    # What the API answers to everything: a status, a type and a message; None: what it should.
    api_refusal: tuple[int, str, str] | None = None

    async def answer(self, call: Call) -> web.StreamResponse:
        """Answer ECR's API too, which is at api.ecr.REGION.amazonaws.com."""
        if call.path != "/" or "X-Amz-Target" not in call.request.headers:
            return await super().answer(call)
        body = b"".join([piece async for piece in self.read_body(call)])
        if not is_signed_for_aws(call, body, self.access_key, REGION, "ecr"):
            return _refusal(400, "InvalidSignatureException", "The signature does not match")
        if self.api_refusal is not None:
            return _refusal(*self.api_refusal)
        wanted = json.loads(body)
        if call.request.headers["X-Amz-Target"] != TARGET or wanted["registryId"] != ACCOUNT:
            return _refusal(400, "InvalidParameterException", "another registry")
        names = sorted(self.storage.repositories)
        start = self.storage.cursors[wanted["nextToken"]] if "nextToken" in wanted else 0
        end = start + min(wanted.get("maxResults", 100), 100)
        page = [
            {"repositoryName": name, "registryId": ACCOUNT, "repositoryUri": f"{self.host}/{name}"}
            for name in names[start:end]
        ]
        document: dict[str, object] = {"repositories": page}
        if end < len(names):
            document["nextToken"] = self.cursor(names, end)
        return web.json_response(document, content_type="application/x-amz-json-1.1")

    def check_place(self, call: Call, repo: str) -> None:
        """Refuse a push to a repository that nobody has created (protocol 3.6)."""
        if repo in self.storage.repositories:
            return
        if self.cuts_absent:
            call.hang_up()
            raise HungUp
        raise self.unknown_repository(repo)

    def unknown_repository(self, repo: str) -> Refusal:
        """Say that a repository is not there, as ECR words it."""
        message = f"The repository with name '{repo}' does not exist in the registry with id"
        return Refusal(404, "NAME_UNKNOWN", f"{message} '{ACCOUNT}'")

    def cursor(self, names: list[str], end: int) -> str:
        """Give a token that means nothing to anybody else (protocol 2.2)."""
        token = secrets.token_urlsafe(96)
        self.storage.cursors[token] = end
        return token

    def place_of(self, names: list[str], cursor: str) -> int:
        """Refuse a `last` that somebody made by hand (drydock#927)."""
        if cursor not in self.storage.cursors:
            raise Refusal(405, "UNSUPPORTED", "Invalid parameter at 'last'")
        return self.storage.cursors[cursor]

    def mounted(self, call: Call, repo: str, digest: str, source: str | None) -> bool:
        """Mount only what a manifest in the source repository names; else 202 (protocol 3.1)."""
        if not source or not super().mounted(call, repo, digest, source):
            return False
        manifests = self.storage.repositories[source].manifests.values()
        named = [each["digest"] for one in manifests for each in entries_of(parse(one.raw))]
        return digest in named

    def progress(self, session: Session) -> dict[str, str]:
        """Stay at the end of the first part (containers-roadmap#2831)."""
        end = session.pieces[0] if session.pieces else len(session.data)
        return {"Range": f"0-{max(0, end - 1)}"}

    def immutable_tag(self, repo: str, tag: str) -> Refusal:
        """Say that a tag may not be put again (protocol 3.6)."""
        message = f"The image tag '{tag}' already exists in the '{repo}' repository and cannot be"
        return Refusal(400, "TAG_INVALID", f"{message} overwritten because it is immutable.")


def _refusal(status: int, kind: str, message: str) -> web.Response:
    """Say no as AWS's JSON APIs do."""
    document = {"__type": kind, "message": message}
    return web.json_response(document, status=status, content_type="application/x-amz-json-1.1")
