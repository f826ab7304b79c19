"""What must hold, whatever happened: each check is a promise, and names what broke it.

It reads disks and raw HTTP, the plan's file and what the command prints; of the code under test
it believes only what that says of itself (rows, records), and compares it.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import imgmigrate.errors
from tests.integration.chaos.places import LAYOUTS, SOURCE, Place
from tests.integration.chaos.tool import documents

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.chaos.tool import Ran, Row, Saved
    from tests.integration.chaos.wishes import Wants, Wish
    from tests.integration.chaos.world import World

__all__ = ["EXIT_CODES", "Fault", "Made", "Oracle"]

EXIT_CODES = frozenset({0, 1, 2, 3, 4, 5, 6, 7, 8, 64})
# Rows that say of an address that it will not be, or need not be, as the config says.
NAMING = frozenset({"copy", "update", "move", "conflict", "error", "keep", "adopt"})


# What tells a digest from others is enough to read.
_DIGEST = re.compile(r"sha256:([0-9a-f]{8})[0-9a-f]{56}")


@dataclass(frozen=True)
class Fault(Exception):
    """A promise that was broken."""

    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


@dataclass
class Made:
    """A plan that was made, with what its config asked for then and how it was made."""

    saved: Saved
    wish: Wish
    wants: Wants
    # All that any config wanted then: nothing of it may be deleted.
    wanted: dict[Place, str | None]
    options: tuple[str, ...]
    lies: frozenset[str]
    overwrites: bool
    protect: tuple[str, str] | None
    keep: bool
    # The sha256 that it is kept by where the state is, if it is.
    kept_by: str | None = None
    applied: int = 0

    @property
    def is_whole(self) -> bool:
        """Tell whether it looked at everything."""
        return not {"--target", "--no-refresh", "--refresh-only"} & set(self.options)


@dataclass
class Oracle:
    """Remembers who wrote what, and what the world has broken where nobody can see it."""

    world: World
    # Kinds that are not asked for.
    ignored: frozenset[str] = frozenset()
    faults: list[Fault] = field(default_factory=list)
    # Every digest that we wrote at a place, or that was wanted there while we planned.
    ours: defaultdict[Place, set[str]] = field(default_factory=lambda: defaultdict(set))
    # Where a place's image came from when it was last wanted.
    origins: dict[Place, Place] = field(default_factory=dict)
    # Blobs that a registry lost behind everybody's back: store, repository or *, digest.
    damaged: set[tuple[str, str, str]] = field(default_factory=set)
    # Manifests that went from the registry that is written to, their tags left: repository, digest.
    dangling: set[tuple[str, str]] = field(default_factory=set)
    # Kinds of errors that may end an apply before it does anything.
    _excused: set[str] = field(default_factory=set)
    # Records by config, as they were at a version of the state.
    _read: dict[str, tuple[object, dict[str, str]]] = field(default_factory=dict)

    def fault(self, kind: str, text: str) -> None:
        """Note that a promise was broken."""
        if kind not in self.ignored:
            self.faults.append(Fault(kind, _DIGEST.sub(r"\1", text)))

    # The command itself.

    def ended(self, ran: Ran, *, killed: bool = False) -> None:
        """No command ends without a code of the table, or with a traceback."""
        what = f"{' '.join(ran.arguments)}: exit {ran.code}\n{ran.text[-1500:]}"
        errors = [each for each in documents(ran.out) if each.get("@level") == "error"]
        names = {str(each["kind"]) for each in errors if each.get("kind")}
        unexpected = {name for name in names if not hasattr(imgmigrate.errors, name)}
        if "Traceback" in ran.err or "this is unexpected" in ran.err or unexpected:
            self.fault("traceback", what)
        elif ran.code not in EXIT_CODES and not (killed and ran.code < 0):
            self.fault("exit-code", what)
        elif ran.code == 1 and "apply" in ran.arguments and names != self._excused:
            self.fault("apply-exit-1", what)

    @contextmanager
    def excusing(self, kind: str) -> Iterator[None]:
        """Let errors of a kind end an apply before it does anything."""
        self._excused = {kind}
        try:
            yield
        finally:
            self._excused = set()

    # What changed, and might it?

    def changed(self, before: dict[Place, str], made: Made | None, *, forced: bool = False) -> None:
        """What a command changed was ours, was asked for, and is not what somebody wants.

        Without a plan nothing may change. `forced`: what is not ours may be overwritten.
        """
        after = self.world.look()
        for place in sorted(before.keys() | after.keys()):
            old, new = before.get(place), after.get(place)
            if old == new:
                continue
            if made is None or place.store == SOURCE:
                self.fault("wrote-unasked", f"{place}: {old} -> {new}")
                continue
            is_ours = old is None or (old in self.ours[place] and old not in self.world.foreign)
            is_there = old is None or not self._is_dangling(place, old)
            if is_there and not is_ours and not (made.overwrites or forced):
                self.fault("foreign-changed", f"{place}: {old} -> {new}")
            if new is None:
                self._deleted(place, made)
            elif made.keep and is_there and old in self.world.known and is_ours:
                self._kept(place, old, after, made)
            if is_ours and old in self.world.known:
                self._inherited(place, old, after, made)
            if new is not None:
                self.ours[place].add(new)

    def _is_dangling(self, place: Place, digest: str) -> bool:
        """Tell whether a tag named what nobody could read: it takes nothing from anybody."""
        is_gone = (place.repo, digest) in self.dangling
        return is_gone and not self.world.shelves[place.store].has_manifest(place.repo, digest)

    def _deleted(self, place: Place, made: Made) -> None:
        what = f"{place} by {made.saved.file} ({' '.join(made.options)})"
        deletes = {"--allow-delete", "--allow-delete-gone"} & set(made.options)
        if not deletes:
            self.fault("deleted-unasked", what)
        if place in made.wanted:
            self.fault("deleted-wanted", what)
        of_all = self._rows(made).get(place._replace(tag=""), ())
        is_blind = made.wants.is_blind(place) or any(row.action == "error" for row in of_all)
        if is_blind and place not in made.wanted:
            self.fault("deleted-blind", what)
        if made.protect and place.store != LAYOUTS and place.repo == made.protect[1]:
            self.fault("deleted-protected", what)
        origin = self.origins.get(place)
        is_gone = made.wants.is_asked(place, origin) and place not in made.wanted
        if is_gone and deletes == {"--allow-delete"}:
            self.fault("deleted-gone", what)

    def _moves(self, place: Place, made: Made) -> bool:
        """Tell whether its image moves: it has an heir, and a delete may leave a placeholder."""
        return any(row.reason == "moved" for row in self._rows(made).get(place, ()))

    def _kept(self, place: Place, old: str, after: dict[Place, str], made: Made) -> None:
        if self._moves(place, made):
            return
        others = (
            digest
            for other, digest in after.items()
            if (other.store, other.repo) == (place.store, place.repo)
        )
        if old not in others:
            self.fault("not-kept", f"{place}: {old} has no tag any more")

    def _inherited(self, place: Place, old: str, after: dict[Place, str], made: Made) -> None:
        """What the plan says is to hold an image has it, once that is gone."""
        for row in self._rows(made).get(place, ()):
            if row.heir is None or row.action not in ("update", "delete"):
                continue
            heir = self.world.place(row.heir)
            if heir is not None and after.get(heir) != old:
                self.fault("heir-gone", f"{place}: {heir}, which is to hold {old}, does not")

    # What the state says.

    def records(self, wish: Wish) -> dict[str, str]:
        """Read the live records: address to digest."""
        version = self.world.states.version(wish.state)
        known = self._read.get(wish.file)
        if known is None or version is None or known[0] != version:
            self._read[wish.file] = known = version, self._list(wish)
        return dict(known[1])

    def _list(self, wish: Wish) -> dict[str, str]:
        if not (self.world.real / wish.file).exists():
            self.world.write(wish)  # nothing was planned with it yet
        ran = self.world.run("state", "list", "--json", "-c", wish.file)
        if ran.code:
            self.fault("unlisted", f"{wish.file}: {ran.text[-1500:]}")
        found = {}
        for each in documents(ran.out):
            record = each.get("record", {})
            if record.get("status", "live") == "live" and record:
                found[record["address"]] = record["digest"]
        return found

    def recorded(self, before: dict[str, str], after: dict[str, str], made: Made) -> None:
        """Ownership ends by a delete or a word, and begins at what the config joins."""
        lets_go = {"--forget", "--refresh-only"} & set(made.options)
        rows = {self.world.place(row.address): row for row in made.saved.rows}
        had, has = ({self.world.place(each) for each in some} for some in (before, after))
        for place in sorted(each for each in had - has if each):
            row = rows.get(place)
            # docker-registry may answer a DELETE with 500, and leave a tag that leads nowhere.
            is_there = place in self.world.tags and self.world.image(place) is not None
            if not lets_go and (row is None or row.action not in ("delete", "move") or is_there):
                self.fault("forgotten", f"{place}: {row}, there {self._there(place)}")
        if None in has - had:
            self.fault("recorded-nowhere", f"{sorted(after.keys() - before.keys())}")
        for place in sorted(each for each in has - had if each):
            is_asked = place in made.wants.images or made.wants.is_asked(place)
            is_undone = made.saved.header.get("undoes") is not None and place in rows
            if not is_asked and not is_undone and "-before-" not in place.tag:
                self.fault("recorded-unasked", f"{place} by {made.saved.file}")

    # Whole images.

    def faults_of(self, place: Place) -> dict[str, str]:
        """What is missing of the image at a place, but for what nobody could have seen."""
        faults = self.world.reader.faults(place, self.world.tags[place])
        return {
            digest: fault
            for digest, fault in faults.items()
            if not {(place.store, place.repo, digest), (place.store, "*", digest)} & self.damaged
        }

    def whole(self, places: set[Place], why: str) -> None:
        """Every image is at its destination with all that belongs to it."""
        for place in sorted(places):
            faults = self.faults_of(place) if place in self.world.tags else {}
            if faults:
                self.fault("not-whole", f"{place} {why}: {faults}")

    def written(self, before: dict[Place, str], records: dict[str, str], made: Made) -> None:
        """What an apply wrote and recorded is whole."""
        touched = set()
        rows = {row.address for row in made.saved.rows if row.action in ("copy", "update", "move")}
        for address, digest in records.items():
            place = self.world.place(address)
            if place is None or self.world.tags.get(place) != digest:
                continue
            if before.get(place) != digest or (
                address in rows and self._is_whole_source(place, made)
            ):
                touched.add(place)
        self.whole(touched, "just written")

    def stands(self, made: Made, ran: Ran) -> None:
        """Exit 0 says that a plan's images are in their layouts, whichever run brought them."""
        if ran.code != 0:
            return
        for place, rows in self._rows(made).items():
            if place is None or place.store != LAYOUTS or len(rows) > 1 or rows[0].after is None:
                continue
            if self.world.tags.get(place) != rows[0].after or self.is_seen_broken(place):
                text = f"{place}: {rows[0]}, there {self._there(place)}"
                self.fault("done-but", f"{made.saved.file}: {text}")

    def _is_whole_source(self, place: Place, made: Made) -> bool:
        """Tell whether a row about it could be done: now and when it was planned."""
        now = made.wish.wants(self.world)
        digest = self.world.tags[place]
        return (
            all(
                wants.images.get(place) == digest
                and place not in wants.broken | wants.contested | wants.hidden
                and not wants.blind
                and not wants.unread
                for wants in (made.wants, now)
            )
            and not made.lies
        )

    # What the plan says.

    def named(self, made: Made, ran: Ran) -> None:
        """Everything that is not as the config says is a row, and every strange name is told."""
        if not made.is_whole:
            return
        rows = self._rows(made)
        for place, digest in sorted(made.wants.images.items()):
            actions = self._actions(rows, place)
            if place in made.wants.hidden or self._is_unlistable(rows, place):
                continue
            if digest is None:
                # What is named in the config is in no list that was read: it may be just gone.
                allowed = {"error", "keep"} if place in made.wants.named else {"error"}
                if not actions & allowed:
                    self.fault("dangling-unnamed", f"{place}: {actions}")
                continue
            is_right = self.world.tags.get(place) == digest and not self.is_seen_broken(place)
            if not is_right and not actions:
                kind = "incomplete-unnamed" if self.world.tags.get(place) == digest else "unnamed"
                self.fault(kind, f"{place}: wanted {digest}, there {self._there(place)}")
        self._gone(made)
        for name in sorted(made.wants.illegal):
            if name not in ran.text and not made.lies:
                self.fault("name-dropped", f"{name} is in no warning")

    def _gone(self, made: Made) -> None:
        """What the plan says its source has lost is not there, or no list can be had of it."""
        for row in made.saved.rows:
            origin = self.world.place(row.source) if row.source else None
            if row.reason != "source_gone" or origin not in self.world.tags or origin is None:
                continue
            is_hidden = "cut" in made.lies or self.world.is_unreadable(origin.store, origin.repo)
            if not is_hidden and self.world.image(origin) is not None:
                self.fault("said-gone", f"{row}, and {origin} is there")

    def _rows(self, made: Made) -> dict[Place | None, list[Row]]:
        rows: dict[Place | None, list[Row]] = {}
        for row in made.saved.rows:
            rows.setdefault(self.world.place(row.address), []).append(row)
        return rows

    def _actions(self, rows: dict[Place | None, list[Row]], place: Place) -> set[str]:
        """The actions that name a place, or its whole repository, as what is not as wanted.

        What no rule asks for under one name of a place says nothing of the other names.
        """
        named = [*rows.get(place, []), *rows.get(place._replace(tag=""), [])]
        return {
            row.action for row in named if row.action in NAMING and row.reason != "rule_removed"
        }

    def _is_unlistable(self, rows: dict[Place | None, list[Row]], place: Place) -> bool:
        """Tell whether an error names the wildcard that would have led here."""
        is_wild = place.repo.startswith("many/") and place.store != LAYOUTS
        errors = [row for found in rows.values() for row in found if row.action == "error"]
        return is_wild and any(
            "many" in row.address and row.address.count(":") < 2 for row in errors
        )

    def is_seen_broken(self, place: Place) -> bool:
        """Tell whether a look at sizes shows that an image of a layout is not whole."""
        if place.store != LAYOUTS:
            return False
        faults = self.world.reader.faults(place, self.world.tags[place])
        return "missing" in faults.values() or any(self._is_short(place, each) for each in faults)

    def _is_short(self, place: Place, digest: str) -> bool:
        path = self.world.real / place.repo / "blobs" / digest.replace(":", "/")
        for image in self.world.known.values():
            _, raw = image.manifests.get(digest, ("", None))
            data = image.blobs.get(digest, raw)
            if data is not None:
                return path.stat().st_size != len(data)
        return False

    def _there(self, place: Place) -> str:
        digest = self.world.tags.get(place)
        return f"{digest} {self.world.reader.faults(place, digest)}" if digest else "nothing"

    def done(self, made: Made, ran: Ran) -> None:
        """After a plan that was just made, all is as its config says but what is told."""
        left = unfinished(ran)
        self._code(made, ran, left)
        if not made.is_whole or ran.code not in (0, 3, 7):
            return
        rows = self._rows(made)
        excused = {self.world.place(address) for address in left}
        for place, digest in sorted(made.wants.images.items()):
            actions = self._actions(rows, place)
            if place in made.wants.hidden | excused or actions & {"keep", "error", "conflict"}:
                continue
            if self._is_unlistable(rows, place):
                continue
            if place in made.wants.contested:
                self.fault("contested-done", f"{place}: both are done")
            elif digest != self.world.tags.get(place):
                there = self._there(place)
                self.fault("exit-0-but", f"{place}: wanted {digest}, there {there}, {actions}")
            elif digest and any(row.reason == "replace" for row in rows.get(place, ())):
                self._replaced(place, digest)
            elif (
                digest
                and place not in made.wants.broken
                and (
                    # Wrong bytes of the right size in a layout show only where it is written.
                    place.store != LAYOUTS or actions or self.is_seen_broken(place)
                )
            ):
                self.whole({place}, "after a run that was done")

    def _replaced(self, place: Place, digest: str) -> None:
        """What was written again on demand is right, whatever its files looked like."""
        faults = self.world.reader.faults(place, digest) if place.store == LAYOUTS else {}
        if faults:
            self.fault("not-replaced", f"{place}: {faults}")

    def _code(self, made: Made, ran: Ran, left: dict[str, str]) -> None:
        """Exit 0: nothing is left; 3: what another run may mend; 7: what a person must decide."""
        failed = "error" in made.saved.actions or set(left.values()) - {"conflict"}
        conflicts = "conflict" in made.saved.actions or "conflict" in left.values()
        expected = 3 if failed else 7 if conflicts else 0
        if ran.code in (0, 3, 7) and ran.code != expected and "code-7" not in self.ignored:
            text = f"{made.saved.file}: {ran.code}, not {expected}; {made.saved.actions}, {left}"
            self.fault("code", f"{text}\n{ran.text[-1500:]}")

    # The command's own reader.

    def verified(self, wish: Wish) -> None:
        """`verify` and the independent reader agree on each recorded image."""
        ran = self.world.run("verify", "--json", "--deep", "-c", wish.file)
        self.ended(ran)
        broken = set()
        for address, digest in self.records(wish).items():
            place = self.world.place(address)
            if place is None:
                continue
            there = self.world.tags.get(place)
            if there != digest or self.world.reader.faults(place, digest):
                broken.add(address)
        if bool(broken) != (ran.code == 2) or ran.code not in (0, 2):
            text = f"exit {ran.code}, but not whole are {sorted(broken)}\n{ran.text[-1500:]}"
            self.fault("verify-disagrees", text)
            return
        told = json.dumps(documents(ran.out))
        for address in sorted(broken):
            if address not in told:
                self.fault("verify-disagrees", f"{address} is not told")


def unfinished(ran: Ran) -> dict[str, str]:
    """Read from an apply's lines which addresses were not done, and why: failed, conflict..."""
    summaries = [each for each in documents(ran.out) if each.get("type") == "run_summary"]
    return {each["address"]: each["outcome"] for one in summaries for each in one["unfinished"]}
