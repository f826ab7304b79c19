"""What proves who we are; every secret in it is hidden from all messages at once."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field

from imgmigrate.redaction import hide

__all__ = ["Credential"]


@dataclass(frozen=True, slots=True)
class Credential:
    """A login. `found` says where it was, for messages.

    `identity_token` is exchanged for tokens; `registry_token` is one, ready made.
    """

    found: str
    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str | None = field(default=None, repr=False)
    registry_token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for secret in filter(None, (self.password, self.identity_token, self.registry_token)):
            hide(secret)
        if self.password or self.identity_token:
            hide(self.basic.removeprefix("Basic "))

    @property
    def basic(self) -> str:
        """The `Authorization` of user and password; an identity token stands in for one."""
        username = self.username or "<token>"
        password = self.password or self.identity_token or ""
        return f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"
