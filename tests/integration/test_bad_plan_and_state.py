"""Plans and states that are damaged, foreign or cannot be written: refused, and nothing is lost.

Every test runs the real command against a migration that is half done.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate import read_plan
from tests.support import images
from tests.support.cli import TIMEOUT
from tests.support.mounts import Disk, read_only, small_disk
from tests.support.moves import (
    STATE,
    Move,
    assert_says,
    ended,
    half_done,
    reach,
    run_on_terminal,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tests.fakes.registry import FakeRegistry

pytestmark = pytest.mark.integration

# More lines than a power cut can damage: their damage is no torn tail.
MANY = 20
# What the small disk takes room by, in bytes.
PAGE = 4096


@pytest.fixture
async def move(
    tmp_path: Path, fake_registry: FakeRegistry, other_fake_registry: FakeRegistry
) -> Move:
    """One image moved, one waiting."""
    return await half_done(tmp_path, fake_registry, other_fake_registry)


def resealed(data: bytes, change: Callable[[dict[str, Any]], object], line: int = 0) -> bytes:
    """Change one line of a plan file and seal it as its writer would have."""
    lines = data.splitlines(keepends=True)
    document = json.loads(lines[line])
    change(document)
    lines[line] = json.dumps(document).encode() + b"\n"
    body = b"".join(lines[:-1])
    trailer = {"sha256": hashlib.sha256(body).hexdigest(), "changes": len(lines) - 2}
    return body + json.dumps(trailer).encode() + b"\n"


REFUSED: dict[str, tuple[Callable[[bytes], bytes], list[str]]] = {
    "cut in the closing line": (lambda data: data[:-10], ["truncated", "plan again"]),
    "cut in a row": (lambda data: data[: len(data) // 2], ["truncated", "plan again"]),
    "without closing line": (
        lambda data: b"".join(data.splitlines(keepends=True)[:-1]),
        ["truncated", "closing line", "plan again"],
    ),
    "a row is missing": (
        lambda data: b"".join(
            line for n, line in enumerate(data.splitlines(keepends=True)) if n != 1
        ),
        ["edited or damaged", "plan again"],
    ),
    "another tag": (
        lambda data: data.replace(b"app:second", b"app:first"),
        ["edited or damaged", "plan again"],
    ),
    "empty": (lambda _: b"", ["truncated"]),
    "not a plan": (lambda _: b'{"kind":"grocery.list"}\n{}\n', ["not a plan"]),
    "newer major": (
        lambda data: resealed(data, lambda header: header.update(format_version="2.0")),
        ["format is 2.0", "reads 1.1", "the imgmigrate that wrote it"],
    ),
    "of another lineage": (
        lambda data: resealed(data, lambda header: header["state"].update(lineage="other")),
        ["lineage other", "--state", "plan again"],
    ),
    "of a newer state": (
        lambda data: resealed(data, lambda header: header["state"].update(sequence=1000)),
        ["newer state (sequence 1000)", "restore the newer state"],
    ),
    "of another history": (
        lambda data: resealed(data, lambda header: header["state"].update(head="0" * 32)),
        ["history", "plan again"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_plan_that_is_not_for_here_is_refused(move: Move, case: str) -> None:
    """The file or its id, what is wrong and what to do: exit 4, and no registry is asked."""
    damage, words = REFUSED[case]
    plan = await move.plan()
    plan.write_bytes(damage(plan.read_bytes()))
    asked = len(move.old.requests) + len(move.new.requests)
    ran = await move.run("apply", plan.name, code=4)
    assert_says(ran.err, "Error: plan ", *words)
    assert len(move.old.requests) + len(move.new.requests) == asked
    await move.assert_untouched()


@pytest.mark.parametrize(("name", "cause"), [("absent.out", "No such file"), (".", "directory")])
async def test_a_plan_that_is_no_file_is_refused(move: Move, name: str, cause: str) -> None:
    """The path and how to write a plan are named: exit 4."""
    ran = await move.run("apply", name, code=4)
    assert_says(ran.err, f"plan {name}", cause, "imgmigrate plan --out plan.out")
    await move.assert_untouched()


async def test_a_plan_for_a_state_that_is_gone_is_refused(move: Move) -> None:
    """With another state folder the plan's lineage is not there: exit 4."""
    plan = await move.plan()
    ran = await move.run("apply", plan.name, "--state", "elsewhere", code=4)
    assert_says(ran.err, read_plan(plan).plan_id, "no state", "--state")
    await move.assert_untouched()


async def test_only_the_reviewed_plan_is_applied(move: Move) -> None:
    """`--expect-sha256` refuses another file with exit 4 and lets the right one through."""
    plan = await move.plan()
    reviewed = hashlib.sha256(plan.read_bytes()).hexdigest()
    plan.write_bytes(resealed(plan.read_bytes(), lambda header: header.update(git_commit="f00")))
    other = hashlib.sha256(plan.read_bytes()).hexdigest()
    ran = await move.run("apply", plan.name, "--expect-sha256", reviewed, code=4)
    assert_says(ran.err, "plan plan.out", other, reviewed, "not the plan that was reviewed")
    await move.assert_untouched()
    await move.run("apply", plan.name, "--expect-sha256", other)
    await move.assert_finished()


async def test_a_plan_of_a_newer_minor_is_applied(move: Move) -> None:
    """Fields that this version does not know, in header and rows, are ignored if well sealed."""
    plan = await move.plan()
    data = resealed(plan.read_bytes(), lambda header: header.update(format_version="1.7", mood=1))
    plan.write_bytes(resealed(data, lambda row: row.update(weight={"kg": 3}), line=1))
    await move.run("apply", plan.name)
    await move.assert_finished()


async def test_a_row_that_the_state_has_overtaken_is_a_conflict(move: Move) -> None:
    """A record newer than the plan skips its image by name, exit 7; --strict refuses all, 4."""
    first, other = await move.plan(), move.folder / "other.out"
    first.rename(other)
    move.old.put_image("app", "second", images.image("moved"))
    move.old.put_image("app", "third", images.image("third"))
    await move.run("apply", (await move.plan()).name)
    before = move.destination()
    ran = await move.run("apply", other.name, "--strict", code=4)
    assert_says(ran.err, move.address("second"), "--strict", "plan again")
    ran = await move.run("apply", other.name, code=7)
    assert_says(ran.out, move.address("second"), "the state moved since the plan", "plan again")
    assert move.destination() == before
    assert await move.recorded() == before


async def test_nothing_is_applied_without_a_plan_or_a_terminal(move: Move) -> None:
    """Nobody could say yes: exit 64 with both ways out, before anything is asked."""
    asked = len(move.old.requests)
    ran = await move.run("apply", code=64)
    assert_says(ran.err, "no terminal", "--auto-approve", "save a plan")
    assert len(move.old.requests) == asked
    await move.assert_untouched()


@pytest.mark.parametrize("answer", ["no\n", "y\n", "YES please\n", "\x04"])
async def test_any_other_answer_than_yes_applies_nothing(move: Move, answer: str) -> None:
    """The plan is shown and the question asked on the terminal; exit 1, nothing was changed."""
    code, shown = await asyncio.to_thread(run_on_terminal, move.folder, "apply", answer=answer)
    assert code == 1
    assert_says(shown, move.address("second"), "Only yes is accepted", "nothing was changed")
    await move.assert_untouched()


async def test_yes_applies(move: Move) -> None:
    """The word `yes` on a terminal carries the plan out: exit 0."""
    code, shown = await asyncio.to_thread(run_on_terminal, move.folder, "apply", answer="yes\n")
    assert code == 0, shown
    assert_says(shown, "Apply complete")
    await move.assert_finished()


async def killed(move: Move) -> dict[str, str]:
    """Record `MANY` images, kill the run before its last tag; return what the journal holds.

    What is left is a state as SIGKILL leaves it: a journal of many lines, nothing compacted.
    """
    for number in range(MANY):
        move.old.put_image("app", f"t{number}", images.image(f"t{number}", size=64))
    plan = await move.plan()
    stall = move.new.stall("PUT", "/manifests/second")
    with move.start("apply", plan.name, "--json") as process:
        assert process.stdout is not None
        await reach(process, stall)
        done = 0
        while done < MANY:
            line = await asyncio.to_thread(process.stdout.readline)
            done += json.loads(line)["type"] == "apply_complete"
        process.send_signal(signal.SIGKILL)
        await ended(process, -signal.SIGKILL)
    move.new.clear()
    recorded = await move.recorded()
    assert len(recorded) == MANY + 1
    return recorded


async def test_a_torn_last_record_is_cut_and_found_again(move: Move) -> None:
    """Readers ignore half a line, the next run keeps it beside, and the image moves no byte."""
    recorded = await killed(move)
    data = move.journal.read_bytes()
    move.journal.write_bytes(data[:-40])
    torn = json.loads(data.splitlines()[-1])["address"]
    assert await move.recorded() == {k: v for k, v in recorded.items() if k != torn}
    assert move.journal.read_bytes() == data[:-40]
    ran = await move.run("plan", "--out", "again.out", "--detailed-exitcode", code=2)
    assert_says(ran.out, "1 to copy, 1 to adopt")
    before = len(move.new.requests)
    ran = await move.run("apply", "plan.out", "--json")
    finished = [json.loads(line) for line in ran.out.splitlines()]
    rows = {row["address"]: row for row in finished if row["type"] == "apply_complete"}
    assert rows[torn]["moved"] == 0
    assert [
        one.path for one in move.new.requests[before:] if one.method == "PUT"
        if "/manifests/" in one.path
    ] == ["/v2/app/manifests/second"]  # fmt: skip
    assert_says(ran.out, "a crash tore its last line")
    others = {f"t{number}": images.image(f"t{number}", size=64) for number in range(MANY)}
    await move.assert_finished(**others)


@pytest.mark.parametrize(
    "command", [("plan",), ("apply", "plan.out"), ("state", "list"), ("show",)], ids=" ".join
)
async def test_a_journal_damaged_in_its_middle_is_refused(
    move: Move, command: tuple[str, ...]
) -> None:
    """File, line and byte are named, exit 1; nobody cuts, writes or asks a registry anything."""
    await killed(move)
    data = move.journal.read_bytes()
    place = data.index(b'"kind":"record"')
    damaged = data[:place] + b"#" + data[place + 1 :]
    line = data.count(b"\n", 0, place) + 1
    start = data.rindex(b"\n", 0, place) + 1
    move.journal.write_bytes(damaged)
    before, asked = move.destination(), len(move.old.requests)
    ran = await move.run(*command, code=1)
    assert_says(ran.err, f"{STATE}/journal.jsonl", f"line {line}, byte {start}", "restore")
    assert move.journal.read_bytes() == damaged
    assert move.destination() == before
    assert len(move.old.requests) == asked


@pytest.mark.parametrize("damage", ["changed", "missing", "newer"])
async def test_a_damaged_snapshot_is_refused(move: Move, damage: str) -> None:
    """The file, what is wrong and the way back are named: exit 1, nothing is written."""
    plan = await move.plan()
    snapshot = move.folder / STATE / "snapshot.jsonl"
    data = snapshot.read_bytes()
    if damage == "changed":
        snapshot.write_bytes(data.replace(b"app:first", b"app:First"))
    elif damage == "newer":
        snapshot.write_bytes(data.replace(b'"format_version":"1.', b'"format_version":"2.', 1))
    else:
        snapshot.unlink()
    words = {
        "changed": ("damaged", "backup"),
        "missing": ("missing", "backup"),
        "newer": ("format is 2.1", "the imgmigrate that wrote it"),
    }
    for command in (("plan",), ("apply", plan.name)):
        ran = await move.run(*command, code=1)
        assert_says(ran.err, f"{STATE}/snapshot.jsonl", *words[damage])
    assert move.destination() == move.before
    snapshot.write_bytes(data)
    await move.assert_untouched()


async def test_a_locked_state_names_its_holder(move: Move) -> None:
    """A second apply exits 5 and says who writes; planning goes on; the first one finishes."""
    plan = await move.plan()
    stall = move.new.stall("PUT", "/manifests/second")
    with move.start("apply", plan.name) as first:
        await reach(first, stall)
        ran = await move.run("apply", plan.name, code=5)
        assert_says(ran.err, f"{STATE}: locked by process {first.pid}", "apply plan.out", "wait")
        await move.run("state", "rm", "**", "--auto-approve", code=5)
        await move.run("plan", "--detailed-exitcode", code=2)
        await move.assert_untouched()
        move.new.clear()
        await ended(first, 0)
    await move.assert_finished()


async def on_disk(move: Move, disk: Disk) -> None:
    """Bring the state onto the disk, and let every later command see it."""
    move.prefix = disk.prefix
    source = move.folder / "state.before"
    (move.folder / STATE).rename(source)
    disk.shell(f"mkdir imgmigrate && cp -a {source}/. imgmigrate/")


async def test_a_disk_that_is_full_before_the_run_stops_it(move: Move) -> None:
    """Planning still works; apply exits 1, names the file and the fix, and writes no tag."""
    with small_disk(move.folder / "state") as disk:
        await on_disk(move, disk)
        disk.fill()
        await move.run("plan", "--out", "plan.out", "--detailed-exitcode", code=2)
        ran = await move.run("apply", "plan.out", code=1)
        assert_says(ran.err, f"{STATE}/journal.jsonl", "No space left", "free some space")
        await move.assert_untouched()
        disk.free()
        await move.run("apply", "plan.out")
        await move.assert_finished()


async def test_a_disk_that_is_full_again_and_again_loses_and_repeats_nothing(move: Move) -> None:
    """With room for ever more of its lines a run ends in 1 or 8, and sends no recorded image."""
    many = {f"t{number}": images.image(f"t{number}", size=64) for number in range(4 * MANY)}
    for tag, image in many.items():
        move.old.put_image("app", tag, image)
    codes = set()
    with small_disk(move.folder / "state", "2m") as disk:
        await on_disk(move, disk)
        await move.run("plan", "--out", "plan.out")
        # The claims alone take four pages of the disk, all records some twelve.
        for pages in (0, 1, 3, 5, 7):
            recorded = await move.recorded()
            before = len(move.new.requests)
            disk.fill(spare=pages * PAGE)
            with move.start("apply", "plan.out") as process:
                out, err = await asyncio.to_thread(process.communicate, timeout=TIMEOUT)
            codes.add(process.returncode)
            assert process.returncode in (1, 8), f"{out}\n{err}"
            assert_says(err, "No space left")
            assert recorded.items() <= (await move.recorded()).items()
            assert_sent_none(move, recorded, before)
            disk.free()
        recorded, before = await move.recorded(), len(move.new.requests)
        await move.run("apply", "plan.out")
        assert_sent_none(move, recorded, before)
        await move.assert_finished(**many)
    assert codes == {1, 8}


def assert_sent_none(move: Move, recorded: Iterable[str], before: int) -> None:
    """Check that no call since the `before`-th wrote one of the recorded tags."""
    puts = {each.path for each in move.new.requests[before:] if each.method == "PUT"}
    tags = {address.rpartition(":")[2] for address in recorded}
    assert puts.isdisjoint(f"/v2/app/manifests/{tag}" for tag in tags)


async def test_a_disk_that_fills_up_during_the_run_costs_no_image(move: Move) -> None:
    """Exit 8 with a recovery file; with room again the same plan records without a byte."""
    many = {f"t{number}": images.image(f"t{number}", size=64) for number in range(MANY)}
    for tag, image in many.items():
        move.old.put_image("app", tag, image)
    with small_disk(move.folder / "state") as disk:
        await on_disk(move, disk)
        await move.run("plan", "--out", "plan.out")
        stalls = [move.new.stall("PUT", f"/manifests/{tag}$") for tag in [*many, "second"]]
        with move.start("apply", "plan.out") as process:
            await reach(process, *stalls)
            disk.fill()
            move.new.clear()
            ran = await ended(process, 8)
        assert_says(ran.err, f"{STATE}/journal.jsonl", "No space left", "apply the same plan")
        recovery = next(move.folder.glob("imgmigrate-recovery-*.jsonl"))
        assert_says(ran.err, str(recovery))
        saved = json.loads(recovery.read_text().splitlines()[0])
        assert move.destination()[saved["address"]] == saved["digest"]
        recorded = await move.recorded()
        assert recorded.items() >= move.before.items()
        assert recorded.items() <= move.destination().items()
        disk.free()
        ran = await move.run("apply", "plan.out", "--json")
        summary = [json.loads(line) for line in ran.out.splitlines()][-1]
        assert summary["moved"] == 0
        await move.assert_finished(**many)


@pytest.mark.parametrize("exists", [True, False])
async def test_a_state_that_cannot_be_written_stops_the_run(move: Move, exists: bool) -> None:
    """Read-only: planning works, apply exits 1, names the file and how to choose another."""
    plan = await move.plan()
    move.prefix = read_only(move.folder / "state")
    state = STATE if exists else "state/new"
    await move.run("plan", "--state", state)
    if not exists:
        move.prefix, prefix = (), move.prefix
        await move.run("plan", "--state", state, "--out", plan.name)
        move.prefix = prefix
    ran = await move.run("apply", plan.name, "--state", state, code=1)
    assert_says(ran.err, f"state {move.folder / state}", "Read-only", "state.path, --state")
    await move.assert_untouched()
