"""What is said of a row of a plan: once, as data. Text, Markdown and JSON only give it a form.

Pure. Whoever has something new to say of rows adds a fact here, and every output says it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from imgmigrate.oci.companions import KINDS
from imgmigrate.oci.platforms import IndexForm
from imgmigrate.oci.reference import Digest, Reference
from imgmigrate.plan import Action, Reason
from imgmigrate.render.units import count
from imgmigrate.render.words import detail_of, reason, words_of
from imgmigrate.vocabulary.actions import SECTIONS
from imgmigrate.vocabulary.forms import FormReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from imgmigrate.plan import Change
    from imgmigrate.vocabulary.sections import Section

__all__ = [
    "Bytes",
    "Fact",
    "RowFacts",
    "facts_of",
    "in_sections",
    "is_cut",
    "is_sparse",
    "meaning_of",
]


# Kinds of referrers that are written otherwise in a sentence.
_PEOPLE_SAY = {"sbom": "SBOM", "provenance": "provenance statement"}
# Fields of a row that list kinds which do not go along with its image, and what is said of each.
_NOT_ALONG = {
    "referrers_later": "{} by the next plan: an adoption writes nothing",
    "referrers_excluded": "its rule leaves out {}",
    "referrers_left": "without {}: of the index before it is cut",
    "referrers_missing": "without {}: listed at the source, and not there",
}
# Who verifies a signature, by how it is kept (docs/registries.md, section 3.5).
_VERIFIERS = {
    "cosign-tag": "cosign 1 to 3 (tag)",
    "cosign-subject": "cosign (OCI 1.1 mode)",
    "sigstore-bundle": "cosign 3 (bundle)",
    "notation": "Notation",
}


class Bytes(Struct, frozen=True):
    """An amount of data; None where it is not known. Of a bound some bytes are `unsure`."""

    count: int | None
    unsure: int | None = None


# Texts are anybody's: servers, configs and plans of later versions have them.
Value = Digest | Reference | Bytes | str | None


class Fact(Struct, frozen=True):
    """One thing that is said: our own words, with `{}` where each value stands.

    `key` tells facts apart: what of the row it says.
    """

    key: str
    words: str
    values: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class RowFacts:
    """All that is said of a row. `beside` its address stands what is short, `below` the rest.

    `source` is where its image comes from, where that matters; `inside` is what differs between
    two images, of which an output may show the first only.
    """

    change: Change
    section: Section
    source: Reference | None
    beside: tuple[Fact, ...]
    below: tuple[Fact, ...]
    inside: tuple[str, ...]


def facts_of(change: Change) -> RowFacts:
    """Gather what is to be said of a row."""
    section, source = change.section, change.source
    return RowFacts(
        change=change,
        section=section,
        source=source.reference if source and section.is_sourced else None,
        beside=tuple(_beside(change)),
        below=tuple(_below(change)),
        inside=change.inside or (),
    )


def in_sections(changes: Iterable[Change]) -> Iterator[tuple[Section, list[Change]]]:
    """Group rows under their headings, the most dangerous first; none is left out."""
    rows: dict[Section, list[Change]] = {section: [] for section in SECTIONS}
    for change in changes:
        rows[change.section].append(change)
    return ((section, members) for section, members in rows.items() if members)


def is_cut(change: Change) -> bool:
    """Tell whether a row writes another digest than its source's, for some of its platforms."""
    if change.filter is None or change.source is None:
        return False
    return change.action.writes and change.after != change.source.digest


def is_sparse(change: Change) -> bool:
    """Tell whether a row writes an index that lists what is not to be there."""
    if change.filter is None or change.form_reason is None or is_cut(change):
        return False
    return change.action.writes and change.filter.is_sparse


def meaning_of(change: Change) -> dict[str, Any]:
    """Say what the names of a row mean, for programs, which have its fields as they are.

    `code` is the reason's, null for one of a later version; `section` is the heading's key.
    """
    return {
        "code": change.reason.traits.code,
        "section": change.section.key,
        "says": words_of(change.reason),
        "dangerous": change.is_dangerous,
    }


def _beside(change: Change) -> Iterator[Fact]:
    why = Fact("reason", "{}", (reason(change),))
    if not change.action.is_understood:
        yield why  # what the rest of it means is not known either
    yield from _digests(change)
    if change.action.writes:
        yield Fact("transfer_bytes", "{}", (Bytes(change.transfer_bytes, change.unsure_bytes),))
    if change.moved_to is not None:
        yield Fact("moved_to", "moved to {}", (change.moved_to,))
    if change.kept_as is not None:
        yield Fact("kept_as", "kept as {}", (change.kept_as.tag,))
    if change.action.is_understood and not change.reason.traits.is_obvious:
        yield why  # else the heading says it already


# What a row says of an index that is not copied whole; its digest stands last.
_FORMS = {
    IndexForm.KEEP: "the index stays as it is, and lists images that are not there: {}",
    IndexForm.TRIM: "the index gets another digest: {}",
    IndexForm.UNWRAP: "its one image comes without the index: {}",
}


def _why(change: Change) -> str:
    """Say what decided the form; a reason of a later version says itself."""
    told = change.form_reason or ""
    known = {each.value: each.says for each in FormReason}
    return known.get(told, told)


def _counted(kinds: Iterable[str]) -> Iterator[str]:
    """Count kinds of referrers, those with a name of their own first."""
    found = Counter(kinds)
    for kind in KINDS:
        if found[kind]:
            yield count(found.pop(kind), _PEOPLE_SAY.get(kind, kind))
    for kind, number in sorted(found.items()):
        if number:
            yield f"{number:,} of {kind}"


def _digests(change: Change) -> Iterator[Fact]:
    """Say what is there, and what is to be there or was."""
    before, after = change.before, change.after
    source = change.source.digest if change.source else None
    if change.action is Action.UPDATE and change.reason != Reason.INCOMPLETE:
        yield Fact("digests", "{} -> {}", (before, after))
    elif change.action in (Action.CONFLICT, Action.UNKNOWN) and source:
        part = "some platforms of " if change.filter and change.platforms != () else ""
        yield Fact("digests", f"holds {{}}, wanted {part}{{}}", (before, source))
    elif change.action is Action.DRIFT and before != change.recorded:
        yield Fact("digests", "holds {}, recorded {}", (before, change.recorded))
    elif change.reason == Reason.OVERWRITE_NEVER and source:
        yield Fact("digests", "holds {}, source {}", (before, source))
    elif after is not None and change.reason != Reason.INCOMPLETE:
        yield Fact("after", "{}", (after,))
    elif before is not None and after is None:
        yield Fact("before", "holds {}", (before,))


def _below(change: Change) -> Iterator[Fact]:
    if change.known:
        yield Fact("known", "known until {}: {}", (change.known.until, change.known.because))
    if change.detail:
        yield Fact("detail", "{}", (detail_of(change),))
    yield from _referrers(change)
    if change.copies_foreign:
        yield Fact("copies_foreign", "with layers that are not to be distributed")
    if change.skipped_layers:
        number = count(change.skipped_layers, "layer")
        yield Fact("skipped_layers", f"without {number} not to be distributed: pulled by URL")
    if change.filter and change.platforms != ():  # a chart or a signature has none
        if kept := ", ".join(change.filter.platforms):
            yield Fact("filter", "only the platforms {}", (kept,))
        if is_cut(change) or is_sparse(change):
            yield Fact("form", _FORMS[change.filter.form], (change.after,))
            if change.form_reason is not None:
                yield Fact("form_reason", f"index: {change.filter.form}, {{}}", (_why(change),))
    elif change.platforms and len(change.platforms) > 1:
        number = count(len(change.platforms), "platform")
        yield Fact("platforms", f"{number}: {{}}", (", ".join(change.platforms),))


def _referrers(change: Change) -> Iterator[Fact]:
    """Say what goes along with an image, what does not, and why."""
    if change.referrers:
        kinds = ", ".join(_counted(each.kind for each in change.referrers))
        yield Fact("referrers", "with {}, {}", (kinds, Bytes(change.referrer_bytes)))
    if change.schemes:
        verifiers = ", ".join(_VERIFIERS.get(each, each) for each in change.schemes)
        yield Fact("schemes", "signed for {}", (verifiers,))
    for key, words in _NOT_ALONG.items():
        if kinds := getattr(change, key):
            yield Fact(key, words, (", ".join(_counted(kinds)),))
    if change.referrers_unread:
        what = "its signatures and the like could not be asked for"
        if change.referrers:
            what = "some more of its signatures and the like could not be read"
        yield Fact("referrers_unread", f"{what}: {{}}", (change.referrers_unread,))
