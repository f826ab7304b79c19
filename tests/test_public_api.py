"""What `import imgmigrate` offers, and what it costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import imgmigrate

PUBLIC = {
    "AccessDenied",
    "Action",
    "ApplyOptions",
    "Archived",
    "AuthenticationError",
    "BlobFinished",
    "BlobMoved",
    "BlobStarted",
    "Change",
    "Checked",
    "Config",
    "ConfigError",
    "Dangling",
    "Event",
    "FileUnwritable",
    "GuardError",
    "Header",
    "ImageFinished",
    "ImageStarted",
    "ImgmigrateError",
    "IntegrityError",
    "Interrupted",
    "Listed",
    "NamesSkipped",
    "NoRoom",
    "NotFound",
    "NotReached",
    "Observed",
    "OutOfReach",
    "Outcome",
    "Plan",
    "PlanOptions",
    "PlanRefused",
    "ProtocolError",
    "QuotaExhausted",
    "RateLearnt",
    "RateLimited",
    "Reason",
    "Receipt",
    "Refusal",
    "Rejected",
    "Retrying",
    "RollbackOptions",
    "RowConflict",
    "RowFailed",
    "RunFinished",
    "RunStarted",
    "Sink",
    "StateError",
    "StateAway",
    "StateLocked",
    "StateLost",
    "StateUnsaved",
    "StoreError",
    "Summary",
    "TransientError",
    "UsageError",
    "Waiting",
    "Warned",
    "__version__",
    "apply_plan",
    "load_config",
    "make_plan",
    "make_rollback",
    "read_plan",
}
HEAVY = ("aiohttp", "click", "deepdiff", "pydantic", "re2", "rich", "yaml")


def test_the_public_names_are_exactly_these() -> None:
    """`__all__` is the public API, sorted, and nothing joins it by accident."""
    assert set(imgmigrate.__all__) == PUBLIC
    assert list(imgmigrate.__all__) == sorted(PUBLIC)


def test_the_stub_offers_the_same_names() -> None:
    """Type checkers see the names that exist, and no others."""
    folder = Path(imgmigrate.__file__).parent
    tree = ast.parse((folder / "__init__.pyi").read_text())
    offered = {
        alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert offered | {"__version__"} == PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_can_be_had(name: str) -> None:
    """Each public name loads from its module and is listed by `dir`."""
    assert getattr(imgmigrate, name) is not None
    assert name in dir(imgmigrate)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A typing error fails as it does for every module."""
    mistyped = "aply_plan"
    with pytest.raises(AttributeError, match="no attribute 'aply_plan'"):
        getattr(imgmigrate, mistyped)


def test_importing_the_package_loads_nothing_heavy() -> None:
    """`import imgmigrate` is free: no dependency is loaded before it is needed."""
    script = f"import sys, imgmigrate; print([n for n in {HEAVY!r} if n in sys.modules])"
    loaded = subprocess.check_output([sys.executable, "-c", script], text=True)
    assert loaded.strip() == "[]"
