"""Hold what commands write for programs against the schemas that ship with the package."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from imgmigrate.schemas import schema


@cache
def validator(name: str) -> Draft202012Validator:
    """The validator of a schema."""
    return Draft202012Validator(schema(name))


def errors(name: str, document: Any) -> list[str]:
    """Say what is wrong with a document, each with its place."""
    return [
        f"{error.json_path}: {error.message}" for error in validator(name).iter_errors(document)
    ]


def assert_valid(name: str, document: Any) -> None:
    """Check a document against a schema."""
    assert errors(name, document) == [], document


def read_lines(name: str, text: str) -> list[dict[str, Any]]:
    """Parse JSON Lines, each of which must meet the schema; the schema must know its type."""
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        assert_valid(name, line)
        if "type" in line:
            assert line["type"] in schema(name)["$defs"], line["type"]
    return lines
