"""`max_plan_age:` in a config."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.config.values.quantities import read_duration
from imgmigrate.errors import ConfigError
from imgmigrate.foreign.load import load_config

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "version: 1\nmax_plan_age: {}\nimages: [{{source: a.b/c, destination: d.e/f}}]\n"


@pytest.mark.parametrize(
    ("text", "age"),
    [("24h", 86400), ("90", 90), ("1.5m", 90), ("30s", 30), ("7d", 604_800), ("0", 0)],
)
def test_an_age_is_a_duration(tmp_path: Path, text: str, age: float) -> None:
    """It is written as on the command line."""
    path = tmp_path / "prod.yaml"
    path.write_text(TEXT.format(text))
    assert load_config(path).guards.max_plan_age == age
    assert read_duration(text) == age


def test_no_age_is_no_limit(tmp_path: Path) -> None:
    """Without the key every plan may be begun."""
    path = tmp_path / "prod.yaml"
    path.write_text(TEXT.format("1h").replace("max_plan_age: 1h\n", ""))
    assert load_config(path).guards.max_plan_age is None


@pytest.mark.parametrize("text", ["soon", "1y", "-1", "h", "1 h"])
def test_what_is_no_age_is_refused(tmp_path: Path, text: str) -> None:
    """The place in the file is named, and how to write it."""
    path = tmp_path / "prod.yaml"
    path.write_text(TEXT.format(f'"{text}"'))
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert "prod.yaml:2: max_plan_age: " in caught.value.message
    assert "such as 90s, 5m, 1h or 7d" in caught.value.message
