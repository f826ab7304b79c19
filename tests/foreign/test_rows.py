"""What other tools' files say, and what is copied then: a row each, written by hand."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.foreign.formats import Given, read
from imgmigrate.foreign.load import check, load_config
from imgmigrate.foreign.writer import write
from imgmigrate.planning.desired.select import choose

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.config.model import Config
    from imgmigrate.foreign.document import Document

DIGEST = "sha256:" + "a1" * 32
ENDS = "source: {registry: q.io}, target: {registry: x.io}"
ENVIRON = {"REG": "r.io", "TEAM": "t", "DEFAULT_REGISTRY": "d.io", "DEFAULT_NAMESPACE": "n"}


def convert(folder: Path, form: str, text: str, **options: Any) -> tuple[Document, Config]:
    """Convert a file, write the result and load it."""
    path = folder / ("foreign.json" if text.startswith("{") else "foreign.yaml")
    path.write_text(text)
    document = read(Given(form, (path,), ENVIRON, **options))
    check(path, document)
    written = write(document, title="Converted.")
    (folder / "imgmigrate.yaml").write_text(written.text)
    return document, load_config(folder / "imgmigrate.yaml", environ=ENVIRON | written.secrets)


def copies(config: Config, listed: str) -> set[str]:
    """What is copied where every source lists these tags."""
    found = set()
    for rule in config.rules:
        if rule.digest is not None:
            source = rule.source.at(rule.digest)
            found |= {f"{source} -> {each}" for each in rule.digest_addresses()}
        for tag in choose(rule, listed.split()).tags if rule.digest is None else ():
            found |= {f"{rule.source.at(tag)} -> {each}" for each in rule.addresses(tag)}
    return found


@pytest.mark.parametrize(
    ("form", "text", "listed", "expected"),
    [
        pytest.param(
            "regsync",
            "sync: [{source: q.io/pg, target: x.io/pg, type: repository,"
            " tags: {semverRange: ['>=12'], allow: ['[0-9]+-alpine']}}]\n",
            "12-alpine 16-alpine 17-alpine 16 latest",
            {"q.io/pg:16-alpine -> x.io/pg:16-alpine", "q.io/pg:17-alpine -> x.io/pg:17-alpine"},
            id="regsync's range with a suffix that is asked for",
        ),
        pytest.param(
            "dregsy",
            f"tasks: [{{{ENDS}, mappings: [{{from: a, platform: all,"
            " tags: ['semver: >=2.0.0', 'keep: .+-(alpine|buster)']}]}]\n",
            "2.0.0-alpine 2.0.1-alpine 2.1.0-buster 2.1.0 3-alpine",
            {
                "q.io/a:2.0.1-alpine -> x.io/a:2.0.1-alpine",
                "q.io/a:2.1.0-buster -> x.io/a:2.1.0-buster",
            },
            id="dregsy's range with a suffix that is kept",
        ),
        pytest.param(
            "skopeo",
            "q.io: {images-by-semver: {a/envoy: '>= v1.2.0-0a1b2c3'}}\n",
            "v1.2.0-0a1b2c3 v1.3.0-4d5e6f7 v1.1.0 v1.3.0",
            {
                "q.io/a/envoy:v1.2.0-0a1b2c3 -> x.io/m/envoy:v1.2.0-0a1b2c3",
                "q.io/a/envoy:v1.3.0-4d5e6f7 -> x.io/m/envoy:v1.3.0-4d5e6f7",
                "q.io/a/envoy:v1.3.0 -> x.io/m/envoy:v1.3.0",
            },
            id="skopeo's range of pre-releases",
        ),
        pytest.param(
            "regsync",
            """creds: [{registry: '{{ env "REG" }}', user: u, pass: p}]\n"""
            """sync: [{source: 'q.io/a:1', target: '{{ env "REG" }}/a:1', type: image}]\n""",
            "",
            {"q.io/a:1 -> r.io/a:1"},
            id="a registry that is a template",
        ),
        pytest.param(
            "regsync",
            "sync: [{source: 'q.io/a:1', target: '${REG}/$TEAM/a:1', type: image}]\n",
            "",
            {"q.io/a:1 -> r.io/t/a:1"},
            id="names for envsubst",
        ),
        pytest.param(
            "image-syncer",
            "images:\n  q.io/a/app:1:\nauth:\n",
            "",
            {"q.io/a/app:1 -> d.io/n/app:1"},
            id="a destination without a value",
        ),
        pytest.param(
            "image-syncer",
            '{"auth": {}, "images": {"q.io/a/app:1": null}}',
            "",
            {"q.io/a/app:1 -> d.io/n/app:1"},
            id="a destination that is JSON's null",
        ),
        pytest.param(
            "skopeo",
            "q.io:\n  images:\n    a/app:\nghcr.io:\n",
            "1 2",
            {"q.io/a/app:1 -> x.io/m/app:1", "q.io/a/app:2 -> x.io/m/app:2"},
            id="skopeo's keys without a value",
        ),
        pytest.param(
            "dregsy",
            f"tasks: [{{{ENDS}, mappings: [{{from: a, platform: all,"
            f" tags: ['1.2@{DIGEST}']}}]}}]\n",
            "9",
            {f"q.io/a@{DIGEST} -> x.io/a:1.2"},
            id="a tag with its digest",
        ),
        pytest.param(
            "dregsy",
            f"tasks: [{{{ENDS}, mappings: [{{from: a, platform: all,"
            f" tags: ['1.2@{DIGEST}', 'semver: >=1.0.0', '1.2']}}]}}]\n",
            "1.2 1.3 0.9",
            {f"q.io/a@{DIGEST} -> x.io/a:1.2", "q.io/a:1.3 -> x.io/a:1.3"},
            id="a tag with its digest, which a range takes too",
        ),
        pytest.param(
            "dregsy",
            f"tasks: [{{{ENDS}, mappings: [{{from: $TEAM/a, platform: all,"
            " tags: ['${TEAM}1', $TEAM]}]}]\n",
            "t1 t 2",
            {"q.io/t/a:t1 -> x.io/t/a:t1", "q.io/t/a:t -> x.io/t/a:t"},
            id="dregsy's tags for envsubst",
        ),
        pytest.param(
            "skopeo",
            "${REG}: {images: {$TEAM/a: ['${TEAM}1']}, images-by-tag-regex: {b: '^1$'}}\n",
            "1 2 t1",
            {"r.io/t/a:t1 -> x.io/m/a:t1", "r.io/b:1 -> x.io/m/b:1"},
            id="skopeo's names for envsubst",
        ),
        pytest.param(
            "image-syncer",
            "images: {'q.io/a:/zzz/': x.io/a, 'q.io/b:1': x.io/b}\nauth: {}\n",
            "1",
            {"q.io/b:1 -> x.io/b:1"},
            id="a regex without a match",
        ),
    ],
)
def test_a_row_is_copied_as_its_tool_does(
    tmp_path: Path, form: str, text: str, listed: str, expected: set[str]
) -> None:
    """Nothing more, nothing less."""
    options = {"to": "x.io/m"} if form == "skopeo" else {}
    _, config = convert(tmp_path, form, text, **options)
    assert copies(config, listed) == expected


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (
            "image-syncer",
            "auth: {q.io: {username: null, password: ~}}\nimages: {'q.io/a:1': x.io/a}\n",
        ),
        (
            "image-syncer",
            (
                '{"auth": {"q.io": {"username": null, "password": null}},\n'
                ' "images": {"q.io/a:1": "x.io/a"}}'
            ),
        ),
        (
            "regsync",
            (
                "creds: [{registry: q.io, user: null, pass: ~}]\n"
                "sync: [{source: 'q.io/a:1', target: 'x.io/a:1', type: image}]\n"
            ),
        ),
        ("skopeo", "q.io: {credentials: {username: ~, password: }, images: {a: ['1']}}\n"),
    ],
)
def test_a_login_that_is_null_is_none(tmp_path: Path, form: str, text: str) -> None:
    """Docker's credentials are used then, as if nothing were said; a text `"null"` is one."""
    options = {"to": "x.io"} if form == "skopeo" else {}
    _, config = convert(tmp_path, form, text, **options)
    assert config.registry("q.io").username is None
    quoted = (
        text.replace("null", '"null"')
        .replace("~", '"null"')
        .replace("password: }", 'password: "null"}')
    )
    _, config = convert(tmp_path, form, quoted, **options)
    assert config.registry("q.io").username == "null"


@pytest.mark.parametrize(
    ("login", "is_half"),
    [
        ({"username": None, "password": None}, False),
        ({"username": "", "password": ""}, False),
        ({}, False),
        ({"username": "u"}, True),
        ({"username": "u", "password": None}, True),
    ],
)
def test_a_login_of_dregsy_that_is_null_is_none(
    tmp_path: Path, login: dict[str, Any], is_half: bool
) -> None:
    """It is JSON within base64 there; half a login is told, and is none."""
    auth = base64.b64encode(json.dumps(login).encode()).decode()
    text = (
        f"tasks: [{{source: {{registry: q.io, auth: {auth}}}, target: {{registry: x.io}},"
        " mappings: [{from: a, platform: all, tags: ['1']}]}]\n"
    )
    document, config = convert(tmp_path, "dregsy", text)
    assert config.registry("q.io").username is None
    assert bool(document.warnings()) is is_half


def test_half_a_login_of_skopeo_is_told_and_is_none(tmp_path: Path) -> None:
    """Skopeo goes on without it."""
    text = "q.io: {credentials: {username: , password: p}, images: {a: ['1']}}\n"
    document, config = convert(tmp_path, "skopeo", text, to="x.io", all_platforms=True)
    assert config.registry("q.io").password is None
    assert [each for each in document.warnings() if "give both username and password" in each]


@pytest.mark.parametrize("source", ["a/*", "'regex: a/.*'"])
def test_what_dregsy_matches_nothing_by_is_left_out(tmp_path: Path, source: str) -> None:
    """It has no wildcards, and a blank is a part of its regex: ours would copy more."""
    path = tmp_path / "d.yaml"
    path.write_text(f"tasks: [{{{ENDS}, mappings: [{{from: {source}, platform: all}}]}}]\n")
    document = read(Given("dregsy", (path,), {}))
    assert document.images == []
    assert document.warnings()[0].endswith("; the mapping is left out")


@pytest.mark.parametrize("text", ["images:\n", "images: ~\n", '{"images": null}'])
def test_images_without_a_value_are_none(tmp_path: Path, text: str) -> None:
    """They are no image that is called so."""
    path = tmp_path / ("c.json" if text.startswith("{") else "c.yaml")
    path.write_text(text)
    assert read(Given("image-syncer", (path,), ENVIRON)).images == []


def test_docker_hub_by_the_key_of_its_login(tmp_path: Path) -> None:
    """That is how regclient and docker call it."""
    text = (
        "creds: [{registry: 'https://index.docker.io/v1/', user: u, pass: p}]\n"
        "sync: [{source: 'alpine:3', target: 'x.io/alpine:3', type: image}]\n"
    )
    document, config = convert(tmp_path, "regsync", text)
    assert [each.name for each in document.registries] == ["docker.io"]
    assert config.registry("docker.io", "library/alpine").username == "u"


def test_one_reason_is_one_line(tmp_path: Path) -> None:
    """With a count and the first places; a rule that is left out stands before it."""
    rules = [
        f"  - {{source: 'q.io/a:{n}', target: 'x.io/a:{n}', type: image, interval: 1h}}\n"
        for n in range(60)
    ]
    left = "  - {source: 'q.io/b:1', target: 'x.io/{{ .Ref }}', type: image}\n"
    document, _ = convert(tmp_path, "regsync", f"sync:\n{''.join(rules)}{left}")
    first, second = document.warnings()
    assert first.endswith(
        "line 62: the template {{ .Ref }} has no equivalent here; the rule is left out"
    )
    assert second.endswith(
        "foreign.yaml: interval has no equivalent here: run imgmigrate from cron or CI "
        "(60 times, in lines 2, 3, 4, ...)"
    )
    assert write(document, title="Converted.").text.count("interval") == 1


def test_digests_beside_tags_are_told_once(tmp_path: Path) -> None:
    """The reason names no image, which its line does."""
    images = "".join(f"  q.io/a:{n}@{DIGEST}: x.io/a:{n}\n" for n in range(60))
    document, _ = convert(tmp_path, "image-syncer", f"images:\n{images}auth:\n")
    (told,) = document.warnings()
    assert told.endswith("its tag is not looked at (60 times, in lines 2, 3, 4, ...)")


def test_places_are_told_in_the_order_of_the_file(tmp_path: Path) -> None:
    """Whoever looks for them begins at its top."""
    text = (
        "creds: [{registry: '${REG}', user: u, pass: p}]\n"
        "sync: [{source: 'q.io/a:1', target: '${REG}/a:1', type: image}]\n"
    )
    document, _ = convert(tmp_path, "regsync", text)
    (told,) = document.warnings()
    assert told.endswith("(2 times, in lines 1, 2)")


def test_what_stays_the_same_is_not_told(tmp_path: Path) -> None:
    """A range is exact, and fastCopy is what happens anyhow."""
    text = (
        "sync: [{source: q.io/a, target: x.io/a, type: repository, fastCopy: true,"
        " tags: {semverRange: ['>=1'], allow: ['[0-9.]+']}}]\n"
    )
    document, _ = convert(tmp_path, "regsync", text)
    assert document.warnings() == []
