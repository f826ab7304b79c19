"""A request to a registry, before anything of HTTP or authentication is known of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.stores.registry.http.limits import ERROR_BODY

if TYPE_CHECKING:
    from imgmigrate.stores.registry.auth.access import Access, Grant
    from imgmigrate.stores.registry.pace.limits import Passage

__all__ = ["Admission", "Call", "Signing"]

# Gives the headers that sign one attempt.
Signing = Callable[[], Awaitable[Mapping[str, str]]]


@dataclass(frozen=True, slots=True)
class Call:
    """A request to the registry, about `subject`. `target` is a path, or a URL it gave us.

    Any status but those of `accepts` is raised as an error, and never tried again if it is one
    of the `hopeless`; the answer may be `limit` bytes. Where a `document` is asked for, a web
    page is a passing failure (GAR: gardener/cc-utils#1557). The answer is waited for as long as
    the body deserves, or for `patience` seconds.
    """

    method: str
    target: str
    subject: str
    access: Access
    accepts: frozenset[int] = frozenset({200})
    headers: Mapping[str, str] = field(default_factory=dict)
    data: bytes | None = field(default=None, repr=False)
    limit: int = ERROR_BODY
    hopeless: frozenset[int] = frozenset()
    document: bool = False
    patience: float | None = None


class Admission(Struct, frozen=True):
    """The leave to send a body now, and what to send as `Authorization`."""

    passage: Passage
    grant: Grant | None
