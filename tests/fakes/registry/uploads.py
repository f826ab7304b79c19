"""What a registry takes of blobs: uploads in every form of the specification, and mounts."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from aiohttp import web

from tests.fakes.registry.calls import Call, HungUp, Refusal
from tests.fakes.registry.pulls import Pulls
from tests.fakes.registry.storage import Session
from tests.support.images import digest_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Uploads(Pulls):
    """Store blobs, once they are proved."""

    # Paths below which repositories come into being when they are pushed to; None: anywhere.
    namespaces: frozenset[str] | None = None
    # What a mount gets instead of being tried: 202 opens an upload session, the rest refuse.
    mount_status: int | None = None
    # What a token must allow to cancel an upload.
    cancel_right: str = "push"
    # The Location of an upload as a whole URL rather than a path.
    absolute_locations: bool = False
    # This many characters more in every Location.
    location_padding: int = 0
    patch_status: int = 202
    # Bytes: a larger PATCH is 416, and so is any after a smaller one.
    largest_patch: int | None = None
    smallest_patch: int | None = None
    # Says the smallest one beforehand (`OCI-Chunk-Min-Length`).
    announces_smallest: bool = False
    # PATCH requests of one upload; more are refused.
    most_patches: int | None = None
    # The connection is cut after so many bytes of any body of an upload.
    body_cut: int | None = None
    # What a PUT that brings a whole blob of more than so many bytes gets: a PATCH must bring it.
    whole_put_status: int | None = None
    largest_whole_put: int = 0
    # `POST ?digest=` with the blob stores it; otherwise it opens a session like any POST.
    single_post: bool = False

    async def start_upload(self, call: Call, repo: str) -> web.StreamResponse:
        """Open an upload session, or mount a blob from another repository."""
        digest, source = call.query.get("mount"), call.query.get("from")
        needs = [(repo, "pull"), (repo, "push")]
        if digest and source:
            needs.append((source, "pull"))
        self.authorise(call, *needs)
        self.check_place(call, repo)
        if digest and self.mounted(call, repo, digest, source):
            self.storage.repository(repo).blobs.add(digest)
            return self._created(repo, "blobs", digest)
        session = Session(repo, secrets.token_hex(16), "")
        self.storage.sessions[session.name] = session
        if self.single_post and "digest" in call.query:
            await self._receive(call, session)
            return self._commit(session, call.query["digest"])
        response = self._accepted(session)
        if self.smallest_patch and self.announces_smallest:
            response.headers["OCI-Chunk-Min-Length"] = str(self.smallest_patch)
        return response

    def check_place(self, call: Call, repo: str) -> None:
        """Refuse a push to where no repository can be."""
        if not self.has_namespace(repo):
            raise self.no_namespace(repo)

    def has_namespace(self, repo: str) -> bool:
        """Tell whether a repository may come into being here."""
        if self.namespaces is None or repo in self.storage.repositories:
            return True
        return any(repo == each or repo.startswith(f"{each}/") for each in self.namespaces)

    def no_namespace(self, repo: str) -> Refusal:
        """Say that whatever must exist above a repository does not."""
        return Refusal(404, "NAME_UNKNOWN", f"there is no namespace for {repo}")

    def mounted(self, call: Call, repo: str, digest: str, source: str | None) -> bool:
        """Decide on a mount: a refusal, False for an upload session, True if it may be done."""
        if not source:
            return False
        if self.mount_status not in (None, 202):
            raise Refusal(self.mount_status or 500, "UNSUPPORTED", "mounts are refused")
        return self.mount_status is None and self.storage.has_blob(source, digest)

    async def write_upload(self, call: Call, repo: str, name: str) -> web.StreamResponse:
        """Take the next piece of an upload (PATCH)."""
        session = self._session(call, repo, name)
        place = call.request.headers.get("Content-Range")
        if place and place.partition("-")[0] != str(len(session.data)):
            raise Refusal(416, "RANGE_INVALID", headers=self.progress(session))
        if self.most_patches is not None and len(session.pieces) >= self.most_patches:
            raise Refusal(405, "UNSUPPORTED", "chunked uploads are not supported")
        if self.smallest_patch and session.pieces and session.pieces[-1] < self.smallest_patch:
            raise Refusal(416, "SIZE_INVALID", f"a part is smaller than {self.smallest_patch}")
        self.begin_piece(session)
        before = len(session.data)
        await self._receive(call, session)
        size = len(session.data) - before
        if self.largest_patch is not None and size > self.largest_patch:
            del session.data[before:]
            mebibytes = self.largest_patch / 2**20
            message = f"exceeds the maximum permissible limit of {mebibytes:.2f}MiB"
            raise Refusal(416, "SIZE_INVALID", message)
        session.pieces.append(size)
        return self._accepted(session, self.patch_status)

    async def commit_upload(self, call: Call, repo: str, name: str) -> web.StreamResponse:
        """Take the last piece and the digest, which must be right (PUT)."""
        session = self._session(call, repo, name)
        await self._receive(call, session)
        is_whole = not session.pieces and len(session.data) > self.largest_whole_put
        if self.whole_put_status and is_whole:
            session.data.clear()
            raise Refusal(self.whole_put_status, "UNKNOWN", "unexpected body")
        return self._commit(session, call.query.get("digest", ""))

    async def get_upload(self, call: Call, repo: str, name: str) -> web.StreamResponse:
        """Say how far an upload is. An old Location is good enough to ask."""
        self.authorise(call, (repo, "pull"), (repo, "push"))
        session = self.storage.sessions.get(name)
        if session is None or session.repo != repo:
            raise Refusal(404, "BLOB_UPLOAD_UNKNOWN")
        return self._accepted(session, status=204)

    async def cancel_upload(self, call: Call, repo: str, name: str) -> web.StreamResponse:
        """Forget an upload (DELETE)."""
        self.authorise(call, (repo, self.cancel_right))
        if self.storage.sessions.pop(name, None) is None:
            raise Refusal(404, "BLOB_UPLOAD_UNKNOWN")
        return web.Response(status=204)

    def begin_piece(self, session: Session) -> None:
        """Get ready for a PATCH that is taken; it is appended to those before."""

    def verifies(self, session: Session) -> bool:
        """Tell whether the bytes must match the digest that is claimed for them."""
        return True

    def interrupted(self, session: Session) -> None:
        """Decide what becomes of a session whose request body broke off; it is kept."""

    def progress(self, session: Session) -> dict[str, str]:
        """Say how much of an upload is here."""
        # "0-0" means nothing or one byte: every real registry has this ambiguity.
        return {"Range": f"0-{max(0, len(session.data) - 1)}"}

    def _commit(self, session: Session, digest: str) -> web.Response:
        found = self.storage.sessions.pop(session.name, None)
        algorithm, data = digest.partition(":")[0], bytes(session.data)
        is_right = algorithm in ("sha256", "sha512") and digest_of(data, algorithm) == digest
        if self.verifies(session) and not is_right:
            raise Refusal(400, "DIGEST_INVALID", detail={"digest": digest})
        if found is None:
            raise Refusal(404, "BLOB_UPLOAD_UNKNOWN")
        self.storage.add_blob(session.repo, data, digest)
        return self._created(session.repo, "blobs", digest)

    async def _receive(self, call: Call, session: Session) -> None:
        try:
            with self.busy("write"):
                async for piece in self._uncut(call):
                    session.data += piece
        except BaseException:
            self.interrupted(session)
            raise

    async def _uncut(self, call: Call) -> AsyncIterator[bytes]:
        async for piece in self.read_body(call):
            yield piece
            if self.body_cut is not None and call.received > self.body_cut:
                call.hang_up()
                raise HungUp

    def _session(self, call: Call, repo: str, name: str) -> Session:
        self.authorise(call, (repo, "pull"), (repo, "push"))
        session = self.storage.sessions.get(name)
        sent = f"{call.raw_query}&"
        if session is None or session.repo != repo or f"_state={session.state}&" not in sent:
            raise Refusal(404, "BLOB_UPLOAD_UNKNOWN", "no such upload, or a stale Location")
        return session

    def _accepted(self, session: Session, status: int = 202) -> web.Response:
        session.renew()
        root = self.url if self.absolute_locations else ""
        target = f"/v2/{session.repo}/blobs/uploads/{session.name}?_state={session.state}"
        if self.location_padding:
            target += f"&_pad={'x' * self.location_padding}"
        headers = {
            "Location": root + target,
            "Docker-Upload-Uuid": session.name,
            **self.progress(session),
        }
        return web.Response(status=status, headers=headers)

    def _created(self, repo: str, kind: str, digest: str) -> web.Response:
        root = self.url if self.absolute_locations else ""
        location = f"{root}/v2/{repo}/{kind}/{digest}"
        headers = {"Location": location, "Docker-Content-Digest": digest}
        return web.Response(status=201, headers=headers)
