"""Find what a choice of platforms leaves of each image, in which form, and how its row looks.

Costs nothing where the state knows the answer: the source shows the recorded digest and the
choice is the recorded one. Else one manifest is read by digest, which the cache keeps, and of a
single image also its config; which platform that states is kept by digest for ever.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from msgspec.structs import replace

from imgmigrate.errors import StoreError, on_side
from imgmigrate.events import Warned
from imgmigrate.observing.problems import failed
from imgmigrate.oci.manifest import INDEXES
from imgmigrate.oci.platforms import (
    FILTER_VERSION,
    IndexForm,
    NoSuchPlatformError,
    matches,
    missing,
    parse_platform,
    parse_platforms,
    platform_of,
)
from imgmigrate.plan import Reason
from imgmigrate.state.record import Filter
from imgmigrate.stores.configs import read_config
from imgmigrate.stores.facts import Facts
from imgmigrate.stores.place import read_manifest
from imgmigrate.vocabulary.forms import FormReason

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imgmigrate.events import Sink
    from imgmigrate.observing.observe import Observer
    from imgmigrate.oci.manifest import Descriptor, Manifest, Platform
    from imgmigrate.oci.reference import Digest, Reference, Repository
    from imgmigrate.plan import Change
    from imgmigrate.planning.diff import Wish
    from imgmigrate.rules.rule import Rule
    from imgmigrate.state.record import State
    from imgmigrate.stores.cache import ManifestCache
    from imgmigrate.stores.place import Place

__all__ = ["Filtering", "chosen", "filter_of", "is_same_choice"]

# In the cache's folder.
PLATFORMS_FILE = "platforms"
# What stands for "its config states none", which holds for ever too.
NONE = "-"

Looked = tuple["Wish", "Descriptor | None"]


def filter_of(rule: Rule) -> Filter | None:
    """Say what a rule's platforms are in a row and a record; None for all of them.

    Where the rule does not say which form an index takes, `Filtering` decides.
    """
    if not rule.platforms and rule.index is not IndexForm.UNWRAP:
        return None
    form = rule.index or IndexForm.TRIM
    return Filter(platforms=rule.platforms, version=FILTER_VERSION, form=form)


def is_same_choice(first: Filter | None, second: Filter | None) -> bool:
    """Tell whether two filters choose the same platforms, in whichever form."""
    return first is second if first is None else first.chooses_as(second)


def chosen(manifest: Manifest, choice: Filter | None) -> Manifest:
    """Say what a row's filter leaves of a manifest; ValueError if that cannot be."""
    return choice.chosen(manifest) if choice else manifest


class Filtering:
    """Settle wishes that name platforms; each source image is read once.

    What has none of them is told to `skips`, where it is given, and left out. What `replaces` says
    is written again gets the form that it would get today.
    """

    def __init__(
        self,
        observer: Observer,
        cache: ManifestCache,
        state: State,
        folder: Path | None,
        *,
        sink: Sink,
        replaces: Callable[[Reference], bool],
        skips: Sink | None = None,
    ) -> None:
        self._observer, self._cache, self._state = observer, cache, state
        self._replaces, self._sink = replaces, sink
        self._skips = skips
        self._platforms = _Platforms(folder and folder / PLATFORMS_FILE)
        self._reading: defaultdict[Digest, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def choose(self, wishes: list[Looked]) -> tuple[list[Looked], list[Change]]:
        """Say in each wish what is kept of its image; what cannot be kept is an error row."""
        concerned = [pair for pair in wishes if _is_concerned(pair[0])]
        if not concerned:
            return wishes, []
        try:
            await self._platforms.load()
            answers = await self._observer.each(concerned, self._settle_one)
        finally:  # what was read costs something: keep it, whatever happened next
            await asyncio.shield(asyncio.to_thread(self._platforms.save))
        self._tell_kept([each for each in answers if not isinstance(each, tuple)])
        settled = [pair for pair in wishes if not _is_concerned(pair[0])]
        unfit: list[Change] = []
        for (_, there), answer in zip(concerned, answers, strict=True):
            if isinstance(answer, tuple):
                if self._skips is not None and answer[1] is Reason.NO_SUCH_PLATFORM:
                    self._skips.emit(Warned("no_such_platform", f"{answer[2]}: skipped"))
                    continue
                record = self._state.record(answer[0].address)
                unfit.append(failed(answer[0].address, answer[1], answer[2], record))
            else:
                settled.append((answer, there))
        return settled, unfit

    def _tell_kept(self, wishes: list[Wish]) -> None:
        """Say in one line that what is recorded keeps another form than its rule asks for."""
        number = sum(_keeps_another_form(wish) for wish in wishes)
        if number:
            what = "1 image keeps" if number == 1 else f"{number:,} images keep"
            message = f"{what} the form of its index that is recorded, and not what index: says, "
            message += "until the source moves; `replace` writes it anew"
            self._sink.emit(Warned("form_kept", message))

    async def _settle_one(self, pair: Looked) -> Wish | tuple[Wish, Reason, str]:
        """Return the wish with what is kept, or with a reason and a detail why nothing is."""
        wish, _ = pair
        if wish.found is None or wish.filter is None:
            return wish
        source = wish.found.digest
        choice, why = self._form_of(wish, wish.filter, source)
        wish = replace(wish, filter=choice, form_reason=why)
        kept, runs_nowhere, is_cut = self._recorded(wish, source), False, True
        if kept is None:
            try:
                kept, runs_nowhere, is_cut = await self._keep(
                    wish.source.repository, source, choice
                )
            except StoreError as error:
                return wish, Reason.UNREADABLE, str(error)
            except NoSuchPlatformError as error:
                hint = "; correct platforms:, or select its tags more narrowly"
                detail = f"source {wish.source}: {error}{hint if self._skips is None else ''}"
                return wish, Reason.NO_SUCH_PLATFORM, detail
            except ValueError as error:
                return wish, Reason.UNSUPPORTED, f"source {wish.source}: {error}"
        if is_cut and choice.is_sparse and self._takes_sparse(wish) is False:
            detail = f"destination {wish.address}: {FormReason.REFUSED.says}"
            return wish, Reason.UNSUPPORTED, f"{detail}; write index: trim"
        if wish.address.digest not in (None, kept):
            detail = f"source {wish.source}: its chosen platforms have another digest, {kept.short}"
            return wish, Reason.UNSUPPORTED, f"{detail}; name a tag at the destination"
        wish = replace(wish, kept=kept, runs_nowhere=runs_nowhere)
        return wish if is_cut else replace(wish, form_reason=None)

    def _form_of(self, wish: Wish, choice: Filter, source: Digest) -> tuple[Filter, FormReason]:
        """Decide the form of an index: what is recorded keeps its own, until its source moves."""
        record = self._state.record(wish.address)
        if record is not None and record.is_live and record.source.digest == source:
            told = record.filter
            if told is not None and told.chooses_as(choice) and not self._replaces(wish.address):
                return told, FormReason.RECORDED
        if wish.form is not None:
            return choice, FormReason.ASKED
        if wish.address.repository.is_layout:
            return choice, FormReason.LAYOUT
        takes = self._takes_sparse(wish)
        if takes:
            return choice.model_copy(update={"form": IndexForm.KEEP}), FormReason.KNOWN
        return choice, FormReason.UNKNOWN if takes is None else FormReason.REFUSED

    def _takes_sparse(self, wish: Wish) -> bool | None:
        return self._observer.place(wish.address.repository).store.takes_sparse

    def _recorded(self, wish: Wish, source: Digest) -> Digest | None:
        record = self._state.record(wish.address)
        if record is None or not record.is_live:
            return None
        is_same = record.source.digest == source and record.filter == wish.filter
        return record.digest if is_same else None

    async def _keep(
        self, repository: Repository, source: Digest, choice: Filter
    ) -> tuple[Digest, bool, bool]:
        """Find the digest of what a choice keeps, whether that runs nowhere, and is less."""
        place = self._observer.place(repository)
        async with self._reading[source]:  # a read may be metered
            with on_side("source"):
                manifest = await read_manifest(place, source, self._cache)
                if manifest.is_index:
                    kept = chosen(manifest, choice)
                    if choice.form is IndexForm.UNWRAP:
                        return kept.children[0].digest, False, True
                    if kept.digest != source:
                        self._cache.put(kept)
                    return kept.digest, False, kept is not manifest
                if not choice.platforms:
                    return manifest.digest, False, False
                found = await self._platforms.of(place, manifest)
        # A chart or a signature runs nowhere: no choice of platforms is about it.
        wanted = parse_platforms(choice.platforms)
        if found is not None and not any(matches(each, found) for each in wanted):
            raise NoSuchPlatformError(missing(wanted, [str(found)]))
        return manifest.digest, found is None, False


def _keeps_another_form(wish: Wish) -> bool:
    if wish.found is None or wish.filter is None or wish.form in (None, wish.filter.form):
        return False
    is_less = wish.kept != wish.found.digest or wish.filter.is_sparse
    return is_less and wish.found.media_type in INDEXES


def _is_concerned(wish: Wish) -> bool:
    return wish.filter is not None and wish.found is not None


class _Platforms:
    """The platforms of single images by their config's digest: lines of `digest platform`."""

    def __init__(self, path: Path | None) -> None:
        self._facts = Facts(path, _parse, _show)
        self._known: dict[Digest, Platform | None] = {}
        self._fresh: dict[Digest, Platform | None] = {}

    async def load(self) -> None:
        """Read the file."""
        self._known = await asyncio.to_thread(self._facts.read)

    async def of(self, place: Place, manifest: Manifest) -> Platform | None:
        """Read which platform a single image is for; None if it is for none."""
        if not manifest.blobs:
            return None
        config = manifest.blobs[0].digest
        if config not in self._known:
            self._known[config] = platform_of(await read_config(place, manifest))
            self._fresh[config] = self._known[config]
        return self._known[config]

    def save(self) -> None:
        """Write what was read anew; losing it costs requests."""
        if self._fresh and self._facts.add(self._fresh):
            self._fresh.clear()


def _parse(text: str) -> Platform | None:
    return None if text == NONE else parse_platform(text)


def _show(platform: Platform | None) -> str:
    return str(platform or NONE)
