"""Reasons: why a row of a plan is what it is. One entry each, and all that anybody knows of it.

Whoever adds a reason adds its entry here; diff, passes, apply, rollback, every output and the
schemas read it. `docs/codes.md` lists them.
"""

from __future__ import annotations

from typing import Self

from msgspec import Struct

from imgmigrate.vocabulary.terms import Term

__all__ = ["LATER_REASON", "Reason", "ReasonTraits"]


class ReasonTraits(Struct, frozen=True):
    """What a reason means; `words` say it to people, with parameters of the library in backticks.

    `is_obvious` says that a section's heading tells it already, `is_loss` that an image of ours
    is no longer, or not whole, where we put it, `is_over_limit` that deletes are too many.
    `is_foreign` says that a destination shows something else than the source, and not ours.
    """

    code: str | None
    words: str | None
    is_obvious: bool = False
    is_loss: bool = False
    is_foreign: bool = False
    is_over_limit: bool = False
    # Of rows whose image nobody asks for any more, and of those whose source has lost it; `by
    # source` is what only a source that is well can tell.
    is_unwanted: bool = False
    is_source_lost: bool = False
    is_by_source: bool = False
    # What an apply says of a conflict that the plan has already.
    cause: str | None = None
    # The values of a rule's `overwrite` that bear it out.
    policies: tuple[str, ...] = ()
    # The parameter that allows as many.
    allowed_by: str | None = None
    # What to do about such rows; where a command helps, the command line knows it.
    hint: str | None = None
    # What it advises needs a config: a rule to change, or one to adopt for.
    hint_is_for_configs: bool = False


# Of a reason that this version does not know.
LATER_REASON = ReasonTraits(None, None)


class Reason(Term):
    """Why a row is what it is; one of a later minor version is read as itself."""

    traits: ReasonTraits

    def __new__(cls, value: str, traits: ReasonTraits = LATER_REASON) -> Self:
        """Make a name that is text, and knows what it means."""
        made = str.__new__(cls, value)
        made._value_, made.traits = value, traits
        return made

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        later = super()._missing_(value)
        if later is not None:
            later.traits = LATER_REASON
        return later

    # The destination has nothing, or lost what it had.
    NEW = "new", ReasonTraits("IM201", "new", is_obvious=True)
    DESTINATION_LOST = (
        "destination_lost",
        ReasonTraits("IM202", "we wrote it, now it is gone", is_obvious=True, is_loss=True),
    )
    DESTINATION_GONE = (
        "destination_gone",
        ReasonTraits("IM203", "we wrote it, now it is gone", is_obvious=True, is_loss=True),
    )
    # A layout shows it and has lost some of its parts.
    INCOMPLETE = (
        "incomplete",
        ReasonTraits("IM204", "the layout has lost parts of it", is_obvious=True, is_loss=True),
    )

    # The destination has what is wanted.
    ALREADY_THERE = "already_there", ReasonTraits("IM205", "already there", is_obvious=True)
    # What looks right is written again, and each blob checked.
    REPLACE = "replace", ReasonTraits("IM206", "asked for with `replace`")
    TAKE_OWNERSHIP = "take_ownership", ReasonTraits("IM207", "taken over although it differs")

    # The destination has what we wrote, and something else is wanted.
    SOURCE_MOVED = "source_moved", ReasonTraits("IM208", "source moved")
    PLATFORMS_CHANGED = (
        "platforms_changed",
        ReasonTraits("IM209", "other platforms are wanted now"),
    )
    FORM_CHANGED = "form_changed", ReasonTraits("IM248", "another form of its index is wanted now")

    ROLLED_BACK = (
        "rolled_back",
        ReasonTraits(
            "IM243",
            "was rolled back, and its source shows what that undid",
            hint="The rules still ask for what was rolled back, so a plan writes it again. To "
            "keep what is there, change the rule or its source, or leave it out: `exclude`.",
        ),
    )

    # The destination has what is not ours.
    FOREIGN = (
        "foreign",
        ReasonTraits(
            "IM210",
            "not written by us",
            is_foreign=True,
            cause="holds an image that imgmigrate did not write",
        ),
    )
    CHANGED_HERE = (
        "changed_here",
        ReasonTraits(
            "IM211",
            "written by us, then overwritten by somebody else",
            is_foreign=True,
            cause="somebody overwrote what imgmigrate had written",
            hint="Where nobody else writes to such tags, this state may be older than they are: "
            "restored from a backup, or from a cache. To take over what is there:",
            hint_is_for_configs=True,
        ),
    )
    EQUIVALENT = (
        "equivalent",
        ReasonTraits(
            "IM212",
            "an index of the same images in other bytes",
            is_foreign=True,
            cause="holds an index of the same images in other bytes",
            hint="An equivalent index holds the same images in other bytes; "
            "overwrite: equivalent in the rule replaces only those.",
            hint_is_for_configs=True,
        ),
    )
    NO_STATE = "no_state", ReasonTraits("IM213", "differs; whose it is, no state tells")
    OVERWRITE_NEVER = (
        "overwrite_never",
        ReasonTraits("IM214", "differs; overwrite: never", is_foreign=True),
    )
    OVERWRITE_ALWAYS = (
        "overwrite_always",
        ReasonTraits("IM215", "overwrite: always", is_foreign=True, policies=("always",)),
    )
    OVERWRITE_EQUIVALENT = (
        "overwrite_equivalent",
        ReasonTraits(
            "IM216", "overwrite: equivalent", is_foreign=True, policies=("equivalent", "always")
        ),
    )
    OVERWRITE_ALLOWED = (
        "overwrite_allowed",
        ReasonTraits("IM217", "asked for with `allow_overwrite`"),
    )

    # No rule asks for it any more, or its source has it no more.
    RULE_REMOVED = (
        "rule_removed",
        ReasonTraits("IM218", "no rule names it any more", is_unwanted=True),
    )
    DESELECTED = (
        "deselected",
        ReasonTraits(
            "IM219", "its rule no longer selects the tag", is_unwanted=True, is_by_source=True
        ),
    )
    MOVED = "moved", ReasonTraits("IM220", "moved", is_obvious=True, is_unwanted=True)
    SOURCE_GONE = (
        "source_gone",
        ReasonTraits(
            "IM221",
            "its source does not show it any more",
            is_source_lost=True,
            is_by_source=True,
        ),
    )
    KEPT_LONG_ENOUGH = (
        "kept_long_enough",
        ReasonTraits("IM244", "kept as long as keep_previous_for says", is_unwanted=True),
    )
    NOT_IN_DELTA = "not_in_delta", ReasonTraits("IM222", "not among what is new; stays")
    BOTH_MOVED = "both_moved", ReasonTraits("IM223", "source and destination moved")

    # A guard keeps it from being deleted.
    PROTECTED = (
        "protected",
        ReasonTraits(
            "IM224",
            "protected",
            hint="What is protected stays protected without its line in the config, too. "
            "To lift that:",
        ),
    )
    MAX_DELETE = (
        "max_delete",
        ReasonTraits(
            "IM225",
            "more deletes than max_delete allows",
            is_over_limit=True,
            allowed_by="allow_delete",
        ),
    )
    MAX_DELETE_GONE = (
        "max_delete_gone",
        ReasonTraits(
            "IM226",
            "its source does not show it; more deletes than max_delete allows",
            is_over_limit=True,
            allowed_by="allow_delete_gone",
        ),
    )
    IS_SOURCE = "is_source", ReasonTraits("IM227", "a rule takes it from there")
    SAME_PLACE = "same_place", ReasonTraits("IM228", "wanted under another name")
    MAY_BE_SAME = "may_be_same", ReasonTraits("IM229", "perhaps wanted under another name")

    # What refers to an image has changed, and the image has not.
    NEW_REFERRERS = "new_referrers", ReasonTraits("IM245", "has new signatures or the like")
    # A rule asks for a kind of referrer that its image does not have, or of which nobody can tell.
    NOT_REFERRED = "not_referred", ReasonTraits("IM246", "lacks what the rule requires")

    # The config asks for a signature, and none holds, or nobody can tell.
    NOT_VERIFIED = (
        "not_verified",
        ReasonTraits(
            "IM247",
            "not signed by whom the config names",
            hint="An image that is not signed by whom the config names is not taken. Have it "
            "signed at its source, or correct verify in the config.",
            hint_is_for_configs=True,
        ),
    )

    # It could not be decided.
    SOURCE_MISSING = "source_missing", ReasonTraits("IM230", "the source has no such image")
    DANGLING = "dangling", ReasonTraits("IM231", "listed, and its manifest is not there")
    ARCHIVED = "archived", ReasonTraits("IM232", "archived; restore it to copy it")
    UNREADABLE = "unreadable", ReasonTraits("IM233", "cannot be read", is_obvious=True)
    UNSUPPORTED = "unsupported", ReasonTraits("IM234", "of a type that cannot be copied")
    NO_SUCH_PLATFORM = (
        "no_such_platform",
        ReasonTraits("IM235", "has none of the wanted platforms"),
    )
    CONTESTED = "contested", ReasonTraits("IM242", "asked for in two ways")
    NOT_KEPT = "not_kept", ReasonTraits("IM236", "what it shows cannot be kept")
    # What an update or a delete replaces gets a tag of its own.
    KEEP_PREVIOUS = "keep_previous", ReasonTraits("IM237", "keeps what is replaced")

    # The way back.
    ROLLBACK = "rollback", ReasonTraits("IM238", "as it was before")
    STAYS = "stays", ReasonTraits("IM239", "stays; deleted with `allow_delete`")
    WRITTEN_SINCE = (
        "written_since",
        ReasonTraits("IM240", "written again since", cause="another run recorded it since"),
    )
    PREVIOUS_GONE = (
        "previous_gone",
        ReasonTraits(
            "IM241",
            "the former image is gone",
            hint="An image that no tag names is soon deleted by many registries. "
            "keep_previous in the config gives what is replaced a tag of its own.",
            hint_is_for_configs=True,
        ),
    )
