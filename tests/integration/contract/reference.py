"""What a plan has to say, and what becomes of it: the rules once more, slow and plain."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from imgmigrate.applying.worker.delete_tag import placeholder
from imgmigrate.errors import GuardError, PlanRefused
from imgmigrate.oci.reference import Reference
from imgmigrate.plan import Action, Reason
from tests.integration.contract.setting import ALWAYS, REPOS, SOURCE, TAGS, address
from tests.support.world import OLD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgmigrate.errors import ImgmigrateError
    from imgmigrate.oci.reference import Digest
    from imgmigrate.plan import Change, Plan
    from tests.integration.contract.history import History, Record
    from tests.integration.contract.setting import Guard, Rule
    from tests.support.world import World

__all__ = ["Expectation", "Leave", "drifted"]

Row = tuple[str, str]
_GONE = ("keep", "source_gone")


@dataclass(frozen=True)
class Leave:
    """What a plan may do with what is not asked for any more."""

    allow_delete: bool = False
    allow_delete_gone: bool = False
    forget: bool = False

    def deletes(self, row: Row) -> bool:
        """Tell whether such a row may become a delete."""
        return self.allow_delete_gone if row == _GONE else self.allow_delete and row[0] == "forget"


@dataclass
class Expectation:
    """What follows from the rule, the guards, both sides and the history."""

    rule: Rule
    guard: Guard
    world: World
    history: History

    def there(self, name: str) -> str | None:
        """What the destination shows at an address."""
        return _shown(self.world, name)

    def is_protected(self, name: str) -> bool:
        """Tell whether the config or the record says so."""
        record = self.history.record(name)
        return name in self.guard.protect or bool(record and record.protected)

    # Planning.

    def rows(self, leave: Leave) -> tuple[dict[str, Row], int]:
        """Every row of a plan, its action and its reason; and what is ours and not asked for."""
        asked = {
            address(repo, tag): tag
            for repo in self.rule.to
            for tag in self.rule.selected
            if tag in self.rule.named or self._source(tag) is not None
        }
        rows = {name: row for name, tag in asked.items() if (row := self._wanted(name, tag))}
        for name, record in self.history.live.items():
            if name not in asked and not record.keeps:
                rows[name] = self._unwanted(name)
        if self.guard.moved:
            self._move(rows, asked)
        told = self._delete(rows, leave)
        told |= {name for name in rows if self.history.is_cut_off(name)}
        if self.guard.keep:
            self._keep(rows)
        unwanted = {name for name, row in rows.items() if row[0] == "forget"}
        if leave.forget:
            return rows, 0
        for name in unwanted & told:
            rows[name] = ("keep", rows[name][1])
        for name in unwanted - told:
            del rows[name]
        return rows, len(unwanted - told)

    def _source(self, tag: str) -> str | None:
        return self.world.old.tags.get((SOURCE, tag))

    def _wanted(self, name: str, tag: str) -> Row | None:
        origin, there = self._source(tag), self.there(name)
        record = self.history.record(name)
        live = record is not None and record.is_live
        if origin is None:
            return ("keep", "source_gone") if live else ("error", "source_missing")
        wanted = self.rule.wants(origin)
        if there is None:
            return "copy", "destination_lost" if live else "new"
        is_told = self._tells(record, origin)
        if there == wanted:
            is_same = self.history.is_at(name, wanted) and is_told
            return None if is_same else ("adopt", "already_there")
        if there not in self.history.ours(name):
            return "conflict", "changed_here" if live else "foreign"
        if record is not None and record.source[1] == origin and not is_told:
            return "update", "platforms_changed"
        is_undone = record is not None and (record.digest, record.undid) == (there, wanted)
        return "update", "rolled_back" if is_undone else "source_moved"

    def _tells(self, record: Record | None, origin: str) -> bool:
        if record is None:
            return False
        return (record.source[1], record.platforms) == (origin, self.rule.platforms)

    def _unwanted(self, name: str) -> Row:
        reference = Reference.parse(name)
        if reference.repository.path not in self.rule.to:
            return "forget", "rule_removed"
        is_selected = reference.tag in self.rule.selected
        return ("keep", "source_gone") if is_selected else ("forget", "deselected")

    def _move(self, rows: dict[str, Row], asked: dict[str, str]) -> None:
        leaving = {name for name, row in rows.items() if row[0] == "forget"}
        for tag in (*TAGS, ALWAYS):
            old, new = (address(repo, tag) for repo in REPOS)
            record = self.history.record(old)
            if record is None or old in asked or record.status == "deleted":
                continue
            if rows.get(new) == ("copy", "new") and self._is_same(record, tag):
                if self.there(old) != record.digest:
                    continue
                rows[new] = ("move", "moved")
            elif new in leaving or not self.history.is_at(new, record.digest):
                continue
            if old in leaving:
                rows[old] = ("forget", "moved")

    def _is_same(self, record: Record, tag: str) -> bool:
        origin = self._source(tag)
        if origin is None or record.digest != self.rule.wants(origin):
            return False
        is_from_there = record.source == (f"{OLD}/{SOURCE}:{tag}", origin)
        return is_from_there and record.platforms == self.rule.platforms

    def _delete(self, rows: dict[str, Row], leave: Leave) -> set[str]:
        """Delete what may go; return what stays because somebody else has changed it."""
        deletes, told = [], set()
        for name, row in rows.items():
            there = self.there(name)
            if not leave.deletes(row) or there is None:
                continue
            if there not in self.history.ours(name):
                told.add(name)
            elif self.is_protected(name):
                rows[name] = ("blocked", "protected")
            else:
                rows[name] = ("delete", row[1])
                deletes.append(name)
        most = self.guard.most
        if most is not None and len(deletes) > len(self.history.live) * most // 100:
            for name in deletes:
                suffix = "_gone" if rows[name][1] == "source_gone" else ""
                rows[name] = ("blocked", f"max_delete{suffix}")
        return told

    def _keep(self, rows: dict[str, Row]) -> None:
        for name, (action, reason) in list(rows.items()):
            reference = Reference.parse(name)
            if action not in ("update", "delete") or reference.tag is None:
                continue
            if reason == "moved":  # it lives on at its new address
                continue
            before = self.history.behind(name, self.there(name))
            if action == "update" and before == self.rule.wants(self._source(reference.tag) or ""):
                continue
            kept = self._kept_name(name, before)
            shown = self.there(kept)
            if shown == before:
                if not self.history.is_at(kept, before):
                    rows[kept] = ("adopt", Reason.KEEP_PREVIOUS)
            elif shown is None:
                rows[kept] = ("copy", Reason.KEEP_PREVIOUS)
            elif self.history.behind(kept, shown) != shown:
                rows[kept] = ("update", Reason.KEEP_PREVIOUS)
            else:
                rows[name] = ("error", "not_kept")

    def _kept_name(self, name: str, before: str | None) -> str:
        for number in count(1):
            kept = f"{name}-kept" if number == 1 else f"{name}-kept-{number}"
            record = self.history.record(kept)
            if record is None or not (record.is_live and record.keeps and record.digest != before):
                return kept
        raise AssertionError

    # Applying.

    def outcomes(self, plan: Plan) -> Counter[str]:
        """What becomes of each row now: by its record first, then by what is there."""
        return Applying(self, plan).outcomes()

    def refusal(self, plan: Plan, *, takes: bool) -> type[ImgmigrateError] | None:
        """Why nothing of a plan is done: config and state do not bear it out, or a guard."""
        return Applying(self, plan).refusal(takes=takes)


@dataclass
class Applying:
    """One application of one plan."""

    now: Expectation
    plan: Plan
    found: Counter[str] = field(default_factory=Counter)
    done: set[Reference] = field(default_factory=set)

    def outcomes(self) -> Counter[str]:
        """Settle what the records settle, then do the rest in its order."""
        todo = []
        for change in self.plan.changes:
            if change.action in (Action.KEEP, Action.BLOCKED, Action.DRIFT):
                continue
            outcome = self._settled(change)
            if outcome:
                self.found[outcome] += 1
            else:
                todo.append(change)
        rows = {change.address for change in todo}
        for change in sorted(todo, key=_part):
            outcome = self._outcome(change) if self._may_go(change, rows) else "failed"
            is_going = change.action is Action.DELETE or outcome == "applied"
            if is_going and not self._has_heirs(change):
                outcome = "failed"
            self.found[outcome] += 1
            if outcome in ("applied", "already"):
                self.done.add(change.address)
        return self.found

    def _settled(self, change: Change) -> str | None:
        if change.action in (Action.ERROR, Action.CONFLICT):
            return "failed" if change.action is Action.ERROR else "conflict"
        name, history = str(change.address), self.now.history
        record, bound = history.record(name), self.plan.header.state
        if record is not None:
            is_newer = record.sequence > bound.sequence
            is_about_it = is_newer or record.plan_id == self.plan.plan_id
            if is_about_it and _shows(record, change):
                return "already"
            if is_newer or bound.lineage is None:
                return "conflict"
        if (record.digest if record else None) != change.recorded:
            return "conflict"
        if change.action is Action.FORGET:
            return "applied"
        if change.action is Action.DELETE and self.now.is_protected(name):
            return "failed"
        if change.action is Action.MOVE and change.source is not None:
            origin = history.record(str(change.source.reference))
            if origin is None or origin.digest != change.source.digest:
                return "conflict"
        return None

    def refusal(self, *, takes: bool) -> type[ImgmigrateError] | None:
        """Judge the rows that neither their records nor their actions settle."""
        told = (Action.KEEP, Action.BLOCKED, Action.DRIFT)
        todo = [c for c in self.plan.changes if c.action not in told and not self._settled(c)]
        if not all(self._is_borne_out(change, takes) for change in todo):
            return PlanRefused
        deletes = sum(change.action is Action.DELETE for change in todo)
        most = self.now.guard.most
        if most is not None and deletes > len(self.now.history.live) * most // 100:
            return GuardError
        return None

    def _is_borne_out(self, change: Change, takes: bool) -> bool:
        ours = self.now.history.ours(str(change.address))
        if change.action is Action.DELETE:
            return change.before in ours
        if change.action is Action.UPDATE and change.before not in {*ours, change.after}:
            return False
        header = self.plan.header
        if header.undoes or header.refresh_only or change.reason == Reason.KEEP_PREVIOUS:
            return True
        if change.reason == Reason.TAKE_OWNERSHIP and not takes:
            return False
        return change.action is Action.FORGET or change.address.repository.path in self.now.rule.to

    def _may_go(self, change: Change, rows: set[Reference]) -> bool:
        """Tell whether all is recorded that is to stand in the row's stead."""
        return all(
            other not in rows and self.now.history.is_at(str(other), digest)
            for other, digest in self._heirs(change)
        )

    def _has_heirs(self, change: Change) -> bool:
        """Tell whether it is there, too."""
        return all(self.now.there(str(other)) == digest for other, digest in self._heirs(change))

    def _heirs(self, change: Change) -> Iterator[tuple[Reference, str | None]]:
        before = self.now.history.behind(str(change.address), change.before)
        moved_to = change.moved_to if change.action is Action.DELETE else None
        for other, digest in ((change.kept_as, before), (moved_to, change.recorded)):
            if other is not None and other not in self.done:
                yield other, digest

    def _outcome(self, change: Change) -> str:
        there = self.now.there(str(change.address))
        if change.action is Action.ADOPT:
            return "applied" if there == change.after else "conflict"
        if change.action is Action.DELETE and there == self._stand_in(change):
            return "applied"
        if there == change.before:
            return "applied"
        return "already" if there == change.after else "conflict"

    def _stand_in(self, change: Change) -> Digest:
        return placeholder(self.plan.plan_id, change.address).digest


def drifted(history: History, world: World) -> dict[str, Row]:
    """Every row of a plan that only tells who has moved since the record."""
    rows = {}
    for name, record in history.live.items():
        reference, recorded = record.source
        origin = Reference.parse(reference)
        store = world.stores.of(origin.repository)
        key = (origin.repository.path, origin.target)
        source = store.tags.get(key) or (origin.digest if key in store.manifests else None)
        there = _shown(world, name)
        is_here, is_moved = there == record.digest, source != recorded
        if there is None:
            rows[name] = ("forget", "destination_gone")
        elif not is_here and there == source and not record.platforms:
            rows[name] = ("adopt", "already_there")
        elif is_here and is_moved:
            moved = "rolled_back" if source == record.undid else "source_moved"
            rows[name] = ("drift", moved if source else "source_gone")
        elif not is_here:
            rows[name] = ("drift", "both_moved" if is_moved else "changed_here")
    return rows


def _shown(world: World, name: str) -> str | None:
    reference = Reference.parse(name)
    return world.new.tags.get((reference.repository.path, reference.tag or ""))


def _part(change: Change) -> int:
    if change.action is Action.DELETE:
        return 2
    return 0 if change.reason == Reason.KEEP_PREVIOUS else 1


def _shows(record: Record, change: Change) -> bool:
    if change.action is Action.FORGET:
        return not record.is_live
    if change.action is Action.DELETE:
        return record.status == "deleted"
    return record.is_live and record.digest == change.after
