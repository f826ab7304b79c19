"""Read the name of a config: whose a state is, in every message about it. Pure."""

from __future__ import annotations

__all__ = ["read_name"]

LONGEST = 128


def read_name(value: object) -> object:
    """Check `name:`; ValueError for what could not be shown, or be mistaken for a path."""
    if not isinstance(value, str):
        return value
    if not value.strip() or value != value.strip() or len(value) > LONGEST:
        msg = f"must be a name of 1 to {LONGEST} characters, such as team-production"
        raise ValueError(msg)
    if not value.isprintable() or "/" in value:
        msg = f"{value!r} is no name: it holds a slash, or what cannot be shown"
        raise ValueError(msg)
    return value
