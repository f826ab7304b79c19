"""Every error that a user can meet, as one tree.

ImgmigrateError                    1   anything that stopped the work
├── UsageError                    64   the command line asks for what cannot be
│   └── ConfigError               64   the config is wrong; names file, line, key and fix
├── GuardError                     6   a guard of the user's own refused
├── PlanRefused                    4   the plan is damaged, edited, mismatched or too old
├── StateError                     1   the state is damaged or cannot be written
│   ├── StateLocked                5   somebody else is writing
│   └── StateUnsaved               8   images moved, their records could not be written
├── Interrupted          129/130/143   a signal stopped the run; the state is consistent
└── StoreError                     1   an endpoint refused, failed or lied
    ├── AuthenticationError        1   the credentials themselves were refused or are missing
    ├── AccessDenied               1   the credentials are good, the right is missing
    ├── NotFound                   1   the object is not there
    ├── Dangling                   1   a list names it, and it is not there
    ├── Rejected                   1   the endpoint will never take this request
    │   └── Archived               1   it is there, and cannot be read before it is restored
    ├── TransientError             1   trying again may help
    │   ├── RateLimited            1   trying again later will help
    │   ├── OutOfReach             1   the registry is down, and was waited for long enough
    │   └── LeftBehind             1   the registry is down, and others do not wait for it
    ├── QuotaExhausted             1   nothing is left to ask for, and the user does not wait
    ├── ProtocolError              1   the answer breaks the specification, or is an attack
    └── IntegrityError             1   bytes do not match their digest or size

A class says what its reader does next; its `exit_code` is what the process says, its `number`
what programs tell it by: it outlives the class's name (`docs/codes.md`). Text that
comes from a server is untrusted: every message is redacted and made printable when the
error is constructed, so that no log, plan or terminal has to think of it again.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Literal

from imgmigrate.redaction import cleaned, printable, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "AccessDenied",
    "Archived",
    "AuthenticationError",
    "ConfigError",
    "Dangling",
    "GuardError",
    "ImgmigrateError",
    "IntegrityError",
    "Interrupted",
    "LeftBehind",
    "NotFound",
    "OutOfReach",
    "PlanRefused",
    "ProtocolError",
    "QuotaExhausted",
    "RateLimited",
    "Rejected",
    "Side",
    "StateError",
    "StateLocked",
    "StateUnsaved",
    "StoreError",
    "TransientError",
    "UsageError",
    "on_side",
]

Side = Literal["source", "destination"]


class ImgmigrateError(Exception):
    """Say what failed, why, and what to do; the root of every error a caller may catch."""

    exit_code: ClassVar[int] = 1
    number: ClassVar[str] = "IM301"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = "\n".join(printable(line, 2000) for line in redact(message).split("\n"))
        self.hint = printable(redact(hint)) if hint else None
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class UsageError(ImgmigrateError):
    """The command line, or its combination with the config, cannot be carried out."""

    exit_code = 64
    number = "IM310"


class ConfigError(UsageError):
    """The config is wrong at a place: file, line, key, and how to mend it."""

    number = "IM311"

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        key: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.file, self.line, self.key = file, line, key
        place = ":".join(str(part) for part in (file, line) if part is not None)
        super().__init__(": ".join(part for part in (place, key, message) if part), hint=hint)

    def altered(self, change: Callable[[str], str]) -> ConfigError:
        """Make the same error with other words."""
        hint = change(self.hint) if self.hint else None
        made = ConfigError(change(self.message), hint=hint)
        made.file, made.line, made.key = self.file, self.line, self.key
        return made


class GuardError(ImgmigrateError):
    """A guard that the user set (`min`, `max_delete`, a policy) refused."""

    exit_code = 6
    number = "IM320"


class PlanRefused(ImgmigrateError):
    """The plan may not be applied here: damaged, edited, mismatched or too old."""

    exit_code = 4
    number = "IM330"


class StateError(ImgmigrateError):
    """The state is damaged or cannot be written; nothing was changed."""

    number = "IM340"


class StateLocked(StateError):
    """Another process is writing this state."""

    exit_code = 5
    number = "IM341"


class StateUnsaved(StateError):
    """Images moved, but their records could not be written; a recovery file is named."""

    exit_code = 8
    number = "IM342"


class Interrupted(ImgmigrateError):
    """A signal ended the run; what was recorded is consistent."""

    number = "IM350"

    def __init__(self, signal_number: int, message: str, *, hint: str | None = None) -> None:
        self.signal_number = signal_number
        super().__init__(message, hint=hint)


class StoreError(ImgmigrateError):
    """An endpoint refused, failed or lied; names the side once it is known, and the object."""

    number = "IM360"

    def __init__(
        self,
        subject: str,
        cause: str,
        *,
        hint: str | None = None,
        status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.side: Side | None = None
        subject, cause = cleaned(subject), cleaned(cause)
        self.subject, self.cause = printable(subject), printable(cause)
        self.status, self.code, self.retry_after = status, code, retry_after
        # One line, whatever a server says: only our own messages may have several.
        lines = (printable(part, 2000) for part in (subject, cause))
        super().__init__(": ".join(lines), hint=hint)

    def __str__(self) -> str:
        text = super().__str__()
        return f"{self.side} {text}" if self.side else text


class AuthenticationError(StoreError):
    """The credentials were refused, or there are none where some are needed."""

    number = "IM361"


class AccessDenied(StoreError):
    """The credentials were accepted, but lack the right for this object."""

    number = "IM362"


class NotFound(StoreError):
    """The repository, tag, manifest or blob is not there."""

    number = "IM363"


class Dangling(StoreError):
    """A repository lists the tag and has no manifest for it: whether it is gone is not known."""

    number = "IM364"


class Rejected(StoreError):
    """The endpoint will not take this request however often it is sent."""

    number = "IM365"


class Archived(Rejected):
    """The image is there, and its registry gives it to nobody until it is restored."""

    number = "IM366"


class TransientError(StoreError):
    """The network or the endpoint failed in a way that may pass.

    `is_spent` says that it was tried as often as may be: whoever is further out tries no more.
    `is_unreachable`: no connection came about, so that nobody may be there at all.
    """

    number = "IM367"

    is_spent = False
    is_unreachable = False


class RateLimited(TransientError):
    """The endpoint asks for a pause; `retry_after` seconds if it said so.

    `is_paced`: whoever asks again is held back by then, and it counts as no attempt.
    """

    number = "IM368"

    is_paced = False

    @classmethod
    def paced(cls, error: StoreError) -> RateLimited:
        """The same of a request that only whoever made it can send again."""
        refusal = cls(error.subject, error.cause, status=error.status, code=error.code)
        refusal.is_paced = True
        return refusal


class OutOfReach(TransientError):
    """The registry at `host` is down, and was waited for as long as the user wants.

    Spent from the start. The subject is what was to be asked.
    """

    number = "IM372"
    is_spent = True

    def __init__(
        self,
        subject: str,
        cause: str,
        *,
        host: str,
        hint: str | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(subject, cause, hint=hint, status=status)
        self.host = host

    def of_all(self) -> OutOfReach:
        """Make the same error about the registry itself, for all that needs it."""
        return OutOfReach(self.host, self.cause, host=self.host, hint=self.hint, status=self.status)


class LeftBehind(TransientError):
    """The registry is down, and others would have waited with us; it counts as no attempt.

    Who tries again does so from the start, where nobody waits with it.
    """

    number = "IM373"
    is_spent = True


class QuotaExhausted(StoreError):
    """The endpoint's quota is used up, and the user wants to stop rather than wait.

    Ends the run; the same plan goes on later.
    """

    number = "IM369"


class ProtocolError(StoreError):
    """The answer breaks the specification, or is an attack."""

    number = "IM370"


class IntegrityError(StoreError):
    """Bytes do not match the digest or size that was asked for."""

    number = "IM371"


@contextmanager
def on_side(side: Side) -> Iterator[None]:
    """Name the side in every `StoreError` that passes and does not know its own yet."""
    try:
        yield
    except StoreError as error:
        error.side = error.side or side
        raise
