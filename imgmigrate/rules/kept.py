"""Read `keep_previous`: the name of the tag that what is replaced gets.

Pure. `{tag}` is the tag that is overwritten or deleted, `{date}` the plan's day (UTC), `{digest}`
the first 12 hex digits of what it showed. A rule may say `none`: what it replaces is not kept.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.oci.reference import Digest, is_tag

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["KEEP_NOTHING", "KeptName", "parse_kept_name"]

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_KNOWN = ("tag", "date", "digest")
_NONE = "none"


class KeptName(Struct, frozen=True):
    """A name with placeholders; `{tag}` is one of them, and not all of it."""

    text: str

    def of(self, tag: str, day: datetime, digest: Digest) -> str:
        """Fill the placeholders; whether that is still a tag is the caller's to ask."""
        values = {"tag": tag, "date": f"{day:%Y%m%d}", "digest": digest.short}
        return _PLACEHOLDER.sub(lambda found: values[found[1]], self.text)


# What a rule asks for that keeps nothing, whatever holds for the others.
KEEP_NOTHING = KeptName("")


def parse_kept_name(text: str) -> KeptName:
    """Read a name, or `none`; ValueError says what is wrong with it."""
    if text == _NONE:
        return KEEP_NOTHING
    names = _PLACEHOLDER.findall(text)
    unknown = next((name for name in names if name not in _KNOWN), None)
    if unknown is not None:
        known = ", ".join(f"{{{name}}}" for name in _KNOWN)
        msg = f"{text!r}: {{{unknown}}} is not known here; there are {known}"
        raise ValueError(msg)
    if "tag" not in names:
        msg = f"{text!r} has no {{tag}}, so all tags of a repository would be kept as one"
        raise ValueError(msg)
    if text == "{tag}":
        msg = f"{text!r} is the tag that is replaced, so nothing would be kept"
        raise ValueError(msg)
    sample = _PLACEHOLDER.sub("0", text)
    if not is_tag(sample):
        msg = f"{text!r} does not make a tag: letters, digits, '_', '.' and '-', at most 128"
        raise ValueError(msg)
    return KeptName(text)
