"""Which digests sources were seen to show, and saying so beside the state.

Only an apply and a plan that was asked to record write there; other plans read it, and say that
they do not where somebody relies on it: where a plan once was asked to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.clock import now
from imgmigrate.errors import StateError, UsageError
from imgmigrate.events import Warned
from imgmigrate.plan import Action, Reason
from imgmigrate.remedies import remedy

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from imgmigrate.oci.reference import Digest, Repository
    from imgmigrate.plan import Plan
    from imgmigrate.state.sightings import Key, Sighting, Sightings
    from imgmigrate.workspace import Workspace

__all__ = ["Shown", "record_plan", "record_rows", "shown_by", "tell_unrecorded"]

# Rows that tell of what their source shows, but for reasons that tell of something else: of a
# source that shows it no more, or of an image of a destination.
_OF_SOURCES = {Action.COPY, Action.UPDATE, Action.ADOPT, Action.CONFLICT, Action.KEEP}
_OF_OTHERS = {
    Reason.SOURCE_GONE,
    Reason.NOT_IN_DELTA,
    Reason.KEEP_PREVIOUS,
    Reason.TAKE_OWNERSHIP,
}


class Shown(Struct, frozen=True):
    """A digest that a source repository shows; `is_there` says that its destination has it."""

    source: Repository
    digest: Digest
    is_there: bool

    @property
    def key(self) -> Key:
        """What is known of it is found by this."""
        from imgmigrate.state.sightings import key_of

        return key_of(self.source, self.digest)


def shown_by(plan: Plan) -> list[Shown]:
    """List what the sources of a plan's rows showed."""
    if plan.header.undoes or plan.header.refresh_only:
        return []
    return [
        Shown(row.source.reference.repository, row.source.digest, row.action is Action.ADOPT)
        for row in plan.changes
        if row.source is not None and row.action in _OF_SOURCES and row.reason not in _OF_OTHERS
    ]


async def record_rows(workspace: Workspace, plan: Plan) -> None:
    """Record what an apply's plan says of its sources; what is adopted was there before.

    A failure is told and stops nothing: the next apply records it.
    """
    keeper, shown = workspace.sightings, shown_by(plan)
    if keeper is None or not shown:
        return
    try:
        await keeper.add_sightings(_sightings(shown))
    except StateError as error:
        message = f"{error.message}; what sources were seen to show is not recorded by this run"
        workspace.sink.emit(Warned("sightings_unrecorded", message))


async def record_plan(workspace: Workspace, shown: Collection[Shown]) -> None:
    """Record all that a plan saw; what was never seen, and is at its destination, was there before.

    Nothing is written of what is known. StateError if it cannot be written.
    """
    from imgmigrate.state.sightings import news

    keeper = workspace.sightings
    if keeper is None or workspace.config.is_untrusted:
        message = "`record`: there is no state of ours to record beside"
        raise UsageError(message, hint="leave it out, or plan with the state itself")
    before = await keeper.sightings({each.key for each in shown})
    _tell_trouble(workspace, before)
    unseen = [each for each in shown if each.key not in before.known]
    seen = [Shown(each.source, each.digest, False) for each in shown if each.key in before.known]
    batch = news(_sightings([*unseen, *seen], is_planned=True), before)
    if batch:
        await keeper.add_sightings(batch)


async def tell_unrecorded(workspace: Workspace, shown: Collection[Shown]) -> None:
    """Say that a plan does not record what it saw first, where others do; and what is damaged."""
    keeper = workspace.sightings
    # What a destination shows was seen before: a plan with nothing to do reads nothing.
    wanted = {each.key for each in shown if not each.is_there}
    if keeper is None or workspace.config.is_untrusted or not wanted:
        return
    try:
        before = await keeper.sightings(wanted)
    except StateError as error:
        message = f"{error.message}; what sources were seen to show counts as never seen"
        workspace.sink.emit(Warned("sightings_unread", message))
        return
    _tell_trouble(workspace, before)
    if before.is_planned and before.trouble is None and not wanted <= before.known.keys():
        does = remedy("plan", record=True)
        message = f"first sightings are not recorded by this plan: {does} does"
        workspace.sink.emit(Warned("sightings_unrecorded", message))


def _sightings(shown: Iterable[Shown], *, is_planned: bool = False) -> list[Sighting]:
    from imgmigrate.state.sightings import BEFORE, Sighting

    at = now().replace(microsecond=0)
    return [
        Sighting(
            source=each.key[0],
            digest=each.digest,
            first_seen=BEFORE if each.is_there else at,
            last_seen=at,
            is_planned=is_planned,
        )
        for each in shown
    ]


def _tell_trouble(workspace: Workspace, found: Sightings) -> None:
    if found.trouble is not None:
        place = f"state {workspace.state.place}"
        message = f"{place}: {found.trouble}; what it says from there on counts as never seen"
        workspace.sink.emit(Warned("sightings_damaged", message))
