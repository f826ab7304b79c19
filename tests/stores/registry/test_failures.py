"""Which error a bad answer, or none, becomes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp.http_exceptions import BadHttpMessage, ContentLengthError, TransferEncodingError

from imgmigrate.errors import (
    AccessDenied,
    AuthenticationError,
    NotFound,
    ProtocolError,
    RateLimited,
    Rejected,
    StoreError,
    TransientError,
)
from imgmigrate.stores.registry.http.failures import (
    connection_failure,
    diagnose,
    failure,
    is_immutable,
    is_web_page,
    retry_after,
)

if TYPE_CHECKING:
    from aioresponses import aioresponses

    from tests.stores.registry.conftest import Connect


def body(code: str, message: str = "") -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


@pytest.mark.parametrize(
    ("status", "content", "kind"),
    [
        (400, body("MANIFEST_INVALID"), Rejected),
        (401, body("UNAUTHORIZED"), AuthenticationError),
        (403, body("DENIED"), AccessDenied),
        (404, body("NAME_UNKNOWN"), NotFound),
        (405, body("UNSUPPORTED"), Rejected),
        (408, b"", TransientError),
        (409, b"", Rejected),
        (412, b"", Rejected),
        (403, body("DENIED", "tag v1 is immutable"), Rejected),
        (400, body("TAG_INVALID", "it already exists and the repository is immutable"), Rejected),
        (431, b"", Rejected),
        (413, b"<html>", Rejected),
        (415, body("MANIFEST_INVALID"), Rejected),
        (416, b"", Rejected),
        (425, b"", TransientError),
        (429, b"", RateLimited),
        (403, body("TOOMANYREQUESTS"), RateLimited),
        (499, b"", TransientError),
        (500, b"", TransientError),
        (501, b"", Rejected),
        (502, b"", TransientError),
        (503, body("UNAVAILABLE"), TransientError),
        (504, b"", TransientError),
        (522, b"", TransientError),
        (200, b"", ProtocolError),
        (302, b"", ProtocolError),
    ],
)
def test_status_decides_and_code_refines(
    status: int, content: bytes, kind: type[StoreError]
) -> None:
    """Each answer is the class of what the reader does next."""
    error = failure("r/a:1", status, content, after=2)
    assert type(error) is kind
    assert error.status == status
    assert error.retry_after == 2
    assert str(error).startswith("r/a:1: ")
    assert str(status) in str(error)


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (b'{"errors":[{"code":"DENIED","message":"no"},{"code":"X"}]}', "DENIED", "no"),
        (
            b'{"errors":[{"code":"MANIFEST_INVALID"},{"code":"BLOB_UNKNOWN","message":"b"}]}',
            "BLOB_UNKNOWN",
            "b",
        ),
        (b'{"details":"invalid username"}', None, "invalid username"),
        (b'{"message":"broken"}', None, "broken"),
        (b'{"error":"invalid_grant","error_description":"old"}', "invalid_grant", "old"),
        (b'{"errors":[]}', None, None),
        (b'{"errors":["x"]}', None, None),
        (b'{"errors":{"code":1}}', None, None),
        (b'{"errors":[{"code":["X"]},{"code":{}}]}', None, None),
        (b"[1]", None, None),
        (b"<html>502</html>", None, None),
        (b"\xff", None, None),
        (b"[" * 100_000, None, None),
    ],
)
def test_error_bodies_of_any_format_are_read(
    content: bytes, code: str | None, message: str | None
) -> None:
    """The standard's form and common others are understood, anything else says nothing."""
    found = diagnose(content)
    assert (found.code, found.message) == (code, message)


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (failure("x", 400, body("TAG_INVALID", "the tag is immutable")), "overwritten"),
        (failure("x", 412), "overwritten"),
        (failure("x", 429, body("TOOMANYREQUESTS", "see increase-rate-limits")), "Docker Hub"),
        (failure("x", 413), "limits"),
        (failure("x", 409, body("TAG_IMMUTABLE")), "overwritten"),
        (failure("x", 405, body("DENIED", "read-only")), "read-only mode"),
        (failure("x", 400, b"<h1>Request Header Or Cookie Too Large</h1>"), "token is too long"),
        (failure("x", 404, body("NAME_UNKNOWN")), "create the repository"),
    ],
)
def test_errors_that_a_user_can_mend_say_how(error: StoreError, word: str) -> None:
    """A hint names the fix."""
    assert word in (error.hint or "")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (failure("x", 412, body("PRECONDITION", "configured as immutable")), True),
        (failure("x", 403, body("DENIED", "no right")), False),
        (failure("x", 429, body("TOOMANYREQUESTS", "immutable")), False),
        (failure("x", 500, body("UNKNOWN", "immutable")), False),
    ],
)
def test_immutable_tags_are_recognised(error: StoreError, expected: bool) -> None:
    """A tag that may be written once only, in each registry's own words."""
    assert is_immutable(error) is expected


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("text/html", True),
        ("Text/HTML; charset=utf-8", True),
        ("application/json", False),
        ("", False),
        (None, False),
    ],
)
def test_web_pages_are_recognised(content_type: str | None, expected: bool) -> None:
    """A page for people is no answer of a registry."""
    assert is_web_page(content_type) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("", None),
        ("7", 7),
        ("0", 0),
        ("86400", 900),
        ("soon", None),
        ("-5", None),
        ("Tue, 24 Nov 2020 12:00:00 GMT", 0),
        ("Fri, 31 Dec 2100 23:59:59 GMT", 900),
        ("Fri, 31 Dec 2100 23:59:59 -0000", 900),
        ("Fri, 31 Dec 9999 23:59:59 -2359999999999", None),
        ("Fri, 31 Dec 9999 23:59:59 +" + "9" * 30, None),
        ("Mon, 01 Jan 0001 00:00:00 +9999", None),
        ("Mon, 99 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2030 99999999999999999999:00:00", None),
        ("9" * 5000, 900),
        ("1e999", None),
        ("nan", None),
        ("\u0664", None),
    ],
)
def test_retry_after_is_understood_and_clamped(text: str | None, expected: float | None) -> None:
    """Seconds and dates count, between now and the longest pause."""
    assert retry_after(text, 900) == expected


@pytest.mark.parametrize(
    ("status", "kind"), [(404, NotFound), (400, Rejected), (503, TransientError)]
)
async def test_error_of_an_answer_names_the_object(
    mocked: aioresponses, connect: Connect, status: int, kind: type[StoreError]
) -> None:
    """What failed is named as the user wrote it."""
    url = "http://reg.example.com/v2/a/tags/list?n=1000"
    mocked.get(url, status=status, body=body("X", "because"), repeat=True)
    with pytest.raises(kind, match=r"reg\.example\.com/a: .*because"):
        await connect("reg.example.com").list_tags("a")


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (BadHttpMessage("Too many headers received"), ProtocolError),
        (
            TransferEncodingError("Not enough data to satisfy transfer length header."),
            TransientError,
        ),
        (ContentLengthError("Not enough data to satisfy content length header."), TransientError),
        (None, TransientError),
    ],
)
def test_a_body_that_breaks_http_is_no_connection_that_broke(
    cause: Exception | None, kind: type[StoreError]
) -> None:
    """What ended early may be whole the next time; what is not HTTP is never asked for again."""
    error = aiohttp.ClientPayloadError("Response payload is not completed")
    error.__cause__ = cause
    assert type(connection_failure("r.io/a:v1", "https://r.io/v2/", error)) is kind
