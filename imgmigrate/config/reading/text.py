"""Read JSON, with comments as image-syncer's manual shows them, into the same tree as YAML.

No I/O. The text is made plain YAML that keeps every line where it was: comments and tabs become
spaces; strings are written anew, since YAML has no pairs of surrogates.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from imgmigrate.config.reading.tree import Mapping, Scalar, parse_tree
from imgmigrate.errors import ConfigError

if TYPE_CHECKING:
    from imgmigrate.config.reading.tree import Tree

__all__ = ["is_image_syncer", "parse_config_text", "plain_json", "quote"]

# Possessive: a comment ends in one place only, however many there are.
_COMMENT = r"//[^\n]*+|/\*(?:[^*]|\*(?!/))*+\*/"
_FIRST = re.compile(rf"(?:\s|{_COMMENT})*+\{{")
_INSIDE = r'(?:[^"\\\n]|\\[^\n])*+'
# What YAML takes only as an escape: controls, marks and what is no character.
_HIDDEN = re.compile("[\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]")
_TOKEN = re.compile(
    rf'(?P<string>"{_INSIDE}")|(?P<comment>{_COMMENT})|(?P<open>"{_INSIDE}|/\*[\s\S]*+)|(?P<tab>[\t\r])'
    r"|(?P<null>\bnull\b)"
)


def parse_config_text(text: str, file: str, *, nulls: bool = False) -> Tree:
    """Parse YAML, or JSON with comments: what is not called YAML and begins with a brace.

    With `nulls` a value may be missing.
    """
    is_yaml = file.lower().endswith((".yaml", ".yml"))
    is_json = file.lower().endswith(".json") or (not is_yaml and _FIRST.match(text) is not None)
    return parse_tree(plain_json(text, file, nulls=nulls) if is_json else text, file, nulls=nulls)


def is_image_syncer(tree: Tree) -> bool:
    """Tell a config of image-syncer, whose images are a mapping, from ours, which has a version."""
    entries = tree.root.entries
    images = entries.get("images")
    is_empty = isinstance(images, Scalar) and images.is_null
    return "version" not in entries and (
        isinstance(images, Mapping) or is_empty or "auth" in entries
    )


def quote(text: str) -> str:
    """Quote a text for YAML, whatever it holds."""
    return _HIDDEN.sub(
        lambda found: f"\\U{ord(found[0]):08X}", json.dumps(text, ensure_ascii=False)
    )


def plain_json(text: str, file: str, *, nulls: bool = False) -> str:
    """Turn JSON with comments into YAML of the same lines; ConfigError for a broken string."""

    def plain(found: re.Match[str]) -> str:
        kind, token = found.lastgroup, found[0]
        line = text.count("\n", 0, found.start()) + 1
        if kind == "string":
            try:
                return quote(json.loads(token, strict=False))
            except ValueError:
                message = "a backslash begins an escape that JSON does not have"
                hint = "double it, as in a regex: \\\\d"
                raise ConfigError(message, file=file, line=line, hint=hint) from None
        if kind == "open":
            what = "comment" if token.startswith("/*") else "string"
            message = f"the {what} that begins here is never closed"
            hint = (
                "end it with */"
                if token.startswith("/*")
                else "close it before the end of the line"
            )
            raise ConfigError(message, file=file, line=line, hint=hint)
        if kind == "null" and nulls:
            return token
        if kind == "null":
            hint = 'write a value, or remove the key; "" is an empty text'
            raise ConfigError("null is no value here", file=file, line=line, hint=hint)
        return re.sub(r"[^\n]", " ", token)

    return _TOKEN.sub(plain, text)
