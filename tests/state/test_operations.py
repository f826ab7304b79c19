"""Whatever is done in whatever order: the view, a replay and a compacted state agree."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgmigrate.state.record import Status
from tests.state.samples import PLAN, address, claim, draft, local, same

NAMES = st.sampled_from("abc")
CONTENTS = st.sampled_from("123")
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.lists(st.tuples(NAMES, CONTENTS), max_size=3)),
        st.tuples(st.just("record"), NAMES, CONTENTS, st.sampled_from(Status)),
        st.tuples(st.just("conflict"), NAMES),
        st.tuples(st.just("remove"), st.lists(NAMES, max_size=2)),
        st.tuples(st.just("move"), NAMES, NAMES),
        st.tuples(st.just("unprotect"), st.lists(NAMES, max_size=2)),
        st.tuples(st.just("end")),
        st.tuples(st.just("reopen")),
    ),
    max_size=25,
)


@pytest.mark.slow
@given(OPERATIONS)
def test_replay_and_view_and_compaction_agree(operations: list[tuple[object, ...]]) -> None:
    """After any operations the three say the same, and a compaction changes none of it."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(carry_out(Path(folder), operations))


async def carry_out(folder: Path, operations: list[tuple[object, ...]]) -> None:
    """Do the operations, each session of them with its own writer."""
    state, left = local(folder), iter(operations)
    finished = False
    while not finished:
        async with state.writer(command="test") as writer:
            finished = True
            for number, (kind, *rest) in enumerate(left):
                match kind, rest:
                    case "begin", [list(claims)]:
                        await writer.begin(f"run-{number}", PLAN, [claim(*each) for each in claims])
                    case "record", [str(name), str(content), Status() as status]:
                        record = draft(name, content, status)
                        await writer.record(replace(record, protected=content == "1"))
                    case "conflict", [str(name)]:
                        await writer.conflict(address(name))
                    case "remove", [list(names)]:
                        await writer.remove([address(name) for name in names])
                    case "move", [str(old), str(new)]:
                        await writer.move([(address(old), address(new))])
                    case "unprotect", [list(names)]:
                        await writer.unprotect([address(name) for name in names])
                    case "end", []:
                        await writer.end({"applied": number})
                    case _:
                        finished = False
                        break
            live = writer.state
            assert same(live, state.read())
        assert same(live, state.read())
    async with state.writer(command="test") as writer:
        await writer.end({})
        assert same(writer.state, live)
    assert same(state.read(), live)
