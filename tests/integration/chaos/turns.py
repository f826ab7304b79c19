"""What turns under us: registries that lie, configs that are edited, states of an earlier day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.integration.chaos.front import LIES, LINKS
from tests.integration.chaos.places import SOURCE, TARGET
from tests.integration.chaos.wishes import Tags
from tests.integration.chaos.world import TAGS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.chaos.world import World

__all__ = ["Turns"]

# What hides images is told more often than what only is in the way.
_KINDS = {**dict.fromkeys((*LIES, *LINKS), 1), "cut": 3, "head-404": 3}
# Beginnings of the names of repositories; "" is all of them.
_ABOUT = {SOURCE: ("", "", "team/", "many/"), TARGET: ("", "", "mirror/", "many/")}


class Turns:
    """Each method is something that may turn; it says what, or "" where it cannot."""

    def __init__(self, world: World) -> None:
        self.world, self.random = world, world.random

    # Lies.

    def lie(self) -> str:
        """A front begins to lie, about all or about some."""
        store = self.random.choice((SOURCE, TARGET))
        [kind] = self.random.choices(list(_KINDS), list(_KINDS.values()))
        about = self.random.choice(_ABOUT[store])
        self.world.fronts[store].lies[kind] = about
        return f"{store} {kind} {about}"

    def no_lies(self) -> str:
        """All fronts are honest again."""
        for front in self.world.fronts.values():
            front.lies.clear()
        return "honest"

    # The config.

    def rule_comes_and_goes(self) -> str:
        """A rule is removed, or is there again."""
        name = self.random.choice(sorted(self.world.wishes[0].rules))
        rule = self.world.wishes[0].rules[name]
        rule.is_there = not rule.is_there
        if not any(each.is_there for each in self.world.wishes[0].rules.values()):
            rule.is_there = True
        return f"{name} {rule.is_there}"

    def rule_selects_others(self) -> str:
        """A rule selects other tags."""
        name = self.random.choice(("api", "web", "many", "disk"))
        some = tuple(sorted(self.random.sample(TAGS, 2)))
        kinds = (Tags(), Tags("but", some), Tags("like", ("v*",)), Tags("named", some))
        self.world.wishes[0].rules[name].tags = self.random.choice(kinds)
        return f"{name} {self.world.wishes[0].rules[name].tags}"

    def source_renamed(self) -> str:
        """A rule's source gets another name of the same registry, or one that leads nowhere."""
        name = self.random.choice(("api", "web", "many", "db"))
        rule = self.world.wishes[0].rules[name]
        if rule.broken or self.random.random() < 0.5:
            rule.broken = ""
            rule.source_name = self.random.randrange(3)
        else:
            rule.broken = self.random.choice(("missing", "dead"))
        return f"{name} {rule.broken or rule.source_name}"

    def target_renamed(self) -> str:
        """A rule's destination gets another name of the same registry."""
        name = self.random.choice(("api", "web", "many"))
        rule = self.world.wishes[0].rules[name]
        rule.target_name = self.random.randrange(3)
        return f"{name} {rule.target_name}"

    def layout_respelled(self) -> str:
        """A rule names its layouts in another way: absolute, through a link, with dots."""
        name = self.random.choice(("web", "disk", "db"))
        rule = self.world.wishes[0].rules[name]
        rule.spelling = self.random.randrange(4)
        return f"{name} {rule.spelling}"

    def destination_moved(self) -> str:
        """A rule writes to another repository; the config may say `moved`."""
        return self.move_destination(is_told=self.random.random() < 0.7)

    def move_destination(self, *, is_told: bool) -> str:
        """A rule writes to another repository; with `is_told` the config says `moved`."""
        wish = self.world.wishes[0]
        rule = wish.rules["api"]
        old = rule.to[0][1]
        new = "moved/api" if old == "mirror/api" else "mirror/api"
        rule.to = [(TARGET, new)]
        wish.moved = [(old, new)] if is_told else []
        return f"{old} -> {new} {wish.moved}"

    def guards_changed(self) -> str:
        """The config keeps what is replaced, or not; protects something, or nothing."""
        wish = self.world.wishes[0]
        wish.keep = self.random.random() < 0.5
        wish.protect = self.random.choice((None, (TARGET, "mirror/web"), (TARGET, "mirror/api")))
        rule = self.random.choice(sorted(wish.rules))
        wish.rules[rule].overwrite = self.random.choice(("owned", "owned", "never", "always"))
        return f"{wish.keep} {wish.protect} {rule} {wish.rules[rule].overwrite}"

    def config_settled(self) -> str:
        """The config is as at the beginning again, in all but names."""
        wish = self.world.wishes[0]
        for name, rule in wish.rules.items():
            rule.is_there, rule.broken, rule.overwrite = name != "again", "", "owned"
            if name != "db":
                rule.tags = Tags()
        return "as before"

    # States.

    def state_copied(self) -> str:
        """Somebody keeps a copy of the state."""
        self.world.states.keep(self.world.wishes[0].state, self._copy)
        return "copied"

    def state_restored(self) -> str:
        """The state is that of an earlier day."""
        if not self._copy.exists():
            return ""
        self.world.states.put_back(self.world.wishes[0].state, self._copy)
        return "restored"

    def state_lost(self) -> str:
        """The state is gone."""
        self.world.states.lose(self.world.wishes[0].state)
        return "lost"

    @property
    def _copy(self) -> Path:
        return self.world.spare / "state"
