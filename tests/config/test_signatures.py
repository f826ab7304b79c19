"""`verify:` of a config: whose signatures images need."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import ConfigError
from imgmigrate.foreign.load import load_config
from imgmigrate.oci.reference import Reference, parse_endpoint

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.config.model import Config

RULE = "images: [{source: q.io/a, destination: n.io/a}]\n"


def load(folder: Path, verify: str, **environ: str) -> Config:
    """Load a config; keys are read when a plan is made."""
    path = folder / "prod.yaml"
    path.write_text(f"version: 1\nverify: {verify}\n{RULE}")
    return load_config(path, environ=environ)


def test_keys_are_relative_to_the_config(tmp_path: Path) -> None:
    """One, or several; a path may have variables."""
    config = load(
        tmp_path,
        "[{match: q.io/a, key: a.pub}, {match: q.io/**, key: ['${K}', a.pub]}]",
        K="b.pub",
    )
    found = [[key.path for key in rule.keys] for rule in config.signatures]
    assert found == [[tmp_path / "a.pub"], [tmp_path / "b.pub", tmp_path / "a.pub"]]


@pytest.mark.parametrize(
    ("verify", "why"),
    [
        ("[{key: a.pub}]", "is missing"),
        ("[{match: q.io/**}]", "is missing"),
        ("[{match: q.io/**, key: []}]", "is missing"),
        ("[{match: q.io/**, key: ~/a.pub}]", "~ is not expanded"),
        ("[{match: api, key: a.pub}]", "names no registry"),
        ("[{match: 'q.io/[a]', key: a.pub}]", "names no image"),
        ("[{match: q.io/**, key: a.pub, keys: b}]", "not a known key"),
        ("[{match: q.io/**, identity: me}]", "issuer: is missing"),
        ("[{match: q.io/**, issuer: them}]", "identity: is missing"),
        ("[{match: q.io/**, identity: me, issuer: ''}]", "issuer: is missing"),
        ("[{match: q.io/**, key: a.pub, trusted_root: r}]", "identity: is missing"),
        ("[{match: q.io/**, key: a.pub, identity: me, issuer: them}]", "two signers"),
        ("{match: q.io/**, key: a.pub}", "must be a"),
    ],
)
def test_what_would_ask_for_nothing_is_refused(tmp_path: Path, verify: str, why: str) -> None:
    """With its place; a gate that is misspelt is never open."""
    with pytest.raises(ConfigError, match=why) as caught:
        load(tmp_path, verify)
    assert caught.value.line == 2


def test_a_layout_is_meant_by_both_of_its_names(tmp_path: Path) -> None:
    """By its absolute path and by the one that the config writes."""
    for match in ("oci:disk/**", f"oci:{tmp_path}/disk/**", "oci:disk/app:1.0", "**"):
        [rule] = load(tmp_path, f"[{{match: '{match}', key: a.pub}}]").signatures
        for path in ("disk/app", f"{tmp_path}/disk/app"):
            source: Reference = parse_endpoint(f"oci:{path}:1.0")
            assert rule.concerns(source), (match, path)
        assert not rule.concerns(parse_endpoint("q.io/disk/app:1.0")) or match == "**"


def test_a_pinned_image_is_meant_by_its_tag_and_by_its_digest(tmp_path: Path) -> None:
    """No spelling of a source leads past the gate."""
    digest = f"sha256:{'a' * 64}"
    source = replace(parse_endpoint(f"q.io/team/a@{digest}"), tag="1")
    for match in ("q.io/team/a:1", "q.io/team/*:1", f"q.io/team/a@{digest}", "q.io/team/a"):
        [rule] = load(tmp_path, f"[{{match: '{match}', key: a.pub}}]").signatures
        assert rule.concerns(source), match
    [rule] = load(tmp_path, "[{match: 'q.io/team/a:2', key: a.pub}]").signatures
    assert not rule.concerns(source)


def test_leaving_the_tag_out_gets_around_no_pattern(tmp_path: Path) -> None:
    """Nor does a link to a layout, or a rule that somebody else has written elsewhere."""
    digest = "sha256:" + "a" * 64
    for match in ("q.io/team/a:*", "q.io/team/a:1", "q.io/**:v*", "/.*@sha256.*/"):
        rule = load(tmp_path, f"[{{match: '{match}', key: a.pub}}]").signatures[0]
        assert rule.concerns(parse_endpoint(f"q.io/team/a@{digest}")), match
        assert not rule.concerns(parse_endpoint("q.io/other/b:2")), match
    (tmp_path / "config" / "old").mkdir(parents=True)
    (tmp_path / "config" / "link").symlink_to("old")
    for match in (f"oci:{tmp_path}/config/old/**", "oci:config/old/**"):
        rule = load(tmp_path, f"[{{match: '{match}', key: a.pub}}]").signatures[0]
        for source in ("oci:old/app:1", "oci:link/app:1", "oci:./old/app:1"):
            assert rule.concerns(parse_endpoint(source), tmp_path / "config"), (match, source)
