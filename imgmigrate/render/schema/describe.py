"""Describe what programs read as JSON Schema: plan files, `show`, the `--json` stream, pins.

What people write, the config, is described by `config.py`. What has a model is described by it,
the lines of the stream by those of `lines.py` and `report_lines.py`.
`python -m imgmigrate.render.schema.describe` writes the files of `imgmigrate.schemas`; a test says
when they are out of date.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from imgmigrate import schemas
from imgmigrate.config.model import RegistryConfig
from imgmigrate.config.trusted import TrustedModel
from imgmigrate.oci.reference import Reference
from imgmigrate.plan import FORMAT_VERSION, Action, Change, Header, Reason
from imgmigrate.render.schema import lines, report_lines
from imgmigrate.render.schema.config import config_definitions
from imgmigrate.render.schema.forms import (
    COUNT,
    FLAG,
    PLAN_ID,
    SHA256,
    SHARED,
    TEXT,
    TIME,
    TRAFFICS,
    Line,
    Schema,
    array,
    ref,
)
from imgmigrate.state.record import RECORDS, Run
from imgmigrate.verifying.report import Report

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import BaseModel

    from imgmigrate.vocabulary.terms import Term

__all__ = ["describe", "line_types", "write"]

# Another algorithm may come (OCI image-spec, "Descriptors": registered algorithms).
DIGEST: Schema = {"type": "string", "pattern": "^[a-z0-9]+:[0-9a-f]{32,}$"}
# In this order the schemas say it.
_KEYS = ("description", "type", "format", "pattern", "minimum", "items")


def describe() -> dict[str, Schema]:
    """Give every schema by its name, as `imgmigrate.schemas` ships them."""
    return {
        "config": _config(),
        "lock": _lock(),
        "plan": _plan(),
        "report": _report(),
        "show": _show(),
        "stream": _stream(),
        "trusted": _trusted(),
    }


def write() -> None:
    """Write the files of `imgmigrate.schemas`."""
    folder = Path(schemas.__file__).parent
    for name, schema in describe().items():
        (folder / f"{name}.schema.json").write_text(text_of(schema))


def text_of(schema: Schema) -> str:
    """Print a schema as its file is."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _config() -> Schema:
    schema, parts = config_definitions()
    return _whole("config", schema.pop("description"), schema, parts)


def _plan() -> Schema:
    closing = an_object({"sha256": SHA256, "changes": COUNT})
    return _whole(
        "plan",
        "One line of a plan file: the header, a change, or the closing line.",
        {
            "type": "object",
            "if": {"required": ["kind"]},
            "then": ref("header"),
            "else": {
                "if": {"required": ["address"]},
                "then": ref("change"),
                "else": ref("closing"),
            },
        },
        {**_models(), "closing": closing},
    )


def _show() -> Schema:
    more = {"type": {"const": "plan"}, "plan_id": PLAN_ID, "sha256": SHA256, "errored": FLAG}
    more["registries"] = TRAFFICS
    state = an_object(
        {
            "format_version": _version(),
            "kind": {"const": "imgmigrate.state_summary"},
            "lineage": maybe(TEXT),
            "name": maybe(TEXT),
            "place": maybe(TEXT),
            "sequence": COUNT,
            "head": TEXT,
            "images": COUNT,
            "records": COUNT,
            "claims": COUNT,
            "runs": array(ref("run")),
        }
    )
    missing = an_object(
        {"registry": TEXT, "repository": TEXT, "namespace": maybe(TEXT), "images": COUNT}
    )
    types = {
        "plan": {"allOf": [ref("header"), an_object(more)]},
        "change": {"allOf": [ref("row"), an_object(_meaning())]},
        "end": an_object({"changes": COUNT, "of": COUNT}),
        "state": state,
        "repositories": an_object(
            {
                "format_version": _version(),
                "kind": {"const": "imgmigrate.repositories"},
                "plan_id": PLAN_ID,
                "repositories": array(missing),
            }
        ),
    }
    models = {**_models(), "run": _model(Run)}
    models["row"] = models.pop("change")
    return _whole(
        "show",
        "One line of `show --format json`: a plan as `plan`, `change`s and `end`, or one `state`; "
        "the one of `show --format repositories`.",
        {"type": "object", "required": ["type"], "properties": {"type": TEXT}, **_by_type(types)},
        {**models, **types},
    )


def _stream() -> Schema:
    types = {name: _line(model) for name, model in line_types().items()}
    return _whole(
        "stream",
        "One line of a command's `--json` output. A reader skips types that it does not know; "
        "`@message` says each of them in words.",
        {
            **an_object(
                {
                    "type": TEXT,
                    "@level": {"enum": ["info", "warn", "error"]},
                    "@message": TEXT,
                    "@timestamp": TIME,
                }
            ),
            **_by_type(types),
        },
        {**_models(), "image_record": _tidy(RECORDS.json_schema(mode="serialization")), **types},
    )


def line_types() -> dict[str, type[Line]]:
    """Find every type of line by its name."""
    return {
        each.type: each
        for each in (*vars(lines).values(), *vars(report_lines).values())
        if isinstance(each, type) and issubclass(each, Line) and each is not Line
    }


def _line(model: type[BaseModel]) -> Schema:
    """Describe a type of line: its model, with what it is made of in place."""
    schema = model.model_json_schema(mode="serialization")
    return _in_place(schema, schema.pop("$defs", {}))


def _in_place(schema: Schema, parts: Schema) -> Schema:
    """Put the parts of a line where it refers to them, and references to what schemas share."""
    if SHARED in schema:
        return ref(schema[SHARED])
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        types = {each.__name__: key for key, each in line_types().items()}
        if name in types:
            return ref(types[name])
        part = _in_place(parts[name], parts)
        return {key: value for key, value in part.items() if key != "description"}
    placed: Schema = {}
    for key in sorted(schema, key=lambda key: _KEYS.index(key) if key in _KEYS else len(_KEYS)):
        value = schema[key]
        if key in ("title", "default", "additionalProperties") and not isinstance(value, dict):
            continue  # whoever reads may meet fields of later versions
        if key == "properties":
            placed[key] = {name: _in_place(each, parts) for name, each in value.items()}
        elif key == "anyOf":
            placed[key] = [_in_place(each, parts) for each in value]
        elif isinstance(value, dict):
            placed[key] = _in_place(value, parts)
        else:
            placed[key] = value
    return placed


def _meaning() -> Schema:
    """Describe what the names of a plan's row mean: all that a line says beside the row."""
    properties: Schema = _line(lines.PlannedChange)["properties"]
    return {name: each for name, each in properties.items() if name != "change"}


def _lock() -> Schema:
    pin = {"type": "string", "pattern": "^.+@[a-z0-9]+:[0-9a-f]{32,}$"}
    return _whole(
        "lock",
        "The pins of `imgmigrate.lock.yaml`: an address, and `repository:tag@digest` for it.",
        an_object(
            {
                "version": {"enum": ["1", 1]},
                "pins": {"type": "object", "additionalProperties": pin},
            }
        ),
        {},
    )


def _report() -> Schema:
    """Describe a report by its model; what is not known is null."""
    schema = _model(Report)
    schema["properties"]["format_version"] = _version()
    about, parts = schema.pop("description"), schema.pop("$defs")
    return _whole("report", about, schema, parts)


def _trusted() -> Schema:
    """Describe a file that people write: numbers and flags stand in it as YAML has them."""
    schema = _tidy(TrustedModel.model_json_schema())
    properties = schema["properties"] | {"version": {"enum": ["1", 1]}}
    settings: Schema = {name: {} for name in RegistryConfig.model_fields}
    properties["registries"] = schema["properties"]["registries"] | {
        "additionalProperties": {"type": "object", "properties": settings}
    }
    state = an_object({"path": TEXT})
    properties["state"] = state
    texts = {"key": {"anyOf": [TEXT, {"type": "array", "items": TEXT}]}, "identity": TEXT}
    texts |= {"issuer": TEXT, "trusted_root": TEXT}
    entry = an_object({"match": TEXT}, texts)
    properties["verify"] = schema["properties"]["verify"] | {"items": entry}
    about = f"The trusted file of `--trusted`. {schema['description']}"
    return _whole(
        "trusted", about, an_object({"version": properties.pop("version")}, properties), {}
    )


def maybe(schema: Schema) -> Schema:
    """Allow null."""
    return {"anyOf": [schema, {"type": "null"}]}


def an_object(required: Schema, optional: Schema | None = None) -> Schema:
    """Describe an object by its fields; it may always have further ones."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
    }


def _whole(name: str, about: str, schema: Schema, definitions: Schema) -> Schema:
    """Put a schema and what it refers to into one that stands alone."""
    found: Schema = {}
    for key, each in definitions.items():
        inner = dict(each)
        found |= inner.pop("$defs", {})
        found[key] = inner
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:imgmigrate:schema:{name}:{FORMAT_VERSION.partition('.')[0]}",
        "title": f"imgmigrate {name}",
        "description": about,
        **schema,
    }
    return {**document, "$defs": dict(sorted(found.items()))} if found else document


def _by_type(types: Iterable[str]) -> Schema:
    """Let a line's `type` say which definition it has to meet; others meet none."""
    return {
        "allOf": [
            {"if": {"properties": {"type": {"const": name}}}, "then": ref(name)} for name in types
        ]
    }


def _models() -> Schema:
    """Describe what plan files, `show` and the stream share."""
    change = _tidy(Change.model_json_schema(mode="serialization"))
    # What every row has, null where it is not known (DESIGN section 6).
    row = Change(address=Reference.parse("host/a:1"), action=Action.KEEP, reason=Reason.NEW)
    change["required"] = list(row.line())
    for key in ("before", "after", "recorded"):
        change["properties"][key] = maybe(ref("digest"))
    change["$defs"] |= {kind.__name__: _open(kind) for kind in (Action, Reason)}
    header = _model(Header)
    header["properties"]["format_version"] = _version()
    summary = header["$defs"].pop("Summary")
    header["properties"]["summary"] = ref("summary")
    return {"digest": DIGEST, "change": change, "header": header, "summary": summary}


def _open(kind: type[Term]) -> Schema:
    """Describe names of which a later minor version may have more."""
    about = " ".join((kind.__doc__ or "").partition("\n\n")[0].split())
    return {"description": about, "anyOf": [{"enum": [each.value for each in kind]}, TEXT]}


def _version() -> Schema:
    major = FORMAT_VERSION.partition(".")[0]
    return {"type": "string", "pattern": rf"^{major}\.[0-9]+$"}


def _model(model: type[BaseModel]) -> Schema:
    """Describe a model that is written with all its fields."""
    schema = _tidy(model.model_json_schema(mode="serialization", by_alias=True))
    for each in (schema, *schema.get("$defs", {}).values()):
        if "properties" in each:
            each["required"] = list(each["properties"])
    return schema


def _tidy(schema: Schema) -> Schema:
    """Leave out what only matters inside: generated titles, defaults, remarks on the code."""
    kept: Schema = {}
    for key, value in schema.items():
        if key in ("title", "default"):
            continue
        if key in ("properties", "$defs"):
            kept[key] = {name: _tidy(each) for name, each in value.items()}
        elif key == "description":
            kept[key] = " ".join(value.partition("\n\n")[0].split())
        elif isinstance(value, dict):
            kept[key] = _tidy(value)
        elif isinstance(value, list):
            kept[key] = [_tidy(each) if isinstance(each, dict) else each for each in value]
        else:
            kept[key] = value
    return kept


if __name__ == "__main__":
    write()
