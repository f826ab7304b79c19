"""Who may do what: Basic and token authentication as registries do them.

A token is opaque, names its scopes and expires by the fake's own clock: `advance` moves it,
so no test waits for an expiry.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qsl

from aiohttp import web

from tests.fakes.registry.calls import Call, Refusal
from tests.fakes.registry.core import Core

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable
    from pathlib import Path

Scheme = Literal["none", "basic", "token"]
# What a request needs: pairs of a repository and an action. A token holds the same.
Rights = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class User:
    """Somebody, with globs of the repositories they may pull from and push to."""

    name: str
    password: str
    pull: tuple[str, ...] = ("*",)
    push: tuple[str, ...] = ("*",)

    def may(self, repo: str, action: str) -> bool:
        """Tell whether they have a right."""
        globs = self.pull if action == "pull" else self.push
        return any(fnmatchcase(repo, glob) for glob in globs)


@dataclass(frozen=True, slots=True)
class Token:
    """What a token was issued for; `expires` is a time of the fake's clock."""

    user: str | None
    rights: Rights
    expires: float


class Access(Core):
    """Check rights; issue tokens at `token_path`."""

    # How it authenticates and whom it knows, unless a test says otherwise.
    scheme: Scheme = "none"
    user = User("robot", "Secret-of-the-Robot-1")
    token_path = "/token"
    # What the OAuth2 form (POST) gets where it is not offered: 400, 401, 404 or 405.
    oauth_status: int | None = None
    # Seconds that a token lives, and what the token endpoint says of it (None: the same).
    token_ttl: float = 300
    reported_ttl: float | None = None
    # Which key of the answer holds the token; real servers use either or both.
    token_keys: tuple[str, ...] = ("token", "access_token")
    # What a good token that lacks the scope gets: distribution 401, others 403.
    lacking_status: int = 401
    # Globs of repositories that nobody may read anonymously.
    private: tuple[str, ...] = ()
    service: str | None = "fake registry"
    # Every push is refused: a read-only account.
    deny_push: bool = False

    def __init__(
        self,
        *,
        auth: Scheme | None = None,
        users: Iterable[User] = (),
        tls: ssl.SSLContext | None = None,
        log: Path | None = None,
        port: int = 0,
    ) -> None:
        super().__init__(tls=tls, log=log, port=port)
        self.auth: Scheme = self.scheme if auth is None else auth
        known = list(users) or [self.user]
        self.users = {user.name: user for user in known}
        self.tokens: dict[str, Token] = {}
        # Identity tokens, and whose they are.
        self.refresh_tokens: dict[str, str] = {}
        # The scopes of each token request, in order, as they were asked for.
        self.token_requests: list[tuple[str, ...]] = []
        # Requests, by their number, at whose arrival every token issued so far ends.
        self.lapses: set[int] = set()
        self._clock = 0.0

    def advance(self, seconds: float) -> None:
        """Move the clock that tokens expire by."""
        self._clock += seconds

    def revoke_tokens(self) -> None:
        """Refuse every token issued so far."""
        self.tokens.clear()

    def authorise(self, call: Call, *needs: tuple[str, str]) -> None:
        """Refuse a request that lacks any of the rights it `needs`; none: be anybody known."""
        if self.deny_push and any(action != "pull" for _, action in needs):
            raise Refusal(403, "DENIED", "pushes are refused")
        if self.auth == "basic":
            self._check_basic(call, frozenset(needs))
        elif self.auth == "token":
            self._check_token(call, needs)

    async def issue_token(self, call: Call) -> web.StreamResponse:
        """Answer `/token`: what the user may have of the scopes asked for.

        GET takes Basic credentials or none; POST is OAuth2 with a refresh token or a password.
        """
        if call.method == "POST":
            if self.oauth_status:
                raise Refusal(self.oauth_status, "UNSUPPORTED", "no OAuth2 here")
            body = b"".join([piece async for piece in self.read_body(call)])
            fields = parse_qsl(body.decode())
            user: User | None = self._owner(dict(fields))
        else:
            fields = parse_qsl(call.raw_query)
            user = self._user(call)
        scopes = [one for key, value in fields if key == "scope" for one in value.split()]
        self.token_requests.append(tuple(scopes))
        rights: set[tuple[str, str]] = set()
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            repo, _, actions = rest.rpartition(":")
            if kind == "repository":
                asked = frozenset(actions.split(","))
                rights |= {(repo, action) for action in self.granted(user, repo, asked)}
        token = self.new_token(scopes)
        self.tokens[token] = Token(
            user.name if user else None, frozenset(rights), self._clock + self.token_ttl
        )
        said = self.token_ttl if self.reported_ttl is None else self.reported_ttl
        return web.json_response(dict.fromkeys(self.token_keys, token) | {"expires_in": said})

    def realm(self) -> str:
        """The address that the Bearer challenge sends clients to."""
        return f"{self.url}{self.token_path}"

    def granted(self, user: User | None, repo: str, asked: frozenset[str]) -> set[str]:
        """Say which of the actions of a scope a token will hold; never an error."""
        return {action for action in asked if self._may(user, repo, action)}

    def new_token(self, scopes: list[str]) -> str:
        """Make an opaque token."""
        return secrets.token_urlsafe(24)

    def challenge(
        self, call: Call, needs: tuple[tuple[str, str], ...], error: str | None
    ) -> dict[str, str]:
        """Say how to get a token that is good enough."""
        actions: dict[str, list[str]] = {}
        for repo, action in needs:
            actions.setdefault(repo, []).append(action)
        scope = " ".join(f"repository:{repo}:{','.join(each)}" for repo, each in actions.items())
        fields = {
            "realm": self.realm(),
            "service": self.service,
            "scope": scope or None,
            "error": error,
        }
        pairs = ",".join(f'{key}="{value}"' for key, value in fields.items() if value is not None)
        return {"WWW-Authenticate": f"Bearer {pairs}"}

    def _may(self, user: User | None, repo: str, action: str) -> bool:
        if user is not None and user.may(repo, action):
            return True
        return action == "pull" and not any(fnmatchcase(repo, glob) for glob in self.private)

    def _user(self, call: Call) -> User | None:
        """Find who sent Basic credentials; None without any; a refusal if they are wrong."""
        scheme, _, value = call.request.headers.get("Authorization", "").partition(" ")
        if not scheme:
            return None
        try:
            name, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            name = password = ""
        user = self.users.get(name)
        if scheme.lower() != "basic" or user is None or user.password != password:
            raise Refusal(401, "UNAUTHORIZED", "wrong credentials", headers=BASIC)
        return user

    def _owner(self, form: dict[str, str]) -> User:
        kind = form.get("grant_type")
        name = self.refresh_tokens.get(form.get("refresh_token", ""), "")
        user = self.users.get(name if kind == "refresh_token" else form.get("username", ""))
        if user is None or (kind != "refresh_token" and user.password != form.get("password")):
            raise Refusal(401, "UNAUTHORIZED", "wrong credentials")
        return user

    def _check_basic(self, call: Call, needs: Rights) -> None:
        user = self._user(call)
        if user is None:
            raise Refusal(401, "UNAUTHORIZED", "authentication required", headers=BASIC)
        if not all(self._may(user, *right) for right in needs):
            raise Refusal(403, "DENIED", "requested access to the resource is denied")

    def _check_token(self, call: Call, needs: tuple[tuple[str, str], ...]) -> None:
        if call.number in self.lapses:
            self.tokens.clear()
        scheme, _, value = call.request.headers.get("Authorization", "").partition(" ")
        token = self.tokens.get(value) if scheme.lower() == "bearer" else None
        if token is None or token.expires <= self._clock:
            reason = "invalid_token" if scheme else None
            raise Refusal(401, "UNAUTHORIZED", headers=self.challenge(call, needs, reason))
        if not token.rights.issuperset(needs):
            if self.lacking_status == 401:
                headers = self.challenge(call, needs, "insufficient_scope")
                raise Refusal(401, "UNAUTHORIZED", headers=headers)
            raise Refusal(self.lacking_status, "DENIED", "the token lacks the scope")


BASIC = {"WWW-Authenticate": 'Basic realm="fake, with a comma"'}
