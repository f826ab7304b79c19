"""What is done with the command, and what must hold after each time."""

from __future__ import annotations

import hashlib
import shutil
import signal
from contextlib import nullcontext
from typing import TYPE_CHECKING

from imgmigrate.config.values.backends import LEASE
from tests.integration.chaos.oracle import Made
from tests.integration.chaos.places import LAYOUTS, TARGET
from tests.integration.chaos.tool import read_plan, run_and_strike

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from tests.integration.chaos.oracle import Oracle
    from tests.integration.chaos.places import Place
    from tests.integration.chaos.tool import Ran
    from tests.integration.chaos.wishes import Wish
    from tests.integration.chaos.world import World

__all__ = ["SHORT_LEASE", "WAIT", "Deeds"]

MOST_PLANS = 6
# Seconds of a lease that is soon over.
SHORT_LEASE = 2.0
# How long whoever comes meanwhile waits for it.
WAIT = ("--lock-timeout", "90s")
_CALM = nullcontext()
PLAN_OPTIONS = (
    (),
    (),
    (),
    ("--allow-delete",),
    ("--allow-delete",),
    ("--allow-delete-gone",),
    ("--allow-delete-gone",),
    ("--allow-delete", "--allow-delete-gone"),
    ("--forget",),
    ("--no-refresh",),
    ("--replace", "**"),
    ("--target", "**:v*"),
    ("--allow-delete", "--no-refresh"),
    ("--refresh-only",),
)


class Deeds:
    """Each method does something with the command; it says what."""

    def __init__(self, world: World, oracle: Oracle, known: frozenset[str]) -> None:
        self.world, self.oracle, self.random = world, oracle, world.random
        # Options and commands that the command under test has.
        self.known = known
        self.plans: list[Made] = []
        self.pulled = 0
        self._number = 0

    # Planning and applying.

    def plan(self) -> str:
        """A plan is made, and kept for later."""
        made, ran = self.make(self.main, self.options())
        return f"{' '.join(ran.arguments)}: {self._told(made, ran)}"

    def migrate(self) -> str:
        """A plan is made and applied at once."""
        return self.migrate_all(self.main, self.options())

    def apply_an_older_plan(self) -> str:
        """Any kept plan is applied, whatever has happened since."""
        if not self.plans:
            return ""
        made = self.random.choice(self.plans)
        ran = self.carry_out(made)
        return f"{made.saved.file}: exit {ran.code}"

    def apply_twice(self) -> str:
        """The same plan again does nothing more."""
        made, ran = self.make(self.main, self.options())
        if made is None:
            return f"no plan: {ran.code}"
        first = self.carry_out(made)
        before = self.world.look()
        again = self.carry_out(made)
        if before != self.world.look() and first.code in (0, 7):
            self.oracle.fault("twice", f"{made.saved.file} wrote again: {again.text[-800:]}")
        return f"{made.saved.file}: exit {first.code}, {again.code}"

    def apply_and_kill(self) -> str:
        """An apply is killed on the way, and the same plan applied again."""
        made, ran = self.make(self.main, self.options())
        if made is None:
            return f"no plan: {ran.code}"
        before, left = self.world.look(), self.random.randint(1, 12)
        made.applied += 1
        is_patient = self._is_shared and self.random.random() < 0.5
        with self.world.leasing(SHORT_LEASE if is_patient else LEASE):
            self._write(made.wish)
        words = ("apply", made.saved.file, "-c", made.wish.file)
        front = self.world.fronts[TARGET]
        with front.striking(left, signal.SIGKILL):
            killed = run_and_strike(self.world.real, front, words, self.world.machine())
        self.oracle.ended(killed, killed=True)
        self.oracle.changed(before, made)
        told = f"{made.saved.file}: exit {killed.code} after {left}"
        if killed.code >= 0 or not self._is_shared:
            return f"{told}, {self.carry_out(made).code}"
        return f"{told}, {self._follow(made, is_patient=is_patient)}"

    def _follow(self, made: Made, *, is_patient: bool) -> str:
        """Another machine goes on where a holder was killed: it waits, or breaks the lease."""
        if not is_patient:
            early = self.carry_out(made)
            if early.code != 5:
                self.oracle.fault("not-held", f"{early.code}: {early.text[-800:]}")
            self.break_lock(made.wish)
        again = self.carry_out(made, more=WAIT if is_patient else ())
        if again.code == 5:
            self.oracle.fault("still-locked", again.text[-1500:])
        return f"{'waited' if is_patient else 'broke'}, {again.code}"

    def break_lock(self, wish: Wish) -> None:
        """A lease is taken from whoever has it."""
        ran = self.world.run("state", "lock", "--break", "-c", wish.file)
        self.oracle.ended(ran)
        if ran.code:
            self.oracle.fault("unbroken", ran.text[-1500:])

    def apply_with_another_config(self) -> str:
        """A plan is applied with a config that it was not made from."""
        if not self.plans:
            return ""
        made = self.random.choice(self.plans)
        wish = self.random.choice([each for each in self.world.wishes if each is not made.wish])
        ran = self.carry_out(made, wish)
        return f"{made.saved.file} -c {wish.file}: exit {ran.code}"

    def use_another_config(self) -> str:
        """Another config is migrated, if it has a state of its own."""
        wish = self.random.choice(self.world.wishes[1:])
        if wish.state != self.main.state:
            return self.migrate_all(wish, self.options())
        if not self.oracle.records(self.main):
            return ""
        made, ran = self.make(wish, self.options())
        if made is not None:
            self.oracle.fault("shared-state", f"{wish.file} plans with {wish.state}: {ran.code}")
            self.carry_out(made)
        return f"{wish.file}: exit {ran.code}"

    def roll_back(self) -> str:
        """What a plan did is undone."""
        plans = [each for each in self.plans if each.applied and each.wish is self.main]
        if not plans:
            return ""
        undone = self.random.choice(plans)
        made, ran = self.make(undone.wish, (), "rollback", undone.saved.file)
        if made is None:
            return f"{undone.saved.file}: {ran.code}"
        made.overwrites = False
        return f"{undone.saved.file}: exit {self.carry_out(made).code}"

    def adopt(self) -> str:
        """What is there as the config says is recorded, and nothing is written."""
        self._write(self.main)
        before, had = self.world.look(), self.oracle.records(self.main)
        self._wants_are_ours()
        ran = self.world.run("adopt", "**", "--auto-approve", "-c", self.main.file)
        self.oracle.ended(ran)
        self.oracle.changed(before, None)
        lost = had.keys() - self.oracle.records(self.main).keys()
        if lost:
            self.oracle.fault("forgotten", f"by adopt: {sorted(lost)}")
        return f"exit {ran.code}"

    def remove_records(self) -> str:
        """Some records are erased."""
        self._write(self.main)
        # By place: how addresses sort is up to their ports.
        records = list(self.oracle.records(self.main))
        records.sort(key=lambda each: str(self.world.place(each)))
        if not records:
            return ""
        name = self.random.choice(records)
        before = self.world.look()
        ran = self.world.run("state", "rm", name, "--auto-approve", "-c", self.main.file)
        self.oracle.ended(ran)
        self.oracle.changed(before, None)
        return f"{name}: exit {ran.code}"

    # Proof.

    def settle(self) -> str:
        """With honest registries a plan and an apply leave nothing to do but what is said."""
        for front in self.world.fronts.values():
            front.lies.clear()
        made, ran = self.make(self.main, ())
        if made is None:
            if ran.code not in (6, 64):
                self.oracle.fault("no-plan", f"exit {ran.code}: {ran.text[-800:]}")
            return f"no plan: {ran.code}"
        applied = self.carry_out(made, fresh=True)
        again, ran = self.make(self.main, ("--detailed-exitcode",))
        if again is None:
            self.oracle.fault("no-plan", f"exit {ran.code}: {ran.text[-800:]}")
            return "no second plan"
        self._left(again)
        if "known-exit-7" in self.known:
            self._codes(again, ran, applied)
        self._read(again)
        if "verify" in self.known:
            self.oracle.verified(self.main)
        return f"exit {applied.code}, then {ran.code}, {self.pulled} read by skopeo"

    def _left(self, made: Made) -> None:
        """What a second plan still wants to do could not be done, for a cause outside."""
        for row in made.saved.rows:
            place = self.world.place(row.address)
            if row.action not in ("copy", "update", "move", "adopt") or place is None:
                continue
            wants = made.wants
            if place in wants.broken | wants.contested or self._is_spoilt(place):
                continue
            if row.heir is not None and self._is_broken(place):
                continue  # what is to be kept cannot be, so nothing may replace it
            self.oracle.fault("left-to-do", f"{row}")

    def _is_broken(self, place: Place) -> bool:
        """Tell whether the image at a place lacks a part of its own."""
        digest = self.world.look().get(place)
        return digest is not None and bool(self.world.reader.faults(place, digest))

    def _is_spoilt(self, place: Place) -> bool:
        """Tell whether a registry holds a blob of its image that nobody can repair."""
        digest = self._wanted(self.main).get(place)
        image = self.world.known.get(digest or "")
        spoilt = {blob for store, _, blob in self.oracle.damaged if store == place.store}
        return image is None or bool(spoilt & image.blobs.keys())

    def _codes(self, made: Made, planned: Ran, applied: Ran) -> None:
        """Exit codes tell what is left: 7 is for people, 3 for another run, 2 for both kinds."""
        actions = made.saved.actions
        alters = actions & {"copy", "update", "move", "delete", "conflict"}
        expected = 3 if "error" in actions else 2 if alters else 0
        if planned.code != expected:
            text = f"plan --detailed-exitcode: {planned.code}, not {expected}; {sorted(actions)}"
            self.oracle.fault("code", text)
        if applied.code == 7 and ("conflict" not in actions or "error" in actions):
            self.oracle.fault("code", f"apply: 7, then {sorted(actions)}")

    def _read(self, made: Made) -> None:
        """Everything wanted that no row excuses is there and whole; skopeo reads one of them."""
        rows = {self.world.place(row.address) for row in made.saved.rows}
        places = [
            place
            for place, digest in sorted(made.wants.images.items())
            if place not in rows and digest and self.world.tags.get(place) == digest
        ]
        sure = {place for place in places if place not in made.wants.broken}
        self.oracle.whole(
            {each for each in sure if each.store != LAYOUTS or self.oracle.is_seen_broken(each)},
            "after all is settled",
        )
        reader, tags = self.world.reader, self.world.tags
        whole = [
            each
            for each in sorted(sure)
            if not reader.faults(each, tags[each]) and reader.can_pull(each, tags[each])
        ]
        if whole:
            folder = self.world.root / "pulled"
            shutil.rmtree(folder, ignore_errors=True)
            try:
                reader.pull(self.random.choice(whole), folder)
            except AssertionError as error:
                self.oracle.fault("skopeo", str(error))
            self.pulled += 1

    # Steps.

    @property
    def main(self) -> Wish:
        """The config that most is done with."""
        return self.world.wishes[0]

    @property
    def _is_shared(self) -> bool:
        return self.world.states.kind != "local"

    def options(self) -> tuple[str, ...]:
        """Choose how to plan."""
        options = self.random.choice(PLAN_OPTIONS)
        return tuple(each for each in options if not each.startswith("--") or each in self.known)

    def _write(self, wish: Wish) -> None:
        self.world.write(wish)

    def _wanted(self, wish: Wish) -> dict[Place, str | None]:
        return wish.wants(self.world).images

    def _wants_are_ours(self) -> dict[Place, str | None]:
        """What is wanted now may be adopted, and is ours then."""
        wanted: dict[Place, str | None] = {}
        for wish in self.world.wishes:
            wants = wish.wants(self.world)
            self.oracle.origins |= wants.origins
            wanted |= {p: d for p, d in wants.images.items() if d or p not in wants.named}
        for place, digest in wanted.items():
            if digest:
                self.oracle.ours[place].add(digest)
        return wanted

    def make(
        self,
        wish: Wish,
        options: tuple[str, ...],
        *verb: str,
        during: AbstractContextManager[object] = _CALM,
    ) -> tuple[Made | None, Ran]:
        """Plan and read the plan; None where there is none, and what was said."""
        self._write(wish)
        before = self.world.look()
        wanted = self._wants_are_ours()
        wants = wish.wants(self.world)
        self._number += 1
        file = f"plan-{self._number % (4 * MOST_PLANS)}.out"
        path = self.world.real / file
        path.unlink(missing_ok=True)
        words = (*(verb or ("plan",)), *options, "--out", file, "-c", wish.file)
        keeps = self._is_shared and not verb and self.random.random() < 0.3
        words += ("--save",) if keeps else ()
        with during:
            ran = self.world.run(*words)
        self.oracle.ended(ran)
        self.oracle.changed(before, None)
        self.plans = [each for each in self.plans if each.saved.file != file]
        if not path.exists():
            if ran.code in (0, 2, 3):
                self.oracle.fault("no-plan", f"exit {ran.code}: {ran.text[-800:]}")
            return None, ran
        lies = frozenset(kind for front in self.world.fronts.values() for kind in front.lies)
        made = Made(
            saved=read_plan(path),
            wish=wish,
            wants=wants,
            wanted=wanted,
            options=options,
            lies=lies,
            overwrites=any(rule.overwrite == "always" for rule in wants.rules),
            protect=wish.protect,
            keep=wish.keep,
            kept_by=hashlib.sha256(path.read_bytes()).hexdigest() if keeps else None,
        )
        self.plans = [*self.plans[-MOST_PLANS:], made]
        if not verb:
            self.oracle.named(made, ran)
        return made, ran

    def carry_out(
        self,
        made: Made,
        wish: Wish | None = None,
        *,
        fresh: bool = False,
        more: tuple[str, ...] = (),
        during: AbstractContextManager[object] = _CALM,
    ) -> Ran:
        """Apply a plan `during` something; what holds after any apply is checked."""
        wish = wish or made.wish
        self._write(wish)
        before, had = self.world.look(), self.oracle.records(wish)
        words = ("apply", *self._named(made, wish), "--json", "-c", wish.file, *more)
        with during:
            ran = self.world.run(*words)
        made.applied += 1
        self.oracle.ended(ran)
        self.oracle.changed(before, made if wish is made.wish else None)
        has = self.oracle.records(wish)
        if wish is made.wish:
            self.oracle.recorded(had, has, made)
            self.oracle.stands(made, ran)
            if fresh:
                self.oracle.written(before, has, made)
                if ran.code in (1, 4, 5, 64):
                    self.oracle.fault("refused", f"{made.saved.file}: {ran.text[-1500:]}")
        elif has != had:
            text = f"{made.saved.file} of {made.wish.file} -c {wish.file}: {_more(had, has)}"
            self.oracle.fault("other-config-recorded", text)
        return ran

    def migrate_all(self, wish: Wish, options: tuple[str, ...]) -> str:
        """Plan what a config asks for, and apply that at once."""
        made, ran = self.make(wish, options)
        if made is None:
            return f"{wish.file} {' '.join(options)}: no plan: {ran.code}"
        applied = self.carry_out(made, fresh=True)
        self.oracle.done(made, applied)
        told = self._told(made, ran)
        return f"{wish.file} {' '.join(options)} {made.saved.file}: {told}, exit {applied.code}"

    def _named(self, made: Made, wish: Wish) -> tuple[str, ...]:
        """Name a plan by its file, or by what it is kept by beside the state."""
        if made.kept_by and wish is made.wish and self.random.random() < 0.5:
            return "--plan", made.kept_by
        return (made.saved.file,)

    def _told(self, made: Made | None, ran: Ran) -> str:
        if made is None:
            return f"no plan: {ran.code}"
        counts = [
            f"{sum(row.action == action for row in made.saved.rows)} {action}"
            for action in sorted(made.saved.actions)
        ]
        return f"exit {ran.code}, {', '.join(counts) or 'nothing'}"


def _more(had: dict[str, str], has: dict[str, str]) -> str:
    return f"+{sorted(has.keys() - had.keys())} -{sorted(had.keys() - has.keys())}"
