"""Actions: what a row of a plan asks for. One entry each, and all that anybody knows of it.

Whoever adds an action adds its entry here and its count to `plan.Summary`; diff, passes, apply,
rollback, every output, the schemas and the exit codes read the entry. `docs/codes.md` lists them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from msgspec import Struct

from imgmigrate.vocabulary import sections
from imgmigrate.vocabulary.sections import Section
from imgmigrate.vocabulary.terms import Term

if TYPE_CHECKING:
    from imgmigrate.vocabulary.reasons import Reason

__all__ = ["LATER_ACTION", "SECTIONS", "Action", "ActionTraits", "section_for"]

# What an apply does about a row: puts an image at the destination, takes a tag from it, changes
# a record alone, nothing (the row only tells), or answers that the row is left undone.
Does = Literal["writes", "deletes", "records", "tells", "leaves"]
# Who can mend what is left: another run, once its cause is gone, or only a person's decision.
Needs = Literal["another run", "a person"]


class ActionTraits(Struct, frozen=True):
    """What an action means. `counted` are a headline's words for one row and for several.

    `done` is what has become of a row that was carried out, in every result.
    """

    code: str | None
    counted: tuple[str, str]
    does: Does
    section: Section
    needs: Needs | None = None
    done: str = "done"
    # It takes an image away, or what is known of it: never for a reason that nobody here knows.
    lets_go: bool = False
    # It takes an image from its source, or takes over what is at the destination as that.
    takes: bool = False
    # What to do about such rows; where a command helps, the command line knows it.
    hint: str | None = None


def _same(words: str) -> tuple[str, str]:
    return words, words


# Of an action that this version does not know.
LATER_ACTION = ActionTraits(
    None,
    _same("{} unknown to this version"),
    "leaves",
    sections.LATER,
    needs="another run",
    hint="Rows of a later version of imgmigrate are left out. Apply the plan with the one "
    "that made it; here it ends with exit code 3.",
)


class Action(Term):
    """What a row asks for; those that change a destination come first.

    An action of a later minor version is read as itself; it is none of these, and does nothing.
    """

    traits: ActionTraits

    def __new__(cls, value: str, traits: ActionTraits = LATER_ACTION) -> Self:
        """Make a name that is text, and knows what it means."""
        made = str.__new__(cls, value)
        made._value_, made.traits = value, traits
        return made

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        later = super()._missing_(value) if value else None
        if later is not None:
            later.traits = LATER_ACTION
        return later

    COPY = (
        "copy",
        ActionTraits(
            "IM101",
            _same("{} to copy"),
            "writes",
            Section(140, "copy", "+", "copy", "new at the destination", "green", is_sourced=True),
            done="copied",
            takes=True,
        ),
    )
    UPDATE = (
        "update",
        ActionTraits(
            "IM102",
            _same("{} to update"),
            "writes",
            Section(
                130,
                "update",
                "~",
                "update",
                "an existing tag gets another image",
                "yellow",
                is_sourced=True,
            ),
            done="updated",
            takes=True,
        ),
    )
    # The image is there already: only what refers to it is brought.
    REFER = (
        "refer",
        ActionTraits(
            "IM113",
            _same("{} to complete"),
            "writes",
            Section(
                135,
                "refer",
                "^",
                "refer",
                "the image stays; signatures and the like are added",
                "green",
                is_sourced=True,
            ),
            done="completed",
        ),
    )
    # To another address in the same store, from where we put it.
    MOVE = (
        "move",
        ActionTraits(
            "IM103",
            _same("{} to move"),
            "writes",
            Section(
                120,
                "move",
                ">",
                "move",
                "to another address, from where we put it",
                "cyan",
                is_sourced=True,
            ),
            done="moved",
        ),
    )
    DELETE = (
        "delete",
        ActionTraits(
            "IM104",
            _same("{} to delete"),
            "deletes",
            Section(
                90,
                "delete",
                "-",
                "delete",
                "the tag goes from the destination; its manifest stays",
                "red",
                is_dangerous=True,
            ),
            lets_go=True,
            done="deleted",
        ),
    )
    ADOPT = (
        "adopt",
        ActionTraits(
            "IM105",
            _same("{} to adopt"),
            "records",
            Section(150, "adopt", "=", "adopt", "already there; only recorded", "cyan"),
            done="adopted",
            takes=True,
        ),
    )
    FORGET = (
        "forget",
        ActionTraits(
            "IM106",
            _same("{} to forget"),
            "records",
            Section(
                160, "forget", ".", "forget", "no longer ours; stays at the destination", "dim"
            ),
            lets_go=True,
            hint="The tags to forget stay at their destinations, and no later plan deletes them: "
            "only who may delete there can. To have them deleted, plan with `allow_delete` "
            "instead of `forget`.",
            done="forgot",
        ),
    )
    KEEP = (
        "keep",
        ActionTraits(
            "IM107",
            _same("{} kept"),
            "tells",
            Section(170, "keep", "=", "keep", "left as it is", "dim"),
        ),
    )
    # A delete that a guard stops.
    BLOCKED = (
        "blocked",
        ActionTraits(
            "IM108",
            _same("{} blocked"),
            "tells",
            Section(
                100,
                "blocked",
                "!",
                "blocked",
                "not deleted: a guard keeps them",
                "red",
                is_dangerous=True,
            ),
        ),
    )
    CONFLICT = (
        "conflict",
        ActionTraits(
            "IM109",
            ("{} conflict", "{} conflicts"),
            "leaves",
            Section(
                20,
                "conflict",
                "!",
                "conflicts",
                "not ours to overwrite; left alone",
                "red",
                is_dangerous=True,
                is_sourced=True,
            ),
            needs="a person",
            hint="Conflicts are never overwritten by themselves. To take the source's image "
            "once, name addresses or globs",
        ),
    )
    # It differs, and no state tells whether it is ours.
    UNKNOWN = (
        "unknown",
        ActionTraits(
            "IM110",
            _same("{} unknown"),
            "leaves",
            Section(
                30,
                "unknown",
                "?",
                "ownership unknown",
                "no state tells whether they are ours; a plan with one does",
                "yellow",
                is_dangerous=True,
                is_sourced=True,
            ),
            needs="a person",
        ),
    )
    ERROR = (
        "error",
        ActionTraits(
            "IM111",
            ("{} error", "{} errors"),
            "leaves",
            Section(
                10,
                "error",
                "!",
                "errors",
                "could not be read; nothing is planned for them",
                "red",
                is_dangerous=True,
            ),
            needs="another run",
            hint="Errors leave their images out: mend the cause and plan again. "
            "The other rows can be applied; that ends with exit code 3.",
        ),
    )
    DRIFT = (
        "drift",
        ActionTraits(
            "IM112",
            _same("{} drifted"),
            "tells",
            Section(
                80,
                "drift",
                "*",
                "drift",
                "moved since it was recorded; only shown here",
                "yellow",
                is_sourced=True,
            ),
        ),
    )

    @property
    def writes(self) -> bool:
        """Tell whether carrying it out puts an image at a destination."""
        return self.traits.does == "writes"

    @property
    def alters(self) -> bool:
        """Tell whether carrying it out changes something at a destination."""
        return self.traits.does in ("writes", "deletes")

    @property
    def is_carried_out(self) -> bool:
        """Tell whether an apply does something about it, be it only to the state."""
        return self.traits.does in ("writes", "deletes", "records")

    @property
    def is_told(self) -> bool:
        """Tell whether it only tells something: an apply has nothing to answer."""
        return self.traits.does == "tells"

    @property
    def is_left(self) -> bool:
        """Tell whether an apply leaves it undone, and says so."""
        return self.traits.does == "leaves"


# Where a reason makes a row another matter than its action alone.
_AT_A_LOSS = {
    Action.COPY: sections.LOST,
    Action.UPDATE: sections.INCOMPLETE,
    Action.FORGET: sections.GONE,
}

# In the order of danger: what a reviewer must not miss comes first.
SECTIONS = tuple(
    sorted(
        (
            *(action.traits.section for action in Action),
            *_AT_A_LOSS.values(),
            sections.KNOWN,
            sections.LATER,
        ),
        key=lambda section: section.rank,
    )
)


def section_for(action: Action, reason: Reason, *, is_known: bool) -> Section:
    """Find the section of a row; `is_known` is of conflicts that somebody has acknowledged."""
    if is_known:
        return sections.KNOWN
    if reason.traits.is_loss and action in _AT_A_LOSS:
        return _AT_A_LOSS[action]
    return action.traits.section
