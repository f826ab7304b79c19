"""Back and forth between real registries and layouts, through the real command."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support import images, registries
from tests.support.cli import imgmigrate, write_config
from tests.support.layouts import assert_layout_holds, layout_tags, read_layout, write_layout

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartRegistry
    from tests.support.docker_registry import DockerRegistry
    from tests.support.images import Image

pytestmark = pytest.mark.integration

BEFORE = {tag: images.two_platforms(tag) for tag in ("moved", "gone", "same")}
AFTER = {
    "moved": images.two_platforms("moved on"),
    "same": BEFORE["same"],
    "new": images.two_platforms("new"),
}
KEEP = 'keep_previous: "{tag}-before-{date}"\n'


def prepare(
    folder: Path, start: StartRegistry, *, more: str = ""
) -> tuple[DockerRegistry, DockerRegistry]:
    """One run copied; another one has copied, updated and deleted, as `plan.out` says."""
    old, new = start("old"), start("new", delete=True)
    for tag, image in BEFORE.items():
        registries.push(old.remote, "app", tag, image)
    rule = f"  - {{source: {old.host}/app, destination: {new.host}/app, tags: [TAGS]}}"
    write_config(folder, rule.replace("TAGS", ", ".join(BEFORE)), old.host, new.host)
    imgmigrate(folder, "apply", "--auto-approve")
    for tag, image in AFTER.items():
        registries.push(old.remote, "app", tag, image)
    path = write_config(folder, rule.replace("TAGS", ", ".join(AFTER)), old.host, new.host)
    path.write_text(path.read_text() + more)
    imgmigrate(folder, "plan", "--allow-delete", "--out", "plan.out")
    imgmigrate(folder, "apply", "plan.out")
    assert_shows(new, AFTER, kept=bool(more))
    return old, new


def assert_shows(new: DockerRegistry, wanted: dict[str, Image], *, kept: bool = False) -> None:
    """The destination has exactly these tags, each with all of its image."""
    tags = [tag for tag in registries.list_tags(new.remote, "app") if "-before-" not in tag]
    assert tags == sorted(wanted)
    for tag, image in wanted.items():
        registries.assert_holds(new.remote, "app", tag, image)
    assert kept or len(registries.list_tags(new.remote, "app")) == len(wanted)


def test_rollback_brings_every_tag_back(tmp_path: Path, docker_registry: StartRegistry) -> None:
    """Copies, updates and deletes of a run are undone without a byte, and done again."""
    old, new = prepare(tmp_path, docker_registry)
    reads, uploads = len(old.access_log()), sum(new.uploads().values())
    ran = imgmigrate(tmp_path, "rollback", "plan.out", "--out", "kept.out")
    assert "1 to copy, 1 to update, 1 kept" in ran.out
    assert "0 B to transfer" in ran.out
    ran = imgmigrate(tmp_path, "rollback", "plan.out", "--allow-delete", "--out", "back.out")
    assert "Rollback: 1 to copy, 1 to update, 1 to delete." in ran.out
    assert "imgmigrate apply back.out" in ran.out
    assert_shows(new, AFTER)  # a plan changes nothing
    imgmigrate(tmp_path, "apply", "back.out")
    assert_shows(new, BEFORE)
    assert len(old.access_log()) == reads
    assert sum(new.uploads().values()) - uploads <= 1  # the placeholder's config
    ran = imgmigrate(tmp_path, "apply", "back.out")
    assert_shows(new, BEFORE)
    # The next plan is honest, and the rollback is a run that can be rolled back.
    assert "1 to copy, 1 to update, 1 to forget" in imgmigrate(tmp_path, "plan", "--forget").out
    log = imgmigrate(tmp_path, "state", "log", "-n", "1", "--json").out.splitlines()
    name = json.loads(log[-1])["run"]
    imgmigrate(tmp_path, "rollback", name, "--allow-delete", "--out", "again.out")
    imgmigrate(tmp_path, "apply", "again.out")
    assert_shows(new, AFTER)
    imgmigrate(tmp_path, "plan", "--allow-delete", "--detailed-exitcode")


def test_an_image_that_is_gone_by_its_digest_is_an_error(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """Exit 3: the row names the digest, the rest comes back, and keep_previous is named."""
    _, new = prepare(tmp_path, docker_registry)
    gone = BEFORE["moved"].top
    registries.request(new.remote, "DELETE", f"/v2/app/manifests/{gone}")
    ran = imgmigrate(tmp_path, "rollback", "plan.out", "--out", "back.out", code=3)
    assert f"{new.host}/app@{gone[:30]}" in ran.out.replace("\n", "").replace(" ", "")
    assert "keep_previous" in ran.out
    imgmigrate(tmp_path, "apply", "back.out", code=3)
    registries.assert_holds(new.remote, "app", "moved", AFTER["moved"])
    registries.assert_holds(new.remote, "app", "gone", BEFORE["gone"])


def test_a_tag_that_moved_after_the_rollback_was_planned_is_left_alone(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """As with any plan: exit 7, that tag untouched, the rest done."""
    _, new = prepare(tmp_path, docker_registry)
    imgmigrate(tmp_path, "rollback", "plan.out", "--out", "back.out")
    theirs = images.two_platforms("theirs")
    registries.push(new.remote, "app", "moved", theirs)
    imgmigrate(tmp_path, "apply", "back.out", code=7)
    registries.assert_holds(new.remote, "app", "moved", theirs)
    registries.assert_holds(new.remote, "app", "gone", BEFORE["gone"])
    ran = imgmigrate(tmp_path, "rollback", "plan.out")
    assert "conflict" in ran.out
    assert "--allow-overwrite" not in ran.out


def test_what_is_replaced_keeps_a_tag(tmp_path: Path, docker_registry: StartRegistry) -> None:
    """Both the updated and the deleted image have a tag of their own, and no plan lets it go."""
    _, new = prepare(tmp_path, docker_registry, more=KEEP)
    kept = [tag for tag in registries.list_tags(new.remote, "app") if "-before-" in tag]
    assert [tag.partition("-")[0] for tag in kept] == ["gone", "moved"]
    for tag in kept:
        registries.assert_holds(new.remote, "app", tag, BEFORE[tag.partition("-")[0]])
    shown = imgmigrate(tmp_path, "show", "plan.out").out
    assert "keeps what is replaced" in shown
    assert f"kept as {kept[1]}" in " ".join(shown.split())
    imgmigrate(tmp_path, "plan", "--allow-delete", "--detailed-exitcode")
    assert kept[0] in imgmigrate(tmp_path, "state", "list").out
    imgmigrate(tmp_path, "rollback", "plan.out", "--out", "back.out")
    imgmigrate(tmp_path, "apply", "back.out")
    assert_shows(new, {**BEFORE, "new": AFTER["new"]}, kept=True)


def test_three_tags_of_one_digest_come_and_go_alone(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """One of them deleted by us and brought back: the other two are what they were, throughout."""
    old, new = docker_registry("old"), docker_registry("new", delete=True)
    image = BEFORE["same"]
    for tag in ("a", "b"):
        registries.push(old.remote, "app", tag, image)
    rule = f"  - {{source: {old.host}/app, destination: {new.host}/app, tags: [TAGS]}}"
    write_config(tmp_path, rule.replace("TAGS", "a, b"), old.host, new.host)
    imgmigrate(tmp_path, "apply", "--auto-approve")
    registries.push(new.remote, "app", "theirs", image)
    write_config(tmp_path, rule.replace("TAGS", "b"), old.host, new.host)
    imgmigrate(tmp_path, "plan", "--allow-delete", "--out", "plan.out")
    imgmigrate(tmp_path, "apply", "plan.out")
    assert_shows(new, {"b": image, "theirs": image})
    imgmigrate(tmp_path, "rollback", "plan.out", "--out", "back.out")
    imgmigrate(tmp_path, "apply", "back.out")
    assert_shows(new, {"a": image, "b": image, "theirs": image})


def test_layouts_go_back_too(tmp_path: Path) -> None:
    """With keep_previous a directory has the former image under its kept name."""
    write_layout(tmp_path / "images", "1", BEFORE["moved"])
    path = write_config(tmp_path, "  - {source: 'oci:images', destination: 'oci:bundle'}")
    path.write_text(path.read_text() + KEEP)
    imgmigrate(tmp_path, "apply", "--auto-approve")
    shutil.rmtree(tmp_path / "images")
    write_layout(tmp_path / "images", "1", AFTER["moved"])
    imgmigrate(tmp_path, "plan", "--out", "plan.out")
    imgmigrate(tmp_path, "apply", "plan.out")
    tags = layout_tags(tmp_path / "bundle")
    (kept,) = (tag for tag in tags if "-before-" in tag)
    assert read_layout(tmp_path / "bundle", kept).top == BEFORE["moved"].top
    imgmigrate(tmp_path, "rollback", "plan.out", "--out", "back.out")
    imgmigrate(tmp_path, "apply", "back.out")
    assert_layout_holds(tmp_path / "bundle", "1", BEFORE["moved"])


def test_what_was_planned_without_a_config_goes_back_without_one(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """The plan's file says so; the registry's scheme is said again."""
    old, new = docker_registry("old"), docker_registry("new")
    plain = ("--plain-http", old.host, "--plain-http", new.host)
    ends = ("--from", f"{old.host}/app:1", "--to", f"{new.host}/app")
    for image in (BEFORE["moved"], AFTER["moved"]):
        registries.push(old.remote, "app", "1", image)
        imgmigrate(tmp_path, "plan", *ends, *plain, "--out", "plan.out")
        imgmigrate(tmp_path, "apply", "plan.out", *plain)
    ran = imgmigrate(tmp_path, "rollback", "plan.out", *plain)
    assert "imgmigrate rollback --plain-http" in ran.out
    imgmigrate(tmp_path, "rollback", "plan.out", *plain, "--out", "back.out")
    imgmigrate(tmp_path, "apply", "back.out", *plain)
    registries.assert_holds(new.remote, "app", "1", BEFORE["moved"])
