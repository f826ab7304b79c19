"""Refuse images that are not signed by whom the config names (`verify`).

Asked for are images that a row would write, or take over as they are: what is recorded and
unchanged has no row, and costs nothing. It is the image at the source that has to be signed,
whatever of it is chosen; what is signed as a whole holds for all that it consists of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.errors import StoreError
from imgmigrate.events import Warned
from imgmigrate.observing.keyrings import concerned
from imgmigrate.observing.problems import failed
from imgmigrate.plan import Change, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from imgmigrate.config.signatures import SignatureRule
    from imgmigrate.events import Sink
    from imgmigrate.observing.keyrings import Demand, Verifier
    from imgmigrate.oci.reference import Reference
    from imgmigrate.planning.desired.desired import Asked
    from imgmigrate.state.record import State

__all__ = ["SignatureCheck"]


class SignatureCheck(Struct, frozen=True):
    """Makes error rows of what would bring an image without the signatures that it needs."""

    verifier: Verifier
    state: State
    # What a layout's path is relative to.
    base: Path
    # None where only a part of the images is asked for.
    sink: Sink | None = None
    # The rows are about records, whatever the rules ask for: their own sources are meant.
    of_records: bool = False

    async def settle(
        self, changes: Sequence[Change], asked: Mapping[Reference, Asked]
    ) -> list[Change]:
        """Ask for each image once, whatever number of rows it has."""
        self._tell_idle(asked)
        demands = {
            change.address: demand
            for change in changes
            if (demand := self._demand(change, asked)) is not None
        }
        wanted = list(dict.fromkeys(demands.values()))
        found = await self.verifier.observer.each(
            wanted, self._refusal, lambda each: each.repository.store
        )
        refusals = dict(zip(wanted, found, strict=True))
        return [
            self._settled(change, refusals[demands[change.address]])
            if change.address in demands
            else change
            for change in changes
        ]

    @property
    def _rules(self) -> list[SignatureRule]:
        return [keyring.rule for keyring in self.verifier.keyrings]

    def _tell_idle(self, asked: Mapping[Reference, Asked]) -> None:
        """Tell of rules that are about no image at all: they may be misspelt."""
        if self.sink is None:
            return
        for rule in self._rules:
            if not any(rule.concerns(each.source, self.base) for each in asked.values()):
                message = f"verify: {rule.match} is about no image that the rules ask for"
                self.sink.emit(Warned("nothing_verified", message))

    def _demand(self, change: Change, asked: Mapping[Reference, Asked]) -> Demand | None:
        """What has to be signed for a row, and by which of the rules; None if nothing has to."""
        if change.source is None or not change.action.traits.takes:
            return None
        each = asked.get(change.address)
        named = change.source.reference if self.of_records else each.source if each else None
        if named is None:
            return None
        return concerned(self._rules, named, change.source.digest, self.base)

    async def _refusal(self, demand: Demand) -> str | None:
        """Say why an image is refused; None if each rule about it is satisfied."""
        try:
            return await self.verifier.refusal(demand)
        except StoreError as error:
            return f"nobody can tell whether it is signed: {error}"

    def _settled(self, change: Change, refusal: str | None) -> Change:
        if refusal is None or change.source is None:
            return change
        detail = f"source {change.source.reference}@{change.source.digest.short}: {refusal}"
        record = self.state.record(change.address)
        return failed(change.address, Reason.NOT_VERIFIED, detail, record)
