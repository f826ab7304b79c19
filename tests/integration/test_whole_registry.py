"""A whole docker-registry by one rule: everything is planned, by few requests.

`python -m tests.integration.test_whole_registry 300 20` does the same at full size.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from imgmigrate.config.load import load_config
from imgmigrate.planning.planner import PlanOptions, make_plan
from tests.support.docker_registry import put_on_disk, serve
from tests.support.images import image

if TYPE_CHECKING:
    from imgmigrate.plan import Plan

CONFIG = """\
version: 1
registries: {{"{host}": {{plain_http: true}}}}
images:
- source: "{host}/**"
  destination: "oci:mirror/{{repository}}"
"""


@pytest.mark.integration
@pytest.mark.parametrize(("repositories", "tags"), [(1, 1), (12, 5)])
async def test_a_whole_registry_is_planned_by_few_requests(
    tmp_path: Path, repositories: int, tags: int
) -> None:
    """At most two requests a tag and three a repository."""
    plan, requests = await asyncio.to_thread(plan_all, tmp_path, repositories, tags)
    assert {change.reason for change in plan.changes} == {"new"}
    assert len(plan.changes) == repositories * tags
    assert requests <= 2 * repositories * tags + 3 * repositories


def plan_all(folder: Path, repositories: int, tags: int) -> tuple[Plan, int]:
    """Plan every tag of a new docker-registry; count what it was asked."""
    one = image()
    for number in range(repositories):
        for tag in range(tags):
            put_on_disk(folder / "registry", f"team/r{number:03}", f"v{tag}", one)
    with serve(folder / "registry") as registry:
        path = folder / "imgmigrate.yaml"
        path.write_text(CONFIG.format(host=registry.host))
        config = load_config(path, environ={})
        plan = asyncio.run(make_plan(config, PlanOptions(sizes="never")))
        return plan, len(registry.access_log())


def _main() -> None:
    repositories, tags = map(int, sys.argv[1:])
    with TemporaryDirectory() as folder:
        plan, requests = plan_all(Path(folder), repositories, tags)
    most = 2 * repositories * tags + 3 * repositories
    sys.stdout.write(f"{len(plan.changes)} planned, {requests} requests (at most {most})\n")


if __name__ == "__main__":
    _main()
