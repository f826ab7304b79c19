"""Headers and names of any shape are read or refused, quickly, and never crash the reader."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import example, given
from hypothesis import strategies as st

from imgmigrate.oci.reference import Digest, is_repository_path, is_tag, parse_endpoint
from imgmigrate.redaction import printable, redact
from imgmigrate.stores.registry.auth.challenges import parse_challenges
from imgmigrate.stores.registry.auth.realms import may_receive_credentials
from imgmigrate.stores.registry.http.failures import diagnose, failure, retry_after
from imgmigrate.stores.registry.http.urls import next_link, origin_of, resolve

# What grammars are made of turns up often, the rest of Unicode sometimes.
GRAMMAR = ["Bearer ", "Basic ", "realm=", "scope=", '"', "\\", ",", ";", "=", "<", ">", " ", "\t"]
GRAMMAR += ['rel="next"', "rel=next", "http://", "https://", "//", "/v2/", "..", "@", ":", "?", "#"]
GRAMMAR += ["[", "]", "::1", "127.0.0.1", "%2f", "%", "a", "sha256:", "f" * 64, "\x00", "\r\n", "é"]
TEXTS = st.lists(st.sampled_from(GRAMMAR) | st.text(max_size=5), max_size=30).map("".join)
# No reader may need more than linear time: what is quadratic takes minutes here.
LONG = [part * 30_000 for part in ("<", "a.", "<a>; ", ' rel="', "\\", '"', "a=b,", "basic ", ":")]
LONG += [part * 30_000 for part in ("<a", "rel='", "a;", "a ", "a,", "<>", ">", "a<", "';")]
BASE = "https://registry.example/v2/a/tags/list"


@given(TEXTS)
def test_challenges_of_any_text_are_read(text: str) -> None:
    """Whatever a `WWW-Authenticate` holds, its challenges are names with plain parameters."""
    for challenge in parse_challenges([text, text]):
        assert challenge.scheme == challenge.scheme.lower()
        assert all(isinstance(value, str) for value in challenge.parameters.values())
        assert all(" " not in scope for scope in challenge.scopes)


@given(TEXTS)
def test_links_of_any_text_lead_nowhere_else(text: str) -> None:
    """What a `Link` names is a part of it, and resolving it keeps to http(s) or fails."""
    try:
        link = next_link([text])
    except ValueError:  # several that do not say which is next
        return
    assert link is None or link in text
    try:
        target = resolve(BASE, link or text)
    except ValueError:
        return
    scheme, host, port = origin_of(target)
    assert scheme == "https"
    assert host
    assert 0 < port < 65536
    assert target.isprintable()


def test_long_headers_take_no_time() -> None:
    """A header of 64 KiB made to confuse a reader is read at once, as is a long message."""
    for text in LONG:
        parse_challenges([text, f'Bearer realm="{text}'])
        with suppress(ValueError):
            next_link([text, f"<a>{text}", f"a{text}"])
        redact(text)
        printable(text)


@given(TEXTS, TEXTS)
@example("https://a.example:x/", BASE)
@example("https://[", BASE)
def test_any_realm_is_judged(realm: str, registry: str) -> None:
    """Whether a realm may have credentials is always decided; at worst it may not."""
    try:
        resolved = resolve(BASE, realm)
    except ValueError:
        return
    assert may_receive_credentials(resolved, BASE, frozenset()) in (True, False)


NUMBERS = st.integers(-(10**40), 10**40).map(str)
DATES = st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS).map(
    lambda parts: "Fri, {} Dec {} {}:{}:59 {}".format(*parts)
)


@given(TEXTS | DATES | st.integers().map(str) | st.datetimes().map(str), st.floats(0, 1000))
@example("Fri, 31 Dec 9999 23:59:59 -2359999999999", 900.0)
@example("9" * 5000, 900.0)
@example("Thu, 99 Foo 99999999 99:99:99 GMT", 900.0)
@example("Mon, 01 Jan 0001 00:00:00 +2359", 900.0)
@example("Fri, 31 Dec 9999 23:59:59 -2359", 900.0)
def test_retry_after_is_a_time_within_bounds(text: str, longest: float) -> None:
    """A pause is asked for in seconds, by date or not at all, and is never longer than allowed."""
    found = retry_after(text, longest)
    assert found is None or 0 <= found <= longest


@given(st.binary(max_size=200) | TEXTS.map(str.encode), st.integers(100, 999))
def test_error_of_any_body_is_one_line(body: bytes, status: int) -> None:
    """An error's body never breaks the message about it."""
    diagnose(body)
    message = str(failure("a", status, body))
    assert "\n" not in message
    assert message.isprintable()


@given(TEXTS)
def test_references_are_names_or_refused(text: str) -> None:
    """What is parsed prints as what parses to the same; the rest is a ValueError."""
    try:
        found = parse_endpoint(text)
    except ValueError:
        return
    assert parse_endpoint(str(found)) == found
    if not found.repository.is_layout:
        assert is_repository_path(found.repository.path)
        assert found.tag is None or is_tag(found.tag)


@given(TEXTS)
def test_digests_are_hexadecimal_or_refused(text: str) -> None:
    """Nothing that could be a path passes for a digest."""
    try:
        found = Digest.parse(text)
    except ValueError:
        return
    assert not {"/", ".", "\\", "\n"} & set(found)
