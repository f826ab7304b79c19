"""Read `platforms:` as people write it: `all`, one platform, or a list of them. Pure."""

from __future__ import annotations

from typing import Any

from imgmigrate.oci.platforms import canonical_platforms

__all__ = ["ALL", "read_platforms"]

ALL = "all"


def read_platforms(value: Any) -> tuple[str, ...] | None:
    """Give the platforms in canonical form; none of them is all, None is "not said"."""
    if value is None:
        return None
    names = [value] if isinstance(value, str) else value
    is_list = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    if not is_list:
        msg = "must be all, or a list such as [linux/amd64, linux/arm64]"
        raise ValueError(msg)
    if not names:
        if isinstance(value, tuple):  # our own form of "all"
            return ()
        msg = "is an empty list; name a platform, write all, or remove the key"
        raise ValueError(msg)
    if ALL in names:
        if len(names) > 1:
            msg = "names all and others; keep one of the two"
            raise ValueError(msg)
        return ()
    return canonical_platforms(names)
