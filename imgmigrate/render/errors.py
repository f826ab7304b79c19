"""Say an error to people: what failed, and below it what to do.

Pure. The texts are already redacted and printable (see `imgmigrate.errors`); what they say of
parameters is said of options here.
"""

from __future__ import annotations

from imgmigrate.errors import ImgmigrateError, StoreError
from imgmigrate.redaction import printable, redact
from imgmigrate.render.options import spoken

__all__ = [
    "UNEXPECTED",
    "cause_at",
    "causes",
    "facts_of",
    "failure_of",
    "hint_of",
    "message_of",
    "with_address",
]

# What was never meant to reach anybody: a fault of imgmigrate itself.
UNEXPECTED = "IM399"


def message_of(error: BaseException) -> str:
    """The error without its hint; a foreign exception with its class, redacted."""
    if isinstance(error, StoreError) and error.side:
        return f"{error.side} {spoken(error.message)}"
    if isinstance(error, ImgmigrateError):
        return spoken(error.message)
    text = printable(redact(str(error)), 2000)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def cause_at(address: str, error: BaseException) -> str:
    """The error beside its address: errors begin with their object, which is said already.

    What a plan says of a row is only a text, so it may begin with it as well.
    """
    if isinstance(error, ImgmigrateError) and error.subject in (address, f"destination {address}"):
        is_elsewhere = isinstance(error, StoreError) and error.side == "source"
        return message_of(error) if is_elsewhere else spoken(error.cause)
    message = message_of(error)
    for start in (f"{address}: ", f"destination {address}: "):
        message = message.removeprefix(start)
    return message


def with_address(address: str, cause: str) -> str:
    """What a journal keeps of an error, a text, with the address that it mostly names already."""
    return cause if address in cause else f"{address}: {cause}"


def hint_of(error: BaseException) -> str | None:
    """What to do about it, if the error knows."""
    return spoken(error.hint) if isinstance(error, ImgmigrateError) and error.hint else None


def facts_of(error: BaseException) -> dict[str, str]:
    """Say which error it is: its stable code, and the class that has it."""
    for each in type(error).__mro__:
        if "number" in vars(each):
            return {"code": vars(each)["number"], "kind": each.__name__}
    return {"code": UNEXPECTED, "kind": type(error).__name__}


def failure_of(error: BaseException | None) -> dict[str, str | None]:
    """Say an error as data: what failed, what to do, and which error it is if there is one."""
    if error is None:
        return {"error": None, "hint": None}
    return {"error": message_of(error), "hint": hint_of(error), **facts_of(error)}


def causes(error: BaseException) -> tuple[BaseException, ...]:
    """The errors that a reader should see: a group's leaves, each text once."""
    if not isinstance(error, BaseExceptionGroup):
        return (error,)
    found: dict[str, BaseException] = {}
    for inner in error.exceptions:
        for leaf in causes(inner):
            found.setdefault(message_of(leaf), leaf)
    return tuple(found.values())
