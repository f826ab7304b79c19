"""What happens between a plan and its apply: what the plan saw is no longer so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.integration.chaos.places import LAYOUTS

if TYPE_CHECKING:
    from tests.integration.chaos.deeds import Deeds
    from tests.integration.chaos.oracle import Oracle
    from tests.integration.chaos.places import Place
    from tests.integration.chaos.turns import Turns
    from tests.integration.chaos.wishes import Wish
    from tests.integration.chaos.world import World

__all__ = ["Between"]

ELSEWHERE = "elsewhere"


class Between:
    """Each method makes a plan, lets something happen, and applies it; it says what."""

    def __init__(self, world: World, oracle: Oracle, turns: Turns, deeds: Deeds) -> None:
        self.world, self.oracle, self.turns, self.deeds = world, oracle, turns, deeds
        self.random = world.random

    def heir_taken(self) -> str:
        """What is to stand in an image's stead goes before the image would."""
        told = ""
        if self.random.random() < 0.7:
            # Then images are at their new address, and the old ones are left to go.
            told = f"{self.turns.move_destination(is_told=True)}, "
            told += f"{self.deeds.migrate_all(self.deeds.main, ())}, "
        made, ran = self.deeds.make(self.deeds.main, ("--allow-delete",))
        if made is None:
            return f"{told}no plan: {ran.code}"
        found = {self.world.place(row.heir) for row in made.saved.rows if row.heir}
        heirs = sorted(each for each in found if each in self.world.tags)
        if heirs:
            heir = self.random.choice(heirs)
            told += f"{heir} taken, "
            self._untag(heir)
        ran = self.deeds.carry_out(made)
        return f"{told}{made.saved.file}: exit {ran.code}"

    def first_plan_elsewhere(self) -> str:
        """A plan that was made without a state is applied to one that it was not made for."""
        wish, other = self.random.sample(self.world.wishes[2:], 2)
        self.world.states.lose(wish.state)
        made, ran = self.deeds.make(wish, ())
        if made is None:
            return f"no plan: {ran.code}"
        if self.random.random() < 0.5:
            ran = self.deeds.carry_out(made, other)
            return f"{made.saved.file} of {wish.file} -c {other.file}: exit {ran.code}"
        code = self._apply_elsewhere(made.saved.file, wish)
        return f"{made.saved.file} of {wish.file} --state {ELSEWHERE}: exit {code}"

    def _apply_elsewhere(self, file: str, wish: Wish) -> int:
        before, place = self.world.look(), self.world.states.place(ELSEWHERE)
        words = ("apply", file, "--state", place, "-c", wish.file)
        ran = self.world.run(*words)
        self.oracle.ended(ran)
        self.oracle.changed(before, None)
        if self.world.states.sequence(ELSEWHERE):
            self.oracle.fault("other-state-recorded", f"{' '.join(words)}: {ran.text[-800:]}")
        return ran.code

    def _untag(self, place: Place) -> None:
        if place.store == LAYOUTS:
            self.world.disks.untag(place.repo, place.tag)
        else:
            self.world.shelves[place.store].untag(place.repo, place.tag)
