"""Objects in the memory of this process, behind which a store can fail, lie and be cut off."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from obstore.exceptions import AlreadyExistsError, GenericError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from obstore.store import ObjectStore

__all__ = ["Faulty", "broken"]


def broken(kind: str = "Connect") -> GenericError:
    """What obstore raises where no answer came, as it prints it."""
    return GenericError(
        "Generic S3 error: Error performing PUT http://storage.test:9/team/x?sig=c2VjcmV0 in 1s"
        "  - HTTP error: error sending request\n\nDebug source:\n"
        f"inner: Http(\n    HttpError {{\n        kind: {kind},\n    }},\n)"
    )


@dataclass
class Faulty:
    """The way of one process to `objects`, which others may go as well."""

    objects: ObjectStore
    is_away: bool = False
    # Requests that fail before they are carried out, and puts whose answer is lost.
    failures: int = 0
    mute: int = 0
    # Conditional puts that are told to try again.
    conflicts: int = 0
    # Modes that the store does not look at.
    deaf: frozenset[str] = frozenset()
    # Names that cannot be put.
    lost: str = ""
    asked: list[str] = field(default_factory=list)
    # How far the store's clock is ahead.
    ahead: timedelta = timedelta()

    def put(self, path: str, file: bytes, **options: Any) -> Mapping[str, Any]:
        self._ask(f"put {path}")
        mode = options.get("mode", "overwrite")
        if self.lost and path.startswith(self.lost):
            raise broken()
        if self.conflicts and mode != "overwrite":
            self.conflicts -= 1
            raise AlreadyExistsError("409 Conflict: <Code>ConditionalRequestConflict</Code>")
        if (mode if isinstance(mode, str) else "update") in self.deaf:
            options["mode"] = "overwrite"
        result = self.objects.put(path, file, **options)
        if self.mute:
            self.mute -= 1
            raise broken("Timeout")
        return result

    def get(self, path: str) -> Any:
        self._ask(f"get {path}")
        return _Answer(self.objects.get(path), self.ahead)

    def get_range(self, path: str, *, start: int, end: int) -> Any:
        self._ask(f"get {path} {start}-{end}")
        return self.objects.get_range(path, start=start, end=end)

    def head(self, path: str) -> Mapping[str, Any]:
        self._ask(f"head {path}")
        return _moved(self.objects.head(path), self.ahead)

    def list(self, prefix: str) -> Any:
        self._ask(f"list {prefix}")
        return self.objects.list(prefix)

    def delete(self, paths: Sequence[str]) -> None:
        self._ask(f"delete {' '.join(paths)}")
        self.objects.delete(paths)

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.is_away or self.failures:
            self.failures = max(0, self.failures - 1)
            raise broken()


class _Answer:
    def __init__(self, found: Any, ahead: timedelta) -> None:
        self._found, self.meta = found, _moved(found.meta, ahead)

    def bytes(self) -> Any:
        return self._found.bytes()


def _moved(meta: Mapping[str, Any], ahead: timedelta) -> dict[str, Any]:
    return {**meta, "last_modified": meta["last_modified"] + ahead}
