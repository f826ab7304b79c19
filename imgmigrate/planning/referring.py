"""Let signatures, SBOMs and attestations go along with their image.

Asked for are images that are new or have moved. Of those that are as recorded only what costs no
request is looked at: cosign's tags in a list that was read anyway. All of them are asked for only
where that is asked for (`refresh_referrers`), or where an earlier plan could not tell.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from msgspec import Struct, field

from imgmigrate.errors import AccessDenied, AuthenticationError, StoreError
from imgmigrate.events import Warned
from imgmigrate.observing.problems import failed
from imgmigrate.observing.referrers import Found, find_referrers
from imgmigrate.oci.companions import KINDS, cosign_tags
from imgmigrate.oci.manifest import INDEXES
from imgmigrate.oci.referrers import scheme_of
from imgmigrate.plan import Action, Carried, Change, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imgmigrate.events import Sink
    from imgmigrate.observing.observe import Observer
    from imgmigrate.observing.referrers import Listings
    from imgmigrate.oci.reference import Digest, Reference, Repository
    from imgmigrate.oci.referrers import Referrer
    from imgmigrate.planning.desired.desired import Asked
    from imgmigrate.planning.passes.sizes import Sizes
    from imgmigrate.rules.referrers import ReferrerPolicy
    from imgmigrate.state.record import Filter, ImageRecord, State
    from imgmigrate.stores.cache import ManifestCache

__all__ = ["Referring"]

# In a row: then a repository is not asked again in the same plan. Each costs all its attempts.
MOST_FAILURES = 3


class _Question(Struct, frozen=True):
    """What rows have in common that get one answer."""

    repository: Repository
    digest: Digest
    is_index: bool
    filter: Filter | None
    policy: ReferrerPolicy


class Referring(Struct, frozen=True):
    """Adds referrers to rows that write, and rows for images that only lack some."""

    observer: Observer
    cache: ManifestCache
    state: State
    sink: Sink
    sizes: Sizes
    refresh: bool
    listings: Listings
    # Of each repository the failures since it answered last.
    _failures: defaultdict[Repository, list[StoreError]] = field(
        default_factory=lambda: defaultdict(list)
    )

    async def settle(
        self, changes: Sequence[Change], asked: Mapping[Reference, Asked]
    ) -> list[Change]:
        """Ask for each image once, whatever number of rows it has."""
        questions: dict[Reference, _Question] = {}
        for change in changes:
            each = asked.get(change.address)
            if each is not None and change.source is not None and _is_concerned(change, each):
                questions[change.address] = _Question(
                    change.source.reference.repository,
                    change.source.digest,
                    change.media_type in INDEXES,
                    change.filter,
                    each.rule.referrers,
                )
        changes = [self._moved(change) for change in changes]
        late = self._late(changes, asked)
        questions |= {
            record.address: _question_of(record, asked[record.address].rule.referrers)
            for record in late
        }
        wanted = list(dict.fromkeys(questions.values()))
        found = await self.observer.each(wanted, self._find, lambda each: each.repository.store)
        answers = dict(zip(wanted, found, strict=True))
        settled = [
            self._settled(change, questions[change.address], answers[questions[change.address]])
            if change.address in questions
            else change
            for change in changes
        ]
        told = [(record, answers[questions[record.address]]) for record in late]
        rows = [(found, self._refer(record, found)) for record, found in told]
        self._tell_unread([error for found, row in rows if not row for error in _first(found)])
        return [*settled, *(row for _, row in rows if row is not None)]

    def _moved(self, change: Change) -> Change:
        """Let what went along with an image go along where it moves, as is recorded."""
        if change.action is not Action.MOVE or change.source is None or change.is_near:
            return change
        record = self.state.record(change.source.reference)
        if record is None or not record.referrers:
            return change
        return change.model_copy(update={"referrers": record.referrers})

    def _tell_unread(self, errors: Sequence[StoreError]) -> None:
        """Say in one line what an earlier plan could not ask for, and this one neither.

        Who may not ask will never get an answer: that is no error of each image in each plan.
        """
        if errors:
            what = "1 image" if len(errors) == 1 else f"{len(errors):,} images"
            message = f"signatures and the like of {what} still cannot be asked for: {errors[0]}"
            self.sink.emit(Warned("referrers_unread", message))

    def _late(
        self, changes: Sequence[Change], asked: Mapping[Reference, Asked]
    ) -> list[ImageRecord]:
        """Records of images that need no row, and may lack what refers to them."""
        rows = {change.address for change in changes}
        late, unknown, lacking = [], 0, 0
        for address, each in asked.items():
            record = self.state.record(address)
            if address in rows or record is None or not record.is_live:
                continue
            if not each.rule.referrers.is_on:
                continue
            has_news = self._has_news(record, each.rule.referrers)
            lacking += _lacks(record, each.rule.referrers)
            if (
                self.refresh
                or record.referrers_pending
                or (has_news and record.referrers is not None)
            ):
                late.append(record)
            elif has_news:
                unknown += 1
        if unknown:
            what = "1 image was" if unknown == 1 else f"{unknown:,} images were"
            message = f"{what} copied before signatures went along with them, and have some now"
            self.sink.emit(
                Warned("referrers_unknown", f"{message}: plan once with `refresh_referrers`")
            )
        if lacking:
            what = "1 image" if lacking == 1 else f"{lacking:,} images"
            message = f"{what} went before the rules required what is not known to be there"
            self.sink.emit(
                Warned("referrers_lacking", f"{message}: `refresh_referrers` asks for it")
            )
        return late

    def _has_news(self, record: ImageRecord, policy: ReferrerPolicy) -> bool:
        """Tell whether a list that was read names a tag of cosign's that did not go along."""
        source = record.source
        tags = self.observer.listing(source.reference.repository)
        if not tags or record.digest != source.digest:
            return False
        there = {each.tag for each in record.referrers or ()}
        return any(
            tag in tags
            and tag not in there
            and policy.takes_tag(kind)
            and not self._is_recorded(record.address.repository.at(tag))
            for tag, kind in cosign_tags(source.digest).items()
        )

    def _is_recorded(self, address: Reference) -> bool:
        record = self.state.record(address)
        return record is not None and record.is_live

    async def _find(self, question: _Question) -> Found | StoreError:
        failures = self._failures[question.repository]
        if len(failures) >= MOST_FAILURES or any(map(_is_final, failures)):
            return failures[-1]
        try:
            found = await self._found(question)
        except StoreError as error:
            failures.append(error)
            return error
        failures.clear()
        return found

    async def _found(self, question: _Question) -> Found:
        place = self.observer.place(question.repository)
        tags = await self.observer.tags_about(question.repository, question.digest)
        if isinstance(tags, StoreError):
            raise tags
        reads = self.sizes != "never" and (self.sizes == "always" or not place.store.is_metered)
        return await find_referrers(
            place,
            question.digest,
            tags,
            question.policy,
            self.cache,
            is_index=question.is_index,
            choice=question.filter,
            reads=reads,
            listings=self.listings,
        )

    def _settled(self, change: Change, question: _Question, found: Found | StoreError) -> Change:
        policy, record = question.policy, self.state.record(change.address)
        if isinstance(found, StoreError):
            if not policy.required:
                return change.model_copy(update={"referrers_unread": str(found)})
            detail = f"nobody can tell whether it has what is required: {found}"
            return failed(change.address, Reason.NOT_REFERRED, detail, record)
        lacking = policy.lacks([r for r in found.referrers if r.refers_to == change.after])
        if lacking:
            detail = f"source {question.repository}@{question.digest.short}: no "
            detail += " and no ".join(lacking)
            return failed(change.address, Reason.NOT_REFERRED, detail, record)
        update: dict[str, object] = {}
        if change.action is Action.ADOPT:
            update["referrers"] = ()
            update["referrers_later"] = _kinds(found.referrers)
        elif found.referrers:
            update = _described(found)
            update |= _required(policy, found, change.after)
            update["schemes"] = _schemes(found, change.after)
        update["referrers_left"] = _kinds(found.left)
        update["referrers_excluded"] = _kinds(found.excluded)
        update["referrers_missing"] = _kinds(found.missing)
        update["referrers_unread"] = _told(found.unread)
        return change.model_copy(update=update)

    def _refer(self, record: ImageRecord, found: Found | StoreError) -> Change | None:
        """Say what an image that is there lacks; nothing where it lacks nothing."""
        if isinstance(found, StoreError):
            if not self.refresh:
                return None
            detail = f"what refers to it could not be asked for: {found}"
            return failed(record.address, Reason.UNREADABLE, detail, record)
        there = {each.key for each in record.referrers or ()}
        new = [each for each in found.referrers if each.key not in there]
        # While some cannot be read, only something else that is new is worth a row.
        if not new and (found.unread or not record.referrers_pending):
            return None
        return Change(
            address=record.address,
            action=Action.REFER,
            reason=Reason.NEW_REFERRERS,
            source=record.source,
            before=record.digest,
            after=record.digest,
            recorded=record.digest,
            media_type=record.media_type or None,
            filter=record.filter,
        ).model_copy(
            update=_described(found)
            | {
                "transfer_bytes": found.size,
                "unsure_bytes": found.size or None,
                "schemes": _schemes(found, record.digest),
                "referrers_missing": _kinds(found.missing),
                "referrers_unread": _told(found.unread),
            }
        )


def _lacks(record: ImageRecord, policy: ReferrerPolicy) -> bool:
    """Tell whether a record lacks a kind that is required; it says nothing of artifact types."""
    there = {each.kind for each in record.referrers or () if each.refers_to == record.digest}
    return any(kind in KINDS and kind not in there for kind in policy.required)


def _is_final(error: StoreError) -> bool:
    """Tell whether it holds for a whole repository: who may not ask for one may not for any."""
    return isinstance(error, AccessDenied | AuthenticationError)


def _described(found: Found) -> dict[str, object]:
    """What a row says of its referrers; what has to be sent is counted with its image."""
    return {"referrers": tuple(map(Carried.of, found.referrers)), "referrer_bytes": found.size}


def _required(policy: ReferrerPolicy, found: Found, image: Digest | None) -> dict[str, object]:
    """Say without which kinds the image does not go: those of what is required for itself."""
    kinds = {
        each.kind
        for each in found.referrers
        if each.refers_to == image
        and not {each.kind, each.artifact_type}.isdisjoint(policy.required)
    }
    return {"needs_referrers": True, "needed_kinds": tuple(sorted(kinds))} if kinds else {}


def _schemes(found: Found, image: Digest | None) -> tuple[str, ...] | None:
    """How the signatures of an image itself are kept."""
    own = (scheme_of(each) for each in found.referrers if each.refers_to == image)
    return tuple(sorted({scheme for scheme in own if scheme is not None})) or None


def _kinds(found: Sequence[Referrer]) -> tuple[str, ...] | None:
    return tuple(sorted(each.kind for each in found)) or None


def _first(found: Found | StoreError) -> Sequence[StoreError]:
    """Why an image's referrers are not all known, once; nothing where they are."""
    return (found,) if isinstance(found, StoreError) else found.unread[:1]


def _told(errors: Sequence[StoreError]) -> str | None:
    """Say the first, and how many more there are."""
    more = f"; and of {len(errors) - 1:,} more" if len(errors) > 1 else ""
    return f"{errors[0]}{more}" if errors else None


def _is_concerned(change: Change, asked: Asked) -> bool:
    """Tell whether a row brings an image from elsewhere, by a rule that lets referrers go along."""
    return change.action.traits.takes and not change.is_near and asked.rule.referrers.is_on


def _question_of(record: ImageRecord, policy: ReferrerPolicy) -> _Question:
    is_index = record.media_type in INDEXES
    source = record.source
    return _Question(source.reference.repository, source.digest, is_index, record.filter, policy)
