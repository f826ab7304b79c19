"""What passes between who decides and an executor in another process, as plain data of JSON.

A row goes out as its `Change`, in the form of the plan file, and its `RowFacts`; a receipt comes
back. An error is told by its number, which outlives the name of its class, and keeps what it says;
its texts are made safe once more when it is made again: they come from elsewhere.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

from imgmigrate import errors
from imgmigrate.applying.executor.base import RowFacts
from imgmigrate.errors import ImgmigrateError, Symptom, safe_lines
from imgmigrate.events import Outcome, Receipt

# Pydantic needs these at run time.
from imgmigrate.oci.reference import Digest, Reference  # noqa: TC001
from imgmigrate.plan import Change  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["decode_receipt", "decode_row", "encode_receipt", "encode_row"]

_FACTS: TypeAdapter[RowFacts] = TypeAdapter(RowFacts)
_Plain = str | int | float | bool | None
_Said = _Plain | list[str | int]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Row(_Frozen):
    change: Change
    facts: RowFacts


class _Error(_Frozen):
    """The nearest class with a number of its own, and the fields that can be plain."""

    number: str
    says: dict[str, _Said]


class _Receipt(_Frozen):
    address: Reference
    outcome: Outcome
    digest: Digest | None = None
    moved: int = 0
    error: _Error | None = None
    lacking: tuple[tuple[Digest, str | None], ...] = ()


def encode_row(change: Change, facts: RowFacts) -> dict[str, Any]:
    """Lay out a row and what carrying it out takes."""
    return {"change": change.line(), "facts": _FACTS.dump_python(facts, mode="json")}


def decode_row(data: Mapping[str, Any]) -> tuple[Change, RowFacts]:
    """Read what `encode_row` laid out; ValueError if it is anything else."""
    row = _Row.model_validate(data)
    return row.change, row.facts


def encode_receipt(receipt: Receipt) -> dict[str, Any]:
    """Lay out a receipt, with all that its error tells."""
    error = receipt.error and _Error(number=receipt.error.number, says=_told(receipt.error))
    laid_out = _Receipt(
        address=receipt.address,
        outcome=receipt.outcome,
        digest=receipt.digest,
        moved=receipt.moved,
        error=error,
        lacking=receipt.lacking,
    )
    return laid_out.model_dump(mode="json")


def decode_receipt(data: Mapping[str, Any]) -> Receipt:
    """Read what `encode_receipt` laid out; ValueError if it is anything else."""
    told = _Receipt.model_validate(data)
    error = None if told.error is None else _made(told.error)
    return Receipt(told.address, told.outcome, told.digest, told.moved, error, lacking=told.lacking)


def _told(error: ImgmigrateError) -> dict[str, _Said]:
    """The fields of an error; what only its maker's process can use stays there."""
    told: dict[str, _Said] = {}
    for name, each in vars(error).items():
        if isinstance(each, _Plain):
            told[name] = each
        elif name == "symptoms":
            told[name] = sorted(symptom.name for symptom in each)
        elif name == "path":
            told[name] = list(each)
    return told


def _made(told: _Error) -> ImgmigrateError:
    """Make an error again: by the fields that its class takes, then with all the others."""
    kind: Callable[..., ImgmigrateError] = _KINDS.get(told.number, ImgmigrateError)
    says = {name: _read(name, each) for name, each in told.says.items()}
    takes = inspect.signature(kind).parameters
    try:
        error = kind(**{name: says[name] for name in takes if name in says})
    except TypeError as wrong:
        raise ValueError(f"error {told.number}: {wrong}") from None
    vars(error).update(says)
    error.args = (error.message,)
    return error


def _read(name: str, each: _Said) -> object:
    """Read a field; a symptom of a later version is none, and a text is made safe to show."""
    if name == "symptoms" and isinstance(each, list):
        return frozenset(symptom for symptom in Symptom if symptom.name in each)
    if isinstance(each, list):
        return tuple(safe_lines(part) if isinstance(part, str) else part for part in each)
    return safe_lines(each) if isinstance(each, str) else each


def _kinds() -> dict[str, type[ImgmigrateError]]:
    """Find the classes by their numbers: each that has one of its own is in `errors`."""
    found = (each for _, each in inspect.getmembers(errors, inspect.isclass))
    return {each.number: each for each in found if issubclass(each, ImgmigrateError)}


_KINDS = _kinds()
