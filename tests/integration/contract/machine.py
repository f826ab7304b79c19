"""Anything that may happen between two registries and a state, in any order."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from imgmigrate.errors import PlanRefused, UsageError
from imgmigrate.oci.reference import Reference
from imgmigrate.plan import Action
from imgmigrate.planning import heading
from imgmigrate.planning.adopting import sort_for_adoption
from imgmigrate.state.local import appender
from imgmigrate.state.local.appender import Appender
from tests.integration.contract.history import History, Kept
from tests.integration.contract.reference import Expectation, Leave, drifted
from tests.integration.contract.setting import (
    ALWAYS,
    GUARDS,
    IMAGES,
    KNOWN,
    REPOS,
    RULES,
    SOURCE,
    TAGS,
    address,
)
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from imgmigrate.config.values.backends import Backend
    from imgmigrate.events import RunFinished
    from imgmigrate.oci.manifest import Manifest
    from imgmigrate.oci.reference import Digest
    from imgmigrate.plan import Plan
    from imgmigrate.state.memory import StateInMemory
    from imgmigrate.state.writer import Writer

__all__ = ["Contract"]

MOST_PLANS = 4
# Numbers that choose among as many things as there are: how many must not change what is drawn.
MOST_CHOICES = 11
RULE_NAMES = st.sampled_from(sorted(RULES))
GUARD_NAMES = st.sampled_from(sorted(GUARDS))
REPOSITORIES = st.sampled_from(REPOS)
# Also tags that only `keep_previous` makes: somebody may use them.
TAGS_HERE = st.sampled_from((*TAGS, "a-kept", "b-kept"))
LEAVES = st.builds(Leave, st.booleans(), st.booleans(), st.booleans())
SOURCES = st.integers(0, len(IMAGES) - 2)
SHOWN = st.integers(0, len(IMAGES) - 1)


@dataclass(frozen=True)
class Snapshot:
    """The destination and the state's folder as a crash leaves them, and the journal's lines."""

    tags: dict[tuple[str, str], Digest]
    manifests: dict[Any, Any]
    blobs: dict[Any, Any]
    folder: Path
    lines: int


class Contract(RuleBasedStateMachine):
    """Anything that may happen between two registries and a state, in any order."""

    # Where the state is, if it is not in a folder.
    kind: Backend | None = None

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="imgmigrate-contract-"))
        self.patches = pytest.MonkeyPatch()
        self.runner = asyncio.Runner()
        self.history = History()
        self.world = World(self.folder, kind=self.kind)
        self.plans: list[Kept] = []
        self.synced = 0
        self.rule, self.guard = RULES["all"], GUARDS["none"]
        self._watch_lines()
        self._watch_clock()
        self._configure()
        self._push(self.world.old, SOURCE, ALWAYS, 0)
        for verb in ("put_manifest", "delete"):
            self.world.new.hooks[verb] = self._allow_write

    def teardown(self) -> None:
        """Leave nothing behind."""
        self.runner.close()
        self.patches.undo()
        shutil.rmtree(self.folder)

    def _watch_lines(self) -> None:
        """Note each line as it is written, and how much of the journal is durable."""
        write = Appender.write

        def noted(journal: Appender, sequence: int, previous: str, entry: dict[str, Any]) -> str:
            digest = write(journal, sequence, previous, entry)
            assert sequence == len(self.history.lines) + 1
            self.history.lines.append(entry)
            return digest

        def sync(descriptor: int) -> None:
            self.synced = os.fstat(descriptor).st_size

        self.patches.setattr(Appender, "write", noted)
        # A default of the appender's: what is durable is for this test to say.
        self.patches.setattr(Appender.__init__, "__defaults__", (sync,))
        self.patches.setattr(appender, "sync_folder", lambda _: None)

    def _watch_clock(self) -> None:
        # Plans of one second would share an id, or not, as it happens.
        seconds = itertools.count()
        began = datetime.now(UTC)
        self.patches.setattr(heading, "now", lambda: began + timedelta(seconds=next(seconds)))
        for name in ("fsync", "fdatasync"):  # a crash here is of the process, or told by `sync`
            self.patches.setattr(os, name, lambda _: None)

    def _configure(self) -> None:
        self.world.rules, self.world.extra = self.rule.text, self.guard.text

    @property
    def expected(self) -> Expectation:
        """What the reference says now."""
        return Expectation(self.rule, self.guard, self.world, self.history)

    def _show(self, store: Any, repo: str, tag: str, number: int | None) -> None:
        if number is None:
            store.tags.pop((repo, tag), None)
        else:
            self._push(store, repo, tag, number)

    def _push(self, store: Any, repo: str, tag: str, number: int) -> None:
        top, blobs, others = IMAGES[number]
        store.seed(repo, tag, top, blobs, *others)

    def _allow_write(self, repo: str, ref: str) -> None:
        """Refuse a write that the contract forbids: the heart of this test."""
        assert repo in REPOS
        there = self.world.new.tags.get((repo, ref))
        if there is not None:
            name = address(repo, ref)
            assert there in self.history.ours(name), f"{name}: {there} is not ours"

    # What happens around us.

    @initialize(number=SOURCES, rules=RULE_NAMES, guards=GUARD_NAMES)
    def begin(self, number: int, rules: str, guards: str) -> None:
        """There is something to do."""
        for tag in TAGS:
            self._push(self.world.old, SOURCE, tag, number)
        self.change_the_config(rules, guards)

    @rule(shown=st.fixed_dictionaries({}, optional=dict.fromkeys(TAGS, st.none() | SOURCES)))
    def change_the_source(self, shown: dict[str, int | None]) -> None:
        """Source tags move, appear and go."""
        for tag, number in shown.items():
            self._show(self.world.old, SOURCE, tag, number)

    @rule(repo=REPOSITORIES, tag=TAGS_HERE, number=st.none() | SHOWN)
    def change_the_destination(self, repo: str, tag: str, number: int | None) -> None:
        """Somebody else writes or deletes a destination tag."""
        self._show(self.world.new, repo, tag, number)

    @rule(rules=RULE_NAMES, guards=GUARD_NAMES)
    def change_the_config(self, rules: str, guards: str) -> None:
        """The config asks for something else, and guards something else."""
        self.rule, self.guard = RULES[rules], GUARDS[guards]
        self._configure()

    @rule(alone=st.booleans())
    def change_how_tags_are_deleted(self, alone: bool) -> None:
        """The registry is one that deletes tags, or only digests."""
        self.world.new.deletes_tags = alone

    # What we do.

    @rule(leave=LEAVES)
    def plan(self, leave: Leave) -> None:
        """A plan has the rows that the table of section 5 asks for, and is kept."""
        self._plan(leave)

    @rule()
    def plan_to_tell_who_moved(self) -> None:
        """A plan with --refresh-only has a row for each record that a side has left."""
        plan = self._run(self.world.plan(refresh_only=True))
        assert _rows(plan) == drifted(self.history, self.world)
        self._keep(plan)

    @precondition(lambda self: self.history.past.records)
    @rule(data=st.data(), allow_delete=st.booleans())
    def plan_the_way_back(self, data: st.DataObject, allow_delete: bool) -> None:
        """A rollback undoes what this run or plan did last, and calls nothing foreign of ours."""
        records = self.history.past.records
        in_order = sorted(records.values(), key=lambda record: record.sequence)
        named = [name for record in in_order for name in (record.run, record.plan_id)]
        names: list[str | Plan] = [*dict.fromkeys(named), *(kept.plan for kept in self.plans)]
        what = names[data.draw(st.integers(0, MOST_CHOICES)) % len(names)]
        try:
            plan = self._run(self.world.rollback(what, allow_delete=allow_delete))
        except UsageError:  # this plan was never applied
            assert not isinstance(what, str)
            return
        self._check_way_back(what, plan)
        self._keep(plan)

    def _check_way_back(self, what: str | Plan, plan: Plan) -> None:
        done = what if isinstance(what, str) else what.plan_id
        for change in plan.changes:
            name = str(change.address)
            there, record = self.expected.there(name), self.history.record(name)
            if change.reason in ("foreign", "changed_here"):
                assert there not in self.history.ours(name)
            if change.reason == "rollback":
                assert record is not None
                assert done in (record.run, record.plan_id)
            if change.reason == "rollback" and change.action.alters:
                assert there is None or there in self.history.ours(name)
            if change.action is Action.DELETE:
                assert not self.expected.is_protected(name)

    @rule(data=st.data(), new=st.booleans(), leave=LEAVES)
    def apply(self, data: st.DataObject, new: bool, leave: Leave) -> None:
        """Any kept plan does what is still true of it; again at once, it does nothing."""
        if new or not self.plans:
            self._plan(leave)
        kept = self.plans[-1] if new else data.draw(st.sampled_from(self.plans))
        if not self._apply(kept):
            return
        calls = Counter(self.world.new.calls)
        there = dict(self.world.new.tags)
        self._apply(kept)
        assert self.world.new.tags == there
        for verb in ("put_manifest", "delete", "start_upload", "mount"):
            assert self.world.new.calls[verb] == calls[verb], verb

    @rule(
        data=st.data(),
        nth=st.integers(1, 12),
        written=st.none() | st.integers(1, 3),
        lost=st.sampled_from((0.0, 0.5, 1.0)),
        new=st.booleans(),
    )
    def apply_and_crash(
        self, data: st.DataObject, nth: int, written: int | None, lost: float, new: bool
    ) -> None:
        """An apply dies at a request or just after a tag; of the unsynced journal a part is lost.

        The run goes on, and is undone afterwards: what stood there at that moment is what a
        killed process leaves.
        """
        if new or not self.plans:
            self._plan(Leave(allow_delete=True, allow_delete_gone=True))
        kept = self.plans[-1] if new else data.draw(st.sampled_from(self.plans))
        snapshots: list[Snapshot] = []
        calls, writes = 0, 0
        store = self.world.new
        call, put = store._call, store.put_manifest

        async def count(verb: str, repo: str, what: str) -> None:
            nonlocal calls
            calls += 1
            if written is None and calls == nth:
                snapshots.append(self._freeze(lost))
            await call(verb, repo, what)

        async def put_and_count(repo: str, ref: str, manifest: Manifest, **options: Any) -> None:
            nonlocal writes
            await put(repo, ref, manifest, **options)
            writes += 1
            if writes == written:
                snapshots.append(self._freeze(lost))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store, "_call", count)
            patch.setattr(store, "put_manifest", put_and_count)
            self._apply(kept)
        for snapshot in snapshots:
            self._restore(snapshot)

    @rule()
    def migrate(self) -> None:
        """A plan that is applied at once leaves nothing to do but what is not ours to do."""
        first = self._plan(Leave())
        assert self._apply(self.plans[-1])
        again = self._plan(Leave())
        left = [c for c in again.changes if c.action.alters or c.action is Action.ADOPT]
        assert not left
        assert _of(again, Action.CONFLICT) == _of(first, Action.CONFLICT)

    @rule(leave=LEAVES)
    def there_and_back(self, leave: Leave) -> None:
        """What a plan did to tags its rollback undoes, and the rollback of that does it again."""
        self.guard = GUARDS["none"]
        self._configure()
        new = self.world.new
        is_plain = set(map(str, new.tags.values())) <= KNOWN
        is_free = not any(record.protected for record in self.history.past.records.values())
        before = dict(new.tags)
        plan = self._plan(leave)
        if self._outcomes(plan) != {"applied"} or not (is_plain and is_free):
            return
        after = dict(new.tags)
        back = self._run(self.world.rollback(plan, allow_delete=True))
        self._keep(back)
        did = self._outcomes(back)
        assert did <= {"applied"}
        assert new.tags == before
        if did:  # else nothing was written, and nothing is known of it
            again = self._run(self.world.rollback(back, allow_delete=True))
            self._keep(again)
            assert self._outcomes(again) <= {"applied"}
            assert new.tags == after

    def _outcomes(self, plan: Plan) -> set[str]:
        """Apply the newest plan; say what became of its rows."""
        did = self.expected.outcomes(plan)
        self._apply(self.plans[-1])
        return set(did)

    @rule(take=st.booleans())
    def adopt(self, take: bool) -> None:
        """Nothing is written; with --take-ownership all that is there is ours afterwards."""
        made = self._plan(Leave())
        found = sort_for_adoption(made, take_ownership=take)
        before = dict(self.world.new.tags)
        if found.has_work:
            self._keep(found.plan)
            assert self._apply(self.plans[-1], takes=take)
        assert self.world.new.tags == before
        conflicts = _of(self._plan(Leave()), Action.CONFLICT)
        assert conflicts == (set() if take else _of(made, Action.CONFLICT))

    # What is done to the state.

    @precondition(lambda self: self.history.past.records)
    @rule(data=st.data(), how=st.sampled_from(("rm", "mv", "mv along", "unprotect")))
    def edit_the_state(self, data: st.DataObject, how: str) -> None:
        """`state rm`, `unprotect`, or `mv`, of an image that somebody has moved, or has not."""
        old = Reference.parse(data.draw(st.sampled_from(sorted(self.history.past.records))))
        if how == "rm":
            self._edit(lambda writer: writer.remove([old]))
            assert self.history.ours(str(old)) == set()
        elif how == "unprotect":
            self._edit(lambda writer: writer.unprotect([old]))
        else:
            self._move_a_record(old, is_along=how == "mv along")

    def _move_a_record(self, old: Reference, *, is_along: bool) -> None:
        here, tag = old.repository.path, old.tag or ""
        repo = REPOS[1 - REPOS.index(here)]
        new = Reference.parse(address(repo, tag))
        if str(new) in self.history.live:
            return
        shown = self.world.new.tags.get((here, tag))
        number = next((n for n, each in enumerate(IMAGES) if each[0].digest == shown), None)
        is_pushed = is_along and number is not None
        if self.history.past.records[str(old)].keeps and not is_pushed:
            return  # its source would be a repository that there may not be
        if is_along and number is not None:
            self._push(self.world.new, repo, tag, number)
        self._edit(lambda writer: writer.move([(old, new)]))

    @invariant()
    def state_is_what_the_journal_says(self) -> None:
        """The state that a reader finds tells the same as the model."""
        state, past = self._look(), self.history.past
        assert state.sequence == len(self.history.lines)
        found = {
            name: (record.digest, record.status.value, record.protected, record.keeps_previous)
            for name, record in state.records.items()
        }
        assert found == {
            name: (record.digest, record.status, record.protected, record.keeps)
            for name, record in past.records.items()
        }
        claims = {name: self.history.claims(name) for name in past.claims}
        assert state.claims == {name: each for name, each in claims.items() if each}

    # How it is done.

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def _edit(self, work: Callable[[Writer], Coroutine[Any, Any, None]]) -> None:
        async def edit() -> None:
            async with self.world.workspace.state.writer(command="imgmigrate state") as writer:
                await work(writer)

        self._run(edit())

    def _plan(self, leave: Leave) -> Plan:
        plan: Plan = self._run(self.world.plan(**asdict(leave)))
        assert (_rows(plan), plan.summary.unwanted) == self.expected.rows(leave)
        self._keep(plan)
        return plan

    def _keep(self, plan: Plan) -> None:
        last = self.history.lines[-1] if self.history.lines else None
        self.plans = [*self.plans, Kept(plan, last)][-MOST_PLANS:]

    def _apply(self, kept: Kept, *, takes: bool = False) -> bool:
        """Apply a plan, compare all outcomes with the model; False if it was refused, rightly.

        It `takes` what is not ours where an adoption asked for that, and where none did it never.
        """
        plan = kept.plan
        if not kept.fits(self.history):
            with pytest.raises(PlanRefused):
                self._run(self.world.apply(plan))
            return False
        before = dict(self.world.new.tags)
        refusal = self.expected.refusal(plan, takes=takes)
        if refusal is not None:
            with pytest.raises(refusal):
                self._run(self.world.apply(plan, takes_ownership=takes))
            assert self.world.new.tags == before
            return False
        expected, now = self.expected.outcomes(plan), self.expected
        safe = {key for key in before if now.is_protected(address(*key))}
        finished: RunFinished = self._run(self.world.apply(plan, takes_ownership=takes))
        found = {outcome.value: number for outcome, number in finished.counts.items()}
        assert found == dict(expected)
        self._check_tags(plan, before, safe)
        return True

    def _check_tags(
        self, plan: Plan, before: dict[tuple[str, str], Digest], safe: set[tuple[str, str]]
    ) -> None:
        """Only tags of the plan have changed, and none that is protected is gone."""
        after = self.world.new.tags
        rows = {(c.address.repository.path, c.address.tag) for c in plan.changes}
        assert {key for key in {*before, *after} if before.get(key) != after.get(key)} <= rows
        for key in safe:
            assert after.get(key) in KNOWN | {before[key]}

    def _freeze(self, lost: float) -> Snapshot:
        """Keep what a crash leaves at this moment; `lost` is the share of what was not synced."""
        new, folder = self.world.new, Path(tempfile.mkdtemp(dir=self.folder))
        lines = self._freeze_state(folder / "state", lost)
        return Snapshot(dict(new.tags), dict(new.manifests), dict(new.blobs), folder, lines)

    def _freeze_state(self, copy: Path, lost: float) -> int:
        """Copy the state as a crash leaves it; how many lines it has then."""
        shutil.copytree(self.world.config.state, copy)
        journal = copy / "journal.jsonl"
        whole = journal.read_bytes()
        synced = min(self.synced, len(whole))
        left = len(whole) - int((len(whole) - synced) * lost)
        journal.write_bytes(whole[:left])
        return len(self.history.lines) - (whole.count(b"\n") - whole[:left].count(b"\n"))

    def _restore(self, snapshot: Snapshot) -> None:
        new = self.world.new
        new.tags, new.manifests = dict(snapshot.tags), dict(snapshot.manifests)
        new.blobs = dict(snapshot.blobs)
        lines = self._restore_state(snapshot)
        shutil.rmtree(snapshot.folder)
        del self.history.lines[lines:]

    def _restore_state(self, snapshot: Snapshot) -> int:
        """Put a copy of the state in its place; how many lines it has."""
        state = self.world.config.state
        shutil.rmtree(state)
        (snapshot.folder / "state").rename(state)
        return snapshot.lines

    def _look(self) -> StateInMemory:
        return self.world.state


def _rows(plan: Plan) -> dict[str, tuple[str, str]]:
    return {str(c.address): (c.action.value, c.reason) for c in plan.changes}


def _of(plan: Plan, action: Action) -> set[Reference]:
    return {change.address for change in plan.changes if change.action is action}
