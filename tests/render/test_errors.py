"""Errors, for people."""

from __future__ import annotations

from imgmigrate.errors import AccessDenied, ImgmigrateError
from imgmigrate.redaction import hide
from imgmigrate.render.errors import cause_at, causes, hint_of, message_of


def test_an_error_is_its_message_and_its_hint_apart() -> None:
    """The hint stands below the message, not in it; the side is named."""
    error = AccessDenied("harbor.new/a", "denied (403)", hint="check the account")
    error.side = "destination"
    assert message_of(error) == "destination harbor.new/a: denied (403)"
    assert hint_of(error) == "check the account"
    assert hint_of(ValueError("odd")) is None


def test_foreign_errors_are_named_and_redacted() -> None:
    """An exception that is not ours shows its class and no secret."""
    hide("hunter22")
    assert message_of(ValueError("with hunter22")) == "ValueError: with ***"
    assert message_of(RuntimeError()) == "RuntimeError"


def test_groups_are_taken_apart() -> None:
    """A reader sees the leaves of nested groups, each text once."""
    one, two = ImgmigrateError("one"), ImgmigrateError("two")
    inner = ExceptionGroup("inner", [two, ImgmigrateError("one")])
    assert causes(ExceptionGroup("outer", [one, inner])) == (one, two)
    assert causes(one) == (one,)


def test_beside_an_address_an_error_does_not_repeat_it() -> None:
    """An error that begins with its object is shortened where the object stands already."""
    address = "harbor.new/a:1"
    for start in ("", "destination "):
        assert cause_at(address, ImgmigrateError(f"{start}{address}: denied")) == "denied"
    other = ImgmigrateError("source harbor.old/a:1: denied")
    assert cause_at(address, other) == "source harbor.old/a:1: denied"
