"""What a journal line can say; each kind is one model, and so is its form in the file.

Pure. A record line carries an `ImageRecord`'s own fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel

# Pydantic needs them at run time.
from imgmigrate.causes import Cause  # noqa: TC001 - pydantic needs it at run time
from imgmigrate.oci.reference import Digest, Reference, normalise_address
from imgmigrate.schemas.models import LENIENT
from imgmigrate.state.record import RECORDS, ImageRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "KINDS",
    "Begin",
    "Claims",
    "Conflict",
    "End",
    "Entry",
    "Failed",
    "Intent",
    "Move",
    "Protect",
    "Remove",
    "Unprotect",
    "decode",
    "encode",
]


# A printed address, also where an earlier version spelled its host otherwise.
_Key = Annotated[str, AfterValidator(normalise_address)]


class _Frozen(BaseModel):
    """Unknown fields are left out but not refused: a minor version may add some."""

    model_config = LENIENT


class Begin(_Frozen):
    """A run begins; the very first one brings the state's lineage.

    One that binds the state brings `name`, that of the config whose state it is from now on, and
    `place`, where the state was seen from that config. They are fields of this kind, and no kind
    of their own: versions that know no binding still read the journal.
    """

    run: str
    plan_id: str
    at: str
    command: str
    pid: int
    host: str
    lineage: str | None = None
    rows: int | None = None
    name: str | None = None
    place: str | None = None


class Intent(_Frozen):
    """One claim as text: addresses are keys here, and 100,000 of them need no parsing."""

    address: _Key
    after: Digest
    before: Digest | None = None
    # Absent where it does not: most claims are of images.
    stands_in: Literal[True] | None = None
    companions: tuple[tuple[str, Digest], ...] | None = None


class Claims(_Frozen):
    """What the run is about to write."""

    run: str
    claims: tuple[Intent, ...]


class Conflict(_Frozen):
    """The run found its row a conflict: its claim on the address ends."""

    run: str
    address: _Key


class Failed(_Frozen):
    """The run could not do its row; its claim stays, as nobody knows how far it came."""

    run: str
    address: _Key
    cause: str
    why: Cause | None = None


class Remove(_Frozen):
    """The record was erased by `state rm`, and every claim with it."""

    address: _Key


class Move(_Frozen):
    """The record got another address by `state mv`, and every claim with it."""

    address: _Key
    to: Reference
    # Absent where it does not: both are names of one layout, so nothing moved.
    is_other_name: Literal[True] | None = None


class Protect(_Frozen):
    """The config protected the address while its record was there."""

    address: _Key


class Unprotect(_Frozen):
    """The record's protection was lifted by `state unprotect`."""

    address: _Key


class End(_Frozen):
    """A run ends."""

    run: str
    at: str
    counts: dict[str, int]


Entry = Begin | Claims | ImageRecord | Conflict | Failed | Remove | Move | Protect | Unprotect | End

# What the lines of a journal call each kind: in files, so none is ever renamed.
KINDS: Mapping[str, type[Entry]] = {
    "begin": Begin,
    "claims": Claims,
    "record": ImageRecord,
    "conflict": Conflict,
    "failed": Failed,
    "remove": Remove,
    "move": Move,
    "protect": Protect,
    "unprotect": Unprotect,
    "end": End,
}
_NAMES = {model: kind for kind, model in KINDS.items()}


def encode(entry: Entry) -> dict[str, Any]:
    """Lay an entry out for its line: its kind, and its fields that are known."""
    if isinstance(entry, ImageRecord):
        fields = RECORDS.dump_python(entry, mode="json", exclude_none=True)
    else:
        fields = entry.model_dump(mode="json", exclude_none=True)
    # The line has the same number, in front.
    fields.pop("sequence", None)
    return {"kind": _NAMES[type(entry)], **fields}


def decode(document: Mapping[str, Any]) -> Entry:
    """Read the entry of a verified line; ValueError if this version does not know it."""
    model = KINDS.get(str(document.get("kind")))
    if model is None:
        msg = f"its kind {document.get('kind')!r} is unknown to this version"
        raise ValueError(msg)
    if issubclass(model, BaseModel):
        return model.model_validate(document)
    return RECORDS.validate_python(document)
