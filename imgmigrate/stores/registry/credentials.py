"""What proves who we are; every secret in it is hidden from all messages at once."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus

from imgmigrate.errors import hide

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
            # Servers repeat what they were sent, in the form in which they were sent it.
            for form in (secret, quote(secret, safe=""), quote_plus(secret), _in_json(secret)):
                hide(form)
        if self.password or self.identity_token:
            hide(self.basic.removeprefix("Basic "))

    @property
    def basic(self) -> str:
        """The `Authorization` of user and password; an identity token stands in for one."""
        username = self.username or "<token>"
        password = self.password or self.identity_token or ""
        return f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"


def _in_json(text: str) -> str:
    return json.dumps(text)[1:-1]
