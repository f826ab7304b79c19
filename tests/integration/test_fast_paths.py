"""What makes a migration quick, as the logs of real registries show it; nothing is timed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.support import images, registries
from tests.support.cli import imgmigrate, write_config

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartRegistry
    from tests.support.docker_registry import DockerRegistry

pytestmark = pytest.mark.integration

REPOSITORIES, TAGS = 3, 8


def migrate(folder: Path, old: DockerRegistry, *new: DockerRegistry) -> set[str]:
    """Fill the old registry, write a config, plan and apply; name the blobs."""
    shared = images.sharing(REPOSITORIES * TAGS)
    for number, image in enumerate(shared):
        registries.push(old.remote, f"r{number % REPOSITORIES}", f"t{number}", image)
    rules = "\n".join(
        f"  - {{source: {old.host}/r{number}, destination: "
        f"[{', '.join(f'{each.host}/r{number}' for each in new)}]}}"
        for number in range(REPOSITORIES)
    )
    write_config(folder, rules, old.host, *(each.host for each in new))
    imgmigrate(folder, "plan", "--out", "plan.out")
    imgmigrate(folder, "apply", "plan.out")
    return {digest for image in shared for digest in image.blobs}


def asked(registry: DockerRegistry, since: int = 0) -> Counter[str]:
    """Count what a registry was asked for: the method and what kind of thing."""
    return Counter(
        f"{line.method} {kind}"
        for line in registry.access_log()[since:]
        for kind in ("tags", "manifests", "blobs")
        if f"/{kind}/" in line.path
    )


def test_three_destinations_read_each_blob_once(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """Each unique blob leaves the source once, and reaches each destination by one upload."""
    old, *new = (docker_registry(name) for name in ("old", "a", "b", "c"))
    blobs = migrate(tmp_path, old, *new)
    reads = [
        line
        for line in old.access_log()
        if line.method == "GET" and "/blobs/" in line.path and line.status in (200, 206)
    ]
    assert Counter(line.path.rpartition("/")[2] for line in reads) == dict.fromkeys(blobs, 1)
    for each in new:
        assert each.uploads() == dict.fromkeys(blobs, 1)


def test_new_repositories_are_asked_for_no_blob(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """Where nothing is, no blob is looked for: it is uploaded, or mounted and answered with 201."""
    old, new = docker_registry("old"), docker_registry("new")
    blobs = migrate(tmp_path, old, new)
    assert asked(new)["HEAD blobs"] == 0
    assert new.uploads() == dict.fromkeys(blobs, 1)
    mounts = [line for line in new.access_log() if "mount=" in line.target]
    assert {line.status for line in mounts} == {201}
    common = 2  # the layers of the base that all images share
    assert len(mounts) == common * (REPOSITORIES - 1)


def test_plan_lists_a_repository_once_and_asks_for_a_tag_once(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """Nothing to do costs each side one listing a repository and one HEAD a tag."""
    old, new = docker_registry("old"), docker_registry("new")
    migrate(tmp_path, old, new)
    before = len(old.access_log()), len(new.access_log())
    imgmigrate(tmp_path, "plan", "--detailed-exitcode", code=0)
    expected = {"GET tags": REPOSITORIES, "HEAD manifests": REPOSITORIES * TAGS}
    for registry, since in zip((old, new), before, strict=True):
        assert asked(registry, since) == expected
