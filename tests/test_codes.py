"""Stable codes: one for each action, reason and error, and a page that lists them."""

from __future__ import annotations

import ast
import inspect
import re
from collections import Counter
from pathlib import Path

from imgmigrate import errors
from imgmigrate.render.errors import UNEXPECTED, facts_of
from imgmigrate.render.schema.codes import codes_page
from imgmigrate.stores.base import NoDeletes
from imgmigrate.vocabulary.actions import Action
from imgmigrate.vocabulary.reasons import Reason

PAGE = Path(__file__).parents[1] / "docs/codes.md"


def classes() -> list[type[errors.ImgmigrateError]]:
    found = (each for _, each in inspect.getmembers(errors, inspect.isclass))
    return [each for each in found if issubclass(each, errors.ImgmigrateError)]


def test_the_page_says_what_the_tables_say() -> None:
    """What has changed is printed anew: python -m imgmigrate.render.schema.codes."""
    assert PAGE.read_text() == codes_page()


def test_no_code_is_given_twice() -> None:
    """Actions, reasons and errors are numbered apart, each with a code of its own."""
    codes = [action.traits.code or "" for action in Action]
    codes += [reason.traits.code or "" for reason in Reason]
    codes += [vars(each).get("number", "") for each in classes()]
    codes.append(UNEXPECTED)
    assert [code for code in codes if not re.fullmatch(r"IM[123]\d\d", code)] == []
    assert [code for code, times in Counter(codes).items() if times > 1] == []


def test_an_error_is_told_by_the_class_that_has_a_code() -> None:
    """Classes of our own inside are what they derive from to whoever reads the output."""
    assert facts_of(errors.PlanRefused("no")) == {"code": "IM330", "kind": "PlanRefused"}
    assert facts_of(NoDeletes("a.b/c", "no")) == {"code": "IM365", "kind": "Rejected"}
    assert facts_of(ValueError("odd")) == {"code": UNEXPECTED, "kind": "ValueError"}


def test_nothing_is_told_by_the_root_of_all_errors() -> None:
    """`ImgmigrateError` tells nobody what to do: each error is made as one that does."""
    package = Path(errors.__file__).parent
    made = [
        f"{path.relative_to(package)}:{node.lineno}"
        for path in sorted(package.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == errors.ImgmigrateError.__name__
    ]
    assert made == []
