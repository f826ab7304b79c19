"""The plain form of rows and receipts: nothing is lost, and nothing else is let in."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest

from imgmigrate import errors
from imgmigrate.applying.executor.base import Recorded, RowFacts, Stock
from imgmigrate.applying.executor.wire import (
    decode_receipt,
    decode_row,
    encode_receipt,
    encode_row,
)
from imgmigrate.errors import ImgmigrateError, OutOfReach, Rejected, StoreError, Symptom, on_side
from imgmigrate.events import Outcome, Receipt
from imgmigrate.oci.reference import Digest, Reference, Repository
from imgmigrate.stores.base import NoDeletes
from tests.applying.support import NEW, copy

ADDRESS = Reference(Repository(NEW, "team/api"), "1")
DIGEST = Digest.of(b"an image")
# What the classes are made of, by the names of their parameters.
GIVEN: dict[str, Any] = {
    "subject": f"{NEW}/team/api",
    "cause": "denied (403)",
    "message": "it went wrong",
    "hint": "mend it",
    "status": 403,
    "code": "DENIED",
    "retry_after": 1.5,
    "host": NEW,
    "signal_number": 15,
    "file": "imgmigrate.yaml",
    "line": 3,
    "key": "images",
    "login": "imgmigrate.yaml:8",
    "path": ("images", 0),
    "parameter": "target",
    "value": "a/**",
    "repo": "team/api",
    "symptoms": frozenset({Symptom.EXPIRED, Symptom.RATE_LIMIT}),
}


def every_error() -> list[ImgmigrateError]:
    """Make one of each class."""
    kinds = [each for _, each in inspect.getmembers(errors, inspect.isclass)]
    return [
        kind(
            **{
                name: GIVEN[name]
                for name, each in inspect.signature(kind).parameters.items()
                if each.kind is not each.VAR_KEYWORD
            }
        )
        for kind in kinds
        if issubclass(kind, ImgmigrateError)
    ]


def through(receipt: Receipt) -> Receipt:
    """Send a receipt as text, and read it."""
    return decode_receipt(json.loads(json.dumps(encode_receipt(receipt))))


def test_a_row_arrives_whole() -> None:
    """Every field of its facts, and every one of the change that the plan file has."""
    recorded = Recorded(ADDRESS, DIGEST)
    facts = RowFacts(
        "abc",
        DIGEST,
        is_recorded=True,
        may_be_done=True,
        turn=3,
        rank=(7, 9),
        stock=Stock((recorded,), (recorded, recorded), is_doubted=True, is_claimed=True),
    )
    change = copy("team/api", "1", DIGEST, before=Digest.of(b"old")).model_copy(
        update={"kept_as": ADDRESS, "namesakes": (ADDRESS,)}
    )
    assert decode_row(json.loads(json.dumps(encode_row(change, facts)))) == (change, facts)


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
def test_an_error_arrives_as_what_it_is(error: ImgmigrateError) -> None:
    """Its class, its texts and every fact that it carries."""
    if isinstance(error, StoreError):
        error.side = "destination"
    found = through(Receipt(ADDRESS, Outcome.FAILED, error=error)).error
    assert type(found) is type(error)
    assert vars(found) == vars(error)
    assert (str(found), found.args) == (str(error), error.args)


def test_an_error_of_a_store_arrives_as_the_nearest_that_has_a_number() -> None:
    """Finer classes are for who carries the row out."""
    with pytest.raises(NoDeletes) as raised, on_side("destination"):
        raise NoDeletes(NEW, "it deletes nothing", status=405)
    found = through(Receipt(ADDRESS, Outcome.FAILED, error=raised.value)).error
    assert type(found) is Rejected
    assert (found.side, found.status, str(found)) == ("destination", 405, str(raised.value))


def test_marks_of_an_error_arrive() -> None:
    """That nobody was there at all is known from the error alone."""
    error = OutOfReach(NEW, "no answer", host=NEW)
    error.is_unreachable = True
    found = through(Receipt(ADDRESS, Outcome.FAILED, error=error)).error
    assert isinstance(found, OutOfReach)
    assert found.is_unreachable
    assert found.of_all().host == NEW


def test_a_receipt_without_an_error_arrives() -> None:
    """What was done, what it cost, and what did not go along."""
    receipt = Receipt(
        ADDRESS, Outcome.PARTLY, DIGEST, 12, lacking=((DIGEST, None), (DIGEST, "a-tag.sig"))
    )
    assert through(receipt) == receipt


def test_an_error_of_a_later_version_is_an_error() -> None:
    """Its number is unknown here, and what it says is shown all the same."""
    data = encode_receipt(Receipt(ADDRESS, Outcome.FAILED, error=ImgmigrateError("so", hint="do")))
    data["error"]["number"] = "IM998"
    assert str(decode_receipt(data).error) == "so; do"


def test_texts_that_arrive_are_made_safe() -> None:
    """No control character and no credential, wherever the text comes from."""
    data = encode_receipt(Receipt(ADDRESS, Outcome.FAILED, error=ImgmigrateError("so")))
    data["error"]["says"]["message"] = "\x1b[2J https://me:secret@new.example"
    message = str(decode_receipt(data).error)
    assert "\x1b" not in message
    assert "secret" not in message


@pytest.mark.parametrize(
    "damage",
    [
        {"outcome": "done"},
        {"address": None},
        {"more": 1},
        {"error": {"number": "IM360", "says": {"message": "no subject"}}},
        {"error": {"number": "IM301", "says": {"message": {}}}},
    ],
    ids=["outcome", "address", "unknown", "incomplete", "nested"],
)
def test_what_is_no_receipt_is_refused(damage: dict[str, Any]) -> None:
    """Whoever answers otherwise has not answered."""
    data = encode_receipt(Receipt(ADDRESS, Outcome.APPLIED)) | damage
    with pytest.raises(ValueError):
        decode_receipt(data)


def test_what_is_no_row_is_refused() -> None:
    """A row with facts that this version does not know is not carried out by guess."""
    with pytest.raises(ValueError):
        decode_row({"change": {}, "facts": {}})
