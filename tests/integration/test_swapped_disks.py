"""Bundles that were emptied, damaged, collected or swapped between applies: skopeo reads all."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support import registries
from tests.support.cli import imgmigrate, write_config
from tests.support.disks import blob_file, damage, drop
from tests.support.images import image, layer, two_platforms
from tests.support.layouts import assert_layout_holds
from tests.support.tools import run, skopeo_copy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import StartRegistry
    from tests.support.docker_registry import DockerRegistry
    from tests.support.images import Image

pytestmark = pytest.mark.integration

BASE = layer("base", 20_000)
IMAGES: dict[str, Image] = {
    "1.0": image("a", layers=[BASE, layer("a")]),
    "1.1": image("b", layers=[BASE, layer("b")]),
    "all": two_platforms("c"),
}
NEW: dict[str, Image] = {"1.2": image("d", layers=[BASE, layer("d")])}
BUNDLES = ("disk/app", "disk/web")


@pytest.fixture
def old(tmp_path: Path, docker_registry: StartRegistry) -> DockerRegistry:
    """A registry with three images, and a config that brings them into two layouts."""
    found = docker_registry("old")
    for tag, each in IMAGES.items():
        registries.push(found.remote, "app", tag, each)
    rules = "\n".join(
        f"  - {{source: {found.host}/app, destination: 'oci:{bundle}'}}" for bundle in BUNDLES
    )
    write_config(tmp_path, rules, found.host)
    return found


def remove(folder: Path) -> None:
    """Take the bundles away."""
    for bundle in BUNDLES:
        shutil.rmtree(folder / bundle)


def remove_one(folder: Path) -> None:
    """Take one of the two away."""
    shutil.rmtree(folder / BUNDLES[1])


def halve(folder: Path) -> None:
    """Take every other file away, and cut the next one short."""
    for bundle in BUNDLES:
        for number, path in enumerate(sorted((folder / bundle / "blobs/sha256").iterdir())):
            if number % 2:
                damage(path, "gone" if number % 4 == 1 else "cut")


def remove_base(folder: Path) -> None:
    """Take the layer away that most images share."""
    for bundle in BUNDLES:
        damage(
            blob_file(folder / bundle, next(each for each in _blobs() if _is_base(each))), "gone"
        )


def collect(folder: Path) -> None:
    """Take two tags out and have their blobs collected."""
    for bundle in BUNDLES:
        drop(folder / bundle, "1.1", "all")
        run("umoci", "gc", "--layout", folder / bundle)


def remove_index(folder: Path) -> None:
    """Lose the list of tags, and no blob."""
    for bundle in BUNDLES:
        (folder / bundle / "index.json").unlink()


def swap(folder: Path) -> None:
    """Put in another disk, which holds something of somebody else's."""
    (folder / "disk").rename(folder / "first disk")
    (folder / "disk").mkdir()
    skopeo_copy(f"oci:{folder}/first disk/app:1.0", f"oci:{folder}/disk/app:theirs")
    damage(blob_file(folder / "disk/app", next(iter(IMAGES["1.0"].blobs))), "empty")


@pytest.mark.parametrize(
    "happening", [remove, remove_one, halve, remove_base, collect, remove_index, swap]
)
@pytest.mark.parametrize("options", [(), ("--no-refresh",)], ids=["refreshed", "not refreshed"])
def test_every_image_is_read_by_skopeo_whatever_happened_to_the_disk(
    tmp_path: Path,
    old: DockerRegistry,
    happening: Callable[[Path], None],
    options: tuple[str, ...],
) -> None:
    """What apply calls done is whole in every layout, and the next plan has nothing to do."""
    imgmigrate(tmp_path, "apply", "--auto-approve")
    happening(tmp_path)
    for tag, each in NEW.items():
        registries.push(old.remote, "app", tag, each)
    imgmigrate(tmp_path, "plan", *options, "--out", "plan.out", "--detailed-exitcode", code=2)
    imgmigrate(tmp_path, "apply", "plan.out")
    for bundle in BUNDLES:
        for tag, each in (IMAGES | NEW).items():
            skopeo_copy(f"oci:{tmp_path}/{bundle}:{tag}", f"oci:{tmp_path}/read:{tag}")
            assert_layout_holds(tmp_path / "read", tag, each)
            assert_layout_holds(tmp_path / bundle, tag, each)
        shutil.rmtree(tmp_path / "read")
    imgmigrate(tmp_path, "plan", *options, "--detailed-exitcode", code=0)
    imgmigrate(tmp_path, "apply", "plan.out")


def test_what_a_disk_lost_is_brought_while_the_source_is_asked_for_nothing_else(
    tmp_path: Path, old: DockerRegistry
) -> None:
    """Of recorded images that are whole the source is asked nothing with `--no-refresh`."""
    imgmigrate(tmp_path, "apply", "--auto-approve")
    lost = list(IMAGES["1.0"].blobs)[2]
    damage(blob_file(tmp_path / "disk/app", lost), "cut")
    damage(blob_file(tmp_path / "disk/web", lost), "gone")
    before = len(old.access_log())
    imgmigrate(tmp_path, "apply", "--no-refresh", "--auto-approve")
    asked = {line.path for line in old.access_log()[before:]}
    assert {path for path in asked if "/blobs/" in path} == {f"/v2/app/blobs/{lost}"}
    manifests = {path.rpartition("/")[2] for path in asked if "/manifests/" in path}
    assert manifests <= {"1.0", IMAGES["1.0"].top}


def _blobs() -> list[str]:
    return [digest for each in IMAGES.values() for digest in each.blobs]


def _is_base(digest: str) -> bool:
    return any(each.blobs.get(digest) == BASE for each in IMAGES.values())
