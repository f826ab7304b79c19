"""Prove that what is written or taken over is signed by whom the config names (`verify`).

A plan is a file, which anybody may have edited or made without the gate: what it says of an image
is no proof of its signature. So each row is asked for as planning asks (`observing/keyrings.py`),
before anything of it is written. Rows that no rule of the config is about cost no request.

What is moved or put back is not asked for: a record bears it out (`resume/warrant.py`), whatever
the plan's file says. Nor is what is kept, which is at its destination already.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from typing import TYPE_CHECKING

from imgmigrate.applying.resume.warrant import is_of_records, joins_of
from imgmigrate.errors import GuardError, ImgmigrateError, RowFailed
from imgmigrate.events import NoSink
from imgmigrate.observing.keyrings import Verifier, concerned, read_keys
from imgmigrate.observing.observe import Observer
from imgmigrate.observing.referrers import Listings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from imgmigrate.observing.keyrings import Demand
    from imgmigrate.oci.reference import Reference
    from imgmigrate.plan import Change, Header, Plan
    from imgmigrate.rules.joins import Joins
    from imgmigrate.rules.rule import Rule
    from imgmigrate.state.record import Source, State
    from imgmigrate.stores.base import Stores
    from imgmigrate.workspace import Workspace

__all__ = ["SignatureGuard", "guard_of"]

logger = logging.getLogger(__name__)


def guard_of(
    workspace: Workspace,
    plan: Plan,
    todo: Iterable[Change],
    state: State,
    stores: Stores,
    parallelism: int,
) -> SignatureGuard | None:
    """Make the guard of a run's rows; None where no rule is about any of them.

    ConfigError if a key cannot be read.
    """
    config = workspace.config
    joins = joins_of(plan, config)
    demands: dict[Reference, Demand] = {}
    for change in todo:
        if change.source is None or not _is_asked_for(change, plan.header):
            continue
        named = _name(change, change.source, plan.header, joins)
        demand = concerned(config.signatures, named, change.source.digest, config.base)
        if demand is not None:
            demands[change.address] = demand
    if not demands:
        return None
    observer = Observer(stores, state, NoSink(), parallelism, workspace.cache)
    keyrings = read_keys(config.signatures)
    return SignatureGuard(Verifier(observer, workspace.cache, keyrings, Listings()), demands)


class SignatureGuard:
    """Lets a row begin if its image is signed; each image is asked for once in a run."""

    def __init__(self, verifier: Verifier, demands: Mapping[Reference, Demand]) -> None:
        self._verifier, self._demands = verifier, demands
        # Whoever was cut short, or failed, leaves no answer: the next one asks.
        self._refusals: dict[Demand, str | None] = {}
        self._asking: defaultdict[Demand, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def check(self, change: Change) -> None:
        """Refuse a row whose image is not signed (GuardError); StoreError if nobody can tell."""
        demand = self._demands.get(change.address)
        if demand is None or change.source is None:
            return
        try:
            async with self._asking[demand]:
                if demand not in self._refusals:
                    self._refusals[demand] = await self._verifier.refusal(demand)
        except ImgmigrateError:
            raise
        except Exception as error:  # the boundary of one image: what a stranger signed is read
            logger.exception("unexpected failure of %s", change.address)
            cause = f"its signature cannot be judged: {type(error).__name__}: {error}"
            raise RowFailed(cause, subject=str(change.address)) from error
        refusal = self._refusals[demand]
        if refusal is not None:
            source = change.source
            cause = f"not taken: source {source.reference}@{source.digest.short}: {refusal}"
            hint = "have it signed at its source and apply the same plan again, or plan again"
            raise GuardError(cause, subject=str(change.address), hint=hint)


def _is_asked_for(change: Change, header: Header) -> bool:
    return change.action.traits.takes and not is_of_records(change, header)


def _name(change: Change, source: Source, header: Header, joins: Joins) -> Reference:
    """By which name an image is meant: that of its row, if some rule brings it there from that.

    Any other says nothing, so that it is meant by its digest alone, and by all patterns about its
    repository: whoever edits a name gets around none.
    """
    reference, address = source.reference, change.address
    rules = joins.find(reference.repository, address.repository)
    if header.refresh_only or any(_leads(rule, source, address) for rule in rules):
        return reference
    return reference.repository.at(source.digest)


def _leads(rule: Rule, source: Source, address: Reference) -> bool:
    tag = source.reference.tag
    if rule.digest is not None:
        is_it = rule.digest == source.digest and tag == rule.pinned_tag
        return is_it and address in rule.digest_addresses()
    return tag is not None and address in rule.addresses(tag)
