"""A world to be unkind to: two registries behind fronts, layouts, three configs, their states."""

from __future__ import annotations

import os
import random
import socket
from collections import deque
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Self
from unittest.mock import patch

from imgmigrate.config.values.backends import LEASE
from tests.integration.chaos import tool
from tests.integration.chaos.front import PAGE, Front
from tests.integration.chaos.places import LAYOUTS, SOURCE, TARGET, Disks, Place, Shelf
from tests.integration.chaos.reader import Reader
from tests.integration.chaos.wishes import Evidence, Rule, Tags, Wish
from tests.support import images
from tests.support.docker_registry import serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from tests.integration.chaos.tool import Ran
    from tests.support.images import Image
    from tests.support.states.kinds import States

__all__ = ["World"]

TAGS = ("v1", "v2", "v3", "v4", "1.20", "latest")
REPOSITORIES = ("team/api", "team/web", "team/db", "many/a", "many/b/c")
DISK = "lay/disk"
# Few blobs that many images share: what one of them loses all of them lose.
BASES = 3
SIZE = 48
MOST_REMEMBERED = 40
# Those that share a state, each with a cache of its own.
MACHINES = 2


def _wishes() -> list[Wish]:
    db = Tags("named", ("v1", "1.20"))
    most, one = Tags("but", ("latest",)), Tags("named", ("latest",))
    return [
        Wish(
            "team.yaml",
            {
                "api": Rule((SOURCE, "team/api"), [(TARGET, "mirror/api")]),
                "web": Rule((SOURCE, "team/web"), [(TARGET, "mirror/web"), (LAYOUTS, "lay/web")]),
                "many": Rule((SOURCE, "many/**"), [(TARGET, "many/{match}")]),
                "disk": Rule((LAYOUTS, DISK), [(TARGET, "mirror/disk"), (LAYOUTS, "lay/copy")]),
                "db": Rule((SOURCE, "team/db"), [(LAYOUTS, "lay/db")], db),
                # A second way to the images of the first, under another name of its registry.
                "again": Rule(
                    (SOURCE, "team/db"), [(TARGET, "mirror/api")], target_name=1, is_there=False
                ),
            },
        ),
        Wish("team.yml", {"api": Rule((SOURCE, "team/api"), [(TARGET, "second/api")])}),
        Wish("other.yaml", {"web": Rule((SOURCE, "team/web"), [(TARGET, "other/web")], most)}),
        # Its rule joins what the one before joins, and neither asks for an image of the other.
        Wish("late.yaml", {"web": Rule((SOURCE, "team/web"), [(TARGET, "other/web")], one)}),
    ]


class World(Evidence):
    """All of it, for the length of a `with`; the same seed begins the same world."""

    def __init__(self, root: Path, seed: int, states: States) -> None:
        self.random = random.Random(seed)
        self.root, self.real, self.link = root, root / "real", root / "link"
        self.spare = root / "spare"
        for folder in (self.real, self.spare):
            folder.mkdir(parents=True)
        self.link.symlink_to("real")
        self.states = states.fresh(self.real)
        # Seconds of the lease that configs ask for from now on.
        self.lease = LEASE
        self.shelves = {name: Shelf(name, root / name) for name in (SOURCE, TARGET)}
        self.disks = Disks(self.real)
        self.reader = Reader(self.real)
        self.wishes = _wishes()
        # Every image by its digest, those of other people apart; the latest are used again.
        self.known: dict[str, Image] = {}
        self.foreign: set[str] = set()
        self.latest: deque[Image] = deque(maxlen=MOST_REMEMBERED)
        self.made = 0
        self.fronts: dict[str, Front] = {}
        self.names: dict[str, list[str]] = {}
        self._stack = ExitStack()
        self._registries: dict[str, ExitStack] = {}
        self.tags: dict[Place, str] = {}

    def __enter__(self) -> Self:
        self._stack.enter_context(self.states.found())
        careless, deletes_names = self.random.random() < 0.5, self.random.random() < 0.3
        for name, shelf in self.shelves.items():
            front = Front(shelf, "", name == TARGET and careless, deletes_names)
            self.fronts[name] = self._stack.enter_context(front)
            self._registries[name] = self._stack.enter_context(ExitStack())
            self.restart(name)
            one, other = self.fronts[name].ports
            self.names[name] = [f"127.0.0.1:{one}", f"localhost:{one}", f"127.0.0.1:{other}"]
        # Bound and never listening: nobody else gets this port, and it refuses at once.
        dead = self._stack.enter_context(socket.socket())
        dead.bind(("127.0.0.1", 0))
        self.names["dead"] = [f"127.0.0.1:{dead.getsockname()[1]}"]
        for repo in REPOSITORIES:
            for tag in self.random.sample(TAGS, 3) if repo != "team/db" else ("v1", "1.20"):
                self.shelves[SOURCE].put(repo, tag, self.new_image())
        for tag in ("v1", "v2"):
            self.disks.put(DISK, tag, self.new_image())
        self.look()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.reader.close()
        self._stack.close()

    @property
    def oddities(self) -> str:
        """Say what kind of registry is written to."""
        front = self.fronts[TARGET]
        kinds = {"takes any manifest": front.is_careless, "deletes names": front.deletes_names}
        return ", ".join(kind for kind, is_so in kinds.items() if is_so) or "plain"

    def restart(self, name: str) -> None:
        """Start a registry again, somewhere else behind its front."""
        stack = self._registries[name]
        stack.close()
        registry = stack.enter_context(serve(self.shelves[name].folder))
        self.fronts[name].behind = registry.host
        self.reader.connect(name, registry.host)

    # Images.

    def new_image(self, *, is_foreign: bool = False) -> Image:
        """Make an image that never was; every fourth is one of two platforms."""
        self.made += 1
        name = f"{'foreign' if is_foreign else 'own'}-{self.made}"
        base = images.layer(f"base-{self.made % BASES}", SIZE)
        made = images.image(name, layers=[base, images.layer(name, SIZE)])
        if self.made % 4 == 0:
            other = images.image(f"{name}-arm", layers=[base], platform="linux/arm64")
            made = images.index(made, other)
        elif self.made % 4 == 1:
            made = images.image(name, layers=[base, images.layer(name, SIZE)], docker=True)
        self.known[made.top] = made
        if is_foreign:
            self.foreign.add(made.top)
        else:
            self.latest.append(made)
        return made

    # What can be seen without any tool of ours.

    def look(self) -> dict[Place, str]:
        """Read every tag there is."""
        self.tags = {
            **self.shelves[SOURCE].tags(),
            **self.shelves[TARGET].tags(),
            **self.disks.tags(),
        }
        return self.tags

    def repositories(self, store: str) -> list[str]:
        """List what exists in a store."""
        return self.disks.repositories() if store == LAYOUTS else self.shelves[store].repositories()

    def is_unreadable(self, store: str, repo: str) -> bool:
        """Tell whether a listing cannot be had, or has nothing in it."""
        if not any((place.store, place.repo) == (store, repo) for place in self.tags):
            return True
        front = self.fronts.get(store)
        # One that is only flaky is read by who asks again.
        lies = ("down", "unlisted-404", "unlisted-403")
        return front is not None and any(front.lies_about(lie, repo) for lie in lies)

    def shown(self, rule: Rule, repo: str, tags: list[str]) -> set[str]:
        """Leave the tags that a list which was cut short still has."""
        front = self.fronts.get(rule.source[0])
        if front is None or "cut" not in front.lies:
            return set(tags)
        if rule.is_wild and repo not in self.repositories(rule.source[0])[:PAGE]:
            return set()
        return set(tags[:PAGE] if front.lies_about("cut", repo) else tags)

    def is_stale(self, store: str, repo: str) -> bool:
        """Tell whether a repository's HEADs name images that are not there."""
        front = self.fronts.get(store)
        return front is not None and front.lies_about("head-stale", repo)

    def image(self, place: Place) -> str | None:
        """The digest of a tag whose manifest is there."""
        digest = self.tags[place]
        if place.store == LAYOUTS:
            path = self.real / place.repo / "blobs" / digest.replace(":", "/")
            return digest if path.exists() else None
        return digest if self.shelves[place.store].has_manifest(place.repo, digest) else None

    def is_whole(self, place: Place) -> bool:
        """Tell whether nothing of a tag's image is missing; registries to read from lose none."""
        return place.store != LAYOUTS or not self.reader.faults(place, self.tags[place])

    def place(self, address: str) -> Place | None:
        """Find what an address names; None for what is nowhere here. Without a tag, "" is it."""
        if address.startswith("oci:"):
            path, _, tag = address[4:].rpartition(":")
            path, tag = (path, tag) if path and "/" not in tag else (address[4:], "")
            real = os.path.realpath(self.real / path)
            if not real.startswith(f"{self.real.resolve()}/"):
                return None
            return Place(LAYOUTS, os.path.relpath(real, self.real.resolve()), tag)
        host, _, rest = address.partition("/")
        repo, _, tag = rest.partition(":")
        name, _, port = host.rpartition(":")
        host = f"{name}:{port.lstrip('0')}"
        store = next((store for store, names in self.names.items() if host in names), None)
        return Place(store, repo, tag) if store else None

    # The command.

    def spell(self, repo: str, number: int) -> str:
        """Name a layout in one of the ways that lead there."""
        ways = (repo, f"{self.real}/{repo}", f"{self.link}/{repo}", f"./lay/../{repo}")
        return f"oci:{ways[number % len(ways)]}"

    def write(self, wish: Wish) -> None:
        """Write a config."""
        state = self.states.config(wish.state, self.lease)
        (self.real / wish.file).write_text(f"{wish.text(self.names, self.spell)}{state}")

    @contextmanager
    def leasing(self, seconds: float) -> Iterator[None]:
        """Let configs that are written ask for another lease."""
        self.lease = seconds
        try:
            yield
        finally:
            self.lease = LEASE

    def run(self, *arguments: str) -> Ran:
        """Run the command, in the configs' folder or through the link to it."""
        folder = self.random.choice((self.real, self.link))
        with patch.dict(os.environ, self.machine()):
            return tool.run(folder, *arguments)

    def machine(self) -> dict[str, str]:
        """What tells a machine from others, where several share the state; the next one's turn."""
        if self.states.kind == "local":
            return {}
        folder = self.root / f"machine-{self.random.randrange(MACHINES)}"
        return {f"IMGMIGRATE_{name}_DIR": f"{folder}/{name}" for name in ("CACHE", "MACHINE")}
