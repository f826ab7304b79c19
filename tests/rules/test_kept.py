"""`keep_previous`: what names it can make, and what is refused where it is written."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import ConfigError
from imgmigrate.foreign.load import load_config
from imgmigrate.oci.reference import Digest
from imgmigrate.rules.kept import KEEP_NOTHING, parse_kept_name

if TYPE_CHECKING:
    from pathlib import Path

DAY = datetime(2026, 11, 4, 23, 59, tzinfo=UTC)
DIGEST = Digest.of(b"it")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("{tag}-before-{date}", "v1-before-20261104"),
        ("old-{tag}", "old-v1"),
        ("{date}.{tag}.{digest}", f"20261104.v1.{DIGEST.short}"),
    ],
)
def test_placeholders_are_filled(text: str, name: str) -> None:
    """The tag, the plan's day and the digest of what is kept."""
    assert parse_kept_name(text).of("v1", DAY, DIGEST) == name


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("before-{date}", "has no {tag}"),
        ("{tag}", "is the tag that is replaced"),
        ("{tag}-{time}", "{time} is not known here"),
        ("{tag} before", "does not make a tag"),
        ("-{tag}", "does not make a tag"),
        ("{tag}-{", "does not make a tag"),
        ("{tag}-" + "x" * 128, "does not make a tag"),
        ("", "has no {tag}"),
    ],
)
def test_what_makes_no_tag_is_refused_in_its_place(tmp_path: Path, text: str, why: str) -> None:
    """The error names file, line, key and how to write one."""
    path = tmp_path / "prod.yaml"
    rule = "{source: a.io/b, destination: c.io/b}"
    path.write_text(f'version: 1\nimages: [{rule}]\nkeep_previous: "{text}"\n')
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ={})
    assert "prod.yaml:3: keep_previous: " in str(caught.value)
    assert why in str(caught.value)
    assert caught.value.hint == 'write keep_previous: "{tag}-before-{date}"'


def test_without_it_nothing_is_kept(tmp_path: Path) -> None:
    """It is asked for, never assumed."""
    path = tmp_path / "prod.yaml"
    path.write_text("version: 1\nimages: [{source: a.io/b, destination: c.io/b}]\n")
    assert load_config(path, environ={}).guards.keep_previous is None


def test_a_rule_has_its_own(tmp_path: Path) -> None:
    """A rule may name what its images are kept as, or that they are not; errors have its place."""
    path = tmp_path / "prod.yaml"
    rule = "source: a.example/a, destination: b.example/a, keep_previous:"
    path.write_text(f"version: 1\nimages:\n- {{{rule} '{{tag}}-old'}}\n")
    (found,) = load_config(path, environ={}).rules
    assert found.keep_previous == parse_kept_name("{tag}-old")
    path.write_text(f"version: 1\nimages:\n- {{{rule} none}}\n")
    (found,) = load_config(path, environ={}).rules
    assert found.keep_previous == KEEP_NOTHING
    path.write_text(f"version: 1\nimages:\n- {{{rule} old}}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ={})
    assert "prod.yaml:3: images[0].keep_previous: 'old' has no {tag}" in str(caught.value)
