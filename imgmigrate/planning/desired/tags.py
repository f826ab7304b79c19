"""Choose the tags of every rule: select from its listing, with dates where it asks for them.

Joins the pure `select` with what must be read; remembers each choice, because what is recorded
and no longer asked for is judged by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from imgmigrate.errors import GuardError, StoreError
from imgmigrate.planning.desired.created import CreatedDates
from imgmigrate.planning.desired.select import Choice, choose, dates_needed, would_select
from imgmigrate.remedies import remedy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from imgmigrate.observing.observe import Observer
    from imgmigrate.oci.reference import Repository
    from imgmigrate.rules.rule import Rule
    from imgmigrate.state.record import ImageRecord
    from imgmigrate.stores.cache import ManifestCache

__all__ = ["DATES_FILE", "Chooser"]

# In the cache folder of the state: beside the manifests, which are pruned, and never pruned itself.
DATES_FILE = "created.txt"


class Chooser(Struct):
    """Choose for rules; `now` is the moment that durations reach back from."""

    observer: Observer
    dates: CreatedDates
    now: datetime
    _choices: dict[tuple[int, Repository], Choice] = field(default_factory=dict)

    @classmethod
    def over(
        cls, observer: Observer, cache: ManifestCache, folder: Path | None, now: datetime
    ) -> Chooser:
        """Build one that keeps dates in the cache `folder`; without one, nowhere."""
        return cls(observer, CreatedDates(observer, cache, folder and folder / DATES_FILE), now)

    async def choose_all(
        self, rules: Sequence[Rule], listings: Mapping[Repository, list[str] | StoreError]
    ) -> list[Choice | StoreError]:
        """Choose for every rule, in order; what could not be listed or dated is an error."""

        async def one(rule: Rule) -> Choice | StoreError:
            listing = listings[rule.source] if rule.has_patterns else []
            return listing if isinstance(listing, StoreError) else await self._choose(rule, listing)

        try:
            choices = await self.observer.each(rules, one)
        finally:  # dates cost requests: keep what was read, whatever happened since
            await self.dates.save()
        for choice in choices:
            if isinstance(choice, Choice):
                self._choices[choice.rule.number, choice.rule.source] = choice
        return choices

    async def _choose(self, rule: Rule, listing: list[str]) -> Choice | StoreError:
        needed = dates_needed(rule, listing)
        if not needed:
            return choose(rule, listing, now=self.now)
        dates = await self.dates.of(rule.source, needed)
        if isinstance(dates, StoreError):
            return dates
        gone = set(needed) - dates.keys()
        choice = choose(rule, [tag for tag in listing if tag not in gone], dates, self.now)
        # Others went since the listing was read; these were asked for their dates just now.
        heads = await self.observer.head_sources(rule.source.at(tag) for tag in gone)
        dangling = {
            str(reference.tag) for reference, head in heads.items() if isinstance(head, StoreError)
        }
        return replace(
            choice,
            listing=choice.listing | dangling,
            tags=tuple(sorted({*choice.tags, *dangling})),
            dangling=tuple(sorted(dangling)),
        )

    def refuse_shortages(self) -> None:
        """Raise GuardError if a rule that could be listed selects fewer tags than its min."""
        short = [choice for choice in self._choices.values() if choice.shortages]
        if not short:
            return
        message = "\n".join(
            f"{each.rule.file}:{each.rule.line}: {each.rule.source}: {'; '.join(each.shortages)}"
            for each in short
        )
        why = remedy("plan", explain=str(short[0].rule.number))
        raise GuardError(message, hint=f"see which tags drop out and why: {why}")

    def lists(self, rule: Rule, tag: str) -> bool:
        """Tell whether a rule's source was listed, and lists a tag."""
        choice = self._choices.get((rule.number, rule.source))
        return choice is not None and tag in choice.listing

    def still_selects(self, rule: Rule, record: ImageRecord) -> bool:
        """Tell whether a rule would ask for a record's tag, were it still at the source."""
        choice = self._choices.get((rule.number, rule.source))
        return would_select(rule, record, choice, self.dates.recall(record.source.digest))
