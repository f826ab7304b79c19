"""DSSE: exactly the bytes of the specification are signed."""

from __future__ import annotations

from imgmigrate.signing.dsse import pae


def test_what_is_signed_is_encoded_as_the_specification_says() -> None:
    """The example of DSSE's protocol; lengths are of bytes."""
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert pae("é", b"\xff") == b"DSSEv1 2 \xc3\xa9 1 \xff"
