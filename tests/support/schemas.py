"""Hold what commands write for programs against the schemas that ship with the package."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import yaml
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


class _Loader(yaml.SafeLoader):
    """Reads a config as editors do: YAML 1.2 knows no dates."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as in the class above
        first: [each for each in found if not each[0].endswith(("timestamp", "merge"))]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def config_errors(text: str) -> list[str]:
    """Say what the schema of the config finds in one, as an editor would."""
    return errors("config", _with_texts(yaml.load(text, _Loader)))


def _with_texts(value: Any) -> Any:
    """Make every key a text, as JSON has them."""
    if isinstance(value, dict):
        return {str(key): _with_texts(each) for key, each in value.items()}
    return [_with_texts(each) for each in value] if isinstance(value, list) else value


def read_lines(name: str, text: str) -> list[dict[str, Any]]:
    """Parse JSON Lines, each of which must meet the schema; the schema must know its type."""
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        assert_valid(name, line)
        if "type" in line:
            assert line["type"] in schema(name)["$defs"], line["type"]
    return lines
