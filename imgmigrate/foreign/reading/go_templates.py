"""Translate the plain ones among Go's templates, as regsync has them, into our variables. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imgmigrate.foreign.reading.dollars import as_literal, as_template

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TemplateError", "expand_template", "only_file"]

# Nothing in it opens another: an action that is never closed is not looked through twice.
_ACTION = re.compile(r"\{\{((?:[^{}]|\{(?!\{)|\}(?!\}))*+)\}\}")
_ENV = re.compile(r'env\s+["`]([A-Za-z_][A-Za-z0-9_]*)["`]')
_FILE = re.compile(r'file\s+["`]([^"`]+)["`](\s*\|\s*\w+)*')


class TemplateError(ValueError):
    """A template has no equivalent here."""


def expand_template(
    text: str, known: Mapping[str, str] | None = None, *, is_name: bool = False
) -> str:
    """Translate a text: `{{env "X"}}` is a variable, `{{.NAME}}` is what is `known` of it.

    In a name `${X}` is a variable too, for no name holds a dollar: envsubst is to fill it in.
    TemplateError for any other template.
    """
    literal = as_template if is_name else as_literal
    pieces, position = "", 0
    for found in _ACTION.finditer(text):
        pieces += literal(text[position : found.start()]) + _value(found, known or {})
        position = found.end()
    rest = text[position:]
    if "{{" in rest:
        msg = f"the template {rest!r} is not closed"
        raise TemplateError(msg)
    return pieces + literal(rest)


def only_file(text: str) -> str:
    """Say where a text comes from that is a template: a file, if it reads one."""
    action = _ACTION.fullmatch(text)
    found = _FILE.fullmatch(_inner(action)) if action else None
    return f"the file {found[1]}" if found else "a template"


def _inner(action: re.Match[str]) -> str:
    """What an action says, without the dashes that trim the text around it."""
    return action[1].removeprefix("-").removesuffix("-").strip()


def _value(found: re.Match[str], known: Mapping[str, str]) -> str:
    inner = _inner(found)
    variable = _ENV.fullmatch(inner)
    if variable:
        return f"${{{variable[1]}}}"
    if inner.startswith(".") and inner[1:] in known:
        return known[inner[1:]]
    msg = f"the template {found[0]} has no equivalent here"
    raise TemplateError(msg)
