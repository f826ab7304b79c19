"""What happens to those who hold a state that machines share, and to what keeps it."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.integration.chaos.deeds import SHORT_LEASE, WAIT
from tests.integration.chaos.places import TARGET
from tests.integration.chaos.tool import run_and_strike, run_together

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.chaos.deeds import Deeds
    from tests.integration.chaos.oracle import Oracle
    from tests.integration.chaos.tool import Ran
    from tests.integration.chaos.unkind import Unkind
    from tests.integration.chaos.world import World

__all__ = ["Holders"]

# Images that a run which comes to harm has to bring, besides what is left.
PUSHES = 6
# A command and its state exchange some dozens of pieces; an apply is cut at any of them.
MOST_PIECES = 120
LONGEST_CUT = 1.5


class Holders:
    """Each method lets a run that holds the state come to harm, and another go on; it says how."""

    def __init__(self, world: World, oracle: Oracle, deeds: Deeds, unkind: Unkind) -> None:
        self.world, self.oracle, self.deeds, self.unkind = world, oracle, deeds, unkind
        self.random = world.random

    def holder_killed(self) -> str:
        """A run that has much to do is killed, and another machine goes on."""
        return f"{self._push()}, {self.deeds.apply_and_kill()}"

    def holder_paused(self) -> str:
        """A run stands still for its lease, is followed, and writes nothing more."""
        world, deeds = self.world, self.deeds
        self._push()
        with world.leasing(SHORT_LEASE):
            made, ran = deeds.make(deeds.main, ())
        if made is None:
            return f"no plan: {ran.code}"
        before, left = world.look(), self.random.randint(1, 8)
        made.applied += 1
        found: list[Ran] = []

        def follow() -> None:
            self.oracle.changed(before, made)
            found.append(deeds.carry_out(made, more=WAIT))

        # One image after the other: of several, one might be about to write.
        words = ("apply", made.saved.file, "-c", made.wish.file, "--parallelism", "1")
        front = world.fronts[TARGET]
        with front.striking(left, signal.SIGSTOP):
            paused = run_and_strike(world.real, front, words, world.machine(), follow)
        then = dict(world.tags)  # as they were when it went on: who followed it looked last
        self.oracle.ended(paused)
        if found:
            if paused.code != 5:
                self.oracle.fault("paused-went-on", f"{paused.code}: {paused.text[-1500:]}")
            if found[0].code == 5:
                self.oracle.fault("not-followed", found[0].text[-1500:])
            if then != world.look():
                self.oracle.fault("paused-wrote", f"{made.saved.file}: {paused.text[-1500:]}")
        else:
            self.oracle.changed(before, made)
        followed = found[0].code if found else "nobody"
        return f"{made.saved.file}: paused at {left}, exit {paused.code}, followed by {followed}"

    def writers_race(self) -> str:
        """Two machines apply one plan at once: each in its turn, and the second does nothing."""
        world, deeds = self.world, self.deeds
        self._push()
        made, ran = deeds.make(deeds.main, deeds.options())
        if made is None:
            return f"no plan: {ran.code}"
        before = world.look()
        made.applied += 1
        words = ("apply", made.saved.file, "-c", made.wish.file, *WAIT)
        both = run_together(world.real, words, [world.machine(), world.machine()])
        for each in both:
            self.oracle.ended(each)
            if each.code in (1, 5):
                self.oracle.fault("raced", f"{each.code}: {each.text[-1500:]}")
        self.oracle.changed(before, made)
        again = deeds.carry_out(made)
        return f"{made.saved.file}: exit {both[0].code} and {both[1].code}, then {again.code}"

    def state_away(self) -> str:
        """The line to the state is cut at some moment of a plan or an apply, for a while."""
        deeds, line = self.deeds, self.world.states.line
        if line is None:
            return ""
        left, seconds = self.random.randint(1, MOST_PIECES), self.random.random() * LONGEST_CUT
        restart = self.world.states.restart if self.random.random() < 0.3 else None
        told = f"cut at {left} for {seconds:.1f} s{' by a restart' if restart else ''}"
        cuts = line.cuts
        self._push()

        @contextmanager
        def cut() -> Iterator[None]:
            line.cut(left, seconds, restart)
            yield
            line.mend()

        if self.random.random() < 0.2:
            made, ran = deeds.make(deeds.main, deeds.options(), during=cut())
            return f"{told}, {made.saved.file if made else 'no plan'}: {ran.code}"
        made, ran = deeds.make(deeds.main, deeds.options())
        if made is None:
            return f"no plan: {ran.code}"
        before = self.world.look()
        with self.oracle.excusing("StateAway"):
            ran = deeds.carry_out(made, more=WAIT, during=cut())
        if ran.code == 1 and before != self.world.look():
            self.oracle.fault("failed-but-moved", ran.text[-1500:])
        if line.cuts == cuts:
            return f"not {told}, exit {ran.code}"
        # It may not have been able to let go.
        deeds.break_lock(made.wish)
        again = deeds.carry_out(made)
        if again.code == 5:
            self.oracle.fault("still-locked", again.text[-1500:])
        return f"{told}, {made.saved.file}: exit {ran.code}, {again.code}"

    def _push(self) -> str:
        """Give the next run something to do."""
        return ", ".join(self.unkind.source_push() for _ in range(PUSHES))
