"""A whole small world in memory: two registries, a config file, a state on disk."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from imgmigrate.applying.apply import ApplyOptions, apply_plan
from imgmigrate.foreign.load import load_config
from imgmigrate.plan import Plan, decode_plan
from imgmigrate.planning.planner import PlanOptions, make_plan
from imgmigrate.planning.rollback.rollback import RollbackOptions, make_rollback
from imgmigrate.state.base import open_state
from imgmigrate.state.local.store import LocalState
from imgmigrate.workspace import Workspace, open_workspace
from tests.fakes.memory import MemoryStore, MemoryStores, image

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from imgmigrate.config.model import Config
    from imgmigrate.config.values.backends import Backend
    from imgmigrate.events import Event, RunFinished, Sink
    from imgmigrate.oci.reference import Digest
    from imgmigrate.state.memory import StateInMemory

OLD, NEW = "old.example", "new.example"
RULE = f"- {{source: {OLD}/team/api, destination: {NEW}/team/api}}"


class Recorder:
    """A sink that keeps every event."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        """Keep it."""
        self.events.append(event)


@dataclass
class World:
    """Write rules, seed the old registry, plan and apply; everything else is real."""

    folder: Path
    stores: MemoryStores = field(
        default_factory=lambda: MemoryStores({OLD: MemoryStore(OLD), NEW: MemoryStore(NEW)})
    )
    rules: str = RULE
    extra: str = ""
    sink: Recorder = field(default_factory=Recorder)
    # How the stores were opened last.
    opened: dict[str, Any] = field(default_factory=dict)
    # Where the state is, if it is not the config's to say.
    kind: Backend | str | None = None

    @property
    def old(self) -> MemoryStore:
        return self.stores.stores[OLD]

    @property
    def new(self) -> MemoryStore:
        return self.stores.stores[NEW]

    @property
    def config(self) -> Config:
        path = self.folder / "imgmigrate.yaml"
        path.write_text(f"version: 1\nimages:\n{self.rules}\n{self.extra}")
        return load_config(path, environ={})

    @property
    def workspace(self) -> Workspace:
        """Its config with stores in memory, telling its sink."""
        return self.over(self.config)

    def over(self, config: Config, sink: Sink | None = None) -> Workspace:
        """Make a workspace of a config with the same stores."""
        workspace = open_workspace(config, sink=sink or self.sink)
        state = workspace.state if self.kind is None else open_state(self.kind)
        return replace(workspace, state=state, opener=self._open)

    @asynccontextmanager
    async def _open(self, _: Workspace, **options: Any) -> AsyncIterator[MemoryStores]:
        self.opened = options
        yield self.stores

    @property
    def state(self) -> StateInMemory:
        return LocalState(self.config.state).read()

    def seed(self, tag: str, *layers: bytes, repo: str = "team/api") -> Digest:
        """Put an image into the old registry."""
        manifest, blobs = image(*(layers or (tag.encode(),)))
        return self.old.seed(repo, tag, manifest, blobs)

    async def plan(self, **options: Any) -> Plan:
        """Plan, and read the plan back as from its file."""
        plan = await make_plan(self.workspace, PlanOptions(**options))
        assert decode_plan(plan.encode(), "plan.out") == plan
        return plan

    async def rollback(self, what: str | Plan, **options: Any) -> Plan:
        """Plan the way back, and read the plan back as from its file."""
        plan = await make_rollback(self.workspace, what, RollbackOptions(**options))
        assert decode_plan(plan.encode(), "back.out") == plan
        return plan

    async def apply(self, plan: Plan, **options: Any) -> RunFinished:
        """Apply a plan."""
        return await apply_plan(self.workspace, plan, ApplyOptions(**options))

    async def migrate(self) -> RunFinished:
        """Plan and apply."""
        return await self.apply(await self.plan())


def rows(plan: Plan) -> dict[str, tuple[str, str]]:
    """Sum a plan up: address -> action, reason."""
    return {str(c.address): (c.action.value, c.reason) for c in plan.changes}
