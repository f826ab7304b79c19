"""What happens around us: people push, delete, wipe storage and swap disks."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from tests.integration.chaos.places import LAYOUTS, SOURCE, TARGET
from tests.integration.chaos.world import DISK, REPOSITORIES, TAGS
from tests.support.tools import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.chaos.oracle import Oracle
    from tests.integration.chaos.places import Place
    from tests.integration.chaos.world import World
    from tests.support.images import Image

__all__ = ["Unkind"]

ILLEGAL = ("-0.2.0", "1.0+b1")
LAYOUT_TARGETS = ("lay/web", "lay/copy", "lay/db")
MOST_SPARE = 4


class Unkind:
    """Each method is something that may happen; it says what, or "" where it cannot."""

    def __init__(self, world: World, oracle: Oracle) -> None:
        self.world, self.oracle, self.random = world, oracle, world.random
        self._spares = 0

    # At sources.

    def source_push(self) -> str:
        """A tag appears, or moves."""
        repo, tag = self.random.choice(REPOSITORIES), self.random.choice(TAGS)
        self.world.shelves[SOURCE].put(repo, tag, self.world.new_image())
        return f"{repo}:{tag}"

    def source_push_again(self) -> str:
        """A tag shows what some tag showed before."""
        repo, tag = self.random.choice(REPOSITORIES), self.random.choice(TAGS)
        self.world.shelves[SOURCE].put(repo, tag, self._some_image())
        return f"{repo}:{tag}"

    def source_delete(self) -> str:
        """A tag goes."""
        place = self._place(SOURCE)
        if place:
            self.world.shelves[SOURCE].untag(place.repo, place.tag)
        return str(place or "")

    def source_repository_gone(self) -> str:
        """A repository goes, with all its tags."""
        repo = self.random.choice(REPOSITORIES)
        self.world.shelves[SOURCE].drop(repo)
        return repo

    def source_repository_new(self) -> str:
        """A repository appears that only a wildcard finds."""
        repo = f"many/{self.random.choice('abcdef')}"
        self.world.shelves[SOURCE].put(repo, self.random.choice(TAGS), self.world.new_image())
        return repo

    def source_dangle(self) -> str:
        """A manifest goes, its tags stay."""
        place = self._place(SOURCE)
        if place:
            self.world.shelves[SOURCE].dangle(place.repo, self.world.tags[place])
        return str(place or "")

    def source_strange_tag(self) -> str:
        """A tag that the specification forbids comes, or goes."""
        repo, tag = self.random.choice(REPOSITORIES), self.random.choice(ILLEGAL)
        shelf = self.world.shelves[SOURCE]
        if any(place.tag == tag and place.repo == repo for place in self.world.tags):
            shelf.untag(repo, tag)
        else:
            shelf.put(repo, tag, self._some_image())
        return f"{repo}:{tag}"

    def disk_push(self) -> str:
        """A tag of the layout that is read appears, or moves."""
        tag = self.random.choice(TAGS)
        self.world.disks.put(DISK, tag, self.world.new_image())
        return tag

    def disk_delete(self) -> str:
        """A tag of the layout that is read goes."""
        return self._untag_layout(DISK)

    def disk_loses_a_blob(self) -> str:
        """A file of the layout that is read goes."""
        return self._lose_file(DISK)

    # At destinations.

    def foreign_push(self) -> str:
        """Somebody else writes a tag of the registry that is written to."""
        image = self.world.new_image(is_foreign=True)
        place = self._place(TARGET) if self.random.random() < 0.6 else None
        repo, tag = (place.repo, place.tag) if place else (self._target_repo(), self._tag())
        self.world.shelves[TARGET].put(repo, tag, image)
        return f"{repo}:{tag}"

    def same_push(self) -> str:
        """Somebody else writes an image that some source has, or had."""
        repo, tag = self._target_repo(), self._tag()
        self.world.shelves[TARGET].put(repo, tag, self._some_image())
        return f"{repo}:{tag}"

    def target_delete(self) -> str:
        """Somebody else deletes a tag; foreign ones more often, so that not all are in the end."""
        places = self._places(TARGET)
        foreign = [each for each in places if self.world.tags[each] in self.world.foreign]
        chosen = foreign if foreign and self.random.random() < 0.7 else places
        if not chosen:
            return ""
        place = self.random.choice(chosen)
        self.world.shelves[TARGET].untag(place.repo, place.tag)
        return str(place)

    def target_wipe(self) -> str:
        """The registry's storage is lost, and it starts anew."""
        self.world.shelves[TARGET].wipe()
        self.oracle.damaged = {each for each in self.oracle.damaged if each[0] != TARGET}
        self.world.restart(TARGET)
        return "all"

    def target_wipe_repository(self) -> str:
        """A repository is deleted."""
        repo = self._target_repo()
        self.world.shelves[TARGET].drop(repo)
        self.oracle.damaged = {each for each in self.oracle.damaged if each[1] != repo}
        return repo

    def target_dangle(self) -> str:
        """A manifest goes from the registry that is written to, its tags stay."""
        place = self._place(TARGET)
        if place:
            self.world.shelves[TARGET].dangle(place.repo, self.world.tags[place])
            self.oracle.dangling.add((place.repo, self.world.tags[place]))
        return str(place or "")

    def target_loses_a_blob(self) -> str:
        """A repository loses a blob, and nothing shows it."""
        place, digest = self._blob()
        if place:
            self.world.shelves[TARGET].unlink(place.repo, digest)
            self.oracle.damaged.add((TARGET, place.repo, digest))
        return f"{place} {digest}" if place else ""

    def target_truncates_a_blob(self) -> str:
        """A blob is cut short, and nothing shows it."""
        place, digest = self._blob()
        if place:
            self.world.shelves[TARGET].truncate(digest)
            self.oracle.damaged.add((TARGET, "*", digest))
        return f"{place} {digest}" if place else ""

    def restart(self) -> str:
        """A registry starts again."""
        name = self.random.choice((SOURCE, TARGET))
        self.world.restart(name)
        return name

    # Layouts that are written to.

    def layout_emptied(self) -> str:
        """Everything in a layout goes, or the folder itself, or only its blobs."""
        path = self._layout()
        if not path.exists():
            return ""
        how = self.random.choice(("inside", "folder", "blobs"))
        shutil.rmtree(path / "blobs" if how == "blobs" else path, ignore_errors=True)
        if how == "inside":
            path.mkdir()
        return f"{path.name} {how}"

    def layout_loses_a_blob(self) -> str:
        """A file of a layout goes."""
        return self._lose_file(self.random.choice(LAYOUT_TARGETS))

    def layout_truncates_a_blob(self) -> str:
        """A file of a layout is cut short, by a power loss."""
        blobs = self.world.disks.blobs(self.random.choice(LAYOUT_TARGETS))
        if not blobs:
            return ""
        path = self.random.choice(blobs)
        path.write_bytes(path.read_bytes()[: self.random.choice((0, 7))])
        return path.name

    def layout_rots(self) -> str:
        """A byte of a file of a layout is another."""
        blobs = self.world.disks.blobs(self.random.choice(LAYOUT_TARGETS))
        if not blobs:
            return ""
        path = self.random.choice(blobs)
        path.write_bytes(path.read_bytes()[:-1] + b"!")
        return path.name

    def layout_rots_unseen(self) -> str:
        """A byte of a blob is another, and its file looks as it did."""
        place = self._place(LAYOUTS, self.random.choice(LAYOUT_TARGETS))
        digests = self.world.reader.parts(place, self.world.tags[place]) if place else []
        if place is None or not digests:
            return ""
        digest = self.random.choice(digests)
        path = self.world.real / place.repo / "blobs" / digest.replace(":", "/")
        if not path.exists():
            return ""
        before = path.stat()
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        # Of all layouts: their files may be links of one another.
        self.oracle.damaged.add((LAYOUTS, "*", digest))
        return f"{place} {digest}"

    def layout_collected(self) -> str:
        """`umoci gc` takes what no tag reaches."""
        path = self._layout()
        if not (path / "index.json").exists():
            return ""
        try:
            run("umoci", "gc", "--layout", path)
        except AssertionError as error:
            # It cannot read what is broken already.
            return f"{path.name} refused: {str(error)[-80:]}"
        return path.name

    def layout_swapped(self) -> str:
        """Another disk is there: an earlier copy, an empty one, or somebody else's."""
        path = self._layout()
        copies = sorted(self.world.spare.glob(f"{path.name}.*"))
        how = self.random.choice(("copy", "copy", "empty", "foreign"))
        if how == "copy" and not copies:
            return ""
        self._set_aside(path)
        if how == "copy":
            shutil.copytree(self.random.choice(copies), path, copy_function=self._copy())
        elif how == "foreign":
            repo = f"lay/{path.name}"
            self.world.disks.put(repo, self._tag(), self.world.new_image(is_foreign=True))
        return f"{path.name} {how}"

    def layout_copied(self) -> str:
        """A copy of a layout is kept elsewhere."""
        path = self._layout()
        copies = len(list(self.world.spare.glob(f"{path.name}.*")))
        if not path.exists() or copies >= MOST_SPARE:
            return ""
        self._spares += 1
        shutil.copytree(path, self.world.spare / f"{path.name}.{self._spares}")
        return path.name

    def layout_foreign_push(self) -> str:
        """Somebody else writes a tag of a layout."""
        repo, tag = self.random.choice(LAYOUT_TARGETS), self._tag()
        self.world.disks.put(repo, tag, self.world.new_image(is_foreign=True))
        return f"{repo}:{tag}"

    def layout_delete(self) -> str:
        """Somebody else takes a tag of a layout away; foreign ones more often."""
        return self._untag_layout(self.random.choice(LAYOUT_TARGETS))

    # Choices.

    def _some_image(self) -> Image:
        return self.random.choice(list(self.world.latest))

    def _tag(self) -> str:
        return self.random.choice(TAGS)

    def _target_repo(self) -> str:
        repos = ("mirror/api", "mirror/web", "mirror/disk", "many/a", "moved/api", "other/web")
        return self.random.choice(repos)

    def _layout(self) -> Path:
        return self.world.real / self.random.choice(LAYOUT_TARGETS)

    def _places(self, store: str, repo: str = "") -> list[Place]:
        return sorted(
            place for place in self.world.tags if place.store == store and repo in ("", place.repo)
        )

    def _place(self, store: str, repo: str = "") -> Place | None:
        places = self._places(store, repo)
        return self.random.choice(places) if places else None

    def _blob(self) -> tuple[Place | None, str]:
        place = self._place(TARGET)
        digests = self.world.reader.parts(place, self.world.tags[place]) if place else []
        lost = {digest for store, _, digest in self.oracle.damaged if store == TARGET}
        whole = [digest for digest in digests if digest not in lost]
        return (place, self.random.choice(whole)) if place and whole else (None, "")

    def _untag_layout(self, repo: str) -> str:
        places = self._places(LAYOUTS, repo)
        foreign = [each for each in places if self.world.tags[each] in self.world.foreign]
        chosen = foreign if foreign and self.random.random() < 0.7 else places
        if not chosen:
            return ""
        place = self.random.choice(chosen)
        self.world.disks.untag(repo, place.tag)
        return str(place)

    def _lose_file(self, repo: str) -> str:
        blobs = self.world.disks.blobs(repo)
        if not blobs:
            return ""
        path = self.random.choice(blobs)
        path.unlink()
        return f"{repo} {path.name}"

    def _set_aside(self, path: Path) -> None:
        if not path.exists():
            return
        if len(list(self.world.spare.glob(f"{path.name}.*"))) >= MOST_SPARE:
            shutil.rmtree(path)
            return
        self._spares += 1
        os.rename(path, self.world.spare / f"{path.name}.{self._spares}")

    def _copy(self) -> Callable[[str, str], object]:
        """With their times, as rsync does, or without, as cp does."""
        return self.random.choice((shutil.copy, shutil.copy2))
