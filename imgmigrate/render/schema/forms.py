"""What schemas are made of: the forms of values, and the models that lines of the stream build on.

Values are described here and not checked: mypy knows the fields, tests hold what is written
against the schemas, and no run may end because of what it tells. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, TypeAlias

from pydantic import BaseModel, ConfigDict, SkipValidation, WithJsonSchema

from imgmigrate.events import Outcome

Schema: TypeAlias = dict[str, Any]

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
TIME: Schema = {"type": "string", "format": "date-time"}
SHA256: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
PLAN_ID: Schema = {"type": "string", "pattern": "^[0-9a-f]{16}$"}
# Of each destination registry its bytes, by what becomes of them.
TRAFFICS: Schema = {
    "type": "object",
    "additionalProperties": {"type": "object", "additionalProperties": COUNT},
}


def array(items: Schema, **limits: int) -> Schema:
    """Describe a list."""
    return {"type": "array", "items": items, **limits}


def ref(name: str) -> Schema:
    """Refer to a definition."""
    return {"$ref": f"#/$defs/{name}"}


def _one_of(*values: str) -> Schema:
    return {"enum": list(values)}


# A definition that several schemas share; `describe.py` puts a reference in its place.
SHARED = "shared"

Text = Annotated[str, SkipValidation, WithJsonSchema(TEXT)]
Flag = Annotated[bool, SkipValidation, WithJsonSchema(FLAG)]
Count = Annotated[int, SkipValidation, WithJsonSchema(COUNT)]
Seconds = Annotated[float, SkipValidation, WithJsonSchema({"type": "number", "minimum": 0})]
Time = Annotated[str, SkipValidation, WithJsonSchema(TIME)]
Day = Annotated[str, SkipValidation, WithJsonSchema({"type": "string", "format": "date"})]
Sha256 = Annotated[str, SkipValidation, WithJsonSchema(SHA256)]
PlanId = Annotated[str, SkipValidation, WithJsonSchema(PLAN_ID)]
Digested = Annotated[str, SkipValidation, WithJsonSchema({SHARED: "digest"})]

Texts = Annotated[Sequence[str], SkipValidation, WithJsonSchema(array(TEXT))]
Counts = Annotated[
    Mapping[str, int],
    SkipValidation,
    WithJsonSchema({"type": "object", "additionalProperties": COUNT}),
]
Traffics = Annotated[
    Mapping[str, Mapping[str, int]],
    SkipValidation,
    WithJsonSchema(TRAFFICS),
]
Words = Annotated[
    Mapping[str, str],
    SkipValidation,
    WithJsonSchema({"type": "object", "additionalProperties": TEXT}),
]

Severity = Annotated[str, SkipValidation, WithJsonSchema(_one_of("error", "warning"))]
Operation = Annotated[str, SkipValidation, WithJsonSchema(_one_of("plan", "refresh", "rollback"))]
Outcomes = Annotated[
    str, SkipValidation, WithJsonSchema(_one_of(*(each.value for each in Outcome)))
]
Phases = Annotated[
    str, SkipValidation, WithJsonSchema(_one_of("running", "interrupted", "finished"))
]
Standings = Annotated[
    str, SkipValidation, WithJsonSchema(_one_of("moved", "changed", "incomplete", "unread"))
]
Likenesses = Annotated[
    str,
    SkipValidation,
    WithJsonSchema(_one_of("equal", "differs", "only_here", "only_there", "unread")),
]
FaultKinds = Annotated[
    str,
    SkipValidation,
    WithJsonSchema(_one_of("absent", "changed", "missing", "size", "damaged", "unlisted", "moved")),
]
FaultParts = Annotated[str, SkipValidation, WithJsonSchema(_one_of("index", "manifest", "blob"))]

# What is laid out elsewhere: by the plan, the state, and the reports on a selection.
Document: TypeAlias = dict[str, Any]
Row = Annotated[Document, SkipValidation, WithJsonSchema({SHARED: "change"})]
Summed = Annotated[Document, SkipValidation, WithJsonSchema({SHARED: "summary"})]
Recorded = Annotated[Document, SkipValidation, WithJsonSchema({SHARED: "image_record"})]
RecordList = Annotated[
    Sequence[Document], SkipValidation, WithJsonSchema(array({SHARED: "image_record"}))
]
Objects = Annotated[Sequence[Document], SkipValidation, WithJsonSchema(array({"type": "object"}))]
ObjectLists = Annotated[
    Sequence[Sequence[Document]],
    SkipValidation,
    WithJsonSchema(array(array({"type": "object"}))),
]


class Part(BaseModel):
    """What lines are made of."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    def document(self) -> dict[str, Any]:
        """Lay out what was given, in the order of the fields."""
        given, fields = self.model_fields_set, self.__dict__
        if len(given) == len(fields):
            return fields
        return {name: value for name, value in fields.items() if name in given}


class Line(Part):
    """One line of the stream."""

    type: ClassVar[str]

    def __init_subclass__(cls, **settings: Any) -> None:
        """Name the type as the class is."""
        super().__init_subclass__(**settings)
        cls.type = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()


class Failing(Part):
    """Why something is not done, and which error it is, if there is one."""

    error: Text | None
    hint: Text | None
    code: Text = ""
    kind: Text = ""
