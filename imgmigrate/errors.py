"""Every error that a user can meet, as one tree.

ImgmigrateError                    1   anything that stopped the work
├── RowConflict                    1   a row is not what was planned, or not ours: a person decides
├── RowFailed                      1   a row cannot be carried out: plan again
├── NotReached                     1   a run ended before a row: the same plan goes on
├── NoRoom                         1   the disk here cannot take what is to be written
├── FileUnwritable                 1   a file here cannot be written
├── UsageError                    64   the command line asks for what cannot be
│   └── ConfigError               64   the config is wrong; names file, line, key and fix
├── GuardError                     6   a guard of the user's own refused
├── PlanRefused                    4   the plan is damaged, edited, mismatched or too old
├── StateError                     1   the state is damaged or cannot be written
│   ├── StateAway                  1   a shared state's backend gives no answer
│   ├── StateLocked                5   somebody else is writing
│   │   └── StateLost              5   somebody else may be writing by now
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

What an error knows are fields: what it is about, where in a config, which option, which registry
and repository, what the answer showed (`Symptom`). The message is made of them, for people; nothing
reads it back (`tests/test_error_texts.py`).
"""

from __future__ import annotations

from contextlib import contextmanager
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from imgmigrate.redaction import cleaned, printable, redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "AccessDenied",
    "Archived",
    "AuthenticationError",
    "ConfigError",
    "Dangling",
    "FileUnwritable",
    "GuardError",
    "ImgmigrateError",
    "IntegrityError",
    "Interrupted",
    "LeftBehind",
    "NoRoom",
    "NotFound",
    "NotReached",
    "OutOfReach",
    "PlanRefused",
    "ProtocolError",
    "QuotaExhausted",
    "RateLimited",
    "Rejected",
    "RowConflict",
    "RowFailed",
    "Side",
    "StateAway",
    "StateError",
    "StateLocked",
    "StateLost",
    "StateUnsaved",
    "StoreError",
    "Symptom",
    "TransientError",
    "UsageError",
    "at_host",
    "lines_of",
    "on_side",
    "safe_lines",
]

Side = Literal["source", "destination"]
_Kind = TypeVar("_Kind", bound="StoreError")


class Symptom(Enum):
    """What an answer shows beyond its status and code, found where the answer is read."""

    EXPIRED = auto()  # the credentials have ended
    IMMUTABLE = auto()  # the tag may not be written a second time
    MEDIA_TYPE = auto()  # it is about a media type
    NO_SPACE = auto()  # a disk, or what is allowed of one, is full
    NO_TLS = auto()  # a TLS handshake was answered with something else
    PARTS_MENTIONED = auto()  # in words that may mean that parts of an image are missing
    PARTS_REQUIRED = auto()  # in words that mean it for sure
    RATE_LIMIT = auto()  # too many requests, also where the status is another
    TOO_LARGE = auto()


class ImgmigrateError(Exception):
    """Say what failed, why, and what to do; the root of every error a caller may catch."""

    exit_code: ClassVar[int] = 1
    number: ClassVar[str] = "IM301"

    def __init__(self, cause: str, *, subject: str | None = None, hint: str | None = None) -> None:
        self.subject = None if subject is None else printable(redact(subject))
        self.cause = safe_lines(cause)
        self.message = safe_lines(cause if subject is None else f"{subject}: {cause}")
        self.hint = printable(redact(hint)) if hint else None
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class RowConflict(ImgmigrateError):
    """A row is a conflict: it is not what was planned from, or not ours; a person decides."""

    number = "IM302"


class RowFailed(ImgmigrateError):
    """A row cannot be carried out as it is; another plan may know better."""

    number = "IM303"


class NotReached(ImgmigrateError):
    """The run ended before a row, or one that it needs; the same plan goes on."""

    number = "IM304"


class NoRoom(ImgmigrateError):
    """A disk here cannot take what is to be written; nothing was."""

    number = "IM305"


class FileUnwritable(ImgmigrateError):
    """A file here cannot be written."""

    number = "IM306"


class UsageError(ImgmigrateError):
    """The command line, or its combination with the config, cannot be carried out.

    `parameter` is the one that is wrong, `value` what it was given. The library names its own,
    which a message has in backticks, the command line an option.
    """

    exit_code = 64
    number = "IM310"

    def __init__(
        self,
        cause: str,
        *,
        parameter: str | None = None,
        value: str | None = None,
        subject: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.parameter, self.value = parameter, value
        name = f"`{parameter}`" if parameter and parameter.isidentifier() else parameter
        said = " ".join(part for part in (name, value) if part)
        super().__init__(cause, subject=said or subject, hint=hint)


class ConfigError(UsageError):
    """The config is wrong at a place: file, line, key, and how to mend it.

    `path` is what `key` prints: the steps from the top of the file. One that stands for several
    has them as `errors`, and the place of the first; `left` more are not shown.
    """

    number = "IM311"

    def __init__(
        self,
        cause: str,
        *,
        file: str | None = None,
        line: int | None = None,
        key: str | None = None,
        path: tuple[str | int, ...] = (),
        hint: str | None = None,
    ) -> None:
        self.file, self.line, self.key, self.path = file, line, key, path
        place = ":".join(str(part) for part in (file, line) if part is not None)
        subject = ": ".join(part for part in (place, key) if part)
        super().__init__(cause, subject=subject or None, hint=hint)
        self.errors: tuple[ConfigError, ...] = ()
        self.left = 0

    @classmethod
    def several(cls, errors: Sequence[ConfigError], left: int = 0) -> ConfigError:
        """Make one error of many, one a line."""
        made = cls(lines_of(errors, left))
        made.errors, made.left, first = tuple(errors), left, errors[0]
        made.file, made.line, made.key, made.path = first.file, first.line, first.key, first.path
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


class StateLost(StateLocked):
    """The hold on a shared state is lost: another may write it, so this process must not."""

    number = "IM343"


class StateAway(StateError):
    """The backend of a shared state gives no answer now; it may be asked again."""

    number = "IM344"


class Interrupted(ImgmigrateError):
    """A signal ended the run; what was recorded is consistent."""

    number = "IM350"

    def __init__(self, signal_number: int, message: str, *, hint: str | None = None) -> None:
        self.signal_number = signal_number
        super().__init__(message, hint=hint)


class StoreError(ImgmigrateError):
    """An endpoint refused, failed or lied; names the side once it is known, and the object.

    `host` is the registry, and `repo` the repository there, or None if it is about all of it.
    `login` says where the login stands that was refused or lacks a right, if one was sent.
    """

    number = "IM360"
    subject: str

    def __init__(
        self,
        subject: str,
        cause: str,
        *,
        hint: str | None = None,
        status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        host: str | None = None,
        repo: str | None = None,
        symptoms: frozenset[Symptom] = frozenset(),
        login: str | None = None,
    ) -> None:
        self.login = None if login is None else printable(redact(login))
        self.side: Side | None = None
        subject, cause = cleaned(subject), cleaned(cause)
        self.status, self.code, self.retry_after = status, code, retry_after
        self.host, self.repo, self.symptoms = host, repo, symptoms
        # One line, whatever a server says: only our own messages may have several.
        lines = (printable(part, 2000) for part in (subject, cause))
        super().__init__(": ".join(lines), hint=hint)
        self.subject, self.cause = printable(subject), printable(cause)

    def __str__(self) -> str:
        text = super().__str__()
        return f"{self.side} {text}" if self.side else text

    def remade(
        self,
        kind: type[_Kind],
        *,
        subject: str | None = None,
        cause: str | None = None,
        hint: str | None = None,
        login: str | None = None,
    ) -> _Kind:
        """Make an error of another kind or cause of it, with `hint`; what it knows goes along.

        All but the side, which whoever raises it is on, and what attempts have come to.
        """
        made = kind(
            self.subject if subject is None else subject,
            self.cause if cause is None else cause,
            hint=hint,
            status=self.status,
            code=self.code,
            retry_after=self.retry_after,
            host=self.host,
            repo=self.repo,
            symptoms=self.symptoms,
            login=self.login if login is None else login,
        )
        if isinstance(self, TransientError) and isinstance(made, TransientError):
            made.is_unreachable = self.is_unreachable
        return made


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
    host: str

    def __init__(self, subject: str, cause: str, *, host: str, **facts: Any) -> None:
        super().__init__(subject, cause, host=host, **facts)

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


@contextmanager
def at_host(host: str, repo: str | None = None) -> Iterator[None]:
    """Name the registry, and the repository there, in every `StoreError` that knows neither yet."""
    try:
        yield
    except StoreError as error:
        if error.host is None:
            error.host, error.repo = host, repo
        raise


def lines_of(errors: Sequence[UsageError], left: int) -> str:
    """Say several errors, one a line, and that there are `left` more."""
    return "\n".join([*map(str, errors), *([f"and {left} more errors"] if left else [])])


def safe_lines(text: str) -> str:
    """Make a text of several lines safe to show."""
    return "\n".join(printable(line, 2000) for line in redact(text).split("\n"))
