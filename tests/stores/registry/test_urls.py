"""Following what a server points at."""

from __future__ import annotations

import pytest

from imgmigrate.stores.registry.http.urls import (
    append_query,
    next_link,
    next_page,
    resolve,
    same_origin,
)

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
        (['<x>; rel="prev", <y>; rel=first; title="a, <b>"'], None),
        (["", " ", ","], None),
        (["x; rel=next"], "x"),
        (["</x?a=1>; rel='next'"], "/x?a=1"),
        (["</x>; rel='prev next'"], "/x"),
        (['</x> ; REL = "Next"'], "/x"),
        (["</x>;rel=NEXT"], "/x"),
        (['</x>; title="a"; rel=next'], "/x"),
        (['</x> rel="next"'], "/x"),
        (["</x>"], "/x"),
        (['</x>; rel=""'], "/x"),
        (["</x>; rel"], "/x"),
        (["</x>; rels=next"], "/x"),
        (['</x; rel="next"'], "/x"),
        (['"/x?a=1"; rel="next"'], "/x?a=1"),
        (["/x?last=a,b&n=2"], "/x?last=a,b&n=2"),
        (["/p;rel=prev,/x;rel=next"], "/x"),
        (['/p; rel="prev", /x; rel="next"'], "/x"),
        (['</p>; rel="prev", </x>'], "/x"),
        (['</p>; rel="prev"', '</x>; rel="next"'], "/x"),
        (["</x>", "</x>"], "/x"),
    ],
)
def test_next_link_is_found_whatever_its_form(lines: list[str], expected: str | None) -> None:
    """What says `next`, or says nothing, leads on, however it is written; the rest does not."""
    assert next_link(lines) == expected


def test_links_that_leave_open_which_is_next_are_refused() -> None:
    """Neither is followed by chance, and the list does not end there."""
    with pytest.raises(ValueError, match="several pages"):
        next_link(["</x>, </y>"])


PATH = "/v2/a/tags/list"
OWN = f"https://reg.example.com:8443{PATH}?n=2"


@pytest.mark.parametrize(
    "link",
    [
        f"{PATH}?last=b&n=2",
        "?last=b&n=2",
        "list?last=b&n=2",
        f"https://reg.example.com:8443{PATH}?last=b&n=2",
        f"https://reg.example.com{PATH}?last=b&n=2",
        f"http://reg.example.com{PATH}?last=b&n=2",
        f"http://reg.example.com:8443{PATH}?last=b&n=2",
        f"HTTP://REG.example.com:80{PATH}?last=b&n=2",
        f"//reg.example.com{PATH}?last=b&n=2",
        f"http://internal:5000{PATH}?last=b&n=2",
        f"http://internal/prefix{PATH}?last=b&n=2",
        f"http://reg.example.com:5000{PATH}?last=b&n=2",
        f"{PATH}?last=b&n=2#top",
    ],
)
def test_next_page_is_asked_for_at_the_own_origin(link: str) -> None:
    """Whatever a registry takes for its own address, the list goes on where it began."""
    assert next_page("https://reg.example.com:8443", PATH, OWN, link) == f"{PATH}?last=b&n=2"


def test_next_page_keeps_its_own_path_and_every_character() -> None:
    """At the same host a page may be anywhere; a cursor is never quoted anew."""
    link = "http://reg.example.com/other/list?last=%2B1%2f=,x"
    assert (
        next_page("https://reg.example.com:8443", PATH, OWN, link) == "/other/list?last=%2B1%2f=,x"
    )


@pytest.mark.parametrize(
    ("link", "words"),
    [
        ("https://evil.example/x", "another host, https://evil.example, and not at https://reg"),
        ("http://reg.example.com:5000/x", "another host, http://reg.example.com:5000"),
        ("//v2/a/other", "another host, https://v2"),
        ("https://me:secret@reg.example.com/x", "not a plain http"),
        ("ftp://reg.example.com/x", "not a plain http"),
        ("/x y", "not a URL"),
        ("/x\r\nHost: evil", "not a URL"),
    ],
)
def test_next_page_elsewhere_is_refused_with_both_hosts(link: str, words: str) -> None:
    """Another host is asked nothing, and the reader learns which one it was."""
    with pytest.raises(ValueError, match=words):
        next_page("https://reg.example.com:8443", PATH, OWN, link)


def test_query_is_appended_as_text() -> None:
    """A signed query is never touched."""
    assert append_query("https://h/x?s=a%2Fb", "d=1") == "https://h/x?s=a%2Fb&d=1"
    assert append_query("https://h/x", "d=1") == "https://h/x?d=1"


def test_default_ports_are_the_same_origin() -> None:
    """Origins are compared by scheme, host and effective port."""
    assert same_origin("https://h/x", "https://h:443/y")
    assert not same_origin("https://h/x", "https://h:5000/x")
    assert not same_origin("https://h/x", "http://h/x")
