"""Try each registry that a config needs, and say what works and what to mend.

Reads little and writes nothing that stays: the right to push is tried by opening an upload and
cancelling it. Anything that fails becomes a line of the report, never an exception.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from imgmigrate.errors import (
    AccessDenied,
    AuthenticationError,
    ConfigError,
    ImgmigrateError,
    NotFound,
    ProtocolError,
    StoreError,
)
from imgmigrate.oci.manifest import OCI_INDEX
from imgmigrate.oci.reference import Digest, Repository, is_tag
from imgmigrate.probing.listings import Listings
from imgmigrate.probing.needs import needs_of
from imgmigrate.stores.registry import manifests
from imgmigrate.stores.registry.auth.access import Access
from imgmigrate.stores.registry.http.limits import TAGS_BODY, Timeouts
from imgmigrate.stores.registry.known.kept import kept
from imgmigrate.stores.registry.store import RegistryStore
from imgmigrate.stores.registry.wire.calls import Call
from imgmigrate.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from imgmigrate.config.model import Config
    from imgmigrate.events import Sink
    from imgmigrate.probing.needs import Needs
    from imgmigrate.workspace import Workspace

__all__ = ["Check", "Report", "Verdict", "probe", "probe_all"]

# Somebody waits for the answer, and can ask again.
TIMEOUTS = Timeouts(connect=10, read=30, first_retry=0.2, longest_retry=1)
ATTEMPTS = 2
# What registries answer to GET /v2/ (distribution-spec "Determining Support").
_GREETINGS = frozenset({200, 401, 403})
# What says that there is no referrers API; an unknown subject is 400 at Quay (protocol 3.5).
_NO_REFERRERS = frozenset({200, 400, 404, 405, 501})
_CANCELLED = frozenset({200, 202, 204})
# No image has this digest, since no manifest is empty.
_NO_IMAGE = Digest.of(b"")


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    FAILED = "failed"
    ABSENT = "not offered"
    UNTRIED = "not tried"


class Check(Struct, frozen=True):
    """One thing that was tried; what is not `is_needed` by any rule breaks nothing."""

    name: str
    verdict: Verdict
    detail: str = ""
    fix: str | None = None
    is_needed: bool = True


class Report(Struct, frozen=True):
    """What was found out about one registry; `about` tells entries of one host apart."""

    host: str
    roles: tuple[str, ...]
    checks: tuple[Check, ...]
    about: str | None = None

    @property
    def works(self) -> bool:
        """Whether everything works that the rules need."""
        return not any(each.is_needed and each.verdict is Verdict.FAILED for each in self.checks)


async def probe_all(config: Config | Workspace, *, sink: Sink) -> tuple[Report, ...]:
    """Probe every registry that the rules name, all at once."""
    workspace = open_workspace(config, sink=sink, timeouts=TIMEOUTS)
    wanted = needs_of(workspace.config)
    async with workspace.stores() as stores:
        listings = Listings(workspace.config, stores, wanted)

        async def one(needs: Needs) -> Report:
            try:
                if needs.trouble is not None:
                    raise needs.trouble
                store = stores.of(Repository(needs.host, needs.sample or ""))
                if not isinstance(store, RegistryStore):
                    msg = f"{needs.host} is no registry"
                    raise TypeError(msg)
                return await probe(store, needs, listings)
            except ConfigError as error:
                return Report(needs.host, needs.roles, (_failed("settings", error),))
            finally:
                listings.tell(needs, is_let_in=False)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(needs)) for needs in wanted]
    reports = [task.result() for task in tasks]
    hosts = [report.host for report in reports]
    return tuple(
        replace(report, about=needs.known or needs.finds or needs.fills)
        if hosts.count(report.host) > 1
        else report
        for report, needs in zip(reports, wanted, strict=True)
    )


async def probe(store: RegistryStore, needs: Needs, listings: Listings) -> Report:
    """Probe one registry; what cannot work after a failure is not tried."""
    probing = _Probing(store, needs, listings)
    checks = [await probing.guarded("reach", probing.reach)]
    if checks[0].verdict is Verdict.OK:
        checks.append(await probing.guarded("log in", probing.log_in))
    can_go_on = all(check.verdict is not Verdict.FAILED for check in checks)
    listings.tell(needs, is_let_in=can_go_on)
    for name, check in probing.rest():
        if can_go_on:
            checks.append(await probing.guarded(name, check))
        elif name in ("list", "pull", "push"):
            checks.append(Check(name, Verdict.UNTRIED))
    if (known := kept(needs.host)) is not None:
        detail = (
            f"a test of {known.at:%Y-%m-%d} by imgmigrate {known.version} in {known.repository}"
        )
        checks.append(Check("written", Verdict.OK, f"{detail}: heeded", is_needed=False))
    return Report(needs.host, needs.roles, tuple(checks))


class _Probing:
    """The checks of one registry, each by itself; they share what is learnt on the way."""

    def __init__(self, store: RegistryStore, needs: Needs, listings: Listings) -> None:
        self._remote, self._needs, self._listings = store.remote, needs, listings
        self._asks = False
        # What is asked for at the registry, beside what fails of it.
        self._asked = ""
        self._subject: Digest | None = None

    async def guarded(self, name: str, check: Callable[[], Awaitable[Check]]) -> Check:
        """Make one check; what fails in it becomes its verdict."""
        self._asked = ""
        try:
            return await check()
        except ImgmigrateError as error:
            return _failed(name, error, self._asked)

    def rest(self) -> Iterator[tuple[str, Callable[[], Awaitable[Check]]]]:
        """What is tried once we are logged in."""
        if self._needs.finds:
            yield "list", self.find
        if self._needs.lists or self._needs.reads or self._needs.finds:
            yield "pull", self.pull
        if self._needs.writes or self._needs.fills:
            yield "push", self.push
        if not self._needs.finds:
            yield "catalog", self.catalog
        if self._needs.known:
            yield "referrers", self.referrers

    async def reach(self) -> Check:
        """Names, routes, certificates, and that a registry answers."""
        pong = await self._remote.auth.greet()
        if pong.status not in _GREETINGS:
            cause = f"GET /v2/ answers {pong.status}: no registry is there"
            return Check("reach", Verdict.FAILED, cause, "check the name and the port")
        self._asks = pong.status != 200
        return Check("reach", Verdict.OK, self._remote.origin)

    async def log_in(self) -> Check:
        """Whether the credentials are found and accepted."""
        repo = self._needs.sample
        credential = await self._remote.auth.credential(repo)
        if credential is None:
            detail = f"no credentials for {self._remote.host}: only what is public"
            return Check("log in", Verdict.UNTRIED, detail, is_needed=False)
        if not self._asks:
            detail = f"GET /v2/ asks nobody who they are; unused: {credential.found}"
            return Check("log in", Verdict.UNTRIED, detail, is_needed=False)
        call = Call("GET", "/v2/", self._remote.host, Access(repo))
        # Denied is only said of credentials that are good.
        with suppress(AccessDenied):
            await self._remote.call(call, attempts=ATTEMPTS)
        return Check("log in", Verdict.OK, f"with the credentials of {credential.found}")

    async def find(self) -> Check:
        """List the repositories that a glob matches, as planning will; that is all of the list."""
        glob = self._needs.finds or ""
        found = await self._found()
        if isinstance(found, ImgmigrateError):
            raise found
        if not found:
            cause = f"no repository matches {glob}"
            return Check("list", Verdict.FAILED, cause, "check the rule's source")
        noun = "repository matches" if len(found) == 1 else "repositories match"
        return Check("list", Verdict.OK, f"{len(found):,} {noun} {glob}")

    async def pull(self) -> Check:
        """List one source and read one image, as far as the rules will."""
        lists, done = self._needs.lists, []
        if lists is None and self._needs.reads is None:
            found = await self._found()
            if not isinstance(found, list) or not found:
                return Check("pull", Verdict.UNTRIED, "what the rules match is not known")
            lists = found[0]
        if lists:
            tags = await self._tags(lists)
            done.append(f"lists {lists}")
            if self._needs.reads is None:
                if not tags:
                    return Check("pull", Verdict.UNTRIED, f"{lists} has no tags to read")
                await self._describe(lists, tags[0])
        if self._needs.reads:
            repo, ref = self._needs.reads
            if await self._describe(repo, ref) is None:
                cause = f"{repo} has no {ref}"
                return Check("pull", Verdict.FAILED, cause, "check the rule's source and tags")
            done.append(f"reads {repo}")
        return Check("pull", Verdict.OK, ", ".join(done))

    async def push(self) -> Check:
        """Open an upload and cancel it: nothing stays.

        Where rules with wildcards alone write, to where the first repository that one finds goes.
        """
        repo = self._needs.writes or await self._listings.first(self._needs)
        if repo is None:
            source = self._needs.filling.rule.source if self._needs.filling else ""
            detail = f"what {source} matches is not known, so where it goes is not"
            return Check("push", Verdict.UNTRIED, detail)
        access = Access(repo, push=True)
        self._asked, subject = repo, f"{self._remote.host}/{repo}"
        target = f"/v2/{repo}/blobs/uploads/"
        answer = await self._remote.call(
            Call("POST", target, subject, access, frozenset({202})), attempts=ATTEMPTS
        )
        location = answer.header("Location")
        if not location:
            raise ProtocolError(subject, "it opened an upload without saying where")
        call = Call(
            "DELETE",
            self._remote.wire.resolve(subject, answer.url, location),
            subject,
            access,
            _CANCELLED,
        )
        try:
            await self._remote.call(call, attempts=1)
        except StoreError:
            detail = f"{repo}; an upload cannot be cancelled there, the empty one ends by itself"
            return Check("push", Verdict.OK, detail)
        return Check("push", Verdict.OK, repo)

    async def catalog(self) -> Check:
        """Whether the registry lists its repositories; no rule needs it."""
        subject = f"{self._remote.host} (catalog)"
        call = Call("GET", "/v2/_catalog?n=1", subject, Access(catalog=True), limit=TAGS_BODY)
        try:
            answer = await self._remote.call(call, attempts=ATTEMPTS)
        except (AccessDenied, AuthenticationError):
            return Check("catalog", Verdict.ABSENT, "not with these credentials", is_needed=False)
        except StoreError as error:
            return Check("catalog", Verdict.ABSENT, error.cause, is_needed=False)
        if isinstance(_json(answer.body, "repositories"), list):
            return Check("catalog", Verdict.OK, is_needed=False)
        return Check("catalog", Verdict.ABSENT, "it answers something else", is_needed=False)

    async def referrers(self) -> Check:
        """Whether signatures and the like are found by the API of OCI 1.1; no rule needs it.

        Only the answer itself tells: the header of a push does not (protocol 0.8).
        """
        repo, subject = self._needs.sample, self._subject or _NO_IMAGE
        name = f"{self._remote.host}/{repo}"
        target = f"/v2/{repo}/referrers/{subject}"
        call = Call("GET", target, name, Access(repo), _NO_REFERRERS, limit=TAGS_BODY)
        try:
            answer = await self._remote.call(call, attempts=ATTEMPTS)
        except StoreError as error:
            return Check("referrers", Verdict.ABSENT, error.cause, is_needed=False)
        media_type = (answer.header("Content-Type") or "").partition(";")[0].strip()
        if answer.status == 200 and media_type == OCI_INDEX:
            return Check("referrers", Verdict.OK, is_needed=False)
        if answer.status in (400, 404) and b"NAME_" in answer.body and self._subject is None:
            detail = f"{repo} does not exist yet"
            return Check("referrers", Verdict.UNTRIED, detail, is_needed=False)
        detail = "clients find signatures by their tags there"
        return Check("referrers", Verdict.ABSENT, detail, is_needed=False)

    async def _found(self) -> list[str] | ImgmigrateError | None:
        """What the first glob matches."""
        return await self._listings.of(Repository(self._needs.host, self._needs.finds or ""))

    async def _tags(self, repo: str) -> list[str]:
        """The first tags of a repository."""
        self._asked, subject = repo, f"{self._remote.host}/{repo}"
        target = f"/v2/{repo}/tags/list?n=1"
        call = Call("GET", target, subject, Access(repo), limit=TAGS_BODY)
        answer = await self._remote.call(call, attempts=ATTEMPTS)
        found = _json(answer.body, "tags")
        names = found if isinstance(found, list) else []
        return [tag for tag in names if isinstance(tag, str) and is_tag(tag)]

    async def _describe(self, repo: str, ref: str) -> Digest | None:
        self._asked = manifests.name_of(repo, ref)
        try:
            found = await manifests.look(self._remote, repo, ref)
        except NotFound:
            return None
        self._subject = found.digest if found is not None else None
        return self._subject


def _failed(name: str, error: ImgmigrateError, asked: str = "") -> Check:
    if not isinstance(error, StoreError):
        return Check(name, Verdict.FAILED, error.message, error.hint)
    is_of_all = error.repo is None or not asked
    detail = error.cause if is_of_all else f"{asked}: {error.cause}"
    return Check(name, Verdict.FAILED, detail, error.hint)


def _json(body: bytes, key: str) -> object:
    try:
        found: object = json.loads(body)[key]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return found
