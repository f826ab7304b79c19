"""What a config asks for: rules as data, their text, and what they mean to whoever reads disks."""

from __future__ import annotations

import fnmatch
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tests.integration.chaos.places import LAYOUTS, SOURCE, TARGET, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["Rule", "Tags", "Wants", "Wish"]

_LEGAL = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
# How a rule's source is spelled wrong: a repository that is not there, a host that is not.
Broken = Literal["", "missing", "dead"]


@dataclass(frozen=True)
class Tags:
    """Which tags a rule selects."""

    kind: Literal["all", "named", "but", "like"] = "all"
    names: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Write it as the config has it."""
        if self.kind == "all":
            return ""
        names = json.dumps(self.names)
        texts = {"named": names, "but": f"{{exclude: {names}}}", "like": f"{{include: {names}}}"}
        return f", tags: {texts[self.kind]}"

    def selects(self, tag: str) -> bool:
        """Tell whether a tag is among them."""
        if self.kind == "all":
            return True
        if self.kind == "like":
            return any(fnmatch.fnmatchcase(tag, name) for name in self.names)
        return (tag in self.names) == (self.kind == "named")


@dataclass
class Rule:
    """One rule; names of hosts and spellings of layouts are chosen by number."""

    source: tuple[str, str]
    to: list[tuple[str, str]]
    tags: Tags = Tags()
    is_there: bool = True
    broken: Broken = ""
    source_name: int = 0
    target_name: int = 0
    spelling: int = 0
    overwrite: str = "owned"

    @property
    def is_wild(self) -> bool:
        """Tell a rule of many repositories."""
        return self.source[1].endswith("**")

    def repositories(self, existing: Iterable[str]) -> list[str]:
        """Choose the source's repositories of those that exist."""
        if not self.is_wild:
            return [self.source[1]] if self.source[1] in existing else []
        return [repo for repo in existing if repo.startswith(self.source[1][:-2])]

    def destinations(self, repo: str) -> list[tuple[str, str]]:
        """Where images of a source repository go: store and repository."""
        match = repo.removeprefix(self.source[1][:-2]) if self.is_wild else ""
        return [(store, to.replace("{match}", match)) for store, to in self.to]

    def reads(self, origin: Place) -> bool:
        """Tell whether it may read a repository."""
        return bool(self.repositories([origin.repo])) and self.source[0] == origin.store

    def writes_to(self, store: str, repo: str) -> bool:
        """Tell whether it may write to a repository."""
        return any(
            there == store and fnmatch.fnmatchcase(repo, to.replace("{match}", "*"))
            for there, to in self.to
        )


@dataclass
class Wants:
    """What a config asks for at one moment, read from disks, whatever a registry says.

    `images` has None where a listed tag's manifest is gone. `rules` still ask for tags that are
    gone. `blind` are rules whose source cannot be read, `unread` the destinations of those
    repositories of a rule's source that cannot. `hidden` places are wanted, but no
    listing that can be had names them. `contested` are wanted from two different sources, `named`
    by the config itself, and images of `broken` are not whole at their source.
    """

    images: dict[Place, str | None] = field(default_factory=dict)
    blind: list[Rule] = field(default_factory=list)
    unread: set[tuple[str, str]] = field(default_factory=set)
    hidden: set[Place] = field(default_factory=set)
    contested: set[Place] = field(default_factory=set)
    named: set[Place] = field(default_factory=set)
    broken: set[Place] = field(default_factory=set)
    illegal: set[str] = field(default_factory=set)
    rules: list[Rule] = field(default_factory=list)
    origins: dict[Place, Place] = field(default_factory=dict)

    def is_blind(self, place: Place) -> bool:
        """Tell whether a rule that may write to a place's repository could not be read."""
        is_unread = (place.store, place.repo) in self.unread
        return is_unread or any(rule.writes_to(place.store, place.repo) for rule in self.blind)

    def is_asked(self, place: Place, origin: Place | None = None) -> bool:
        """Tell whether some rule would select a place, if its source, or this one, showed it."""
        return any(
            rule.writes_to(place.store, place.repo)
            and rule.tags.selects(place.tag)
            and (origin is None or rule.reads(origin))
            for rule in self.rules
        )


@dataclass
class Wish:
    """A config file: its name, its rules and its guards."""

    file: str
    rules: dict[str, Rule]
    keep: bool = False
    protect: tuple[str, str] | None = None
    moved: list[tuple[str, str]] = field(default_factory=list)
    extra: str = ""

    @property
    def state(self) -> str:
        """What its state is called."""
        return self.file.rpartition(".")[0]

    def text(self, names: Mapping[str, list[str]], spell: Callable[[str, int], str]) -> str:
        """Write it."""
        hosts = sorted({name for each in names.values() for name in each})
        lines = ["version: 1", "registries:"]
        lines += [f"  {json.dumps(host)}: {{plain_http: true}}" for host in hosts]
        if self.keep:
            lines.append('keep_previous: "{tag}-before-{date}"')
        if self.protect:
            globs = [f"{host}/{self.protect[1]}:**" for host in names[TARGET]]
            lines.append(f"protect: {json.dumps(globs)}")
        if self.moved:
            pairs = [
                f"{{from: '{names[TARGET][0]}/{old}', to: '{names[TARGET][0]}/{new}'}}"
                for old, new in self.moved
            ]
            lines.append(f"moved: [{', '.join(pairs)}]")
        lines += [self.extra] if self.extra else []
        lines.append("images:")
        lines += [self._rule(rule, names, spell) for rule in self.rules.values() if rule.is_there]
        return "\n".join((*lines, ""))

    def _rule(
        self, rule: Rule, names: Mapping[str, list[str]], spell: Callable[[str, int], str]
    ) -> str:
        store, repo = rule.source
        repo = f"none/{repo}" if rule.broken == "missing" else repo
        if store == LAYOUTS:
            source = spell(repo, rule.spelling)
        else:
            host = names["dead"][0] if rule.broken == "dead" else names[SOURCE][rule.source_name]
            source = f"{host}/{repo}"
        to = [
            spell(repo, rule.spelling)
            if store == LAYOUTS
            else f"{names[TARGET][rule.target_name]}/{repo}"
            for store, repo in rule.to
        ]
        more = f"{rule.tags.text}, overwrite: {rule.overwrite}"
        return f"  - {{source: {json.dumps(source)}, destination: {json.dumps(to)}{more}}}"

    def wants(self, world: Evidence) -> Wants:
        """Read from disks what it asks for."""
        wants = Wants(rules=[rule for rule in self.rules.values() if rule.is_there])
        for rule in wants.rules:
            store = rule.source[0]
            existing = world.repositories(store)
            repos = [] if rule.broken else rule.repositories(existing)
            if not repos:
                wants.blind.append(rule)
            for repo in repos:
                if world.is_unreadable(store, repo):
                    wants.unread.update(rule.destinations(repo))
                self._want(wants, rule, repo, world)
        return wants

    def _want(self, wants: Wants, rule: Rule, repo: str, world: Evidence) -> None:
        store = rule.source[0]
        tags = sorted(
            place.tag for place in world.tags if (place.store, place.repo) == (store, repo)
        )
        shown = set(tags) if rule.tags.kind == "named" else world.shown(rule, repo, tags)
        for tag in tags:
            if not _LEGAL.fullmatch(tag):
                if tag in shown and rule.tags.kind == "all":
                    wants.illegal.add(tag)
                continue
            if not rule.tags.selects(tag):
                continue
            origin = Place(store, repo, tag)
            for there, to in rule.destinations(repo):
                place = Place(there, to, tag)
                digest = world.image(origin)
                if wants.images.get(place, digest) != digest:
                    wants.contested.add(place)
                wants.images[place] = digest
                if rule.tags.kind == "named":
                    wants.named.add(place)
                wants.origins[place] = origin
                if tag not in shown or world.is_stale(store, repo):
                    wants.hidden.add(place)
                if not world.is_whole(origin):
                    wants.broken.add(place)


class Evidence:
    """What a config's meaning is read from. A seam: the world has it."""

    tags: dict[Place, str]

    def repositories(self, store: str) -> list[str]:
        """List what exists in a store."""
        raise NotImplementedError

    def is_unreadable(self, store: str, repo: str) -> bool:
        """Tell whether a repository's listing cannot be had now."""
        raise NotImplementedError

    def shown(self, rule: Rule, repo: str, tags: list[str]) -> set[str]:
        """Leave the tags that some honest reader could be told of."""
        raise NotImplementedError

    def is_stale(self, store: str, repo: str) -> bool:
        """Tell whether a repository's HEADs name images that are not there."""
        raise NotImplementedError

    def image(self, place: Place) -> str | None:
        """The digest of a tag whose manifest is there."""
        raise NotImplementedError

    def is_whole(self, place: Place) -> bool:
        """Tell whether nothing of a tag's image is missing."""
        raise NotImplementedError
