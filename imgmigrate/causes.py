"""Why something could not be done, apart from what it was to be done to: what failures share.

Pure. One registry that is down, one full disk or one refused login fails thousands of rows. What
is wrong with a single image, such as a digest or a tag that is not there, is no shared cause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

from imgmigrate.errors import (
    AccessDenied,
    AuthenticationError,
    OutOfReach,
    QuotaExhausted,
    RateLimited,
    Rejected,
    StoreError,
    Symptom,
    TransientError,
)
from imgmigrate.schemas.models import LENIENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Cause", "cause_of", "grouped"]

T = TypeVar("T")

# Of these the place says it all, in whatever words each failure came.
_BY_PLACE = frozenset({"no_repository", "no_space", "out_of_reach", "unreachable"})
# What is no registry's is of the layouts'.
_LAYOUTS = "layouts"


class Cause(BaseModel):
    """What several failures have in common.

    `kind` and `code` are stable, `place` is the registry that is to blame, `side` tells which end
    of a copy that is; `text` and `hint` are of one of the failures.
    """

    model_config = LENIENT

    kind: str
    code: str
    place: str
    side: str | None = None
    text: str
    hint: str | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """What two failures of one cause agree in."""
        if self.kind == "no_login":
            # Its hint says which login was refused: a registry may know several of ours.
            return (self.kind, self.place, self.hint or "")
        if self.kind in _BY_PLACE:
            return (self.kind, self.place)
        return (self.kind, self.place, self.side or "", self.code, self.text)


def cause_of(error: BaseException | None) -> Cause | None:
    """Find what an error would have in common with others; None if it is about its object."""
    if not isinstance(error, StoreError) or (kind := _kind(error)) is None:
        return None
    return Cause(
        kind=kind,
        code=error.number,
        place=error.host or _LAYOUTS,
        side=error.side,
        text=error.cause,
        hint=error.hint,
    )


def grouped(
    items: Iterable[T], why: Callable[[T], Cause | None]
) -> tuple[list[tuple[Cause, list[T]]], list[T]]:
    """Gather items of one cause, by its place; what is alone with its cause is among the others.

    One says more itself than its cause does.
    """
    by_key: dict[tuple[str, ...], tuple[Cause, list[T]]] = {}
    others: list[T] = []
    for item in items:
        cause = why(item)
        if cause is None:
            others.append(item)
        else:
            by_key.setdefault(cause.key, (cause, []))[1].append(item)
    others += [members[0] for _, members in by_key.values() if len(members) == 1]
    groups = [group for group in by_key.values() if len(group[1]) > 1]
    return sorted(groups, key=lambda group: (group[0].place, group[0].kind)), others


def _kind(error: StoreError) -> str | None:
    """Sort an error by what whoever mends its cause has to do."""
    if error.code == "NAME_UNKNOWN" and error.side == "destination":
        return "no_repository"
    if Symptom.NO_SPACE in error.symptoms:
        return "no_space"
    match error:
        case OutOfReach():
            return "out_of_reach"
        case TransientError(is_unreachable=True):
            return "unreachable"
        case AuthenticationError():
            return "no_login"
        case AccessDenied():
            return "denied"
        case RateLimited() | QuotaExhausted():
            return "rate_limited"
        case TransientError():
            return "failing"
        case Rejected() if error.status is not None:
            return "refused"
    return None
