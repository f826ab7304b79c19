"""The main job between real registries: plan, apply, drift, resume, as users run it."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support import images, registries
from tests.support.cli import TIMEOUT, command, imgmigrate, write_config
from tests.support.fake_process import run_fake
from tests.support.real_images import push_schema2, real_images
from tests.support.tools import skopeo_copy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartRegistry

pytestmark = pytest.mark.integration

# What planning four new images in two repositories asks the destination: a HEAD each.
PLANNED = 4


def actions(plan: Path) -> dict[str, tuple[str, str]]:
    """Read the rows of a plan file: tag -> action, reason."""
    rows = [json.loads(line) for line in plan.read_text().splitlines()[1:-1]]
    return {
        row["address"].rpartition("/")[2].partition(":")[2]: (row["action"], row["reason"])
        for row in rows
    }


def test_every_kind_of_image_arrives_byte_for_byte(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """Tags, children and blobs are identical on both sides, and skopeo pulls them back."""
    old, new = docker_registry("old"), docker_registry("new")
    made = real_images(tmp_path / "made")
    for name, image in made.items():
        registries.push(old.remote, "team/app", name, image)
    push_schema2(tmp_path / "made" / "umoci", "amd64", old.host, "team/app", "schema2")
    rule = f"  - {{source: {old.host}/team/app, destination: {new.host}/moved/app}}"
    write_config(tmp_path, rule, old.host, new.host)

    imgmigrate(tmp_path, "plan", "--out", "plan.out", "--detailed-exitcode", code=2)
    imgmigrate(tmp_path, "apply", "plan.out")
    imgmigrate(tmp_path, "plan", "--detailed-exitcode", code=0)

    tags = [*made, "schema2"]
    assert sorted(registries.list_tags(new.remote, "moved/app")) == sorted(tags)
    for tag in tags:
        registries.assert_same_image(old.remote, "team/app", tag, new.remote, "moved/app", tag)
    for tag in tags:
        if tag not in ("nested", "artifact"):  # skopeo 1.9 refuses both; compared raw above
            skopeo_copy(f"docker://{new.host}/moved/app:{tag}", f"dir:{tmp_path}/back-{tag}")


def test_drift_is_planned_for_what_it_is(tmp_path: Path, docker_registry: StartRegistry) -> None:
    """Moved, overwritten, matching, vanished and removed tags each get their own action."""
    old, new = docker_registry("old"), docker_registry("new")
    for tag in ("same", "moved", "overwritten", "vanished"):
        registries.push(old.remote, "app", tag, images.image(tag))
    registries.push(old.remote, "tool", "1", images.image("tool"))
    keep = f"  - {{source: {old.host}/app, destination: {new.host}/app}}\n"
    drop = f"  - {{source: {old.host}/tool, destination: {new.host}/tool}}\n"
    write_config(tmp_path, keep + drop, old.host, new.host)
    imgmigrate(tmp_path, "plan", "--out", "plan.out", "--detailed-exitcode", code=2)
    imgmigrate(tmp_path, "apply", "plan.out")
    imgmigrate(tmp_path, "plan", "--detailed-exitcode", code=0)

    registries.push(old.remote, "app", "moved", images.image("moved again"))
    registries.push(new.remote, "app", "overwritten", images.image("somebody else's"))
    for side in (old, new):
        registries.push(side.remote, "app", "there", images.image("there"))
    vanished = old.folder / "storage/docker/registry/v2/repositories/app/_manifests/tags/vanished"
    (vanished / "current" / "link").unlink()
    (vanished / "current").rmdir()
    for folder in sorted(vanished.rglob("*"), reverse=True):
        folder.rmdir() if folder.is_dir() else folder.unlink()
    vanished.rmdir()
    write_config(tmp_path, keep, old.host, new.host)

    imgmigrate(tmp_path, "plan", "--out", "plan.out", "--detailed-exitcode", code=2)
    assert actions(tmp_path / "plan.out") == {
        "moved": ("update", "source_moved"),
        "overwritten": ("conflict", "changed_here"),
        "there": ("adopt", "already_there"),
        "vanished": ("keep", "source_gone"),
    }
    shown = imgmigrate(tmp_path, "show", "plan.out").out
    assert "unwanted: 1, still ours" in shown
    before = len(new.access_log())
    ran = imgmigrate(tmp_path, "apply", "plan.out", code=7)
    assert f"{new.host}/app:overwritten" in ran.out + ran.err
    writes = [line for line in new.access_log()[before:] if line.method in ("POST", "PUT", "PATCH")]
    assert not [line for line in writes if "there" in line.path or "overwritten" in line.path]
    assert [line for line in writes if line.path.endswith("/manifests/moved")]
    registries.assert_same_image(old.remote, "app", "moved", new.remote, "app", "moved")
    assert registries.list_tags(new.remote, "tool") == ["1"]


def test_each_shared_blob_is_uploaded_once_and_mounted_elsewhere(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """Twelve images in six repositories: the destination's own log counts one upload a blob."""
    old, new = docker_registry("old"), docker_registry("new")
    shared = images.sharing(12)
    rules = []
    for number, image in enumerate(shared):
        repo = f"team/r{number % 6}"
        registries.push(old.remote, repo, f"t{number}", image)
        if number < 6:
            rules.append(f"  - {{source: {old.host}/{repo}, destination: {new.host}/{repo}}}")
    write_config(tmp_path, "\n".join(rules), old.host, new.host)
    imgmigrate(tmp_path, "plan", "--out", "plan.out")
    imgmigrate(tmp_path, "apply", "plan.out")
    uploads, mounts = new.uploads(), new.mounts()
    assert set(uploads) == {digest for image in shared for digest in image.blobs}
    assert set(uploads.values()) == {1}
    common = set.intersection(*({*image.blobs} for image in shared))
    assert common
    assert all(mounts[digest] == 5 for digest in common)


@pytest.mark.parametrize("nth", [1, 3, 6, 9, 13, 18, 24, 29, 34, 38])
def test_apply_killed_at_any_request_is_finished_by_the_same_plan(tmp_path: Path, nth: int) -> None:
    """After a SIGKILL the same plan finishes; what was recorded moves nothing."""
    pid_file = tmp_path / "pid"
    with run_fake(_folder(tmp_path, "old")) as old:
        for number in range(4):
            image = images.two_platforms() if number == 3 else images.image(f"i{number}")
            registries.push(old.host, f"r{number % 2}", f"t{number}", image)
        rules = "\n".join(
            f"  - {{source: {old.host}/r{n}, destination: DESTINATION/r{n}}}" for n in range(2)
        )
        kill = ("--kill-at", str(nth + PLANNED), "--kill-pid-file", str(pid_file))
        with run_fake(_folder(tmp_path, "new"), *kill) as new:
            write_config(tmp_path, rules.replace("DESTINATION", new.host), old.host, new.host)
            imgmigrate(tmp_path, "plan", "--out", "plan.out", "--sizes", "never")
            assert len(new.requests()) == PLANNED
            with subprocess.Popen(
                command("apply", "plan.out"), cwd=tmp_path, stderr=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stdin=subprocess.PIPE,
            ) as process:  # fmt: skip
                pid_file.write_text(str(process.pid))
                code = process.wait(timeout=TIMEOUT)
            recorded = {
                row["record"]["address"]
                for line in imgmigrate(tmp_path, "state", "list", "--json").out.splitlines()
                if (row := json.loads(line))["type"] == "record"
            }
            assert code == -9
            before = len(new.requests())
            imgmigrate(tmp_path, "apply", "plan.out")
            touched = {
                f"{new.host}{request['path'][3:].replace('/manifests/', ':')}"
                for request in new.requests()[before:]
                if request["method"] == "PUT" and "/manifests/t" in request["path"]
            }
            assert touched.isdisjoint(recorded)
            for number in range(4):
                registries.assert_same_image(
                    old.host, f"r{number % 2}", f"t{number}",
                    new.host, f"r{number % 2}", f"t{number}",
                )  # fmt: skip
            imgmigrate(tmp_path, "plan", "--detailed-exitcode", code=0)


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    return folder
