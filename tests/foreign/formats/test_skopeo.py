"""skopeo sync's file beyond the plain cases: names, clashes, ranges, what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.config.reading.text import parse_config_text
from imgmigrate.errors import ConfigError
from imgmigrate.foreign.formats.skopeo import CLOSE, read_skopeo
from imgmigrate.foreign.reading.ranges import NO_VERSIONS, Dialect

if TYPE_CHECKING:
    from imgmigrate.foreign.document import Document

DIGEST = "sha256:" + "a1" * 32


def read(text: str, *, scoped: bool = False, suffix: str = "") -> Document:
    return read_skopeo(
        parse_config_text(text, "s.yaml", nulls=True), "new.io/m", scoped=scoped, suffix=suffix
    )


@pytest.mark.parametrize(
    ("name", "last", "scoped"),
    [
        ("quay.io: {images: {coreos/etcd: [a]}}", "etcd", "quay.io/coreos/etcd"),
        ("docker.io: {images: {busybox: [a]}}", "busybox", "docker.io/library/busybox"),
        ("quay.io/coreos: {images: {etcd: [a]}}", "etcd", "quay.io/coreos/etcd"),
    ],
)
def test_where_images_go(name: str, last: str, scoped: str) -> None:
    """The last part of the name, or with --scoped all of it as docker completes it."""
    assert read(name).images[0].settings["destination"] == f"new.io/m/{last}"
    found = read(name, scoped=True).images[0].settings["destination"]
    assert found == f"new.io/m/{scoped}"


def test_a_suffix_is_for_tags() -> None:
    """A digest has none."""
    document = read(f"q.io: {{images: {{a: ['1', '{DIGEST}']}}}}\n", suffix="-mirror")
    assert {each.name: each.settings["destination"] for each in document.images} == {
        f"q.io/a@{DIGEST}": "new.io/m/a",
        "q.io/a": "new.io/m/a:{tag}-mirror",
    }


def test_names_that_fall_together_are_told() -> None:
    """Which two, in which line, and that --scoped keeps them apart."""
    text = "q.io:\n  images:\n    a/redis: []\n    b/redis: []\n"
    first, second = read(text).images
    assert not first.remarks
    assert "q.io/a/redis goes too (line 3)" in second.remarks[0]
    assert "`scoped`" in second.remarks[0]
    assert not read(text, scoped=True).warnings()[1:]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("images-by-semver: {a: '>= 3.12.0'}", {"semver": ">=3.12.0"}),
        ("images-by-semver: {a: '^1, !=1.2.3'}", {"exclude": [r"/^v?1\.2\.3$/"], "semver": "^1"}),
        (
            "images-by-semver: {a: '1 || !=2'}",
            {"any": [{"semver": "1"}, {"exclude": [r"/^v?2(\.[0-9]+){0,2}$/"], "semver": "*"}]},
        ),
        ("images-by-tag-regex: {a: '1.*'}", ["/1.*/"]),
        ("images-by-tag-regex: {a: ''}", None),
    ],
)
def test_what_is_selected(key: str, expected: Any) -> None:
    """A regex may match anywhere in a tag; a range is Masterminds'."""
    (rule,) = read(f"q.io: {{{key}}}\n").images
    assert rule.settings.get("tags") == expected


def test_a_range_of_pre_releases_takes_any_suffix() -> None:
    """One that names a pre-release in a part only is read in two ways by skopeo's versions."""
    first, second = read("q.io: {images-by-semver: {a: '>=1.2.0-0', b: '>1.2.0-rc.1 <2'}}\n").images
    strange = NO_VERSIONS[Dialect.SKOPEO]
    assert first.settings["tags"] == {
        "exclude": [strange],
        "semver": ">=1.2.0-0",
        "suffixes": "any",
    }
    assert (first.remarks, second.remarks) == ((), (CLOSE,))


def test_insecure_is_a_hosts() -> None:
    """A key with a path keeps the login, its host is not verified."""
    text = "q.io/a: {tls-verify: off, credentials: {username: u, password: p$}, images: {b: []}}\n"
    found = [(each.name, each.settings) for each in read(text).registries]
    assert found == [
        ("q.io", {"insecure": True}),
        ("q.io/a", {"username": "u", "password": "p$"}),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("q.io:\n  image: {a: []}\n", 's.yaml:2: "q.io".image: is not a known key; did you mean'),
        ("q.io: {images: [a]}\n", '"q.io".images: must be a mapping'),
        ("q.io: {images: {'a:1': []}}\n", "names a tag or a digest; list what is wanted of it"),
        ("q.io: {images: {A: []}}\n", '"q.io".images.A'),
        ("q.io: {images-by-tag-regex: {a: [b]}}\n", "images-by-tag-regex.a: must be a text"),
        ("q.io: {images-by-semver: {a: newest}}\n", "images-by-semver.a: 'newest': 'newest' is"),
        ("q.io: {tls-verify: maybe}\n", "tls-verify: must be true or false"),
        ("q.io: {credentials: {user: a}}\n", "credentials.user: is not a known key"),
    ],
)
def test_what_skopeo_would_not_read_is_refused(text: str, expected: str) -> None:
    """File, line, key, reason and fix."""
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert expected in str(caught.value)


def test_a_port_cannot_be_in_a_scoped_name() -> None:
    """There skopeo itself fails, but only when it copies."""
    with pytest.raises(ConfigError) as caught:
        read("'localhost:5000': {images: {a: []}}\n", scoped=True)
    assert "convert without `scoped`" in str(caught.value)
