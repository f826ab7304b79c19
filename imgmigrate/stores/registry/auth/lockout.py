"""Remember how credentials fared: accepted, refused, and given a second chance.

The guard against lockouts: directories lock an account after a few wrong passwords, and a plan
asks about thousands of repositories. So a credential is tried by one request until it has been
accepted, one that is refused is asked about once a run, and all others hear the same error.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.errors import AccessDenied, AuthenticationError

if TYPE_CHECKING:
    from imgmigrate.clock import Clock
    from imgmigrate.errors import StoreError
    from imgmigrate.stores.registry.logins.credentials import Credential
    from imgmigrate.stores.registry.logins.keyring import Keyring

__all__ = ["Standing"]

# Seconds after which a credential that was good before is tried once more: a directory behind a
# registry that is away for a moment answers 401, and a migration lasts hours.
REFUSAL_RESTS = 300.0


class _Refusal(Struct, frozen=True):
    """Why, and until when that stands; and whose login it was, where one was refused."""

    cause: str
    status: int | None
    until: float
    login: Credential | None = None


class Standing:
    """What one registry thinks of the credentials of a run."""

    def __init__(self, host: str, keyring: Keyring, clock: Clock) -> None:
        self._host, self._keyring, self._clock = host, keyring, clock
        # No credential is both accepted and refused. Only `renewed` awaits, and the keyring lets
        # one at a time look for another login.
        self._accepted: set[Credential] = set()
        self._tried: set[Credential] = set()
        self._refused: dict[Credential, _Refusal] = {}
        # Those whose refusal is final: what was found instead of a refused one, and is new.
        self._last_chances: set[Credential] = set()

    def is_accepted(self, credential: Credential) -> bool:
        """Tell whether the registry is known to know it."""
        return credential in self._accepted

    def is_untried(self, credential: Credential) -> bool:
        """Tell whether nothing at all is known of it."""
        return credential not in self._tried and credential not in self._accepted

    def note_tried(self, credential: Credential) -> None:
        """It was not refused."""
        self._tried.add(credential)

    def accept(self, credential: Credential) -> None:
        """The registry knows it."""
        self._accepted.add(credential)
        self._refused.pop(credential, None)
        self._last_chances.discard(credential)

    def refuse(self, credential: Credential, error: StoreError) -> AuthenticationError:
        """The registry does not know it, or not any more; return the error to raise now."""
        was_good = credential in self._accepted
        until = self._clock.time() + REFUSAL_RESTS if was_good else inf
        cause = f"{error.cause}: the credentials of {credential.found} were refused"
        self._refused[credential] = _Refusal(cause, error.status, until, credential)
        self._accepted.discard(credential)
        self._tried.discard(credential)
        return self._error(self._host, self._refused[credential])

    def refusal(self, credential: Credential) -> AuthenticationError | None:
        """The error of a credential that was refused, as long as that stands."""
        refusal = self._refused.get(credential)
        if refusal is None:
            return None
        if self._clock.time() < refusal.until:
            return self._error(self._host, refusal)
        del self._refused[credential]
        return None

    def check(self, credential: Credential) -> None:
        """Raise the error of a credential that was refused, without asking anybody."""
        error = self.refusal(credential)
        if error is not None:
            raise error

    async def renewed(self, repo: str | None, refused: Credential | None) -> Credential | None:
        """What the source of a refused credential gives now, if that is another one.

        A source is asked again once for each credential of it that was refused, until one is
        accepted.
        """
        if refused is None or refused in self._last_chances or refused not in self._refused:
            return None
        better = await self._keyring.renew(repo, refused)
        if better is None:
            self._last_chances.add(refused)
        elif better not in self._accepted:
            self._last_chances.add(better)
        return better

    def unauthenticated(
        self,
        error: StoreError,
        reason: str,
        repo: str | None = None,
        login: Credential | None = None,
    ) -> AuthenticationError:
        """Make the error of a request, in `repo` if in one, that lacks credentials or good ones.

        `login` is what was refused.
        """
        refusal = _Refusal(f"{error.cause}: {reason}", error.status, inf, login)
        return self._error(error.subject, refusal, repo, code=error.code)

    def without_right(
        self, error: StoreError, credential: Credential, lacking: str
    ) -> AccessDenied:
        """Make the error of a credential that is good, and of what it lacks."""
        hint = f"the credentials of {credential.found} {lacking}"
        if credential.place is not None:
            hint = f"{hint}; they are those of {credential.place}"
        return error.remade(AccessDenied, hint=hint, login=credential.place)

    def _error(
        self, subject: str, refusal: _Refusal, repo: str | None = None, code: str | None = None
    ) -> AuthenticationError:
        login = refusal.login
        hint = f'docker login {self._host}, or set registries."{self._host}" in the config'
        return AuthenticationError(
            subject,
            refusal.cause,
            hint=(login.hint if login else None) or hint,
            login=login.place if login else None,
            status=refusal.status,
            code=code,
            host=self._host,
            repo=repo,
        )
