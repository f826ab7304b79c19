"""What proves who we are; every secret in it is hidden from all messages at once."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field

from imgmigrate.redaction import hide

__all__ = ["Credential"]


@dataclass(frozen=True, slots=True)
class Credential:
    """A login. `found` says in short where it was, for messages.

    `place` says it so that it can be found there, and `mend` what to do there if it is refused:
    two logins that differ in these alone are one and the same to a registry.
    `identity_token` is exchanged for tokens; `registry_token` is one, ready made.
    """

    found: str
    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str | None = field(default=None, repr=False)
    registry_token: str | None = field(default=None, repr=False)
    place: str | None = field(default=None, compare=False)
    mend: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for secret in filter(None, (self.password, self.identity_token, self.registry_token)):
            hide(secret)
        if self.password or self.identity_token:
            hide(self.basic.removeprefix("Basic "))

    @property
    def hint(self) -> str | None:
        """What to do about it if it is refused; None if its source does not say."""
        if self.place is None:
            return None
        said = f"the login is that of {self.place}"
        return f"{said}: {self.mend}" if self.mend else said

    @property
    def basic(self) -> str:
        """The `Authorization` of user and password; an identity token stands in for one."""
        username = self.username or "<token>"
        password = self.password or self.identity_token or ""
        return f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"
