"""Signed reports: what a verification states, and what a report of a run or of one says of images.

Whoever has a report needs neither state nor source to check what a destination shows. Pure.
"""

from __future__ import annotations

import base64
import binascii
import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from pydantic import AliasChoices, BaseModel, Field, ValidationError, field_validator

# Pydantic needs these at run time.
from imgmigrate.oci.reference import Digest, Reference
from imgmigrate.schemas.models import LENIENT
from imgmigrate.signing.dsse import IN_TOTO, make_statement, pae
from imgmigrate.state.record import Carried, Filter  # noqa: TC001
from imgmigrate.verifying.verdict import Standing
from imgmigrate.vocabulary.actions import Action

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imgmigrate.signing.keys import PublicKey
    from imgmigrate.verifying.report import Report

__all__ = ["PREDICATE", "Evidence", "Stated", "is_evidence", "read_evidence", "verify_statement"]

PREDICATE = "urn:imgmigrate:verify:1"
_KNOWN = (PREDICATE, "urn:imgmigrate:apply:1")


class _Lenient(BaseModel):
    model_config = LENIENT


class Stated(_Lenient):
    """What is said of one image; `digest` is None of what the run or the report did not find."""

    address: Reference
    digest: Digest | None = Field(validation_alias=AliasChoices("digest", "digest_after"))
    filter: Filter | None = None
    copies_foreign: bool = False
    referrers: tuple[Carried, ...] | None = None
    standing: str = Standing.WHOLE
    # What a run did, or was to do; of a verification there is none.
    action: str | None = None

    @field_validator("address")
    @classmethod
    def _of_an_image(cls, address: Reference) -> Reference:
        if address.tag is None and address.digest is None:
            msg = "it names no tag and no digest"
            raise ValueError(msg)
        return address

    @property
    def is_whole(self) -> bool:
        """Tell whether it was found as it should be."""
        return self.standing == Standing.WHOLE

    @property
    def was_to_be_there(self) -> bool:
        """Tell whether the run was to leave an image there, or nobody said that it was not."""
        return self.action is None or not Action(self.action).traits.lets_go


class Evidence(Struct, frozen=True):
    """What a report says: images that were there, and those that were not done or not whole."""

    images: tuple[Stated, ...]
    left: tuple[Reference, ...]


class _Predicate(_Lenient):
    images: tuple[Stated, ...]


class _Statement(_Lenient):
    predicate_type: str = Field(validation_alias="predicateType")
    predicate: _Predicate


class _Signature(_Lenient):
    sig: str


class _Envelope(_Lenient):
    payload: str
    payload_type: str = Field(validation_alias="payloadType")
    signatures: tuple[_Signature, ...]


def verify_statement(report: Report, document: Mapping[str, Any]) -> bytes:
    """State what a verification found: its subjects are the images that are whole.

    `document` is the report as it is laid out for JSON; where nothing is whole it is the subject.
    """
    whole = [
        (str(image.address), image.digest_after)
        for image in report.images
        if image.standing == Standing.WHOLE and image.digest_after is not None
    ]
    if not whole:
        data = json.dumps(document, sort_keys=True).encode()
        whole = [("report", Digest.parse(f"sha256:{sha256(data).hexdigest()}"))]
    return make_statement(whole, PREDICATE, document)


def is_evidence(data: bytes) -> bool:
    """Tell whether a file is a statement or an envelope, and not a plan."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and ("payloadType" in document or "_type" in document)


def read_evidence(data: bytes, key: PublicKey | None) -> Evidence:
    """Read which images a report tells of; ValueError if it is none, or `key` did not sign it.

    Without a key its signature is not looked at.
    """
    try:
        if b'"payloadType"' in data[:64] or "payloadType" in json.loads(data):
            envelope = _Envelope.model_validate_json(data)
            data = _opened(envelope, key)
        elif key is not None:
            msg = "it is not signed"
            raise ValueError(msg)
        statement = _Statement.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        msg = f"it is no report of imgmigrate: {place}: {first['msg']}"
        raise ValueError(msg) from None
    if statement.predicate_type not in _KNOWN:
        msg = f"it states something else: {statement.predicate_type}"
        raise ValueError(msg)
    there = [each.digest is not None and each.is_whole for each in statement.predicate.images]
    pairs = list(zip(there, statement.predicate.images, strict=True))
    return Evidence(
        tuple(each for is_there, each in pairs if is_there),
        tuple(each.address for is_there, each in pairs if not is_there and each.was_to_be_there),
    )


def _opened(envelope: _Envelope, key: PublicKey | None) -> bytes:
    """The payload of an envelope, once one of its signatures is the key's."""
    try:
        payload = base64.b64decode(envelope.payload, validate=True)
        signatures = [base64.b64decode(one.sig, validate=True) for one in envelope.signatures]
    except (binascii.Error, ValueError):
        msg = "its payload or a signature is not in base64"
        raise ValueError(msg) from None
    if envelope.payload_type != IN_TOTO:
        msg = "its payload is no in-toto statement"
        raise ValueError(msg)
    message = pae(IN_TOTO, payload)
    if key is not None and not any(key.verifies(one, message) for one in signatures):
        msg = f"it is not signed by {key.name}, or was changed since"
        raise ValueError(msg)
    return payload
