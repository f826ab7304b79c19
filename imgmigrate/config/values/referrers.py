"""Read `referrers:` as people write it: `all`, `none`, a list of kinds, or a mapping. Pure."""

from __future__ import annotations

import re
from typing import Any

from imgmigrate.oci.companions import KINDS
from imgmigrate.rules.referrers import EVERY, ReferrerPolicy

__all__ = ["NONE", "read_referrers"]

# Nothing goes along, and companion tags are tags as any other.
NONE = "none"
_KEYS = ("include", "exclude", "required")
_TYPE = re.compile(r"[A-Za-z0-9][\w!#$&^.+-]{0,126}/[A-Za-z0-9][\w!#$&^.+;=-]{0,126}", re.ASCII)


def read_referrers(value: Any) -> ReferrerPolicy | None:
    """Read which referrers go along; None is "not said"."""
    if value is None or isinstance(value, ReferrerPolicy):
        return value
    if not isinstance(value, dict):
        return ReferrerPolicy(include=_names("referrers", value, gives_words=True))
    unknown = sorted(set(value) - set(_KEYS), key=str)
    if unknown:
        msg = f"knows include, exclude and required, and not {unknown[0]!r}"
        raise ValueError(msg)
    policy = ReferrerPolicy(
        include=_names("include", value["include"], gives_words=True)
        if "include" in value
        else KINDS,
        exclude=_names("exclude", value.get("exclude", [])),
        required=_names("required", value.get("required", [])),
    )
    asked = {EVERY, *policy.include}
    never = [name for name in policy.required if name in policy.exclude]
    if EVERY not in policy.include:
        never += [name for name in policy.required if name in KINDS and name not in asked]
    if never or (policy.required and not policy.include):
        msg = f"requires {(never or policy.required)[0]}, and leaves it out"
        raise ValueError(msg)
    return policy


def _names(key: str, value: Any, *, gives_words: bool = False) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        msg = f"{key} must be a list of {', '.join(KINDS)} and artifact types"
        raise ValueError(msg)
    if gives_words and len(names) == 1 and names[0] in (EVERY, NONE):
        return (EVERY,) if names[0] == EVERY else ()
    for name in names:
        if name not in KINDS and not _TYPE.fullmatch(name):
            msg = f"{name!r} is none of {', '.join(KINDS)}, and no artifact type"
            raise ValueError(msg)
    return tuple(dict.fromkeys(names))
