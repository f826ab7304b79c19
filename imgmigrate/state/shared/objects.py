"""A depot in an object store: files that are put once, and `head.json`, swapped on a condition.

Its requests are obstore's synchronous ones, in threads: the asynchronous ones abort the process
now and then when it ends. What a store refuses is put in words by `clouds.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from imgmigrate.errors import StateAway, StateError, UsageError
from imgmigrate.state.shared.clouds import CLOUDS, RETRY_TIME, endpoint_of, explain
from imgmigrate.state.shared.depot import Missing, Overtaken, Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from imgmigrate.config.values.backends import Backend
    from imgmigrate.state.shared.clouds import Cloud, Right

__all__ = ["ObjectDepot", "Objects", "open_objects"]

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

HEAD = "head.json"
# Put only to learn what time it is there.
CLOCK = "clock"
# Seconds between attempts at a conditional put: a store may say that two met and ask for the same
# once more (S3: ConditionalRequestConflict), and where a connection broke obstore sends none again.
PAUSES = (0.1, 0.3, 1.0, 2.0)
# `Last-Modified` has no parts of a second: an age may be so much less.
RESOLUTION = 1.0
# Bytes of one request: more is read and written in parts, so that the time that a request may
# take is no limit of a state's size.
PART = 8 * 1024 * 1024
# Parts that are on their way at once; each has a share of the line.
PARTS_AT_ONCE = 4


class Objects(Protocol):
    """What is used of an obstore store, which has been given its prefix. Blocking.

    `mode` is "create", or has the `e_tag`, and the `version` if there is one, to be replaced.
    """

    def put(self, path: str, file: bytes, **options: Any) -> Mapping[str, Any]:
        """Write an object."""

    def get(self, path: str) -> Any:
        """Read one; FileNotFoundError."""

    def get_range(self, path: str, *, start: int, end: int) -> Any:
        """Read a part of one."""

    def head(self, path: str) -> Mapping[str, Any]:
        """Ask about one."""

    def list(self, prefix: str) -> Iterable[Sequence[Mapping[str, Any]]]:
        """Name those of a folder, some at a time."""

    def delete(self, paths: Sequence[str]) -> None:
        """Delete some."""


def open_objects(backend: Backend) -> ObjectDepot:
    """Open the place that a URL names; UsageError if it cannot be one. Nothing is asked yet."""
    cloud = CLOUDS[backend.scheme]
    bucket, _, prefix = backend.url.partition("://")[2].partition("/")
    if {"", ".", ".."} & set(prefix.split("/")):
        cause = f"state {backend}: {prefix!r} is no prefix of names"
        raise UsageError(cause, hint="no part of it may be empty, . or ..")
    try:
        import obstore  # noqa: F401
    except ImportError:
        cause = f"state {backend}: a state in {cloud.name} needs obstore, which is not installed"
        raise UsageError(cause, hint="pip install 'imgmigrate[objectstore]'") from None
    endpoint = endpoint_of(cloud)
    return ObjectDepot(
        backend.url,
        cloud,
        lambda: cloud.open(bucket, prefix, endpoint),
        identity=f"{backend.url} {endpoint or cloud.account()}".rstrip(),
    )


class ObjectDepot:
    """A state's place in a bucket (`depot.Depot`); `connect` gives its objects, when first asked.

    `identity` tells buckets of one name at two endpoints apart.
    """

    def __init__(
        self, place: str, cloud: Cloud, connect: Callable[[], Objects], *, identity: str
    ) -> None:
        self.place, self.identity = place, identity
        self._cloud, self._connect = cloud, connect
        self._objects: Objects | None = None
        self._connecting = threading.Lock()
        # When the head of a version was put there, by the store's clock.
        self._put_at: tuple[str, datetime] | None = None

    async def fetch(self) -> Seen | None:
        """Read the head."""
        return await self._ask("read", self._fetch)

    async def read(self, name: str) -> bytes:
        """Read a file, a large one in parts: what is there under its name never changes."""
        return await self._ask("read", lambda: self._read(name))

    async def bring(self, files: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """Put all of them."""
        await self._ask("write", lambda: self._put_files(files))
        return {}

    async def swap(
        self,
        seen: Seen | None,
        head: bytes,
        add: Mapping[str, bytes] | None = None,
        drop: Collection[str] = (),
    ) -> Seen:
        """Put the files, then the head if it is still the one that was seen."""

        def swap() -> Seen:
            self._put_files(add or {})
            return self._put_head(seen, head)

        put = await self._ask("write", swap)
        if drop:
            await self._drop(drop)
        return put

    async def names(self, folder: str) -> Sequence[str]:
        """List the objects that are there now."""

        def names() -> list[str]:
            return sorted(each["path"] for some in self._store.list(folder) for each in some)

        return await self._ask("read", names)

    async def add(self, name: str, data: bytes) -> None:
        """Put an object."""
        await self._ask("write", lambda: self._put_file(name, data))

    async def age(self, seen: Seen) -> float | None:
        """By the store's clock; None for who may not write, as that is how to learn its time."""

        def age() -> float | None:
            put_at = self._put_at
            if put_at is None or put_at[0] != seen.version:
                found = self._store.head(HEAD)
                put_at = _version(found), found["last_modified"]
                if put_at[0] != seen.version:
                    return 0.0  # there is a newer one by now
            try:
                self._store.put(CLOCK, secrets.token_bytes(8), mode="overwrite")
            except _denied():
                return None
            now: datetime = self._store.head(CLOCK)["last_modified"]
            return max(0.0, (now - put_at[1]).total_seconds() - RESOLUTION)

        return await self._ask("write", age)

    async def prove(self) -> None:
        """See that the store minds both conditions, with an object of no other use."""
        await self._ask("write", self._prove)

    async def close(self) -> None:
        """Keep nothing open: connections that are idle close by themselves."""

    @property
    def _store(self) -> Objects:
        with self._connecting:
            if self._objects is None:
                try:
                    self._objects = self._connect()
                except _foreign() as error:  # a file that is missing is no object that is
                    raise explain(error, self._cloud, self.place, "read") from None
            return self._objects

    def _fetch(self) -> Seen | None:
        try:
            found = self._store.get(HEAD)
        except FileNotFoundError as error:
            self._need_bucket(error, "read")
            return None
        head, version = bytes(found.bytes()), _version(found.meta)
        self._put_at = version, found.meta["last_modified"]
        return Seen(head, version)

    def _read(self, name: str) -> bytes:
        try:
            found = self._store.get(name)
            size: int = found.meta["size"]
            if size <= PART:
                return bytes(found.bytes())
            return b"".join(
                bytes(self._store.get_range(name, start=start, end=min(start + PART, size)))
                for start in range(0, size, PART)
            )
        except FileNotFoundError as error:
            self._need_bucket(error, "read")
            raise Missing(name) from None

    def _put_files(self, files: Mapping[str, bytes]) -> None:
        for name, data in files.items():
            self._put_file(name, data)

    def _put_file(self, name: str, data: bytes) -> None:
        """Put a file that nobody else can have put: its name was never used before."""
        if len(data) > PART:
            self._store.put(
                name, data, use_multipart=True, chunk_size=PART, max_concurrency=PARTS_AT_ONCE
            )
            return

        def settled() -> bool | None:
            with contextlib.suppress(FileNotFoundError):
                if bytes(self._store.get(name).bytes()) != data:
                    cause = f"{name} is there with other bytes"
                    raise StateError(cause, subject=f"state {self.place}")
                return True  # the answer of an attempt was lost
            return None

        self._insist(lambda: self._store.put(name, data, mode="create"), settled)

    def _put_head(self, seen: Seen | None, head: bytes) -> Seen:
        mode = "create" if seen is None else _replacing(seen.version)

        def put() -> Seen:
            return Seen(head, _version(self._store.put(HEAD, head, mode=mode)))

        def settled() -> Seen | None:
            found = self._fetch()
            if found is not None and found.head == head:
                return found  # the answer of an attempt was lost
            if (found and found.version) != (seen and seen.version):
                raise Overtaken
            return None

        return self._insist(put, settled)

    def _insist(self, put: Callable[[], _T], settled: Callable[[], _T | None]) -> _T:
        """Put on a condition; where nothing is known to have changed, or nothing did, once more.

        Where the condition does not hold `settled` looks what is there: None is what was asked for.
        """
        until = time.monotonic() + RETRY_TIME.total_seconds()
        for pause in (*PAUSES, None):
            try:
                return put()
            except _unmet() as error:
                if isinstance(error, FileNotFoundError):
                    self._need_bucket(error, "write")
                found = settled()
                if found is not None:
                    return found
            except _foreign() as error:
                away = explain(error, self._cloud, self.place, "write")
                if pause is None or not isinstance(away, StateAway) or time.monotonic() > until:
                    raise away from None
            if pause is not None:
                time.sleep(pause)
        cause = "it refuses to write, as if others did at the same moment"
        raise StateAway(cause, subject=f"state {self.place}", hint="try again later")

    async def _drop(self, names: Collection[str]) -> None:
        """Take files away that no head names any more; what stays costs only its bytes."""
        try:
            await asyncio.to_thread(lambda: self._store.delete(sorted(names)))
        except _foreign() as error:
            logger.debug("%s", explain(error, self._cloud, self.place, "delete"))

    def _prove(self) -> None:
        store, name = self._store, f"probe-{secrets.token_hex(8)}"

        def put(data: bytes, mode: Any) -> str:
            """Put what the condition allows, and return its version."""

            def settled() -> str | None:
                with contextlib.suppress(FileNotFoundError):
                    found = store.get(name)
                    if bytes(found.bytes()) == data:
                        return _version(found.meta)
                return None

            return self._insist(lambda: _version(store.put(name, data, mode=mode)), settled)

        def is_refused(mode: Any) -> bool:
            """Put what it forbids."""

            def put() -> bool:
                store.put(name, secrets.token_bytes(8), mode=mode)
                return False

            return self._insist(put, lambda: True)

        try:
            first = put(b"first", "create")
            if not first.partition("\n")[0]:
                raise self._unfit("gives no ETag for what is written")
            if not is_refused("create"):
                raise self._unfit("ignores the condition that there be no such object yet", "*")
            put(b"second", _replacing(first))
            if not is_refused(_replacing(first)):
                raise self._unfit("ignores the condition that an object be as it was seen", "ETag")
            if bytes(store.get(name).bytes()) != b"second":
                raise self._unfit("does not give back what was written last")
        finally:
            with contextlib.suppress(*_foreign()):
                store.delete([name])

    def _unfit(self, what: str, condition: str = "") -> StateError:
        said = {"*": f" ({self._cloud.if_none})", "ETag": f" ({self._cloud.if_same})", "": ""}
        return StateError(
            f"the store {what}{said[condition]}, so two runs could write at once",
            subject=f"state {self.place}",
            hint="use a store that minds conditions, such as Amazon S3, Google Cloud Storage,"
            " Azure Blob Storage, MinIO or SeaweedFS, in a version of today",
        )

    def _need_bucket(self, error: FileNotFoundError, right: Right) -> None:
        """Tell an object that is not there from a bucket that is not."""
        found = explain(error, self._cloud, self.place, right)
        if not self._cloud.lacks_object(error):
            raise found from None

    async def _ask(self, right: Right, work: Callable[[], _T]) -> _T:
        try:
            return await asyncio.to_thread(work)
        except _foreign() as error:
            # Its own text may hold a signed URL.
            raise explain(error, self._cloud, self.place, right) from None


def _version(meta: Mapping[str, Any]) -> str:
    """What tells one writing of an object from all others: its ETag, and its generation if any."""
    return "\n".join(filter(None, (meta.get("e_tag"), meta.get("version"))))


def _replacing(version: str) -> Mapping[str, str]:
    """The mode that replaces a version only; obstore takes no None."""
    e_tag, _, generation = version.partition("\n")
    return {"e_tag": e_tag, "version": generation} if generation else {"e_tag": e_tag}


def _unmet() -> tuple[type[Exception], ...]:
    """What a condition that does not hold is raised as; S3 has no object to be replaced: 404."""
    from obstore.exceptions import AlreadyExistsError, PreconditionError

    return AlreadyExistsError, PreconditionError, FileNotFoundError


def _denied() -> type[Exception]:
    from obstore.exceptions import PermissionDeniedError

    return PermissionDeniedError


def _foreign() -> tuple[type[Exception], ...]:
    """What obstore raises; ValueError is of settings, OSError of files and of what is missing."""
    from obstore.exceptions import BaseError

    return BaseError, OSError, ValueError
