"""The page of stable codes: actions, reasons and errors, from where each is said.

`python -m imgmigrate.render.schema.codes` prints `docs/codes.md`; a test says when that is out
of date.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from imgmigrate import errors
from imgmigrate.render.errors import UNEXPECTED
from imgmigrate.render.options import spoken
from imgmigrate.render.words import words_of
from imgmigrate.vocabulary.actions import Action
from imgmigrate.vocabulary.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["codes_page"]

_INTRODUCTION = """\
# Codes

What a plan's rows and what errors are told by in `--json` output and in the files of
`imgmigrate schema`. A code is never given to something else, and stays when words change: tell
rows and errors apart by codes, or by the names beside them, never by their texts.

A row's `code` is its reason's. A reason or an action that is not listed here is of a later
version: it has no code, and is shown as it is. Warnings have names instead.
"""

_ACTIONS = """\
## Actions

What a row asks for, and what an apply does about it. Where another run or a person has to mend
it, the exit code says so (3 and 7).
"""

_DOES = {
    "writes": "puts an image at the destination",
    "deletes": "takes a tag from the destination",
    "records": "changes a record of the state only",
    "tells": "nothing: the row only tells",
    "leaves": "leaves it, and says so",
}


def codes_page() -> str:
    """Lay out the page."""
    blocks = [
        _INTRODUCTION,
        _ACTIONS,
        _table(("code", "action", "means", "an apply", "mended by"), _actions()),
        "## Reasons\n\nWhy a row is what it is.\n",
        _table(("code", "reason", "means", "what to do"), _reasons()),
        "## Errors\n\nWhat ended a command, or is the matter with a row. `kind` is the class.\n",
        _table(("code", "kind", "exit code", "means"), _errors()),
    ]
    return "\n".join(blocks)


def _actions() -> Iterator[tuple[str, ...]]:
    for action in Action:
        traits = action.traits
        does, needs = _DOES[traits.does], traits.needs or ""
        yield traits.code or "", f"`{action}`", traits.section.meaning, does, needs


def _reasons() -> Iterator[tuple[str, ...]]:
    for reason in Reason:
        # A sentence that ends so is followed by a command.
        hint = spoken(reason.traits.hint or "")
        said, stop, command = hint.rpartition(".")
        hint = said + stop if command.endswith(":") else hint
        yield reason.traits.code or "", f"`{reason}`", words_of(reason), hint


def _errors() -> Iterator[tuple[str, ...]]:
    classes = (each for _, each in inspect.getmembers(errors, inspect.isclass))
    found = [each for each in classes if issubclass(each, errors.ImgmigrateError)]
    for each in sorted(found, key=lambda each: each.number):
        code = "129, 130, 143" if each is errors.Interrupted else str(each.exit_code)
        yield each.number, f"`{each.__name__}`", code, _first_line(each)
    yield UNEXPECTED, "any other", "1", "A fault of imgmigrate itself; `--log-level debug` tells."


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").partition("\n\n")[0].replace("\n", " ")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    print(codes_page(), end="")  # noqa: T201 - a page for a file
