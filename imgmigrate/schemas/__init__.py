"""The JSON Schemas (2020-12) of what imgmigrate writes and reads, shipped with the package.

| name | what one line of it is |
| --- | --- |
| plan | a plan file: its header, one change a line, its closing line |
| show | `show` as JSON: a plan the same way, or what the state holds |
| stream | every command as JSON |
| lock | not a line but all of `imgmigrate.lock.yaml` |
| trusted | not a line but all of the file of what a stranger may use |
| report | not a line but all of a report that `verify` writes as JSON |
| config | not a line but all of a config, for editors |

They describe version 1 of each format: a field may join, none goes, so no schema forbids further
properties, and a stream may hold types that a reader must skip. That of the config alone does: it
has the keys that this version reads, and no others. The files are written by
`python -m imgmigrate.render.schema.describe`.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

__all__ = ["NAMES", "schema", "schema_text"]

NAMES = ("config", "lock", "plan", "report", "show", "stream", "trusted")


def schema(name: str) -> dict[str, Any]:
    """Give a schema; KeyError for a name that is not in `NAMES`."""
    found: dict[str, Any] = json.loads(schema_text(name))
    return found


def schema_text(name: str) -> str:
    """Give a schema's file as it is; KeyError for a name that is not in `NAMES`."""
    if name not in NAMES:
        raise KeyError(name)
    return files(__name__).joinpath(f"{name}.schema.json").read_text("utf-8")
