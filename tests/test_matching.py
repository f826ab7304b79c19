"""One pattern language for tags and references: exact names, globs, regexes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgmigrate.matching import parse_pattern, parse_tag_pattern, split_target
from imgmigrate.oci.reference import Reference, Repository

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("pattern", "tag", "expected"),
    [
        ("v1.0", "v1.0", True),
        ("v1.0", "v1x0", False),
        ("v1", "v1.0", False),
        ("V1", "v1", False),
        ("v*", "v", True),
        ("v*", "v1.0-rc1", True),
        ("v*", "xv1", False),
        ("*-rc*", "1.0-rc2", True),
        ("*-rc*", "1.0", False),
        ("1.?", "1.2", True),
        ("1.?", "1.", False),
        ("1.?", "1.20", False),
        ("*", "anything", True),
        ("**", "anything", True),
        ("1.*", "1x2", False),
        ("/^v/", "v1", True),
        ("/rc/", "1.0-rc2", True),
        ("/^rc/", "1.0-rc2", False),
        (r"/^v\d+$/", "v12", True),
        (r"/^v\d+$/", "v12a", False),
        ("/a,b/", "a,b", True),
    ],
)
def test_a_tag_is_matched_whole_by_globs_and_anywhere_by_regexes(
    pattern: str, tag: str, expected: bool
) -> None:
    """Exact names and globs are anchored; a regex is not."""
    assert parse_pattern(pattern).matches_tag(tag) is expected


@pytest.mark.parametrize(
    ("pattern", "reference", "expected"),
    [
        # exact: normalised, and without a tag all tags and digests
        ("quay.io/a/b:v1", "quay.io/a/b:v1", True),
        ("quay.io/a/b:v1", "quay.io/a/b:v2", False),
        ("quay.io/a/b:v1", f"quay.io/a/b@{DIGEST}", False),
        ("quay.io/a/b", "quay.io/a/b:v2", True),
        ("quay.io/a/b", f"quay.io/a/b@{DIGEST}", True),
        ("quay.io/a/b", "quay.io/a/b/c:v2", False),
        (f"quay.io/a/b@{DIGEST}", f"quay.io/a/b@{DIGEST}", True),
        ("nginx:1.27", "docker.io/library/nginx:1.27", True),
        ("index.docker.io/library/nginx", "docker.io/library/nginx:1.27", True),
        ("oci:./bundle//nginx", "oci:bundle/nginx:1", True),
        ("v1.0", "quay.io/a/b:v1.0", False),
        ("V1.0", "quay.io/a/b:V1.0", False),
        # globs: one segment, or across them
        ("quay.io/*/b", "quay.io/a/b:v1", True),
        ("quay.io/*/b", "quay.io/a/x/b:v1", False),
        ("quay.io/**/b", "quay.io/a/x/b:v1", True),
        ("quay.io/**/b", "quay.io/b:v1", True),
        ("quay.io/**", "quay.io/a/x/b:v1", True),
        ("quay.io/a/**", "quay.io/ab/c:v1", False),
        ("quay.io/a**", "quay.io/ab/c:v1", True),
        ("**", f"quay.io/a/b@{DIGEST}", True),
        ("**/nginx", "docker.io/library/nginx:1", True),
        ("**/nginx", "oci:nginx:1", True),
        ("**/nginx", "docker.io/library/mynginx:1", False),
        ("nginx*", "docker.io/library/nginx:1", False),
        ("docker.io/*/nginx", "docker.io/library/nginx:1", True),
        ("registry-1.docker.io/*/nginx", "docker.io/library/nginx:1", True),
        ("*/a/b", "localhost:5000/a/b:v1", True),
        # the colon before a tag
        ("localhost:5000/a/*:v1", "localhost:5000/a/b:v1", True),
        ("localhost:5000/a/*:v1", "localhost:5000/a/b:v2", False),
        ("localhost:5000/a/*", "localhost:5000/a/b:v2", True),
        ("localhost:*/a/b:v1", "localhost:5000/a/b:v1", True),
        ("quay.io:443/a/*", "quay.io/a/b:v1", True),
        ("*.io:443/a/*", "quay.io/a/b:v1", True),
        ("quay.io/a/*", "quay.io:443/a/b:v1", True),
        ("quay.io:80/a/*", "quay.io/a/b:v1", False),
        ("quay.io/a*v1", "quay.io/a:v1", False),
        ("quay.io/**v1", "quay.io/a/b:v1", False),
        ("quay.io/a/b:v*", "quay.io/a/b:v1.0", True),
        ("quay.io/a/b:v*", f"quay.io/a/b@{DIGEST}", False),
        ("quay.io/*@sha256:a*", f"quay.io/b@{DIGEST}", True),
        ("quay.io/*@sha256:a*", "quay.io/b:a", False),
        # layouts
        ("oci:bundle/*:1.*", "oci:bundle/nginx:1.27", True),
        ("oci:bundle/*:1.*", "oci:bundle/nginx:2.0", False),
        ("oci:./bundle/*", "oci:bundle/nginx:2.0", True),
        ("oci:*", "oci:nginx:2.0", True),
        ("oci:*", "oci:bundle/nginx:2.0", False),
        ("oci:**", "oci:../bundle/nginx:2.0", True),
        ("oci:**", "quay.io/a/b:2.0", False),
        # regexes: of the whole reference, or of the tag behind a glob
        ("/nginx:1/", "docker.io/library/nginx:1.27", True),
        ("/^nginx/", "docker.io/library/nginx:1.27", False),
        ("quay.io/**:/^v[0-9]/", "quay.io/a/b:v1", True),
        ("quay.io/**:/^v[0-9]/", "quay.io/a/b:x1", False),
        ("quay.io/a/b:/^v[0-9]/", "quay.io/a/c:v1", False),
    ],
)
def test_a_reference_is_matched_by_repository_and_tag_apart(
    pattern: str, reference: str, expected: bool
) -> None:
    """No wildcard crosses a segment, unless it is `**`, nor the colon before a tag."""
    assert parse_pattern(pattern).matches_reference(Reference.parse(reference)) is expected


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("", "empty"),
        ("/", "not a regex"),
        ("//", "not a regex"),
        ("/abc", "not a regex"),
        ("/(a/", "does not compile"),
        ("/(?=a)/", "does not compile"),
        (r"a\*", "backslash"),
        ("a b*", "cannot be in a glob"),
        ("a/{name}*", "cannot be in a glob"),
        ("quay.io/[ab]/*", "cannot be in a glob"),
    ],
)
def test_a_pattern_that_cannot_mean_anything_is_refused(pattern: str, words: str) -> None:
    """The message says what is wrong with it."""
    with pytest.raises(ValueError, match=words):
        parse_pattern(pattern)


@pytest.mark.parametrize("text", ["a/b", "a:b", "-a", ".a", "a b", "a,b", "v[0-9]", "x" * 129])
def test_a_tag_pattern_that_no_tag_can_match_is_refused(text: str) -> None:
    """A rule's tag that is no tag by the specification is a mistake."""
    with pytest.raises(ValueError, match="is not a tag"):
        parse_tag_pattern(text)


@pytest.mark.parametrize("text", ["v1*/x", "a*:b"])
def test_a_tag_glob_that_no_tag_can_match_is_refused(text: str) -> None:
    """A glob with characters that no tag has would silently select nothing."""
    with pytest.raises(ValueError, match="matches no tag"):
        parse_tag_pattern(text)


@pytest.mark.parametrize(
    ("text", "repository", "store"),
    [
        ("quay.io/a/b:v1", True, True),
        ("quay.io/a/c", False, True),
        ("quay.io/*/b:v*", True, True),
        ("quay.io/*:v1", False, True),
        ("**/b", True, True),
        ("*", False, True),
        ("/nothing/", True, True),
        ("gcr.io/**", False, False),
        ("gcr.io/a/b", False, False),
        ("oci:**", False, False),
        ("oci:a/b", False, False),
        ("a b", False, False),
    ],
)
def test_a_repository_or_store_may_hold_what_a_pattern_matches(
    text: str, repository: bool, store: bool
) -> None:
    """What only tags can tell is a yes, so that nothing that matches is ever left out."""
    pattern, quay = parse_pattern(text), Repository("quay.io", "a/b")
    assert pattern.may_match(quay) is repository
    assert pattern.may_match_in("quay.io") is store
    if pattern.matches_reference(quay.at("v1")):
        assert repository
        assert store
    if (only := pattern.only_repository()) is not None:
        assert (only == quay) is repository
        assert pattern.may_match(only)


@pytest.mark.parametrize(
    ("text", "only"),
    [
        ("quay.io/a/b", "quay.io/a/b"),
        ("quay.io/a/b:v1", "quay.io/a/b"),
        ("quay.io:443/a/b:v*", "quay.io/a/b"),
        ("quay.io/a/b:/^v/", "quay.io/a/b"),
        ("quay.io/a/b@sha256:*", "quay.io/a/b"),
        ("localhost:5000/a:*", "localhost:5000/a"),
        ("nginx", "docker.io/library/nginx"),
        ("nginx:*", None),  # a glob matches what is written
        ("oci:a/./b:*", "oci:a/b"),
        ("quay.io/a/*:v1", None),
        ("**/b", None),
        ("/v1/", None),
        ("a b", None),
    ],
)
def test_a_pattern_may_name_its_only_repository(text: str, only: str | None) -> None:
    """Where it does, no list of repositories is needed to find what it matches."""
    found = parse_pattern(text).only_repository()
    assert (found and str(found)) == only


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a/b", ("a/b", "", "")),
        ("a/b:v1,v2", ("a/b", ":", "v1,v2")),
        ("nginx:1", ("nginx", ":", "1")),
        ("localhost:5000/a", ("localhost:5000/a", "", "")),
        ("localhost:5000/a:v1", ("localhost:5000/a", ":", "v1")),
        ("[::1]:5000/a:v1", ("[::1]:5000/a", ":", "v1")),
        (f"a/b@{DIGEST}", ("a/b", "@", DIGEST)),
        (f"a/b:v1@{DIGEST}", ("a/b:v1", "@", DIGEST)),
        ("a/b:/^v1/", ("a/b", ":", "/^v1/")),
        ("localhost:5000/a:/x:y/", ("localhost:5000/a", ":", "/x:y/")),
        ("oci:a", ("oci:a", "", "")),
        ("oci:/srv/a/", ("oci:/srv/a/", "", "")),
        ("oci:a/b:v1", ("oci:a/b", ":", "v1")),
        ("oci:a:/^v/", ("oci:a", ":", "/^v/")),
    ],
)
def test_the_target_is_split_at_its_own_colon(text: str, expected: tuple[str, str, str]) -> None:
    """A port's colon, that of `oci:` and those of a regex do not separate a tag."""
    assert split_target(text) == expected


def test_patterns_written_alike_are_equal() -> None:
    """Two rules with the same patterns are the same rule."""
    assert parse_pattern("v*") == parse_pattern("v*")
    assert hash(parse_pattern("v*")) == hash(parse_pattern("v*"))
    assert parse_pattern("v*") != parse_pattern("v?")
    assert str(parse_pattern("v*")) == "v*"


def test_only_plain_names_are_exact() -> None:
    """Whatever needs a listing to be found is not exact."""
    found = {text: parse_pattern(text).is_exact for text in ("a", "a*", "a?", "/a/", "q.io/a:v1")}
    assert found == {"a": True, "a*": False, "a?": False, "/a/": False, "q.io/a:v1": True}


def test_many_stars_take_linear_time() -> None:
    """A hostile glob or regex cannot make matching explode."""
    assert not parse_pattern("a*" * 30 + "b").matches_tag("a" * 128)
    assert not parse_pattern("/(a+)+$/").matches_tag("a" * 127 + "b")


@given(st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9._-]{0,20}\Z"))
def test_every_tag_matches_itself_and_the_star(tag: str) -> None:
    """A tag read as a pattern is exact and matches only that tag."""
    pattern = parse_tag_pattern(tag)
    assert pattern.is_exact
    assert pattern.matches_tag(tag)
    assert not pattern.matches_tag(tag + "x")
    assert parse_pattern("*").matches_tag(tag)
    assert parse_pattern(tag + "*").matches_tag(tag)


@given(st.text(max_size=30))
def test_any_text_is_a_pattern_or_a_value_error(text: str) -> None:
    """Nothing that a user types makes the parser fail otherwise."""
    with contextlib.suppress(ValueError):
        pattern = parse_pattern(text)
        assert isinstance(pattern.matches_tag("v1"), bool)
        assert isinstance(pattern.matches_reference(Reference.parse("quay.io/a/b:v1")), bool)
