"""The schemas of what programs read: true, complete, and open to what later versions add."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

import imgmigrate
from imgmigrate.errors import AccessDenied, ImgmigrateError, PlanRefused
from imgmigrate.events import (
    BlobFinished,
    ImageFinished,
    ImageStarted,
    Listed,
    Observed,
    Outcome,
    RateLearnt,
    Receipt,
    Retrying,
    RunFinished,
    RunStarted,
    Waiting,
    Warned,
)
from imgmigrate.oci.reference import Repository
from imgmigrate.plan import Plan, StateBinding, decode_plan
from imgmigrate.planning.desired.pins import Pin, encode_pins
from imgmigrate.render.json import JsonStream, document_line, plan_documents, state_document
from imgmigrate.render.schema import lines, report_lines
from imgmigrate.render.schema.config import DEFINITIONS
from imgmigrate.render.schema.describe import describe, line_types, text_of
from imgmigrate.render.schema.forms import Part
from imgmigrate.schemas import NAMES, schema, schema_text
from imgmigrate.state.memory import StateInMemory
from tests.render import samples
from tests.support.schemas import assert_valid, config_errors, errors, read_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgmigrate.events import Event

HOST = Repository("harbor.new", "team/api")
FAILED = Receipt(
    HOST.at("2"), Outcome.FAILED, error=AccessDenied("harbor.new/team/api", "denied", hint="ask")
)
UNSAID = Receipt(HOST.at("3"), Outcome.CANCELLED)
PLAN_ID = "0123456789abcdef"
EVENTS: dict[str, Event] = {
    "listed": Listed(HOST, 3),
    "plan_progress": Observed(1, 9),
    "run_start": RunStarted("run", PLAN_ID, 3, None),
    "apply_start": ImageStarted(HOST.at("1")),
    "apply_progress": BlobFinished(HOST, samples.digest("b"), 5, "mounted"),
    "apply_complete": ImageFinished(Receipt(HOST.at("1"), Outcome.ALREADY, samples.digest("b"))),
    "apply_errored": ImageFinished(FAILED),
    "retry": Retrying("harbor.new", "503", 1.5),
    "wait": Waiting("harbor.new", "no pulls left", 60),
    "rate_limit": RateLearnt("harbor.new", "", 9.7, 31),
    "diagnostic": Warned("some_code", "text"),
    "run_summary": RunFinished("run", PLAN_ID, {Outcome.FAILED: 1}, 5, 1.0, (FAILED, UNSAID), "so"),
}
PLANS = {
    "every action": samples.every_action(),
    "limited": samples.limited(),
    "empty": samples.plan(),
    "without a state": samples.plan(state=StateBinding()),
    "stateless": samples.plan(
        samples.change("harbor.new/a:1", "unknown", "no_state", before=samples.digest("x")),
        state=StateBinding(),
        stateless=True,
    ),
    "refresh only": samples.plan(
        samples.change("harbor.new/a:1", "drift", "both_moved", before=samples.digest("x")),
        refresh_only=True,
    ),
}
plans = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)


@pytest.mark.parametrize("name", NAMES)
def test_the_files_say_what_the_models_say(name: str) -> None:
    """What has changed is written anew: python -m imgmigrate.render.schema.describe."""
    assert schema_text(name) == text_of(describe()[name])


@pytest.mark.parametrize("name", NAMES)
def test_the_schemas_are_sound_and_closed_to_nothing(name: str) -> None:
    """Each is JSON Schema 2020-12, and forbids no field that a later version may add.

    That of the config does: its reader is this version alone, which refuses what it does not know.
    """
    Draft202012Validator.check_schema(schema(name))
    assert ('"additionalProperties": false' in schema_text(name)) is (name == "config")
    references = set(re.findall(r'"#/\$defs/(\w+)"', schema_text(name)))
    assert references <= set(schema(name).get("$defs", {}))


def test_there_is_no_schema_of_another_name() -> None:
    """A name is never taken for a path."""
    with pytest.raises(KeyError):
        schema("../stream")


def test_every_type_of_line_is_described() -> None:
    """Whoever writes a line makes a model of it, and no model is there that nobody makes."""
    folder = Path(imgmigrate.__file__).parent
    code = "\n".join(path.read_text() for path in sorted(folder.rglob("*.py")))
    written = set(re.findall(r"\b(?:report_)?lines\.([A-Z]\w+)\(", code))
    types = {each.__name__ for each in line_types().values()}
    models = vars(lines) | vars(report_lines)
    parts = {name for name, each in models.items() if isinstance(each, type(Part))}
    assert types <= written <= parts
    assert set(line_types()) <= set(schema("stream")["$defs"])


def lines_of(*events: Event) -> Iterator[dict[str, Any]]:
    """What a stream writes about events, a minute after each other."""
    lines: list[str] = []
    clock = iter(range(0, 6000, 60))
    stream = JsonStream(lines.append, now=lambda: samples.MADE, clock=lambda: float(next(clock)))
    for event in events:
        stream.emit(event)
    yield from read_lines("stream", "\n".join(lines))


@pytest.mark.parametrize("kind", EVENTS)
def test_every_event_meets_its_schema(kind: str) -> None:
    """Each event is the line that it should be."""
    first, second = lines_of(EVENTS[kind])
    assert (first["type"], second["type"]) == ("version", kind)


def test_errors_meet_their_schema() -> None:
    """So is whatever goes wrong."""
    lines: list[str] = []
    stream = JsonStream(lines.append)
    stream.error(ExceptionGroup("two", [ImgmigrateError("one", hint="try"), ValueError("odd")]))
    assert [line["type"] for line in read_lines("stream", "\n".join(lines))] == [
        "version",
        "diagnostic",
        "diagnostic",
    ]


@plans
def test_plans_meet_their_schemas(plan: Plan) -> None:
    """In their file, in what `show` writes and in the stream."""
    read_lines("plan", plan.encode().decode())
    shown = "\n".join(document_line(each) for each in plan_documents(plan))
    kinds = [line["type"] for line in read_lines("show", shown)]
    assert kinds == ["plan", *("change" for _ in plan.changes), "end"]
    lines: list[str] = []
    JsonStream(lines.append).plan(plan, saved="plan.out", file_sha256="a" * 64)
    read_lines("stream", "\n".join(lines))


@pytest.mark.parametrize("state", [samples.state(), StateInMemory()], ids=["full", "none"])
def test_states_meet_their_schemas(state: StateInMemory) -> None:
    """As one line of `show`, and record by record in the stream."""
    assert_valid("show", state_document(state))
    lines: list[str] = []
    JsonStream(lines.append).records(state.records.values())
    read_lines("stream", "\n".join(lines))


def test_the_trusted_file_of_the_readme_meets_its_schema(tmp_path: Path) -> None:
    """And is read; a key that is none of its own is found by the reader."""
    import yaml

    from imgmigrate.config.trusted import load_trusted

    readme = (Path(__file__).parents[1] / "README.md").read_text()
    found = re.search(r"```yaml\n(# trusted\.yaml.*?)```", readme, re.DOTALL)
    assert found is not None
    assert_valid("trusted", yaml.safe_load(found[1]))
    (tmp_path / "trusted.yaml").write_text(found[1])
    trusted = load_trusted(tmp_path / "trusted.yaml", environ={})
    assert trusted.registries.covers("registry.new", "team/api")
    assert not trusted.registries.covers("registry.new", "other")
    assert errors("trusted", {"version": 1, "variables": "TEAM"})
    assert errors("trusted", {"registries": {}})


def test_pins_meet_their_schema() -> None:
    """The file of the pins, which is YAML, as it is read."""
    import yaml

    address, source = HOST.at("1"), Repository("harbor.old", "team/api").at("1")
    text = encode_pins([Pin(address, source, samples.digest("p"))])
    assert_valid("lock", yaml.safe_load(text))
    assert errors("lock", {"version": 1, "pins": {"a": "no digest"}})


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("stream", {"type": "listed", "@level": "info", "@message": "", "@timestamp": ""}),
        ("stream", {"type": "listed"}),
        ("show", {"type": "end"}),
        ("show", {"kind": "imgmigrate.plan"}),
        ("plan", {"kind": "imgmigrate.plan"}),
        ("plan", {"address": "a", "action": "explode"}),
        ("plan", {"sha256": "short", "changes": 1}),
        ("lock", {"pins": []}),
    ],
)
def test_what_is_wrong_is_found(name: str, document: dict[str, Any]) -> None:
    """A schema that accepts anything proves nothing."""
    assert errors(name, document)


def test_an_unknown_type_of_line_is_accepted() -> None:
    """A stream may bring types that a reader skips."""
    common = {"@level": "info", "@message": "later", "@timestamp": samples.MADE}
    assert_valid("stream", {"type": "of_a_later_version", **common})


def edited(plan: Plan, **header: Any) -> bytes:
    """A plan file of another version: fields that nobody knows yet everywhere, sealed anew."""
    import hashlib

    first, *rows, _ = [json.loads(line) for line in plan.encode().splitlines()]
    lines: list[dict[str, Any]] = [{**first, "later": {"a": 1}, **header}]
    lines += [{**row, "later": [1, {}], "blobs_later": None} for row in rows]
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    closing = {"sha256": hashlib.sha256(body).hexdigest(), "changes": len(rows)}
    return body + json.dumps(closing).encode() + b"\n"


def test_a_later_minor_version_is_read() -> None:
    """Fields that nobody knows yet are ignored by the reader and allowed by the schema."""
    plan = samples.every_action()
    data = edited(plan, format_version="1.99")
    assert decode_plan(data, "plan.out").changes == plan.changes
    read_lines("plan", data.decode())


@pytest.mark.parametrize("version", ["2.0", "0.9", "x", None])
def test_another_major_version_is_refused(version: str | None) -> None:
    """By the reader, which says what to do, and by the schema."""
    data = edited(samples.every_action(), format_version=version)
    with pytest.raises(PlanRefused, match="this imgmigrate reads 1"):
        decode_plan(data, "plan.out")
    assert errors("plan", json.loads(data.splitlines()[0]))


def test_the_schema_of_the_config_has_the_keys_that_its_reader_takes() -> None:
    """Every key of every level, which of them must be there, and no other."""
    from imgmigrate.config.reading.schema import _LEVELS

    assert {model for model, _ in _LEVELS.values()} == {each[0] for each in DEFINITIONS.values()}
    whole = schema("config")
    for name, (model, _, keys) in DEFINITIONS.items():
        fields = {field.alias or key: field for key, field in model.model_fields.items()}
        part = whole if name == "config" else whole["$defs"][name]
        assert list(part["properties"]) == list(fields)
        assert set(keys) == set(fields)
        needed = [key for key, field in fields.items() if field.is_required()]
        assert [*part.get("required", []), *(["images"] if part is whole else [])] == needed
        assert part["additionalProperties"] is False


def test_every_config_that_is_shown_meets_its_schema() -> None:
    """Those of the README, where some show a part of one, and of the examples."""
    root = Path(__file__).parents[1]
    shown = re.findall(r"^```yaml\n(.*?)^```$", (root / "README.md").read_text(), re.M | re.S)
    texts = [text for text in shown if not text.startswith("# trusted.yaml")]
    texts += [path.read_text() for path in (root / "examples").rglob("*.yaml")]
    assert len(texts) > 5
    for text in texts:
        text = text if "version:" in text else f"version: 1\n{text}"
        rule = "images: [{source: a.example/a, destination: b.example/b}]\n"
        assert config_errors(text if "images:" in text else text + rule) == [], text


@pytest.mark.parametrize(
    "text",
    [
        "images: [{source: a/b, destination: c/d}]",
        "version: 2\nimages: [{source: a/b, destination: c/d}]",
        "version: 1",
        "version: 1\nimages: []",
        "version: 1\nimages: {source: a/b, destination: c/d}",
        "version: 1\nimages: [{source: a/b}]",
        "version: 1\nimages: [{source: a/b, destination: []}]",
        "version: 1\nimages: [{source: a/b, destination: c/d, tag: x}]",
        "version: 1\nimages: [{source: a/b, destination: c/d, tags: {newest: x}}]",
        "version: 1\nimages: [{source: a/b, destination: c/d, tags: {by: name}}]",
        "version: 1\nimages: [{source: a/b, destination: c/d, tags: {any: [], semver: x}}]",
        "version: 1\nimages: [{source: a/b, destination: c/d, overwrite: sometimes}]",
        "version: 1\ninclude: x\nregistries: {a.io: {username: me}}",
        "version: 1\ninclude: x\nregistries: {a.io: {tls: {verify: perhaps}}}",
        "version: 1\ninclude: x\nmax_delete: many",
        "version: 1\ninclude: x\nmoved: {from: a/b, to: c/d}",
    ],
)
def test_a_config_of_another_shape_is_found(text: str) -> None:
    """What the reader refuses for its shape, an editor underlines."""
    assert config_errors(text)
