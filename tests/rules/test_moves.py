"""Pairs of addresses or globs: what each wildcard stands for is kept, and nothing else is met."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgmigrate.oci.reference import Reference
from imgmigrate.rules.moves import parse_move

SEGMENTS = st.lists(st.sampled_from(("a", "b1", "c-d")), min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("old", "new", "address", "moved"),
    [
        ("a.b/x:1", "c.d/y:2", "a.b/x:1", "c.d/y:2"),
        ("a.b/x:1", "c.d/y:2", "a.b/x:2", None),
        ("a.b/x", "c.d/y", "a.b/x:1", "c.d/y:1"),
        ("a.b/x", "c.d/y", "a.b/xx:1", None),
        ("a.b/team/**", "c.d/crew/**", "a.b/team/x/y:1", "c.d/crew/x/y:1"),
        ("a.b/team/*", "c.d/crew/*", "a.b/team/x/y:1", None),
        ("a.b/**/x:v*", "c.d/**/z:w*", "a.b/x:v1", "c.d/z:w1"),
        ("a.b/**/x:v*", "c.d/**/z:w*", "a.b/q/r/x:v1", "c.d/q/r/z:w1"),
        ("**/x", "**/y", "h.x:5000/x:1", "h.x:5000/y:1"),
        ("a.b:5000/**", "c.d/**", "a.b:5000/x:1", "c.d/x:1"),
        ("oci:./b/*", "oci:c/*", "oci:b/os:12", "oci:c/os:12"),
        ("nginx", "redis", "docker.io/library/nginx:1", "docker.io/library/redis:1"),
        ("index.docker.io/a/*", "c.d/*", "docker.io/a/x:1", "c.d/x:1"),
        ("a.b/x-?:*", "a.b/?/y:*", "a.b/x-3:q", "a.b/3/y:q"),
        ("a.b/*.c", "a.b/*-d", "a.b/xyc:1", None),
    ],
)
def test_an_address_moves(old: str, new: str, address: str, moved: str | None) -> None:
    """Exact names and globs; a tag that is not named stays; a dot is a dot."""
    found = parse_move(old, new).apply(Reference.parse(address))
    assert (found and str(found)) == moved


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a.b/*", "a.b/**"),
        ("a.b/*", "a.b/x"),
        ("a.b/x", "a.b/y:1"),
        ("a.b/x:1", "a.b/y"),
        ("/x/", "a.b/y"),
        ("a.b/*:/v/", "c.d/*:/v/"),
        ("a.b/x", "a.b/x"),
        ("a.b/x", ""),
        ("A B", "a.b/x"),
        ("a.b/{x}*", "a.b/*"),
    ],
)
def test_a_pair_that_does_not_fit_is_refused(old: str, new: str) -> None:
    """Other wildcards, a tag on one side only, a regex, nothing to do, no name."""
    with pytest.raises(ValueError, match=r"\S"):
        parse_move(old, new)


def test_a_name_that_cannot_be_is_refused_when_it_arises() -> None:
    """A glob may make a name that no registry takes."""
    with pytest.raises(ValueError, match=r"\S"):
        parse_move("a.b/x:*", "a.b/x:-*").apply(Reference.parse("a.b/x:1"))


@given(SEGMENTS, st.sampled_from(("1", "v1.2")))
def test_there_and_back_is_the_same(segments: list[str], tag: str) -> None:
    """A pair and its reverse undo each other, wherever a `**` stands."""
    address = Reference.parse(f"a.b/{'/'.join(segments)}/end:{tag}")
    for old, new in (("a.b/**", "c.d/**"), ("a.b/**/end", "c.d/**/fin"), ("**:*", "x.y/**:*")):
        moved = parse_move(old, new).apply(address)
        assert moved is not None
        assert parse_move(new, old).apply(moved) == address
