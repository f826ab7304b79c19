"""Two registries and the config between them; planned and applied in the test's own loop."""

from __future__ import annotations

import json
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imgmigrate.applying.apply import apply_plan
from imgmigrate.foreign.load import load_config
from imgmigrate.plan import decode_plan
from imgmigrate.planning.planner import PlanOptions, make_plan
from tests.fakes.registry import FakeRegistry
from tests.support.quirks import give_quirks
from tests.support.registries import assert_equal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

    from imgmigrate.config.model import Config
    from imgmigrate.errors import Side
    from imgmigrate.events import Outcome, Receipt, RunFinished
    from imgmigrate.plan import Plan
    from tests.profiles.vendors import Vendor
    from tests.support.images import Image

PLAIN = "team/app"


@dataclass(slots=True)
class Journey:
    """Images move from `old_repo` at one registry to `new_repo` at another."""

    folder: Path
    old: FakeRegistry
    new: FakeRegistry
    # Which of the two is the profile's.
    role: Side
    old_repo: str = PLAIN
    new_repo: str = PLAIN
    # Where the images go as well, at the same registry.
    more_repos: tuple[str, ...] = ()
    # What the destination does not take: kind of image -> what the error says.
    refuses: tuple[tuple[str, str], ...] = ()

    @property
    def config(self) -> Config:
        """The one rule, and both registries with their credentials."""
        entries = "".join(_entry(registry) for registry in (self.old, self.new))
        rule = json.dumps(
            {
                "source": f"{self.old.host}/{self.old_repo}",
                "destination": [
                    f"{self.new.host}/{repo}" for repo in (self.new_repo, *self.more_repos)
                ],
            }
        )
        path = self.folder / "imgmigrate.yaml"
        path.write_text(f"version: 1\nregistries:\n{entries}images:\n  - {rule}\n")
        return load_config(path, environ={})

    def put(self, tag: str, image: Image) -> None:
        """Give the source an image."""
        self.old.put_image(self.old_repo, tag, image)

    async def plan(self, **options: Any) -> Plan:
        """Plan, and read the plan back as from its file."""
        plan = await make_plan(self.config, PlanOptions(**options))
        return decode_plan(plan.encode(), "plan.out")

    async def apply(self, plan: Plan) -> Ended:
        """Apply a plan."""
        return Ended(await apply_plan(self.config, plan))

    async def migrate(self, **options: Any) -> Ended:
        """Plan and apply."""
        return await self.apply(await self.plan(**options))

    def assert_arrived(self, tag: str, image: Image) -> None:
        """Check that the destination shows this image under this tag, byte for byte."""
        assert_equal(self.new.image(self.new_repo, tag), image)


@dataclass(frozen=True, slots=True)
class Ended:
    """How an apply ended."""

    run: RunFinished

    @property
    def counts(self) -> dict[Outcome, int]:
        """How many rows had which outcome."""
        return self.run.counts

    @property
    def errors(self) -> dict[str, str]:
        """What is said of each row that is not done, by its tag."""
        return {_tag(receipt): str(receipt.error) for receipt in self.run.unfinished}

    def assert_done(self) -> None:
        """Check that nothing is left."""
        assert not self.errors, self.errors

    def assert_failed(self, tag: str, words: str) -> None:
        """Check that a row failed and that its error matches a regex."""
        assert re.search(words, self.errors[tag], re.DOTALL), self.errors[tag]


@asynccontextmanager
async def travel(
    vendor: Vendor, role: Side, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Journey]:
    """Open a vendor's registry in a role, and an ordinary one in the other."""
    async with vendor.make() as special, FakeRegistry() as plain:
        give_quirks(special, monkeypatch)
        if role == "source":
            yield Journey(folder, special, plain, role, old_repo=vendor.repo)
        else:
            refuses = tuple(vendor.refuses.items())
            yield Journey(folder, plain, special, role, new_repo=vendor.repo, refuses=refuses)


def rows(plan: Plan) -> dict[str, tuple[str, str]]:
    """Sum a plan up: tag -> action, reason."""
    return {str(c.address.tag): (c.action.value, c.reason) for c in plan.changes}


def _entry(registry: FakeRegistry) -> str:
    entry: dict[str, Any] = {"plain_http": True}
    if registry.auth != "none":
        entry |= {"username": registry.user.name, "password": registry.user.password}
    return f"  {json.dumps(registry.host)}: {json.dumps(entry)}\n"


def _tag(receipt: Receipt) -> str:
    return str(receipt.address.tag or receipt.address)
