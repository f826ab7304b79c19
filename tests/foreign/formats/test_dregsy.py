"""dregsy's file beyond the plain cases: selectors of tags, regexes of names, what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.config.reading.text import parse_config_text
from imgmigrate.errors import ConfigError
from imgmigrate.foreign.formats.dregsy import ENVSUBST, ONCE, SPELLED_OUT, read_dregsy
from imgmigrate.foreign.reading.ranges import NO_VERSIONS, VERSIONS, Dialect

if TYPE_CHECKING:
    from imgmigrate.foreign.document import Document

DIGEST = "sha256:" + "a1" * 32
STRANGE = NO_VERSIONS[Dialect.DREGSY]


def ranged(semver: str, *exclude: str, **more: Any) -> dict[str, Any]:
    """A range that takes any suffix, and no tag that is no version to dregsy."""
    return {**more, "exclude": [*exclude, STRANGE], "semver": semver, "suffixes": "any"}


ENDS = "source: {registry: q.io}, target: {registry: x.io}"


def read(text: str) -> Document:
    return read_dregsy(parse_config_text(text, "d.yaml", nulls=True))


def mapping(text: str) -> Document:
    return read(f"tasks:\n  - {{{ENDS}, mappings: [{{{text}}}]}}\n")


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("['1.0', latest]", ["1.0", "latest"]),
        ("['semver: >=1.0.0 <2.0.0', 'semver: 3.x']", ranged(">=1.0.0 <2.0.0 || 3")),
        ("['regex: 1\\..*', 'regex: ^a$']", ["/^1\\..*$/", "/^a$/"]),
        ("['regex: !.*-rc']", {"exclude": ["/^.*-rc$/"]}),
        (
            "[a, 'semver: >1.0.0', 'regex: b']",
            {"any": [{"include": ["a"]}, ranged(">1.0.0"), {"include": ["/^b$/"]}]},
        ),
        (
            "['semver: !1.2.3']",
            ranged("*", r"/^v?1\.2\.3$/"),
        ),
        # Names are kept whatever keep: says.
        ("['keep: v.*']", ["/^v.*$/"]),
        ("['semver: >1.0.0', 'keep: v.*']", ranged(">1.0.0", include=["/^v.*$/"])),
        (
            "[a, 'regex: b.*', 'keep: !.*x']",
            {"any": [{"include": ["a"]}, {"include": ["/^b.*$/"], "exclude": ["/^.*x$/"]}]},
        ),
        # What is no version is not counted.
        ("['semver: >1.0.0', 'keep: latest 3']", ranged(">1.0.0", newest=3)),
        ("['keep:  latest 2']", {"any": [ranged("*", newest=2), {"exclude": [VERSIONS]}]}),
        (
            "[edge, 'semver: >1.0.0', 'keep: latest 3']",
            {"any": [{"include": ["edge"]}, ranged(">1.0.0", newest=3)]},
        ),
        ("['1.0.0', 'keep: latest 2']", ["1.0.0"]),
        ("[]", None),
    ],
)
def test_selectors_of_tags(tags: str, expected: Any) -> None:
    """Each adds tags, keep: takes some away."""
    (rule,) = mapping(f"from: a, tags: {tags}").images
    assert rule.settings.get("tags") == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("from: a, tags: ['regex: a', 'keep: b']", "two regexes"),
        ("from: a, tags: ['keep: a', 'keep: b']", "two regexes"),
        ("from: a, tags: ['1.0.0', 'semver: >1.0.0', 'keep: latest 2']", "counts over several"),
        ("from: 'regex:[a-z]+'", "cannot be said by a glob"),
        ("from: 'regex:a/.*', to: 'regex:(.)/,b/'", "cannot be said"),
        ("from: 'regex:a/.*', to: 'regex:c/,b/'", "is not in every name"),
    ],
)
def test_what_would_copy_more_is_left_out(text: str, reason: str) -> None:
    """The mapping is told, with its line."""
    document = mapping(text)
    assert not document.images
    told = " ".join(document.remarks)
    assert reason in told
    assert "line 2: " in told
    assert "the mapping is left out" in told


@pytest.mark.parametrize(
    ("text", "expected", "remark"),
    [
        ("from: /a/b", ("q.io/a/b", "x.io/a/b"), None),
        ("from: a, to: /c/", ("q.io/a", "x.io/c"), None),
        ("from: 'regex:a/.*', to: b", ("q.io/a/**", "x.io/b/a/{match}"), None),
        ("from: 'regex:.*'", ("q.io/**", "x.io/{match}"), None),
        ("from: 'regex:a/b', to: c", ("q.io/a/b", "x.io/c/a/b"), SPELLED_OUT),
        # The replacement sees a slash before the name.
        ("from: my/app, to: 'regex:^/my(.*),/your$1x'", ("q.io/my/app", "x.io/your"), None),
        ("from: my/app, to: 'regex:my(.*),your${1}-x'", ("q.io/my/app", "x.io/your/app-x"), None),
        ("from: 'regex:j/n-.*', to: 'regex:j/,o/'", ("q.io/j/n-**", "x.io/o/n-{match}"), ONCE),
        (f"from: a, digests: ['{DIGEST}']", (f"q.io/a@{DIGEST}", "x.io/a"), None),
        (f"from: a, tags: ['1.2@{DIGEST}']", (f"q.io/a@{DIGEST}", "x.io/a:1.2"), None),
        ("from: $TEAM/a, to: '${PLACE}/b'", ("q.io/${TEAM}/a", "x.io/${PLACE}/b"), ENVSUBST),
    ],
)
def test_names_and_where_they_go(text: str, expected: tuple[str, str], remark: str | None) -> None:
    """A path without a regex replaces the name, or stands before those that a regex chose."""
    (rule,) = mapping(text).images
    assert (rule.name, rule.settings["destination"]) == expected
    assert rule.remarks == (() if remark is None else (remark,))


@pytest.mark.parametrize(
    ("platform", "expected"), [("", None), ("all", None), ("linux/arm64", ["linux/arm64"])]
)
def test_platforms(platform: str, expected: list[str] | None) -> None:
    """None is told to be every one here."""
    document = mapping("from: a" + (f", platform: {platform}" if platform else ""))
    assert document.images[0].settings.get("platforms") == expected
    assert ("platform" in " ".join(document.remarks)) is (not platform)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tasks: []\ntask: 1\n", "d.yaml:2: task: is not a known key; did you mean tasks?"),
        (f"tasks: [{{{ENDS}, mapings: []}}]\n", "tasks[0].mapings: is not a known key"),
        (f"tasks: [{{{ENDS}, mappings: {{from: a}}}}]\n", "mappings: must be a list"),
        (f"tasks: [{{{ENDS}, mappings: [{{to: a}}]}}]\n", "mappings[0]: must be a mapping with"),
        (f"tasks: [{{{ENDS}, mappings: [{{from: a, tag: b}}]}}]\n", "did you mean tags?"),
        (f"tasks: [{{{ENDS}, mappings: [{{from: a, tags: b}}]}}]\n", "tags: must be a list"),
        (
            f"tasks: [{{{ENDS}, mappings: [{{from: a, tags: ['semver: ^1']}}]}}]\n",
            "tasks[0].mappings[0].tags: ' ^1': '^1' is no comparison of dregsy",
        ),
        (
            f"tasks: [{{{ENDS}, mappings: [{{from: a, to: 'regex:b'}}]}}]\n",
            "mappings[0].to: has no replacement",
        ),
        (
            f"tasks: [{{{ENDS}, mappings: [{{from: a, to: 'regex:(,b'}}]}}]\n",
            "mappings[0].to: the regex /(/ does not compile",
        ),
        (
            "tasks: [{source: {registry: q.io, skip-tls-verify: maybe}}]\n",
            "tasks[0].source.skip-tls-verify: must be true or false",
        ),
    ],
)
def test_what_dregsy_would_not_read_is_refused(text: str, expected: str) -> None:
    """File, line, key, reason and fix."""
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert expected in str(caught.value)
