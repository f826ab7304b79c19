"""Sealed lines: what goes in comes out, and nothing else does."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgmigrate.state.lines.sealing import seal, unseal

SCALARS = st.none() | st.booleans() | st.integers() | st.text()
OBJECTS = st.dictionaries(st.text().filter(lambda key: key != "hash"), SCALARS, min_size=1)


@given(OBJECTS)
def test_a_sealed_object_opens_as_what_it_was(document: dict[str, object]) -> None:
    """Sealing adds the hash and changes nothing else."""
    line, digest = seal(document)
    assert unseal(line) == ({**document, "hash": digest}, digest)


@given(OBJECTS, st.data())
def test_any_changed_byte_is_noticed(document: dict[str, object], data: st.DataObject) -> None:
    """No single byte of a sealed line can change unnoticed."""
    line, _ = seal(document)
    index = data.draw(st.integers(0, len(line) - 1))
    flipped = bytes([line[index] ^ data.draw(st.integers(1, 255))])
    with pytest.raises(ValueError, match=r"hash|complete"):
        unseal(line[:index] + flipped + line[index + 1 :])


@given(OBJECTS, st.data())
def test_a_cut_line_is_noticed(document: dict[str, object], data: st.DataObject) -> None:
    """A line without its end, newline included, is damaged."""
    line, _ = seal(document)
    with pytest.raises(ValueError, match="complete"):
        unseal(line[: data.draw(st.integers(0, len(line) - 1))])


def test_a_sealed_line_is_plain_json() -> None:
    """Other tools can read a line: one object, whose last key is the hash."""
    line, digest = seal({"sequence": 1, "prev": ""})
    assert line.endswith(b"\n")
    assert list(json.loads(line)) == ["sequence", "prev", "hash"]
    assert len(digest) == 32
