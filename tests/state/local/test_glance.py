"""What is named at a glance is what a reading of the state would show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.state.base import glance
from imgmigrate.state.record import Status
from tests.state.samples import a_run, address, claim, draft, local

if TYPE_CHECKING:
    from pathlib import Path


async def test_names_are_those_that_a_reader_finds(tmp_path: Path) -> None:
    """After every line, whether the journal holds it or, from a run's end on, the snapshot."""
    state = local(tmp_path)

    def assert_same() -> None:
        found, names = state.read(), glance(tmp_path)
        assert names.addresses == sorted(str(each.address) for each in found.live())
        assert names.runs == [each.run for each in reversed(found.runs)]

    assert_same()
    async with a_run(state, claim("a"), claim("open")) as writer:
        for step in (
            lambda: writer.record(draft("a")),
            lambda: writer.record(draft("b")),
            lambda: writer.record(draft("gone")),
            lambda: writer.record(draft("gone", status=Status.FORGOTTEN)),
            lambda: writer.record(draft("never", status=Status.DELETED)),
            lambda: writer.conflict(address("open")),
            lambda: writer.move([(address("b"), address("c"))]),
            lambda: writer.end({"applied": 2}),
        ):
            await step()
            assert_same()
    async with a_run(state, claim("a"), run="run-2") as writer:
        await writer.remove([address("a")])
        assert_same()
        await writer.record(draft("gone"))
        assert_same()
    assert glance(tmp_path).addresses == [str(address("c")), str(address("gone"))]


@pytest.mark.parametrize("name", ["snapshot.jsonl", "journal.jsonl"])
@pytest.mark.parametrize(
    "text",
    [b"", b"\0\xff", b'{"format_version":1', b'{"format_version":"1.1","runs":[{}, 3]}', b"[]\n\n"],
)
def test_damage_is_no_error(tmp_path: Path, name: str, text: bytes) -> None:
    """Whoever types a command is told of it by the command."""
    (tmp_path / name).write_bytes(text)
    names = glance(tmp_path)
    assert (names.addresses, names.runs) == ([], [])
