"""A whole docker-registry by one rule: everything is planned, by few requests.

`python -m tests.integration.test_whole_registry 300 20` does the same at full size.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from imgmigrate.plan import read_plan
from tests.support.cli import imgmigrate
from tests.support.docker_registry import put_on_disk, serve
from tests.support.images import image, layer

if TYPE_CHECKING:
    from imgmigrate.plan import Plan
    from tests.support.docker_registry import DockerRegistry

CONFIG = """\
version: 1
registries: {{"{host}": {{plain_http: true}}}}
images:
- source: "{host}/**"
  destination: "oci:mirror/{{repository}}"
"""
NEWEST = 3


@pytest.mark.integration
@pytest.mark.parametrize(("repositories", "tags"), [(1, 1), (15, 20)])
def test_a_whole_registry_is_planned_by_few_requests(
    tmp_path: Path, repositories: int, tags: int
) -> None:
    """At most two requests a tag and three a repository, sizes included; exactly the newest."""
    found = measure(tmp_path, repositories, tags)
    assert {(change.action, change.reason) for change in found.everything.changes} == {
        ("copy", "new")
    }
    assert len(found.everything.changes) == repositories * tags
    assert found.everything.summary.unknown_sizes == 0
    assert found.requests <= most_requests(repositories, tags)
    kept = [f"v1.{tag}" for tag in range(tags)][-NEWEST:]
    assert {str(change.address) for change in found.newest.changes} == {
        f"oci:mirror/{name(number)}:{tag}" for number in range(repositories) for tag in kept
    }
    # Only what is selected costs a request a tag.
    assert found.requests_of_newest <= most_requests(repositories, len(kept))
    if tags > NEWEST:
        assert "tag v1.0 drops out at newest: not among the newest 3" in found.explanation


@dataclass(frozen=True, slots=True)
class Found:
    """What planning all tags, and the newest, cost and gave."""

    everything: Plan
    requests: int
    newest: Plan
    requests_of_newest: int
    explanation: str


def measure(folder: Path, repositories: int, tags: int) -> Found:
    """Plan a new docker-registry by the real command; count what it was asked."""
    for number in range(repositories):
        for tag in range(tags):
            # Manifests of their own: what is shared would be read only once.
            one = image(f"{number} {tag}", layers=[layer("shared", 64)])
            put_on_disk(folder / "registry", name(number), f"v1.{tag}", one)
    with serve(folder / "registry") as registry:
        text = CONFIG.format(host=registry.host)
        everything, requests = _plan(folder, "everything", text, registry)
        text += f"  tags: {{newest: {NEWEST}}}\n"
        newest, fewer = _plan(folder, "newest", text, registry)
        address = f"oci:mirror/{name(repositories - 1)}:v1.0"
        config = ("--config", folder / "newest.yaml")
        ran = imgmigrate(folder, "plan", *config, "--explain", address)
    return Found(everything, requests, newest, fewer, " ".join(ran.out.split()))


def _plan(folder: Path, name: str, text: str, registry: DockerRegistry) -> tuple[Plan, int]:
    (folder / f"{name}.yaml").write_text(text)
    before = len(registry.access_log())
    config = ("--config", folder / f"{name}.yaml")
    imgmigrate(folder, "plan", *config, "--out", f"{name}.out")
    return read_plan(folder / f"{name}.out"), len(registry.access_log()) - before


def name(number: int) -> str:
    """The name of a repository."""
    return f"team/r{number:03}"


def most_requests(repositories: int, tags: int) -> int:
    """How many requests a plan may cost."""
    return 2 * repositories * tags + 3 * repositories


def _main() -> None:
    repositories, tags = map(int, sys.argv[1:])
    with TemporaryDirectory() as folder:
        found = measure(Path(folder), repositories, tags)
    for what, plan, requests, count in (
        ("all tags", found.everything, found.requests, tags),
        (f"newest: {NEWEST}", found.newest, found.requests_of_newest, min(tags, NEWEST)),
    ):
        most = most_requests(repositories, count)
        sys.stdout.write(
            f"{what}: {len(plan.changes)} planned, {requests} requests (at most {most})\n"
        )
    sys.stdout.write(f"{found.explanation}\n")


if __name__ == "__main__":
    _main()
