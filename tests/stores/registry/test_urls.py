"""Following what a server points at."""

from __future__ import annotations

import pytest

from imgmigrate.stores.registry.http.urls import append_query, next_link, resolve, same_origin

BASE = "https://reg.example.com/v2/a/blobs/uploads/"


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        (
            "/v2/a/blobs/uploads/1?_state=a%2Fb%3D",
            "https://reg.example.com/v2/a/blobs/uploads/1?_state=a%2Fb%3D",
        ),
        ("1?x=%2f", f"{BASE}1?x=%2f"),
        ("https://cdn.example.net/x?sig=a%2Fb+c", "https://cdn.example.net/x?sig=a%2Fb+c"),
        ("//cdn.example.net/x", "https://cdn.example.net/x"),
        ("http://reg.example.com/v2/x?y=%2F", "https://reg.example.com/v2/x?y=%2F"),
        ("/x#fragment", "https://reg.example.com/x"),
    ],
)
def test_location_is_resolved_without_requoting(location: str, expected: str) -> None:
    """Absolute, relative and scheme-less locations keep every character of their query."""
    assert resolve(BASE, location) == expected


def test_a_registry_behind_a_proxy_keeps_its_port_and_tls() -> None:
    """A registry that calls itself http on its own port is still asked over TLS."""
    base = "https://reg.example.com:8443/v2/"
    assert resolve(base, "http://reg.example.com:8443/x") == "https://reg.example.com:8443/x"
    assert resolve(base, "http://reg.example.com/x") == "https://reg.example.com:8443/x"


@pytest.mark.parametrize(
    "location",
    [
        "http://other.example.com/x",
        "http://reg.example.com:81/x",
        "file:///etc/passwd",
        "https://user:pass@reg.example.com/x",
        "/x y",
        "/x\r\nHost: evil",
        "https://reg.example.com:port/",
    ],
)
def test_location_that_must_not_be_followed_is_refused(location: str) -> None:
    """Clear text, other schemes, userinfo and control characters are never followed."""
    with pytest.raises(ValueError):
        same_origin(resolve(BASE, location), BASE)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], None),
        (['</v2/a/tags/list?n=1&last=b>; rel="next"'], "/v2/a/tags/list?n=1&last=b"),
        (["<https://h/x>; rel=next"], "https://h/x"),
        (['<x>; foo="a, b"; REL="prev next"'], "x"),
        (['<first>; rel="first", <second>; rel="next"'], "second"),
        (['<x>; rel="nextish"'], None),
        (["x; rel=next"], None),
    ],
)
def test_next_link_is_found_whatever_its_parameters(lines: list[str], expected: str | None) -> None:
    """Only `rel=next` continues a listing, quoted or not, first or not."""
    assert next_link(lines) == expected


def test_query_is_appended_as_text() -> None:
    """A signed query is never touched."""
    assert append_query("https://h/x?s=a%2Fb", "d=1") == "https://h/x?s=a%2Fb&d=1"
    assert append_query("https://h/x", "d=1") == "https://h/x?d=1"


def test_default_ports_are_the_same_origin() -> None:
    """Origins are compared by scheme, host and effective port."""
    assert same_origin("https://h/x", "https://h:443/y")
    assert not same_origin("https://h/x", "https://h:5000/x")
    assert not same_origin("https://h/x", "http://h/x")
