"""`index: keep`, `trim` and `unwrap` at real registries: one that refuses a sparse index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.plan import read_plan
from imgmigrate.stores.registry.known.facts import Topic
from imgmigrate.stores.registry.known.kept import kept
from tests.fakes.registry import FakeRegistry, in_thread
from tests.support import images, registries
from tests.support.cli import write_config
from tests.support.docker_registry import put_on_disk
from tests.support.moves import assert_says, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartRegistry

pytestmark = pytest.mark.integration

AMD64, ARM64 = (images.image(name, platform=f"linux/{name}") for name in ("amd64", "arm64"))
BOTH = images.index(AMD64, ARM64)


def configure(folder: Path, old: str, new: str, more: str = "") -> None:
    """Copy `app` for one platform, in a form."""
    rule = f"  - {{source: {old}/app, destination: {new}/app, platforms: linux/amd64{more}}}"
    write_config(folder, rule, old, new)


class SparseRegistry(FakeRegistry):
    """Takes an index without all of its images, and no image without its blobs."""

    def missing(self, repo: str, document: dict[str, object]) -> list[str]:
        """Ask for the parts of images alone."""
        return super().missing(repo, {k: v for k, v in document.items() if k != "manifests"})


async def test_docker_registry_refuses_a_sparse_index_and_the_fix_works(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """The row fails with what to write, `trim` then does it, and a write test knows beforehand."""
    put_on_disk(tmp_path / "old", "app", "1", BOTH)
    old, new = docker_registry("old"), docker_registry("new")
    configure(tmp_path, old.host, new.host, ", index: keep")
    await run(tmp_path, "plan", "--out", "plan.out")
    assert read_plan(tmp_path / "plan.out").changes[0].after == BOTH.top
    ran = await run(tmp_path, "apply", "plan.out", "--auto-approve", code=3)
    assert_says(ran.out + ran.err, "write index: trim in the rule, and plan again")

    trial = ("validate", "--online", "--write-test", f"{new.host}/trial", "--auto-approve")
    ran = await run(tmp_path, *trial)
    assert_says(ran.out, "an index without one of its images is refused")
    found = kept(new.host)
    assert found is not None
    assert found.facts[Topic.SPARSE_INDEX] == "refused"
    ran = await run(tmp_path, "plan", code=3)
    assert_says(ran.out, "is known to refuse an index without all of its images; write index: trim")

    configure(tmp_path, old.host, new.host)
    ran = await run(tmp_path, "plan", "--out", "plan.out")
    assert_says(ran.out, "index: trim, its registry is known to refuse")
    await run(tmp_path, "apply", "plan.out", "--auto-approve")
    found_there = registries.pull(new.remote, "app", "1")
    assert found_there.top == read_plan(tmp_path / "plan.out").changes[0].after != BOTH.top
    ran = await run(tmp_path, "verify")
    assert_says(ran.out, "1 image")


@pytest.mark.parametrize("form", ["unwrap", "trim"])
async def test_docker_registry_takes_the_other_forms(
    tmp_path: Path, docker_registry: StartRegistry, form: str
) -> None:
    """What was planned is there, can be pulled, and is whole."""
    put_on_disk(tmp_path / "old", "app", "1", BOTH)
    old, new = docker_registry("old"), docker_registry("new")
    configure(tmp_path, old.host, new.host, f", index: {form}")
    await run(tmp_path, "plan", "--out", "plan.out")
    await run(tmp_path, "apply", "plan.out", "--auto-approve")
    there = registries.pull(new.remote, "app", "1")
    assert there.top == read_plan(tmp_path / "plan.out").changes[0].after
    assert (there.top == AMD64.top) is (form == "unwrap")
    assert there.manifests[AMD64.top] == AMD64.manifests[AMD64.top]
    ran = await run(tmp_path, "plan", "--detailed-exitcode")
    assert_says(ran.out, "Nothing to do")
    await run(tmp_path, "verify", "--deep")


async def test_a_write_test_lets_the_next_plan_keep_the_index(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """Nothing is known before it; then the digest stays, and the plan and `verify` know why."""
    put_on_disk(tmp_path / "old", "app", "1", BOTH)
    old = docker_registry("old")
    with in_thread(SparseRegistry()) as new:
        configure(tmp_path, old.host, new.host)
        ran = await run(tmp_path, "plan")
        assert_says(ran.out, "index: trim, whether its registry takes")
        await run(
            tmp_path, "validate", "--online", "--write-test", f"{new.host}/trial", "--auto-approve"
        )
        ran = await run(tmp_path, "plan", "--out", "plan.out")
        assert_says(ran.out, "index: keep, its registry is known to take")
        await run(tmp_path, "apply", "plan.out", "--auto-approve")
        assert new.repositories["app"].tags["1"] == BOTH.top
        assert set(new.repositories["app"].manifests) == {BOTH.top, AMD64.top}
        ran = await run(tmp_path, "plan", "--detailed-exitcode")
        assert_says(ran.out, "Nothing to do")
        await run(tmp_path, "verify", "--deep")
