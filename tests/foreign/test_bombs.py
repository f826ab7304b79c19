"""A small file cannot become a large one: aliases are counted before they are expanded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.config.reading.tree import MOST_COPIES
from imgmigrate.errors import ConfigError
from imgmigrate.foreign.document import read_tree
from imgmigrate.foreign.load import load_config

if TYPE_CHECKING:
    from pathlib import Path

LEVELS = 40
LISTS = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, LEVELS)
)
MAPPINGS = "a0: &a0 {k: x}\n" + "".join(
    f"a{n}: &a{n} {{x: *a{n - 1}, y: *a{n - 1}}}\n" for n in range(1, LEVELS)
)
MERGES = "a0: &a0 {k: x}\n" + "".join(
    f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, LEVELS)
)
# Few values, but each of them is long.
TEXTS = f"a0: &a0 '{'x' * 100_000}'\nlist: [{', '.join(['*a0'] * 10_000)}]\n"
KEYS = f"a0: &a0 {{{'x' * 1000}: y}}\nlist: [{', '.join(['*a0'] * 90_000)}]\n"


@pytest.mark.parametrize("bomb", [LISTS, MAPPINGS, MERGES, TEXTS, KEYS], ids=range(5))
def test_every_kind_of_bomb_is_refused(tmp_path: Path, bomb: str) -> None:
    """In our own config and in a foreign one, with the line."""
    for name, read in (("imgmigrate.yaml", load_config), ("regsync.yaml", read_tree)):
        path = tmp_path / name
        path.write_text(bomb)
        with pytest.raises(ConfigError) as caught:
            read(path)
        assert f"its aliases repeat more than {MOST_COPIES} values" in str(caught.value)
        assert (caught.value.line or 0) > 1
