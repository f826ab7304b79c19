"""Say where a state is that several machines share. No I/O.

A bucket, a database or a branch: what its URL means is the business of the kind of state that it
names. Nobody writes a password into it: it stands in configs, plans and messages.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LEASE", "SCHEMES", "Backend", "is_backend", "read_backend", "read_lease"]

# What a backend is called by; git has a branch instead of a URL.
SCHEMES = ("s3", "gs", "az", "postgresql", "postgres", "git")
GIT_BRANCH = "imgmigrate-state"
GIT_REMOTE = "origin"
# Seconds that a writer holds a state without a word; then another may take it over.
LEASE = 60.0
SHORTEST_LEASE, LONGEST_LEASE = 1.0, 3600.0
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
# What git itself takes for a branch and for a remote, less what a command line may mistake.
_REF = re.compile(r"(?![-./])(?!.*(?:\.\.|//|/\.|@\{|\.lock(?:/|$)))[A-Za-z0-9._/-]*[A-Za-z0-9_-]")
_REMOTE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


class Backend(Struct, frozen=True):
    """A shared state: its `url` is also what people call it.

    `folder` is the config's, whose checkout a branch is of. `lease` is in seconds.
    """

    url: str
    folder: Path
    lease: float = LEASE

    @property
    def scheme(self) -> str:
        """What kind of backend it is."""
        return self.url.partition(":")[0]

    @property
    def branch(self) -> tuple[str, str]:
        """The branch and the remote of one in git."""
        branch, _, remote = self.url.removeprefix("git:").rpartition("@")
        return branch, remote

    def __str__(self) -> str:
        """Print its URL."""
        return self.url


def is_backend(text: str) -> bool:
    """Tell the URL of a backend from a folder's path."""
    found = _SCHEME.match(text)
    return text == "git" or (found is not None and found[1].lower() in SCHEMES) or "://" in text


def read_backend(
    text: str,
    folder: Path,
    *,
    branch: str | None = None,
    remote: str | None = None,
    lease: float = LEASE,
) -> Backend:
    """Check a backend's URL, or `git` with its branch and remote; ValueError says what is wrong."""
    if text == "git" or text.startswith("git:"):
        named, at, where = text.removeprefix("git").removeprefix(":").partition("@")
        made = _git(branch or named or GIT_BRANCH, remote or where or GIT_REMOTE)
        if at and not where:
            msg = "names no remote after @"
            raise ValueError(msg)
        return Backend(made, folder, lease)
    if branch is not None or remote is not None:
        msg = "branch and remote belong to backend: git"
        raise ValueError(msg)
    return replace(Backend(_url(text), folder), lease=lease)


def read_lease(value: object) -> float:
    """Seconds of a lease, such as `60s`."""
    from imgmigrate.config.values.quantities import read_duration

    seconds = read_duration(value, most=LONGEST_LEASE)
    if seconds < SHORTEST_LEASE:
        msg = f"must be at least {SHORTEST_LEASE:.0f}s"
        raise ValueError(msg)
    return seconds


def _git(branch: str, remote: str) -> str:
    if not _REF.fullmatch(branch):
        msg = f"{branch!r} is no name of a branch"
        raise ValueError(msg)
    if not _REMOTE.fullmatch(remote):
        msg = f"{remote!r} is no name of a remote; add one with git remote add"
        raise ValueError(msg)
    return f"git:{branch}@{remote}"


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        password = parts.password
    except ValueError:
        msg = "is not a URL"
        raise ValueError(msg) from None
    if parts.scheme not in SCHEMES or not text.startswith(f"{parts.scheme}://"):
        known = "s3://BUCKET/PREFIX, gs://..., az://..., postgresql://HOST/DATABASE or git"
        msg = f"is no backend that this version knows; it may be {known}"
        raise ValueError(msg)
    if password is not None or "password=" in parts.query.lower():
        msg = "must not hold a password: it stands in plans and messages"
        raise ValueError(msg)
    if not text.isprintable() or " " in text or parts.fragment:
        msg = "holds a space, a # or what cannot be printed"
        raise ValueError(msg)
    is_database = parts.scheme.startswith("postgres")
    if not is_database and (not parts.netloc or "@" in parts.netloc or parts.query):
        msg = f"must be {parts.scheme}://BUCKET/PREFIX"
        raise ValueError(msg)
    if not is_database and not parts.path.strip("/"):
        msg = "needs a prefix behind the bucket, which nothing else has"
        raise ValueError(msg)
    return text.rstrip("/")
