"""`tags:` as it may be written: a text, a list, or a mapping that selects.

No I/O. Values are read here, so that pydantic names the key of each that is wrong.
"""

from __future__ import annotations

import re
from contextlib import suppress

# Pydantic needs these at run time.
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    PlainValidator,
    TypeAdapter,
    ValidationInfo,
    model_validator,
)

from imgmigrate.config.values.quantities import read_duration
from imgmigrate.matching import parse_tag_pattern
from imgmigrate.rules.selection import By, Selection, TagFilter
from imgmigrate.schemas.models import LATER, STRICT
from imgmigrate.versions import parse_range

if TYPE_CHECKING:
    from imgmigrate.matching import Pattern
    from imgmigrate.versions import VersionRange

__all__ = [
    "MAPPING_KEYS",
    "DefaultTags",
    "PatternTexts",
    "Tags",
    "TagsModel",
    "build_selection",
]

_COUNT = re.compile(r"\s*([0-9]{1,9})\s*")
# Seconds: a thousand years ago there still was a date, and no image.
LONGEST_AGE = 365_000 * 86_400.0


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _pattern(value: Any) -> Pattern:
    if not isinstance(value, str):
        msg = "must be a text"
        raise ValueError(msg)
    return parse_tag_pattern(value)


def _range(value: Any, info: ValidationInfo) -> VersionRange:
    if not isinstance(value, str):
        msg = "must be one text; several ranges are separated by ||"
        raise ValueError(msg)
    return parse_range(value, any_suffix=info.data.get("suffixes") is not None)


def _count(value: Any, least: int = 1) -> int:
    found = _COUNT.fullmatch(value) if isinstance(value, str) else None
    if found is None or int(found[1]) < least:
        msg = f"must be a whole number of tags, {least} or more"
        raise ValueError(msg)
    return int(found[1])


def _least(value: Any) -> int:
    """Read a `min`; 0 says that it is no mistake when nothing is selected."""
    return _count(value, 0)


def _moment(value: Any) -> datetime | timedelta:
    """Read a duration before now, or a date, which begins at midnight UTC."""
    text = value.strip() if isinstance(value, str) else ""
    # A number alone may be a date: 20260131.
    with suppress(ValueError):
        return timedelta(seconds=read_duration(text, needs_unit=True, most=LONGEST_AGE))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        msg = "must be a date such as 2026-01-31, or a duration before now such as 90d, 12h or 6w"
        raise ValueError(msg) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


# As Any: pydantic would look into the classes for more to check.
_Patterns = Annotated[
    list[Annotated[Any, PlainValidator(_pattern)]],
    BeforeValidator(_one_or_many),
    Field(min_length=1),
]
_Count = Annotated[int, PlainValidator(_count)]


class TagsModel(BaseModel):
    """`tags:` as a mapping."""

    model_config = STRICT

    include: _Patterns | None = None
    exclude: _Patterns | None = None
    # Before the range, which is read by it.
    suffixes: Literal["any"] | None = None
    semver: Annotated[Any, PlainValidator(_range)] = None
    created_after: Annotated[datetime | timedelta, PlainValidator(_moment)] | None = None
    newest: _Count | None = None
    by: By | None = None
    min: Annotated[int, PlainValidator(_least)] | None = None
    any: Annotated[list[TagsModel], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _means_something(self) -> TagsModel:
        given = self.model_fields_set
        if not given:
            msg = "is an empty mapping; name something in it, or remove the key: that is all tags"
            raise ValueError(msg)
        if self.by is not None and self.newest is None:
            msg = "by says what newest counts by: add newest: N, or remove by"
            raise ValueError(msg)
        if self.suffixes is not None and self.semver is None:
            msg = "suffixes says what semver takes: add semver: RANGE, or remove suffixes"
            raise ValueError(msg)
        if self.any is None:
            return self
        beside = sorted(given - {"any", "min"})
        if beside:
            msg = f"{beside[0]} cannot stand beside any: write it in the mappings below any"
            raise ValueError(msg)
        if any(each.any is not None for each in self.any):
            msg = "any cannot stand below any: write all mappings in one list"
            raise ValueError(msg)
        return self


MAPPING_KEYS = frozenset(TagsModel.model_fields)
_TEXTS: TypeAdapter[list[str]] = TypeAdapter(
    Annotated[list[str], Field(min_length=1)], config=LATER
)


def _either(value: Any) -> list[str] | TagsModel:
    if isinstance(value, dict):
        return TagsModel.model_validate(value)
    return _TEXTS.validate_python(_one_or_many(value))


Tags = Annotated[list[str] | TagsModel, PlainValidator(_either)]


def _pattern_texts(value: Any) -> list[str]:
    texts = _TEXTS.validate_python(_one_or_many(value))
    _CHECKED.validate_python(texts)
    return texts


def _default_tags(value: Any) -> list[str] | TagsModel:
    return _either(value) if isinstance(value, dict) else _pattern_texts(value)


_CHECKED: TypeAdapter[list[Any]] = TypeAdapter(_Patterns, config=LATER)
# For `defaults`: what is wrong with them is told there, and not at every rule that has them.
PatternTexts = Annotated[list[str], PlainValidator(_pattern_texts)]
DefaultTags = Annotated[list[str] | TagsModel, PlainValidator(_default_tags)]


def build_selection(model: TagsModel) -> Selection:
    """Make the selection that a mapping means."""
    if model.any is not None:
        return Selection(tuple(_filter(each) for each in model.any), model.min)
    return Selection((_filter(model),))


def _filter(model: TagsModel) -> TagFilter:
    return TagFilter(
        include=tuple(model.include or ()),
        exclude=tuple(model.exclude or ()),
        semver=model.semver,
        created_after=model.created_after,
        newest=model.newest,
        by=model.by or By.SEMVER,
        min=model.min,
    )
