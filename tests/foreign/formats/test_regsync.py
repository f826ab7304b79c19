"""regsync's file beyond the plain cases: each key is said, told or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.config.reading.text import parse_config_text
from imgmigrate.errors import ConfigError
from imgmigrate.foreign.formats.regsync import (
    ENVSUBST,
    SINGLE,
    SPARSE,
    SPELLED_OUT,
    read_regsync,
)
from imgmigrate.foreign.formats.regsync_keys import MEDIA_TYPES
from imgmigrate.foreign.writer import write

if TYPE_CHECKING:
    from imgmigrate.foreign.document import Document, Entry

DIGEST = "sha256:" + "a1" * 32


def read(text: str) -> Document:
    return read_regsync(parse_config_text(text, "r.yaml", nulls=True))


def rules(text: str) -> list[Entry]:
    """The rules that one entry of `sync` becomes."""
    return read(f"sync:\n  - {{{text}}}\n").images


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("tags: {allow: [a, 'b|c']}", ["/^a$/", "/^b|c$/"]),
        ("tags: {deny: [a]}", {"exclude": ["/^a$/"]}),
        (
            "tags: {semverRange: ['>=1 <2', '^3.1']}",
            {"semver": ">=1 <2 || ^3.1.0", "suffixes": "any"},
        ),
        (
            "tagSets: [{allow: [a]}, {semverRange: ['>=1'], deny: [b]}]",
            {
                "any": [
                    {"include": ["/^a$/"]},
                    {"exclude": ["/^b$/"], "semver": ">=1", "suffixes": "any"},
                ]
            },
        ),
        (
            "tags: {allow: [a]}, tagSets: [{deny: [b]}]",
            {"any": [{"exclude": ["/^b$/"]}, {"include": ["/^a$/"]}]},
        ),
        # A set that asks for nothing lets everything through, tags that do are none.
        ("tagSets: [{allow: [a]}, {}]", None),
        ("tagSets: [{allow: [a]}], tags: {allow: []}", ["/^a$/"]),
        ("tags: {semverRange: ['']}", None),
    ],
)
def test_sets_of_tags_are_joined(tags: str, expected: Any) -> None:
    """Within one set everything must agree."""
    (rule,) = rules(f"source: q.io/a, target: x.io/a, type: repository, {tags}")
    assert rule.settings.get("tags") == expected
    assert not rule.remarks


@pytest.mark.parametrize(
    ("repos", "expected"),
    [
        ("", [("q.io/**", None)]),
        ("allow: [team/.*, app]", [("q.io/team/**", None), ("q.io/app", None)]),
        ("deny: [tmp-.*]", [("q.io/**", [r"/^q\.io/tmp-.*$/"])]),
        ("allow: [a, b], deny: [b]", [("q.io/a", None)]),
        ("allow: ['[a-z]+']", []),
        (r"deny: ['\bx']", []),
    ],
)
def test_repositories_are_chosen_by_globs(
    repos: str, expected: list[tuple[str, list[str] | None]]
) -> None:
    """What globs cannot say leaves the rule out, for it would copy more, and is told."""
    text = f"source: q.io, target: 'x.io:5000', type: registry, repos: {{{repos}}}"
    document = read(f"sync:\n  - {{{text}}}\n")
    found = [(each.name, each.settings.get("exclude_repositories")) for each in document.images]
    assert found == expected
    assert all(each.settings["destination"] == "x.io:5000/{repository}" for each in document.images)
    assert expected or "line 2" in document.remarks[0]
    assert expected or "the rule is left out" in document.remarks[0]


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ("source: busybox, target: x.io/b", ("busybox:latest", "x.io/b:latest")),
        (
            f"source: 'q.io/a:1@{DIGEST}', target: 'x.io/a:2'",
            (f"q.io/a@{DIGEST}", "x.io/a:2"),
        ),
        ("source: 'ocidir://in/a:1', target: 'x.io/a:1'", ("oci:in/a:1", "x.io/a:1")),
        (
            """source: '{{env "R"}}/a:1', target: 'x.io/{{ .Sync.Source }}'""",
            ("${R}/a:1", "x.io/${R}/a:1"),
        ),
        ("source: 'q.io/a:1', target: 'x.io/{{- .Sync.Type -}}:1'", ("q.io/a:1", "x.io/image:1")),
    ],
)
def test_one_image(ends: str, expected: tuple[str, str]) -> None:
    """Without a tag it is latest; the plain templates are filled in."""
    (rule,) = rules(f"{ends}, type: image")
    assert (rule.name, rule.settings["destination"]) == expected


@pytest.mark.parametrize(
    ("key", "platforms", "remark"),
    [
        ("platform: linux/amd64", ["linux/amd64"], SINGLE),
        ("platforms: [linux/amd64, linux/arm64]", ["linux/amd64", "linux/arm64"], SPARSE),
    ],
)
def test_platforms_are_chosen_in_another_way(key: str, platforms: list[str], remark: str) -> None:
    """The digest is told to differ."""
    (rule,) = rules(f"source: q.io/a, target: x.io/a, type: image, {key}")
    assert rule.settings["platforms"] == platforms
    assert rule.remarks == (remark,)


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("referrers: true", True),
        ("referrers: false", False),
        ("digestTags: true", True),
        ("backup: 'b-{{.Ref.Tag}}'", True),
        ("ratelimit: {min: 100}", True),
        ("mediaTypes: [application/vnd.oci.image.index.v1+json]", True),
        (
            f"mediaTypes: [{', '.join(sorted(MEDIA_TYPES))}]",
            False,
        ),
        ("hooks: {pre: {type: x}}", True),
        ("x-mine: 1", False),
    ],
)
def test_what_has_no_equivalent_is_told(key: str, told: bool) -> None:
    """Unless it says what is so anyhow."""
    (rule,) = rules(f"source: q.io/a, target: x.io/a, type: image, {key}")
    assert (len(rule.remarks) == 1) is told
    assert not told or rule.remarks[0].startswith(key.partition(":")[0])


def test_an_anchor_is_merged() -> None:
    """`<<` is resolved; what stands beside it wins."""
    document = read(
        "x-base: &base {type: repository, tags: {allow: [a]}, interval: 60m}\n"
        "sync:\n  - {<<: *base, source: q.io/a, target: x.io/a}\n"
        "  - {<<: [*base], source: q.io/b, target: x.io/b, tags: {allow: [b]}}\n"
    )
    assert [each.settings["tags"] for each in document.images] == [["/^a$/"], ["/^b$/"]]
    assert all("interval" in each.remarks[0] for each in document.images)


@pytest.mark.parametrize(
    ("creds", "settings", "told"),
    [
        ("tls: disabled", {"plain_http": True}, ""),
        ("tls: INSECURE", {"tls": {"verify": False}}, ""),
        ("reqPerSec: 0.5, reqConcurrent: 0", {"rate_limit": "0.5"}, ""),
        ("hostname: q.io, repoAuth: true", {}, ""),
        ("hostname: real.io", {}, "hostname has no equivalent"),
        ("pathPrefix: library", {}, "write it into the names"),
        ("credHelper: docker-credential-x", {}, "credential_command"),
        ("clientcert: |-", {}, ""),
        ("mirrors: [m.io], priority: 2", {}, "mirrors, priority have no equivalent"),
        (
            """user: me, pass: '{{file "/run/token"}}'""",
            {"username": "me", "password": "${Q_IO_PASSWORD}"},
            "pass comes from the file /run/token: set Q_IO_PASSWORD to it",
        ),
        ("user: me", {}, "give both username and password"),
        ("user: ~, pass: null, tls: ~", {}, ""),
        ("user: me, pass: '${PW}'", {"username": "me", "password": "${PW}"}, ENVSUBST),
    ],
)
def test_settings_of_registries(creds: str, settings: dict[str, Any], told: str) -> None:
    """Logins, TLS and limits; the rest is told."""
    creds = creds.replace("|-", "''")
    document = read(f"creds:\n  - {{registry: q.io, {creds}}}\nsync: []\n")
    (entry,) = document.registries
    assert entry.settings == settings
    assert told in " ".join(entry.remarks)
    assert bool(told) is bool(entry.remarks)


RULE = "source: q.io/a, target: x.io/a, type: repository"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sync: []\nsinc: 1\n", "r.yaml:2: sinc: is not a known key; did you mean sync?"),
        ("version: 2\nsync: []\n", "r.yaml:1: version: is not supported"),
        ("sync: []\ncreds: {a: b}\n", "r.yaml:2: creds: must be a list"),
        ("sync: []\ncreds: [{user: me}]\n", "creds[0].registry: is missing"),
        ("sync: []\ncreds: [{registry: a, tls: off}]\n", "creds[0].tls: 'off' is no way of TLS"),
        ("sync: []\ncreds: [{registry: a, reqPerSec: x}]\n", "reqPerSec: must be a number"),
        ("sync: []\ndefaults: {tags: {}}\n", "defaults.tags: is not a known key"),
        (f"sync:\n  - {{{RULE}, tag: 1}}\n", "r.yaml:2: sync[0].tag: is not a known key"),
        (f"sync:\n  - {{{RULE}, tags: {{alow: [a]}}}}\n", "sync[0].tags.alow: is not a known key"),
        (f"sync:\n  - {{{RULE}, tags: {{allow: a}}}}\n", "tags.allow: must be a list of texts"),
        (f"sync:\n  - {{{RULE}, tags: [a]}}\n", "sync[0].tags: must be a mapping"),
        (f"sync:\n  - {{{RULE}, tags: {{semverRange: [new]}}}}\n", "is not a version"),
        (f"sync:\n  - {{{RULE}, platforms: linux/amd64}}\n", "platforms: must be a list"),
        ("sync: [{target: a, type: image}]\n", "sync[0].source: is missing"),
        ("sync: [{source: a, target: b}]\n", "sync[0].type: is missing"),
        (
            "sync: [{source: 'q.io/a:1', target: x.io/a, type: repository}]\n",
            "sync[0].source: names a tag or a digest",
        ),
        (
            "sync: [{source: q.io/a, target: x.io, type: registry}]\n",
            "sync[0].source: a registry is host[:port] alone",
        ),
        ("sync: [{source: myreg, target: x.io, type: registry}]\n", "name at Docker Hub"),
    ],
)
def test_what_regsync_would_not_read_is_refused(text: str, expected: str) -> None:
    """File, line, key, reason and fix."""
    assert expected in refusal(text)


@pytest.mark.parametrize(
    "target",
    ["x.io/{{ .Ref.Tag }}", "x.io/{{ time.Now }}", "x.io/{{ .Sync.Source | upper }}", "{{"],
)
def test_a_template_of_another_kind_leaves_the_rule_out(target: str) -> None:
    """It is told, with the line."""
    document = read(f"sync:\n  - {{source: q.io/a, target: '{target}', type: repository}}\n")
    assert not document.images
    assert document.remarks[0].startswith("line 2: the template ")


def test_a_rule_that_becomes_several_is_told_once() -> None:
    """In the warnings, and in what is written."""
    document = read(
        "sync:\n  - {source: q.io, target: x.io, type: registry, backup: b,"
        " repos: {allow: [a/.*, b, c]}}\n"
    )
    assert [SPELLED_OUT in each.remarks for each in document.images] == [False, True, True]
    assert len(document.warnings()) == 2
    written = write(document, title="Converted.").text
    assert [written.count(each) for each in ("# backup", "# regsync skips")] == [1, 1]
