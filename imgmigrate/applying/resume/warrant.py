"""What warrants each row of a plan: a rule of the config, a record of the state, a reason.

A plan's own hash detects damage, not forgery: whoever can edit the file can seal it anew. So a
row is believed only as far as something else bears it out, and a plan with one that nothing does
is refused as a whole, before anything has changed. Pure.

| row | what warrants it |
| --- | --- |
| copy, adopt | a rule that brings images from there to there; a copy replaces nothing |
| update | the same, and what it replaces is ours or just that, or the reason allows to replace it |
| move | the record of its origin, in the same store, and a rule of that record's source |
| delete, forget | a live record; a delete takes only what is ours |
| keep_previous | another row that replaces, in the same repository, what it keeps |
| refer | as an update, of an image that is recorded there |
| what goes along | the rule, which also says what an image does not go without |
| of a rollback | the record of what is undone, which tells of the image that is put back |
| of a refresh | the record that it is about; none writes to a registry |
"""

from __future__ import annotations

from collections import defaultdict
from itertools import islice
from typing import TYPE_CHECKING

from imgmigrate.config.values.shares import read_share
from imgmigrate.errors import GuardError, PlanRefused
from imgmigrate.oci.companions import KINDS, cosign_tags
from imgmigrate.oci.manifest import INDEXES
from imgmigrate.plan import Action, Reason
from imgmigrate.rules.joins import Joins, rule_of_ends
from imgmigrate.state.record import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgmigrate.config.model import Config
    from imgmigrate.oci.reference import Digest, Reference
    from imgmigrate.plan import Change, Header, Plan
    from imgmigrate.rules.referrers import ReferrerPolicy
    from imgmigrate.rules.rule import GlobRule, Rule
    from imgmigrate.state.record import ImageRecord, State

__all__ = ["check_deletes", "check_summary", "check_warrants", "is_of_records", "joins_of"]

# Rows that a refusal names; all of them would bury why.
MOST_NAMED = 10
# Rows whose `recorded` is what the state held: those that could not be decided may lack it.
_UNDECIDED = (Action.ERROR, Action.CONFLICT, Action.UNKNOWN, Action.BLOCKED)


def check_summary(plan: Plan, replan: str) -> None:
    """Refuse a plan whose header counts other rows than it has: who reviewed it saw a lie.

    A later version may count conflicts apart that are for reasons of its own.
    """
    whole = plan.whole
    said, found = whole.summary, whole.counted
    odd = sum(
        change.action is Action.CONFLICT and change.reason.traits.cause is None
        for change in whole.changes
    )
    if found.conflict - odd <= said.conflict <= found.conflict:
        found = found.model_copy(update={"conflict": said.conflict})
    if said != found:
        message = f"plan {plan.plan_id}: its header does not sum up its rows, so it was edited"
        raise PlanRefused(message, hint=f"plan again: {replan}")


def check_warrants(
    plan: Plan,
    todo: Sequence[Change],
    config: Config,
    state: State,
    replan: str,
    *,
    takes_ownership: bool = False,
) -> None:
    """Refuse a plan with a row that nothing warrants; PlanRefused names such rows and why.

    `todo` are the rows that the state has neither done nor overtaken: of the others none is
    carried out. Only whoever plans an adoption may say that it `takes_ownership`.
    """
    judge = _Judge(plan, config, state, takes_ownership)
    found = [(change, cause) for change in todo if (cause := judge.of_work(change))]
    if judge.is_as_planned:
        found += [(change, cause) for change in plan.changes if (cause := judge.of_record(change))]
    if not found:
        return
    causes = {change.address: cause for change, cause in found}
    rows = "1 row" if len(causes) == 1 else f"{len(causes):,} rows"
    lines = [f"plan {plan.plan_id}: {rows} that nothing here warrants; nothing was changed"]
    lines += [f"{address}: {cause}" for address, cause in islice(causes.items(), MOST_NAMED)]
    if len(causes) > MOST_NAMED:
        lines.append(f"and {len(causes) - MOST_NAMED:,} more")
    hint = f"config and state decide what may be done, not the plan's file; plan again: {replan}"
    raise PlanRefused("\n".join(lines), hint=hint)


def check_deletes(plan: Plan, todo: Sequence[Change], config: Config, state: State) -> None:
    """Ask `max_delete` again: the config may have changed, and the plan's file too."""
    deletes = sum(change.action is Action.DELETE for change in todo)
    most, limit = config.guards.max_delete, f"max_delete in {config.guards.max_delete_at}"
    if (said := plan.header.max_delete) is not None:
        limit = "the plan's `max_delete`"
        try:
            most = read_share(said)
        except ValueError as error:
            raise PlanRefused(f"plan {plan.plan_id}: max_delete {error}") from None
    images = state.live_count
    if most is not None and deletes > most.of(images):
        message = f"plan {plan.plan_id}: it deletes {deletes:,} of {images:,} images; "
        message += f"{limit} allows {most}, so nothing was done"
        reasons = {change.reason for change in todo if change.action is Action.DELETE}
        asked = ["`allow_delete`"] if reasons - {Reason.SOURCE_GONE} else []
        asked += ["`allow_delete_gone`"] if Reason.SOURCE_GONE in reasons else []
        hint = f"when they are all meant, plan again with {' '.join(asked)} `max_delete` {deletes}"
        raise GuardError(message, hint=hint)


def joins_of(plan: Plan, config: Config) -> Joins:
    """Find the rules that rows are borne out by."""
    return Joins(_rules(plan, config), config.base)


def is_of_records(change: Change, header: Header) -> bool:
    """Tell whether records bear out what a row writes, and no rule that takes it from a source.

    Where a row is warranted, such records tell of its very image.
    """
    if header.refresh_only:
        return False
    is_kept = change.reason == Reason.KEEP_PREVIOUS
    return is_kept or bool(header.undoes) or change.action is Action.MOVE


class _Judge:
    """Finds why a row is not warranted; None where it is."""

    def __init__(self, plan: Plan, config: Config, state: State, takes_ownership: bool) -> None:
        self._plan, self._config, self._state = plan, config, state
        self._takes_ownership = takes_ownership
        self._joins = joins_of(plan, config)
        self._replacing: defaultdict[Reference, list[Change]] = defaultdict(list)
        for change in plan.whole.changes:
            if change.kept_as is not None:
                self._replacing[change.kept_as].append(change)

    @property
    def is_as_planned(self) -> bool:
        """Tell whether the state is the very one that the plan says it was made from.

        Then every record is as it was, and a row that says otherwise was not planned.
        """
        bound, state = self._plan.header.state, self._state
        then = (bound.lineage, bound.sequence, bound.head)
        return then == (state.lineage, state.sequence, state.head)

    def of_record(self, change: Change) -> str | None:
        """Compare what a row says of the record with the record; the state has not moved."""
        if change.action in _UNDECIDED or not change.action.is_understood:
            return None
        record = self._state.record(change.address)
        if change.recorded != (record.digest if record else None):
            told = change.recorded.short if change.recorded else "no record"
            found = f"holds {record.digest.short}" if record else "has no record"
            return f"it tells of {told} in the state, which {found}"
        needs_one = change.action in (Action.FORGET, Action.DELETE, Action.DRIFT) or (
            change.action is Action.KEEP and change.reason != Reason.OVERWRITE_NEVER
        )
        if needs_one and record is None:
            return "there is no record of it"
        return self._origin(change) if change.action is Action.MOVE else None

    def of_work(self, change: Change) -> str | None:
        """Judge a row that is to be carried out."""
        address = change.address
        if address.tag is None and address.digest is None:
            return "it names no tag"
        header, record = self._plan.header, self._state.record(address)
        if change.kept_as is not None and not _is_beside(change.kept_as, address):
            return f"what it replaces would be kept elsewhere, as {change.kept_as}"
        wrote = (record.run, record.plan_id) if record else ()
        if header.undoes and change.reason != Reason.KEEP_PREVIOUS and header.undoes not in wrote:
            return f"no record tells that {header.undoes} wrote it"
        if change.action is Action.FORGET:
            return self._forget(record)
        if header.refresh_only:
            return _refresh(change, record)
        if change.action is Action.DELETE:
            return self._delete(change, record)
        if change.source is None or change.after is None:
            return "it does not say what is to be there"
        if change.reason == Reason.KEEP_PREVIOUS:
            cause = self._keep(change)
        elif header.undoes:
            cause = _undo(change, record)
        elif change.action is Action.MOVE:
            cause = self._move(change)
        else:
            cause = self._copy(change)
        return cause or self._replaced(change)

    def _forget(self, record: ImageRecord | None) -> str | None:
        if record is None or not record.is_live:
            return "there is no live record of it to let go"
        if self._config.is_oneshot:
            return "what no config asks for lets nothing go"
        return None

    def _delete(self, change: Change, record: ImageRecord | None) -> str | None:
        if record is None or not record.is_live:
            return "there is no live record of it, so it is not ours to delete"
        if self._config.is_oneshot:
            return "what no config asks for deletes nothing"
        if change.before is None or not self._state.owns(change.address, change.before):
            return f"it would delete {_short(change.before)}, which is not ours"
        return None

    def _copy(self, change: Change) -> str | None:
        """Judge a row that a rule asks for."""
        if change.source is None:
            return None
        if change.reason == Reason.ROLLBACK:
            return "the plan undoes nothing"
        if change.reason == Reason.TAKE_OWNERSHIP and not self._takes_ownership:
            return "only imgmigrate adopt `take_ownership` takes over what is not ours"
        origin = change.source.reference
        if origin.digest not in (None, change.source.digest):
            return f"its source names {origin.digest.short}, and {change.source.digest.short}"
        if change.filter is None and change.after != change.source.digest:
            return f"its source shows {change.source.digest.short}, not {_short(change.after)}"
        rules = self._joins.find(origin.repository, change.address.repository)
        if not rules:
            return f"no rule brings images of {origin.repository} there"
        if change.action is Action.REFER and not self._is_at(change):
            return "no record tells that its image is there"
        return _referrers(change, [rule.referrers for rule in rules])

    def _is_at(self, change: Change) -> bool:
        record = self._state.record(change.address)
        is_there = record is not None and record.is_live and record.digest == change.after
        return is_there and change.before == change.after

    def _move(self, change: Change) -> str | None:
        if change.source is None:
            return None
        old = change.source.reference
        record = self._state.record(old)
        if old.repository.store != change.address.repository.store:
            return f"{old} is in another registry"
        if record is None or (cause := self._origin(change)):
            return cause if record else f"there is no record of {old}"
        origin = record.source.reference.repository
        if not self._joins.find(origin, change.address.repository):
            return f"no rule brings images of {origin} there"
        known = {(each.refers_to, each.digest, each.tag) for each in record.referrers or ()}
        along = {(each.refers_to, each.digest, each.tag) for each in change.referrers or ()}
        if not along <= known:
            return f"no record tells that all that it takes along is at {old.repository}"
        return None

    def _origin(self, change: Change) -> str | None:
        """Judge where a move takes its image from."""
        old = change.source.reference if change.source else None
        record = self._state.record(old) if old else None
        told = {change.after, change.source.digest if change.source else None}
        if record is None or told != {record.digest}:
            return f"no record tells that {_short(change.after)} is at {old}"
        return None

    def _keep(self, change: Change) -> str | None:
        """Judge a row that gives what another one replaces a tag of its own."""
        served = any(
            each.action in (Action.UPDATE, Action.DELETE)
            and _is_beside(change.address, each.address)
            and self._state.behind(each.address, each.before) == change.after
            for each in self._replacing[change.address]
        )
        origin = change.source
        is_near = origin is not None and origin.digest == change.after and change.is_near
        return None if served and is_near else "it keeps nothing that this plan replaces"

    def _replaced(self, change: Change) -> str | None:
        """Judge what a row takes the tag from: only what is ours, unless a reason allows it."""
        before = change.before
        if before in (None, change.after) or change.action is Action.ADOPT:
            return None  # what is written again as it was takes nothing away
        if change.action is not Action.UPDATE:
            return f"it would replace {before.short}, and nothing was to be there"
        if self._state.owns(change.address, before) or change.reason == Reason.OVERWRITE_ALLOWED:
            return None
        if change.reason.traits.policies and self._is_allowed(change):
            return None
        if change.reason.traits.policies:
            return f"it would replace {before.short}, which is not ours, and its rule forbids it"
        return f"it would replace {before.short}, which is not ours"

    def _is_allowed(self, change: Change) -> bool:
        if change.source is None:
            return False
        source, there = change.source.reference.repository, change.address.repository
        policies = change.reason.traits.policies
        return any(rule.overwrite in policies for rule in self._joins.find(source, there))


def _referrers(change: Change, policies: Sequence[ReferrerPolicy]) -> str | None:
    """Judge what is to go along: what some rule asks for, about the image, under its own tag."""
    about = {change.after, *(each.digest for each in change.referrers or ())}
    # What is below an index is known when it is carried out (`worker/referring.py`).
    is_alone = change.media_type is not None and change.media_type not in INDEXES
    for each in change.referrers or ():
        if each.tag is not None and cosign_tags(each.refers_to).get(each.tag) != each.kind:
            return f"it would write the tag {each.tag}, which is no companion of its image"
        if is_alone and each.refers_to not in about:
            return f"what goes along is about {each.refers_to.short}, and not about its image"
        if not any(policy.may_take(each.kind) for policy in policies):
            return f"no rule lets a referrer go along that is of the type {each.kind}"
    return _required(change, policies)


def _required(change: Change, policies: Sequence[ReferrerPolicy]) -> str | None:
    """Judge what is required by whichever rule it is that asks for a row: it holds the image.

    An artifact type is not told from a row, whose kinds are short names.
    """
    brings = change.action in (Action.COPY, Action.UPDATE) and not change.is_near
    if not brings or not all(policy.required for policy in policies):
        return None
    own = {each.kind for each in change.referrers or () if each.refers_to == change.after}
    held = own if change.needed_kinds is None else own.intersection(change.needed_kinds)
    names = set[str].intersection(*(set(policy.required) for policy in policies))
    if change.needs_referrers and held and names.intersection(KINDS) <= held:
        return None
    return f"it would go without what its rule requires: {', '.join(sorted(names))}"


def _rules(plan: Plan, config: Config) -> tuple[Rule | GlobRule, ...]:
    """The rules of the config; where no config says any, the one that the plan was asked for."""
    if config.rules or config.globs or not config.is_oneshot or plan.header.ends is None:
        return (*config.rules, *config.globs)
    try:
        return (rule_of_ends(plan.header.ends.source, plan.header.ends.destinations),)
    except ValueError:
        return ()


def _refresh(change: Change, record: ImageRecord | None) -> str | None:
    if change.action is not Action.ADOPT:
        return "a refresh writes nothing, and this row does"
    if record is None or not record.is_live or change.source is None:
        return "there is no live record of it to bring up to date"
    if change.source.reference != record.source.reference:
        return f"it is recorded from {record.source.reference}"
    if change.after is None or change.after != change.source.digest:
        return "its two sides do not show the same"
    return None


def _undo(change: Change, record: ImageRecord | None) -> str | None:
    """Judge a row that puts back: the state has to tell of the image."""
    if change.source is None or change.action is Action.MOVE or change.reason != Reason.ROLLBACK:
        return "a rollback does not do that"
    if record is None:
        return "there is no record that tells what it was"
    if change.action is Action.ADOPT and record.status is Status.FORGOTTEN:
        return None if change.after == record.digest else "it was another image that was let go"
    if change.after not in (record.digest, record.previous):
        return f"no record tells that {_short(change.after)} was ever there"
    origin = change.source
    if not change.is_near or origin.digest != change.after:
        return "what is put back comes from the destination itself"
    return None


def _is_beside(kept: Reference, address: Reference) -> bool:
    return kept.repository == address.repository and kept.tag not in (None, address.tag)


def _short(digest: Digest | None) -> str:
    return digest.short if digest else "nothing"
