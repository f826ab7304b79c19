"""Read JSON that a server sent: one object, whose meaning is the same to every reader.

Pure.
"""

from __future__ import annotations

import json
from typing import Any

__all__ = ["read_object", "refuse_bomb"]


def refuse_bomb(raw: bytes, most: int) -> None:
    """Refuse JSON with more than `most` elements before it is read; ValueError.

    Two bytes such as `[]` take some 60 in memory: a few megabytes of them would fill it.
    """
    if raw.count(b",") + raw.count(b"[") + raw.count(b"{") > most:
        msg = f"its JSON has more than {most} elements"
        raise ValueError(msg)


def read_object(raw: bytes, most: int) -> dict[str, Any]:
    """Read an object of at most `most` elements; ValueError if it is none, or is ambiguous."""
    refuse_bomb(raw, most)
    try:
        document = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=_no_constant
        )
    except RecursionError:
        msg = "its JSON is nested too deeply"
        raise ValueError(msg) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        msg = f"it is not JSON: {error}"
        raise ValueError(msg) from None
    if not isinstance(document, dict):
        msg = "it is not a JSON object"
        raise ValueError(msg)
    return document


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        msg = "it has the same key twice"
        raise ValueError(msg)
    return document


def _no_constant(name: str) -> Any:
    msg = f"it holds {name}, which is not JSON"
    raise ValueError(msg)
