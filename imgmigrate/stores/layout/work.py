"""Do the file work of a layout in a thread, and word what the system has against it."""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING, TypeVar

from imgmigrate.errors import Rejected, Symptom, TransientError
from imgmigrate.files import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from imgmigrate.stores.layout.folder import LayoutFolder

__all__ = ["run", "worded", "write"]

T = TypeVar("T")


async def write(
    subject: str,
    folder: LayoutFolder,
    work: Callable[[], T],
    *,
    discard: Callable[[T], object] | None = None,
) -> T:
    """Work that writes: after a failure the folder is prepared again before the next."""
    try:
        return await run(subject, folder.path, work, discard=discard)
    except TransientError:
        folder.forget()
        raise


async def run(
    subject: str,
    path: Path,
    work: Callable[[], T],
    *,
    discard: Callable[[T], object] | None = None,
) -> T:
    """Work in a thread, and word the system's refusals."""
    with worded(subject, path):
        return await in_thread(work, discard=discard)


@contextlib.contextmanager
def worded(subject: str, path: Path) -> Iterator[None]:
    """Make an OSError a Rejected where the user has to act, else a TransientError."""
    try:
        yield
    except OSError as error:
        cause = f"{error.filename or path}: {error.strerror or error}"
        symptoms: frozenset[Symptom] = frozenset()
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "free some space there and run the same command again"
            symptoms = frozenset({Symptom.NO_SPACE})
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            hint = "give this user the right to it, or choose another folder"
        else:
            raise TransientError(subject, cause) from None
        raise Rejected(subject, cause, hint=hint, symptoms=symptoms) from None
