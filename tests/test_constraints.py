"""The lock file of what development takes: `constraints.txt`, written by `make lock`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PINNED = [
    line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")
]


def test_a_line_is_one_exact_version_and_nothing_else() -> None:
    """No address of an index and no file of one machine: it holds wherever packages come from."""
    assert PINNED
    for line in PINNED:
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*( ; [a-z_]+ .*)?", line), line


def test_all_that_is_asked_for_is_pinned_within_its_bounds() -> None:
    """Whoever adds a requirement runs `make lock`; no pin is below what pyproject.toml needs."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [
        *pyproject["project"]["dependencies"],
        *(
            each
            for extra in pyproject["project"]["optional-dependencies"].values()
            for each in extra
        ),
        *pyproject["dependency-groups"]["dev"],
    ]
    pins = {
        requirement.name: next(iter(requirement.specifier)).version
        for requirement in map(Requirement, PINNED)
    }
    for requirement in map(Requirement, asked):
        assert pins[canonicalize_name(requirement.name)] in requirement.specifier, requirement
