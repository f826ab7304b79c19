"""Nothing secret or unprintable in any text, whoever wrote it."""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgmigrate import redaction
from imgmigrate.errors import ImgmigrateError, StoreError
from imgmigrate.redaction import hide, printable, redact


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("GET https://user:hunter22@quay.io/v2/", "hunter22"),
        ("https://token@quay.io/v2/", "token@"),
        ("2Jhttps://user:hunter22@quay.io/v2/", "hunter22"),
        ("https://s3/x?X-Amz-Signature=abc123&a=1", "abc123"),
        ("https://s3/x?X-Amz-Security-Token=abc123", "abc123"),
        ("https://blob/x?sv=1&sig=abc%2F123", "abc%2F123"),
        ("https://cdn/x?Policy=abc&Key-Pair-Id=K1&Signature=def", "def"),
        ("https://gcs/x?X-Goog-Signature=abc123", "abc123"),
        ("/v2/a/blobs/uploads/1?_state=abc123", "abc123"),
        ("grant_type=password&password=hunter22", "hunter22"),
        ("refresh_token=abc123&x=1", "abc123"),
        ("Authorization: Bearer eyJhbGciOi.J9.abc", "eyJhbGciOi"),
        ("authorization: basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ('{"token": "abc123", "expires_in": 300}', "abc123"),
        ('{"access_token":"abc123"}', "abc123"),
    ],
)
def test_credentials_are_blanked_out(text: str, secret: str) -> None:
    """No URL, header, form or answer carries a secret into a message."""
    assert secret not in redact(text)
    assert "***" in redact(text)
    assert secret not in str(ImgmigrateError(text, hint=text))
    assert secret not in str(StoreError(text, text))
    assert secret not in repr(StoreError(text, text))


def test_a_hidden_value_is_never_shown_again() -> None:
    """Whoever learns a secret hides it; a longer one that holds a shorter one goes whole."""
    hide("correct-horse")
    hide("correct-horse-battery")
    hide("first line\nsecond line")
    assert redact("a correct-horse-battery b") == "a *** b"
    assert str(ImgmigrateError("it said correct-horse")) == "it said ***"
    assert "second" not in str(ImgmigrateError("key: first line\nsecond line."))


@pytest.mark.parametrize("secret", [None, "", "abc"])
def test_what_is_too_short_to_be_a_secret_is_not_hidden(secret: str | None) -> None:
    """Otherwise every message would be full of holes."""
    hide(secret)
    assert redact("abcdef") == "abcdef"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("a\x1b[31mred\x07", "a [31mred"),
        ("a\r\nb\tc", "a b c"),
        ("\u202egpj.exe", "gpj.exe"),
        ("a\u200bb\ufeffc", "a b c"),
        ("a\x9bb", "a b"),
        ("a\ud800b", "a b"),
        ("ünï", "ünï"),
    ],
)
def test_untrusted_text_cannot_drive_a_terminal(text: str, expected: str) -> None:
    """Controls and characters that reorder or hide text become a space."""
    assert printable(text) == expected


def test_untrusted_text_is_cut() -> None:
    """A server cannot fill the screen."""
    assert printable("x" * 500) == "x" * 399 + "…"
    assert printable("x" * 500, 10) == "x" * 9 + "…"
    assert len(str(StoreError("quay.io/a", "x" * 10_000))) < 2100


@given(st.text(max_size=60))
def test_every_message_is_printable(text: str) -> None:
    """Whatever goes in, each line that comes out is safe to print and encode."""
    for line in str(ImgmigrateError(text)).split("\n"):
        assert line == printable(line)
        assert line.isprintable() or not line.isascii()
        line.encode()


@pytest.mark.parametrize("origin", ["own", "token", "url"])
def test_a_hidden_value_is_known_in_every_form(origin: redaction.Origin) -> None:
    """Percent, JSON, HTML, Python and base64: servers repeat what they got as they like."""
    secret = 'Tr0ub4dor-"&\\x+%/= é:-Zebra77'
    hide(secret, origin)
    forms = [secret, quote(secret), quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1]]
    forms += [json.dumps(secret)[1:-1], html.escape(secret), b64encode(secret.encode()).decode()]
    forms += [re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), quote(secret, safe=""))]
    for form in forms:
        shown = str(StoreError("registry.new", f"you sent {form}."))
        assert shown == "registry.new: you sent ***."


def test_each_line_of_a_long_secret_is_one() -> None:
    """A key file is often shown line by line, and a short line of it is none."""
    hide('{\n"private_key_id": "0123456789abcdef",\n"type": 1\n}')
    assert redact('see "private_key_id": "0123456789abcdef",') == "see ***"
    assert redact('see "type": 1') == 'see "type": 1'


def test_what_servers_hand_out_is_forgotten_in_the_end() -> None:
    """The latest thousands are known, and our own for ever; a word of a server blanks nothing."""
    hide("our own secret")
    for number in range(redaction.MOST_ISSUED + 10):
        hide(f"token-{number:08}-issued", "token")
    assert redact("token-00000001-issued") == "token-00000001-issued"
    assert redact(f"token-{redaction.MOST_ISSUED:08}-issued, our own secret") == "***, ***"
    hide("denied", "token")
    assert redact("denied") == "denied"


@pytest.mark.parametrize("text", ["eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln", "eyJhbGciOiJSUzI1N"])
def test_a_token_that_nobody_gave_us_is_blanked_out(text: str) -> None:
    """A JSON Web Token is known by its beginning, whole or cut."""
    assert redact(f"bad token <{text}>") == "bad token <***>"
