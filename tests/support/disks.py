"""A config that copies one layout to others, and what may happen to disks meanwhile."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imgmigrate.applying.apply import ApplyOptions, apply_plan
from imgmigrate.foreign.load import load_config
from imgmigrate.planning.planner import PlanOptions, make_plan
from imgmigrate.planning.rollback.rollback import RollbackOptions, make_rollback
from tests.support.layouts import assert_layout_holds, layout_tags, write_layout
from tests.support.world import Recorder

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.config.model import Config
    from imgmigrate.events import RunFinished
    from imgmigrate.plan import Plan
    from tests.support.images import Image

RULE = "- {source: 'oci:src', destination: 'oci:disk/app'}"


@dataclass
class Disks:
    """Images in `src` go to layouts below `disk`; everything is real."""

    folder: Path
    rules: str = RULE
    extra: str = ""
    images: dict[str, Image] = field(default_factory=dict)
    sink: Recorder = field(default_factory=Recorder)

    @property
    def app(self) -> Path:
        """The destination of the one rule."""
        return self.folder / "disk" / "app"

    @property
    def config(self) -> Config:
        """The config, as it is now."""
        path = self.folder / "imgmigrate.yaml"
        path.write_text(f"version: 1\nimages:\n{self.rules}\n{self.extra}")
        return load_config(path, environ={})

    def push(self, **images: Image) -> None:
        """Put images into the source."""
        for tag, image in images.items():
            write_layout(self.folder / "src", tag, image)
            self.images[tag] = image

    def drop(self, tag: str) -> None:
        """Take a tag out of the source."""
        drop(self.folder / "src", tag)
        del self.images[tag]

    async def plan(self, **options: Any) -> Plan:
        """Plan."""
        return await make_plan(self.config, PlanOptions(**options), sink=self.sink)

    async def apply(self, plan: Plan, **options: Any) -> RunFinished:
        """Apply a plan."""
        return await apply_plan(self.config, plan, ApplyOptions(**options), sink=self.sink)

    async def migrate(self, **options: Any) -> RunFinished:
        """Plan and apply."""
        return await self.apply(await self.plan(**options))

    async def rollback(self, what: str | Plan) -> Plan:
        """Plan the way back."""
        return await make_rollback(self.config, what, RollbackOptions(), sink=self.sink)

    def assert_whole(self, *names: str) -> None:
        """Check that the layouts hold every image of the source, byte for byte."""
        for name in names or ("app",):
            for tag, image in self.images.items():
                assert_layout_holds(self.folder / "disk" / name, tag, image)

    async def assert_settled(self) -> None:
        """Check that all is whole, and that no plan of any kind finds anything to do."""
        self.assert_whole()
        for options in ({}, {"refresh": False}, {"refresh_only": True}):
            assert (await self.plan(**options)).changes == ()


def blob_file(layout: Path, digest: str) -> Path:
    """Where a layout keeps a blob."""
    algorithm, _, name = digest.partition(":")
    return layout / "blobs" / algorithm / name


def drop(layout: Path, *tags: str) -> None:
    """Take tags out of a layout's index; the blobs stay."""
    path = layout / "index.json"
    document = json.loads(path.read_bytes())
    kept = set(layout_tags(layout)) - set(tags)
    document["manifests"] = [
        entry
        for entry in document["manifests"]
        if entry["annotations"]["org.opencontainers.image.ref.name"] in kept
    ]
    path.write_text(json.dumps(document))


def damage(path: Path, how: str) -> None:
    """Do to a file what power cuts, people and other tools do; its links elsewhere stay right."""
    data = path.read_bytes()
    path.unlink()
    if how != "gone":
        path.write_bytes({"cut": data[:-1], "empty": b"", "longer": data + b"!"}[how])


def empty(folder: Path) -> None:
    """Take everything off a disk."""
    shutil.rmtree(folder)
    folder.mkdir()
