"""The contract of DESIGN section 5, against a slow reference model, over any order of events.

Sources move, somebody else pushes to the destination and deletes there, rules change, plans
are made, kept and applied late, and applies crash at any request, with or without a power
loss that takes the journal's unsynced end along. The model reads nothing but the lines that
were written to the journal, and knows of each address what is ours.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from imgmigrate.errors import PlanRefused
from imgmigrate.plan import Action
from imgmigrate.state import appender
from imgmigrate.state.appender import Appender
from tests.fakes.memory import image
from tests.support.world import NEW, OLD, make_world

if TYPE_CHECKING:
    from imgmigrate.events import RunFinished
    from imgmigrate.oci.manifest import Manifest
    from imgmigrate.oci.reference import Digest
    from imgmigrate.plan import Change, Plan
    from tests.support.world import World

REPO = "team/api"
TAGS = ("a", "b", "c")
# What the rule says about tags, whether it selects one, and which it names.
RULES: dict[str, tuple[str, frozenset[str], frozenset[str]]] = {
    "all": ("", frozenset(TAGS), frozenset()),
    "named": (", tags: [a, b]", frozenset("ab"), frozenset("ab")),
    "but a": (", tags: {exclude: [a]}", frozenset("bc"), frozenset()),
}
IMAGES = tuple(image(b"image %d" % number) for number in range(4))
# A tag that no rule of a test asks for: the source is never an empty repository.
ALWAYS = "always"
MOST_PLANS = 3


def address(tag: str) -> str:
    """Name the destination of a tag."""
    return f"{NEW}/{REPO}:{tag}"


@dataclass
class History:
    """Every line that is in the journal, as it was written, and what follows from all of them."""

    lines: list[dict[str, Any]] = field(default_factory=list)

    def record(self, name: str) -> dict[str, Any] | None:
        """The last record of an address, with the number of its line."""
        found = None
        for number, line in enumerate(self.lines, 1):
            if line["kind"] == "record" and line["address"] == name:
                found = {**line, "sequence": number}
        return found

    def claims(self, name: str) -> set[str]:
        """What a begun run was about to write at an address, and nothing has settled since."""
        open_: dict[str, str] = {}
        for line in self.lines:
            if line["kind"] == "claims":
                for claim in line["claims"]:
                    if claim["address"] == name:
                        open_[line["run"]] = claim["after"]
            elif line.get("address") != name:
                continue
            elif line["kind"] == "conflict":
                open_.pop(line["run"], None)
            elif line["kind"] == "record" and line.get("status") != "forgotten":
                open_.clear()
        return set(open_.values())

    def is_live(self, name: str) -> bool:
        """Tell whether an address has a record that is no tombstone."""
        record = self.record(name)
        return record is not None and record.get("status", "live") == "live"

    def ours(self, name: str) -> set[str]:
        """Every digest at an address that may be overwritten or deleted."""
        record = self.record(name)
        recorded = {record["digest"]} if record and record.get("status") != "deleted" else set()
        return recorded | self.claims(name)


@dataclass(frozen=True)
class Kept:
    """A plan, and the last line of the history that it was made from."""

    plan: Plan
    last: dict[str, Any] | None

    def fits(self, history: History) -> bool:
        """Tell whether the history still contains that line at its place."""
        bound = self.plan.header.state
        if bound.lineage is None:
            return True
        place = bound.sequence - 1
        return place < len(history.lines) and history.lines[place] is self.last


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

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="imgmigrate-contract-"))
        self.patches = pytest.MonkeyPatch()
        self.runner = asyncio.Runner()
        self.history = History()
        self.world: World = make_world(self.folder, self.patches)
        self.chosen = "all"
        self.plans: list[Kept] = []
        self.synced = 0
        self._watch_journal()
        self._choose("all")
        self.world.old.seed(REPO, ALWAYS, *IMAGES[0])
        for verb in ("put_manifest", "delete"):
            self.world.new.hooks[verb] = self._allow_write

    def teardown(self) -> None:
        """Leave nothing behind."""
        self.runner.close()
        self.patches.undo()
        shutil.rmtree(self.folder)

    def _watch_journal(self) -> None:
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

    def _choose(self, name: str) -> None:
        self.chosen = name
        self.world.rules = f"- {{source: {OLD}/{REPO}, destination: {NEW}/{REPO}{RULES[name][0]}}}"

    def _there(self, tag: str) -> str | None:
        return self.world.new.tags.get((REPO, tag))

    def _allow_write(self, repo: str, ref: str) -> None:
        """Refuse a write that the contract forbids: the heart of this test."""
        there = self._there(ref) if ref in (*TAGS, ALWAYS) else None
        assert repo == REPO
        if there is not None:
            assert there in self.history.ours(address(ref)), f"{ref}: {there} is not ours"

    # What happens around us.

    @rule(tag=st.sampled_from(TAGS), number=st.integers(0, len(IMAGES) - 1))
    def push_to_source(self, tag: str, number: int) -> None:
        """A source tag moves, or appears."""
        self.world.old.seed(REPO, tag, *IMAGES[number])

    @rule(tag=st.sampled_from(TAGS))
    def delete_from_source(self, tag: str) -> None:
        """A source tag goes."""
        self.world.old.tags.pop((REPO, tag), None)

    @rule(tag=st.sampled_from(TAGS), number=st.integers(0, len(IMAGES) - 1))
    def push_to_destination(self, tag: str, number: int) -> None:
        """Somebody else writes a destination tag."""
        self.world.new.seed(REPO, tag, *IMAGES[number])

    @rule(tag=st.sampled_from(TAGS))
    def delete_from_destination(self, tag: str) -> None:
        """Somebody else deletes a destination tag."""
        self.world.new.tags.pop((REPO, tag), None)

    @rule(name=st.sampled_from(sorted(RULES)))
    def change_the_rules(self, name: str) -> None:
        """The config is edited."""
        self._choose(name)

    @rule(alone=st.booleans())
    def change_how_tags_are_deleted(self, alone: bool) -> None:
        """The registry is one that deletes tags, or only digests."""
        self.world.new.deletes_tags = alone

    # What we do.

    @rule(allow_delete=st.booleans())
    def plan(self, allow_delete: bool) -> None:
        """A plan has the rows that the table of section 5 asks for, and is kept."""
        self._plan(allow_delete=allow_delete)

    def _plan(self, *, allow_delete: bool) -> Plan:
        plan = self.runner.run(self.world.plan(allow_delete=allow_delete))
        found = {str(c.address): (c.action.value, c.reason) for c in plan.changes}
        assert found == self._expected_rows(allow_delete=allow_delete)
        last = self.history.lines[-1] if self.history.lines else None
        self.plans = [*self.plans, Kept(plan, last)][-MOST_PLANS:]
        return plan

    @precondition(lambda self: self.plans)
    @rule(data=st.data())
    def apply(self, data: st.DataObject) -> None:
        """Any kept plan does what is still true of it; again at once, it does nothing."""
        kept = data.draw(st.sampled_from(self.plans))
        if not self._apply(kept):
            return
        calls = Counter(self.world.new.calls)
        there = dict(self.world.new.tags)
        self._apply(kept)
        assert self.world.new.tags == there
        for verb in ("put_manifest", "delete", "start_upload", "mount"):
            assert self.world.new.calls[verb] == calls[verb], verb

    @precondition(lambda self: self.plans)
    @rule(
        data=st.data(),
        nth=st.integers(1, 30),
        written=st.none() | st.integers(1, 3),
        lost=st.sampled_from((0.0, 0.5, 1.0)),
    )
    def apply_and_crash(
        self, data: st.DataObject, nth: int, written: int | None, lost: float
    ) -> None:
        """An apply dies at a request or just after a tag; of the unsynced journal a part is lost.

        The run goes on, and is undone afterwards: what stood there at that moment is what a
        killed process leaves.
        """
        kept = data.draw(st.sampled_from(self.plans))
        snapshots: list[Snapshot] = []
        calls, writes = 0, 0
        new = self.world.new
        call, put = new._call, new.put_manifest

        async def count(verb: str, repo: str, what: str) -> None:
            nonlocal calls
            calls += 1
            if written is None and calls == nth:
                snapshots.append(self._freeze(lost))
            await call(verb, repo, what)

        async def put_and_count(repo: str, ref: str, manifest: Manifest) -> None:
            nonlocal writes
            await put(repo, ref, manifest)
            writes += 1
            if writes == written:
                snapshots.append(self._freeze(lost))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(new, "_call", count)
            patch.setattr(new, "put_manifest", put_and_count)
            self._apply(kept)
        for snapshot in snapshots:
            self._restore(snapshot)

    @rule()
    def migrate(self) -> None:
        """A plan that is applied at once leaves nothing to do but what is not ours to do."""
        kept_plan = self._plan(allow_delete=False)
        assert self._apply(self.plans[-1])
        again = self._plan(allow_delete=False)
        assert not [c for c in again.changes if c.action.alters or c.action is Action.ADOPT]
        conflicts = {c.address for c in kept_plan.changes if c.action is Action.CONFLICT}
        assert {c.address for c in again.changes if c.action is Action.CONFLICT} == conflicts

    @invariant()
    def state_is_what_the_journal_says(self) -> None:
        """The state that a reader finds tells the same as the model."""
        state = self.world.state
        assert state.sequence == len(self.history.lines)
        for tag in TAGS:
            name = address(tag)
            record, expected = state.records.get(name), self.history.record(name)
            assert (record.digest if record else None) == (expected and expected["digest"])
            assert (record is not None and record.is_live) == self.history.is_live(name)
            assert state.claims.get(name, frozenset()) == self.history.claims(name)

    # The reference.

    def _expected_rows(self, *, allow_delete: bool) -> dict[str, tuple[str, str]]:
        _, selected, named = RULES[self.chosen]
        rows = {}
        for tag in (*TAGS, ALWAYS):
            asked = tag in selected or (tag == ALWAYS and not named)
            row = self._expected_row(tag, asked=asked, named=tag in named)
            if allow_delete and row and row[0] in ("forget", "keep"):
                there = self._there(tag)
                if there is not None and there in self.history.ours(address(tag)):
                    row = ("delete", row[1])
            if row:
                rows[address(tag)] = row
        return rows

    def _expected_row(self, tag: str, *, asked: bool, named: bool) -> tuple[str, str] | None:
        name = address(tag)
        wanted, there = self.world.old.tags.get((REPO, tag)), self._there(tag)
        live, record = self.history.is_live(name), self.history.record(name)
        if not asked:
            return ("forget", "deselected") if live else None
        if wanted is None:
            if live:
                return "keep", "source_gone"
            return ("error", "source_missing") if named else None
        if there is None:
            return "copy", "destination_lost" if live else "new"
        if there == wanted:
            same = live and record is not None and record["digest"] == wanted
            return None if same else ("adopt", "already_there")
        if there in self.history.ours(name):
            return "update", "source_moved"
        return "conflict", "changed_here" if live else "foreign"

    def _expected_outcome(self, change: Change, plan: Plan) -> str | None:
        """What becomes of a row now: by its record first, then by what is there."""
        if change.action is Action.KEEP:
            return None
        if change.action in (Action.ERROR, Action.CONFLICT):
            return "failed" if change.action is Action.ERROR else "conflict"
        name = str(change.address)
        record, bound = self.history.record(name), plan.header.state
        if record is not None:
            shows = {
                Action.FORGET: not self.history.is_live(name),
                Action.DELETE: record.get("status") == "deleted",
            }.get(change.action, self.history.is_live(name) and record["digest"] == change.after)
            newer = record["sequence"] > bound.sequence
            if record["plan_id"] == plan.plan_id or (newer and shows):
                return "already"
            if newer or bound.lineage is None:
                return "conflict"
        if (record["digest"] if record else None) != change.recorded:
            return "conflict"
        if change.action is Action.FORGET:
            return "applied"
        there = self._there(change.address.tag or "")
        if change.action is Action.ADOPT:
            return "applied" if there == change.after else "conflict"
        if change.action is Action.DELETE and there in self.history.claims(name):
            return "applied" if there in self._placeholders() else self._by_digest(change, there)
        return self._by_digest(change, there)

    def _by_digest(self, change: Change, there: str | None) -> str:
        if there == change.before:
            return "applied"
        return "already" if there == change.after else "conflict"

    def _placeholders(self) -> set[str]:
        known = {manifest.digest for manifest, _ in IMAGES}
        return {str(digest) for digest in self.world.new.tags.values()} - known

    def _apply(self, kept: Kept) -> bool:
        """Apply a plan, compare all outcomes with the model; False if it was refused, rightly."""
        plan = kept.plan
        if not kept.fits(self.history):
            with pytest.raises(PlanRefused):
                self.runner.run(self.world.apply(plan))
            return False
        expected = Counter(
            outcome for change in plan.changes if (outcome := self._expected_outcome(change, plan))
        )
        finished: RunFinished = self.runner.run(self.world.apply(plan))
        found = {outcome.value: number for outcome, number in finished.counts.items()}
        assert found == dict(expected)
        return True

    def _freeze(self, lost: float) -> Snapshot:
        """Keep what a crash leaves at this moment; `lost` is the share of what was not synced."""
        state, new = self.world.config.state, self.world.new
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        shutil.copytree(state, folder / "state", ignore=shutil.ignore_patterns("cache"))
        journal = folder / "state" / "journal.jsonl"
        whole = journal.read_bytes()
        synced = min(self.synced, len(whole))
        left = len(whole) - int((len(whole) - synced) * lost)
        journal.write_bytes(whole[:left])
        lines = len(self.history.lines) - (whole.count(b"\n") - whole[:left].count(b"\n"))
        return Snapshot(dict(new.tags), dict(new.manifests), dict(new.blobs), folder, lines)

    def _restore(self, snapshot: Snapshot) -> None:
        state, new = self.world.config.state, self.world.new
        new.tags, new.manifests = dict(snapshot.tags), dict(snapshot.manifests)
        new.blobs = dict(snapshot.blobs)
        shutil.rmtree(state)
        (snapshot.folder / "state").rename(state)
        shutil.rmtree(snapshot.folder)
        del self.history.lines[snapshot.lines :]


TestContract = Contract.TestCase
# Without `explain`, which traces every line of every run.
TestContract.settings = settings(
    max_examples=80, stateful_step_count=50, phases=(Phase.generate, Phase.shrink)
)
