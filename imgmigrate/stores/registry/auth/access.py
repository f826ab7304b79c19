"""What a request needs, and what it is given for it."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec import Struct

__all__ = ["Access", "Grant"]


class Access(Struct, frozen=True):
    """What a request needs: to read or to write `repo`, and to mount from a second one.

    `delete` asks for that right too, which is not part of `push`.
    Without a `repo`: to be somebody, or to read the `catalog`.
    """

    repo: str | None = None
    push: bool = False
    mount_from: str | None = None
    catalog: bool = False
    delete: bool = False

    @property
    def scopes(self) -> tuple[str, ...]:
        """The token scopes; push first, since some servers honour only the first (protocol 1.3)."""
        if self.catalog:
            return ("registry:catalog:*",)
        if self.repo is None:
            return ()
        rights = "pull,push,delete" if self.delete else "pull,push" if self.push else "pull"
        own = f"repository:{self.repo}:{rights}"
        return (own, f"repository:{self.mount_from}:pull") if self.mount_from else (own,)


@dataclass(frozen=True, slots=True)
class Grant:
    """A value for `Authorization`; `is_new` if its token was fetched for this very request.

    `is_instead`: the password, tried because a new token was refused and no other was offered.
    """

    header: str = field(repr=False)
    is_new: bool = False
    is_instead: bool = False
