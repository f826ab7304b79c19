"""Which rules may ask for what globs match."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.foreign.load import load_config
from imgmigrate.observing.globs import Globs
from imgmigrate.planning.desired.expand import narrow

if TYPE_CHECKING:
    from pathlib import Path

RULES = """\
version: 1
images:
- {source: old.example/a, destination: new.example/team/a, tags: '*'}
- {source: 'old.example/b:v1,v2', destination: ['new.example/team/b:1,2', 'oci:./b']}
- {source: nginx, destination: 'docker.io/mirror/nginx'}
- {source: 'old.example/t/**', destination: 'new.example/{match}'}
- {source: 'old.example/u/*', destination: 'oci:./mirror/{name}'}
"""
SOURCES = {
    "a": "old.example/a",
    "b": "old.example/b",
    "n": "docker.io/library/nginx",
    "t": "old.example/t/**",
    "u": "old.example/u/*",
}


@pytest.mark.parametrize(
    ("glob", "kept"),
    [
        ("new.example/team/a", "at"),
        ("new.example/team/a:v1", "at"),
        ("new.example/team/b:9", "bt"),  # which tags a rule asks for is not asked here
        ("new.example/team/*:1", "abt"),
        ("new.example/*", "t"),
        ("new.example/**", "abt"),
        ("**/a", "atu"),
        ("*/team/a", "atu"),
        ("**", "abntu"),
        ("/v1$/", "abntu"),
        ("new.example/team/a:/^v/", "at"),
        ("mirror/nginx", "n"),
        ("index.docker.io/mirror/*", "n"),
        ("oci:b", "bu"),
        ("oci:**", "bu"),
        ("elsewhere.example/**", ""),
    ],
)
def test_only_rules_that_may_ask_for_a_match_are_kept(tmp_path: Path, glob: str, kept: str) -> None:
    """A rule of one repository is kept by its destinations, one of many by their stores."""
    path = tmp_path / "imgmigrate.yaml"
    path.write_text(RULES)
    config = narrow(load_config(path, environ={}), Globs("upgrade", (glob,)))
    found = {str(rule.source) for rule in config.rules}
    found |= {str(each.rule.source) for each in config.globs}
    assert found == {SOURCES[letter] for letter in kept}


def test_without_globs_every_rule_is_kept(tmp_path: Path) -> None:
    """No glob means everything, not nothing."""
    path = tmp_path / "imgmigrate.yaml"
    path.write_text(RULES)
    config = load_config(path, environ={})
    assert narrow(config, Globs("upgrade", ())) is config
