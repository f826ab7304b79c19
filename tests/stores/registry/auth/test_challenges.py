"""What `WWW-Authenticate` lines mean."""

from __future__ import annotations

import pytest

from imgmigrate.stores.registry.auth.challenges import Challenge, parse_challenges

REALM = "https://auth.example.com/token"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], []),
        ([""], []),
        (["Basic"], [("basic", {})]),
        (['Basic realm="one, two"'], [("basic", {"realm": "one, two"})]),
        (
            [f'Bearer realm="{REALM}",service="s",scope="repository:a/b:pull,push"'],
            [("bearer", {"realm": REALM, "service": "s", "scope": "repository:a/b:pull,push"})],
        ),
        (
            [f'BEARER Realm = "{REALM}" , Error=invalid_token'],
            [("bearer", {"realm": REALM, "error": "invalid_token"})],
        ),
        (
            [f'Basic realm="x", Bearer realm="{REALM}", service="s"'],
            [("basic", {"realm": "x"}), ("bearer", {"realm": REALM, "service": "s"})],
        ),
        (
            ['Basic realm="x"', f'Bearer realm="{REALM}"'],
            [("basic", {"realm": "x"}), ("bearer", {"realm": REALM})],
        ),
        (
            [f'Negotiate, NTLM abc==, Bearer realm="{REALM}"'],
            [("negotiate", {}), ("ntlm", {}), ("bearer", {"realm": REALM})],
        ),
        ([r'Basic realm="a \"quoted\" \\ realm"'], [("basic", {"realm": r'a "quoted" \ realm'})]),
        (['Bearer realm="unfinished'], [("bearer", {})]),
        (["Bearer realm=", "Basic"], [("bearer", {}), ("basic", {})]),
        (['Bearer realm="a",realm="b"'], [("bearer", {"realm": "a"})]),
    ],
)
def test_challenges_are_read_by_a_tokenizer(
    lines: list[str], expected: list[tuple[str, dict[str, str]]]
) -> None:
    """Several challenges, quoted commas, escapes and rubbish each mean what RFC 9110 says."""
    found = parse_challenges(lines)
    # What follows an unreadable value may come out as another scheme; nobody knows that one.
    assert [(each.scheme, dict(each.parameters)) for each in found][: len(expected)] == expected


def test_scopes_of_a_challenge_are_separated_by_spaces() -> None:
    """A challenge may ask for several scopes, each with commas of its own."""
    challenge = Challenge("bearer", {"scope": "repository:a:pull,push  repository:b:pull"})
    assert challenge.scopes == ("repository:a:pull,push", "repository:b:pull")
