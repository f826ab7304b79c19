"""Rows that are carried out in another process: the same receipts, the same destinations."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from imgmigrate.applying.engine.engine import Engine
from imgmigrate.applying.executor.wire import encode_receipt
from imgmigrate.applying.worker.worker import open_worker
from imgmigrate.events import NoSink, Outcome
from imgmigrate.foreign.load import load_config
from imgmigrate.oci.reference import Digest, Repository
from imgmigrate.plan import Action, Change
from imgmigrate.state.memory import StateInMemory
from imgmigrate.state.record import Source
from imgmigrate.workspace import open_workspace
from tests.fakes.other_process import open_other_process
from tests.support.images import image
from tests.support.layouts import layout_tags, write_layout
from tests.support.records import make_record

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.applying.executor.base import Opener
    from imgmigrate.events import Receipt

OLD, NEW = Repository("oci:", "old"), Repository("oci:", "new")
IMAGES = {name: image(name) for name in ("first", "second", "third", "theirs")}
FIRST, SECOND, THIRD, THEIRS = (Digest.parse(each.top) for each in IMAGES.values())
ABSENT = Digest.of(b"what no layout has")
# What the new layout shows before anything is carried out.
SHOWN = {
    "there": "second",
    "adopted": "second",
    "updated": "first",
    "kept": "first",
    "unkept": "first",
    "gone": "first",
    "moved": "first",
    **dict.fromkeys(("theirs-1", "theirs-2", "theirs-3", "theirs-4"), "theirs"),
}


def row(action: Action, tag: str, digest: Digest | None = SECOND, **fields: object) -> Change:
    """Plan one row of the new layout; what is written comes from the old one."""
    source = {"source": Source(reference=OLD.at("1"), digest=digest)} if digest else {}
    given = {"address": NEW.at(tag), "action": action, "reason": "new", **source}
    return Change.model_validate({**given, "after": digest, **fields})


ROWS = [
    (row(Action.COPY, "new", THIRD), Outcome.APPLIED),
    (row(Action.COPY, "there"), Outcome.ALREADY),
    (row(Action.COPY, "theirs-1"), Outcome.CONFLICT),
    (row(Action.COPY, "lost", ABSENT), Outcome.FAILED),
    (row(Action.ADOPT, "adopted", before=SECOND), Outcome.APPLIED),
    (row(Action.ADOPT, "theirs-2", before=SECOND), Outcome.CONFLICT),
    (row(Action.UPDATE, "updated", before=FIRST, kept_as=NEW.at("kept")), Outcome.APPLIED),
    (row(Action.UPDATE, "unkept", before=FIRST, kept_as=NEW.at("theirs-4")), Outcome.FAILED),
    (row(Action.DELETE, "gone", None, before=FIRST), Outcome.APPLIED),
    (row(Action.DELETE, "theirs-3", None, before=FIRST), Outcome.CONFLICT),
    (
        row(Action.DELETE, "moved", None, before=FIRST, recorded=THIRD, moved_to=NEW.at("new")),
        Outcome.APPLIED,
    ),
]


def lay_out(folder: Path) -> Path:
    """Write the layouts and a config; all names are relative, so two folders are alike."""
    for tag, name in (("1", "second"), ("3", "third")):
        write_layout(folder / "old", tag, IMAGES[name])
    for tag, name in SHOWN.items():
        write_layout(folder / "new", tag, IMAGES[name])
    config = folder / "imgmigrate.yaml"
    config.write_text("version: 1\nimages:\n- {source: 'oci:old', destination: 'oci:new'}\n")
    return config


async def run(opener: Opener, base: Path) -> list[Receipt]:
    """Have all rows carried out, and return their receipts by address."""
    records = [make_record(NEW.at(tag), OLD.at(tag), FIRST) for tag in SHOWN]
    state = StateInMemory("l", 1, records={str(each.address): each for each in records})
    engine = Engine(opener, state, parallelism=4, sink=NoSink(), plan_id="abc", base=base)
    async with engine.run([change for change, _ in ROWS]) as receipts:
        return sorted([each async for each in receipts], key=lambda each: str(each.address))


async def test_rows_end_alike_in_another_process(tmp_path: Path) -> None:
    """A row's change and its facts are all that carrying it out takes, whatever becomes of it."""
    here, there = tmp_path / "here", tmp_path / "there"
    workspace = open_workspace(load_config(lay_out(here), environ={}))
    async with workspace.stores() as stores:
        wanted = await run(partial(open_worker, stores, workspace.cache, NoSink()), here)
    found = await run(partial(open_other_process, lay_out(there)), there)
    outcomes = {change.address: outcome for change, outcome in ROWS}
    assert {each.address: each.outcome for each in found} == outcomes
    assert [encode_receipt(each) for each in found] == [encode_receipt(each) for each in wanted]
    assert [type(each.error) for each in found] == [type(each.error) for each in wanted]
    assert layout_tags(there / "new") == layout_tags(here / "new")
