"""Deletes and moves between real registries and layouts, through the real command."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support import images, registries, token_server
from tests.support.cli import TIMEOUT, command, imgmigrate, write_config
from tests.support.docker_registry import PASSWORD, USERNAME, put_on_disk
from tests.support.fake_process import run_fake
from tests.support.layouts import layout_tags, write_layout
from tests.support.token_server import Account

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartRegistry
    from tests.support.docker_registry import DockerRegistry

pytestmark = pytest.mark.integration

IMAGE = images.two_platforms("one image of three tags")
TAGS = ("gone", "kept", "theirs")


def migrate(folder: Path, start: StartRegistry, *, delete: bool = True) -> DockerRegistry:
    """Three tags show one digest: two by us, of which one is no longer wanted, one by others."""
    old, new = start("old"), start("new", delete=delete)
    for tag in ("gone", "kept"):
        registries.push(old.remote, "app", tag, IMAGE)
    configure(folder, old, new, "gone", "kept")
    imgmigrate(folder, "apply", "--auto-approve")
    registries.push(new.remote, "app", "theirs", IMAGE)
    configure(folder, old, new, "kept")
    return new


def configure(folder: Path, old: DockerRegistry, new: DockerRegistry, *tags: str) -> None:
    """Ask for these tags."""
    rule = f"{{source: {old.host}/app, destination: {new.host}/app, tags: [{', '.join(tags)}]}}"
    write_config(folder, f"  - {rule}", old.host, new.host)


def shown(new: DockerRegistry) -> dict[str, bool]:
    """Which of the three tags are there."""
    return {tag: registries.get_manifest(new.remote, "app", tag) is not None for tag in TAGS}


def test_one_of_three_tags_goes_and_the_other_two_stay(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """docker-registry deletes digests only: still no other tag of ours or theirs is lost."""
    new = migrate(tmp_path, docker_registry)
    assert "unwanted: 1, still ours" in imgmigrate(tmp_path, "plan", "--detailed-exitcode").out
    assert "1 to forget" in imgmigrate(tmp_path, "plan", "--forget").out
    ran = imgmigrate(
        tmp_path, "plan", "--allow-delete", "--out", "plan.out", "--detailed-exitcode", code=2
    )
    assert "1 to delete" in ran.out
    imgmigrate(tmp_path, "apply", "plan.out")
    assert shown(new) == {"gone": False, "kept": True, "theirs": True}
    for tag in ("kept", "theirs"):
        registries.assert_holds(new.remote, "app", tag, IMAGE)
    assert registries.get_manifest(new.remote, "app", IMAGE.top) is not None
    record = imgmigrate(tmp_path, "state", "show", f"{new.host}/app:gone").out
    assert "deleted" in record
    imgmigrate(tmp_path, "plan", "--allow-delete", "--detailed-exitcode", code=0)


def test_a_registry_that_deletes_nothing_keeps_its_tags(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """docker-registry's default answers 405: nothing is touched, and the way out is named."""
    new = migrate(tmp_path, docker_registry, delete=False)
    before = len(new.access_log())
    ran = imgmigrate(tmp_path, "apply", "--allow-delete", "--auto-approve", code=3)
    assert "REGISTRY_STORAGE_DELETE_ENABLED=true" in ran.out
    assert shown(new) == dict.fromkeys(TAGS, True)
    assert not [line for line in new.access_log()[before:] if line.method == "PUT"]
    registries.assert_holds(new.remote, "app", "gone", IMAGE)


def test_max_delete_stops_every_delete_with_exit_6(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """The plan is written and names what is blocked; applying it deletes nothing and says 6."""
    new = migrate(tmp_path, docker_registry)
    ran = imgmigrate(
        tmp_path, "plan", "--allow-delete", "--max-delete", "10%", "--out", "plan.out", code=6
    )
    assert "1 blocked" in ran.out
    assert f"{new.host}/app:gone" in ran.out
    assert "--max-delete 1" in ran.out
    assert "blocked" in imgmigrate(tmp_path, "show", "plan.out", "--only", "blocked").out
    imgmigrate(tmp_path, "apply", "plan.out", code=6)
    assert shown(new) == dict.fromkeys(TAGS, True)
    imgmigrate(tmp_path, "apply", "--allow-delete", "--max-delete", "1", "--auto-approve")
    assert shown(new) == {"gone": False, "kept": True, "theirs": True}


def test_protection_outlasts_its_line_in_the_config(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """Kept in the state by an apply, it blocks deletes until `state unprotect` lifts it."""
    new = migrate(tmp_path, docker_registry)
    path = tmp_path / "imgmigrate.yaml"
    unprotected = path.read_text()
    path.write_text(f"{unprotected}protect: ['{new.host}/app:gone']\n")
    assert "1 blocked" in imgmigrate(tmp_path, "plan", "--allow-delete").out
    imgmigrate(tmp_path, "apply", "--allow-delete", "--auto-approve")
    path.write_text(unprotected)
    ran = imgmigrate(tmp_path, "plan", "--allow-delete")
    assert "imgmigrate state unprotect" in ran.out
    imgmigrate(tmp_path, "state", "unprotect", f"{new.host}/app:gone", "--auto-approve")
    assert "1 to delete" in imgmigrate(tmp_path, "plan", "--allow-delete").out


@pytest.mark.parametrize("may_delete", [True, False], ids=["with the right", "without"])
def test_the_right_to_delete_is_asked_of_a_token_server(
    tmp_path: Path, docker_registry: StartRegistry, may_delete: bool
) -> None:
    """docker-registry wants a scope of its own for it; who lacks the right loses nothing."""
    rights = frozenset({"pull", "push"} | ({"delete"} if may_delete else set()))
    accounts = {USERNAME: Account(PASSWORD, rights)}
    with token_server.serve(tmp_path / "bundle.pem", accounts) as tokens:
        for tag in ("gone", "kept"):
            put_on_disk(tmp_path / "old", "app", tag, IMAGE)
        old, new = docker_registry("old", tokens=tokens), docker_registry("new", tokens=tokens)
        entry = f"{{plain_http: true, username: {USERNAME}, password: '{PASSWORD}'}}"
        entries = "".join(f"  '{each.host}': {entry}\n" for each in (old, new))
        rule = f"  - {{source: {old.host}/app, destination: {new.host}/app, tags: TAGS}}"
        write_config(tmp_path, rule.replace("TAGS", "[gone, kept]"), registries=entries)
        imgmigrate(tmp_path, "apply", "--auto-approve")
        write_config(tmp_path, rule.replace("TAGS", "[kept]"), registries=entries)
        code = 0 if may_delete else 3
        ran = imgmigrate(tmp_path, "apply", "--allow-delete", "--auto-approve", code=code)
    assert may_delete or "lack delete there" in " ".join(ran.out.split())
    tags = new.folder / "storage/docker/registry/v2/repositories/app/_manifests/tags"
    assert {path.name for path in tags.iterdir()} == ({"kept"} if may_delete else {"gone", "kept"})


def test_a_layout_loses_one_name(tmp_path: Path) -> None:
    """In a layout a tag is taken out of the index; the other name of the digest stays."""
    for tag in ("gone", "kept"):
        write_layout(tmp_path / "images", tag, IMAGE)
    rule = "  - {source: 'oci:images', destination: 'oci:bundle', tags: TAGS}"
    write_config(tmp_path, rule.replace("TAGS", "[gone, kept]"))
    imgmigrate(tmp_path, "apply", "--auto-approve")
    write_config(tmp_path, rule.replace("TAGS", "[kept]"))
    imgmigrate(tmp_path, "apply", "--allow-delete", "--auto-approve")
    assert layout_tags(tmp_path / "bundle") == {"kept": IMAGE.top}


def test_moved_images_cost_no_transfer(tmp_path: Path, docker_registry: StartRegistry) -> None:
    """A renamed repository is mounted from the old one, and the old tags go if that is allowed."""
    old, new = docker_registry("old"), docker_registry("new")
    for tag in ("1", "2"):
        registries.push(old.remote, "app", tag, images.two_platforms(tag))
    rule = f"  - {{source: {old.host}/app, destination: {new.host}/REPO}}"
    path = write_config(tmp_path, rule.replace("REPO", "team/app"), old.host, new.host)
    imgmigrate(tmp_path, "apply", "--auto-approve")
    before = sum(new.uploads().values())
    read = len(old.access_log())
    write_config(tmp_path, rule.replace("REPO", "crew/app"), old.host, new.host)
    moved = f"moved: [{{from: '{new.host}/team/*', to: '{new.host}/crew/*'}}]\n"
    path.write_text(path.read_text() + moved)
    ran = imgmigrate(tmp_path, "plan", "--allow-delete", "--out", "plan.out")
    assert "2 to move, 2 to delete" in ran.out
    # No mount was asked of this registry before: that it gives them is not known yet.
    assert "At most 14.1 KiB to transfer" in ran.out
    imgmigrate(tmp_path, "apply", "plan.out")
    assert not [line for line in old.access_log()[read:] if "/blobs/" in line.path]
    assert sum(new.uploads().values()) - before <= 1  # the placeholder's config
    for tag in ("1", "2"):
        registries.assert_same_image(old.remote, "app", tag, new.remote, "crew/app", tag)
        assert registries.get_manifest(new.remote, "team/app", tag) is None
    record = imgmigrate(tmp_path, "state", "show", f"{new.host}/crew/app:1").out
    assert f"{old.host}/app:1" in record
    imgmigrate(tmp_path, "plan", "--detailed-exitcode", "--allow-delete", code=0)


@pytest.mark.parametrize("moment", ["placeholder", "delete"])
def test_a_kill_between_placeholder_and_delete_is_resumed(tmp_path: Path, moment: str) -> None:
    """Killed with the placeholder on the tag, the same plan ends the delete; the rest stays."""
    pid_file = tmp_path / "pid"
    for name in ("old", "try", "new"):
        (tmp_path / name).mkdir()
    with run_fake(tmp_path / "old") as old:
        for tag in ("gone", "kept"):
            registries.push(old.host, "app", tag, IMAGE)
        rule = f"  - {{source: {old.host}/app, destination: DESTINATION/app, tags: TAGS}}"

        def prepare(folder: Path, host: str) -> None:
            for tags in ("[gone, kept]", "[kept]"):
                text = rule.replace("DESTINATION", host).replace("TAGS", tags)
                write_config(folder, text, old.host, host)
                if "gone" in tags:
                    imgmigrate(folder, "apply", "--auto-approve", "--parallelism", "1")
            imgmigrate(folder, "plan", "--allow-delete", "--out", "plan.out")

        # Which request it is, is learnt from a run that is left alone.
        with run_fake(tmp_path / "try") as new:
            prepare(tmp_path / "try", new.host)
            before = len(new.requests())
            imgmigrate(tmp_path / "try", "apply", "plan.out")
            asked = new.requests()
        wanted = ("PUT", ":") if moment == "placeholder" else ("DELETE", "@")
        number = max(
            request["number"]
            for request in asked[before:]
            if request["method"] == wanted[0] and "/manifests/" in request["path"]
        )
        kill = ("--kill-at", str(number), "--kill-pid-file", str(pid_file))
        with run_fake(tmp_path / "new", *kill) as new:
            folder = tmp_path / "new"
            prepare(folder, new.host)
            with subprocess.Popen(
                command("apply", "plan.out"), cwd=folder, stderr=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stdin=subprocess.PIPE,
            ) as process:  # fmt: skip
                pid_file.write_text(str(process.pid))
                assert process.wait(timeout=TIMEOUT) == -9
            imgmigrate(folder, "apply", "plan.out")
            assert registries.list_tags(new.host, "app") == ["kept"]
            registries.assert_holds(new.host, "app", "kept", IMAGE)
            rows = imgmigrate(folder, "plan", "--allow-delete", "--json").out.splitlines()
            assert not [row for row in rows if json.loads(row)["type"] == "planned_change"]


@pytest.mark.parametrize("way", ["link", "folder through a link", "absolute"])
def test_a_layout_under_another_name_keeps_what_is_wanted(tmp_path: Path, way: str) -> None:
    """Folders tell whether they are one, however their path is written."""
    config = tmp_path / "work"
    for folder in (config, tmp_path / "disk" / "real"):
        folder.mkdir(parents=True)
    (config / "link").symlink_to(tmp_path / "disk" / "real")
    (config / "mount").symlink_to(tmp_path / "disk")
    write_layout(config / "source", "1", IMAGE)
    names = {
        "link": "oci:link",
        "folder through a link": "oci:mount/real",
        "absolute": f"oci:{tmp_path}/disk/real",
    }
    write_config(config, "  - {source: 'oci:source', destination: 'oci:../disk/real'}")
    imgmigrate(config, "apply", "--auto-approve")
    write_config(config, f"  - {{source: 'oci:source', destination: '{names[way]}'}}")
    imgmigrate(config, "apply", "--allow-delete", "--auto-approve")
    assert layout_tags(tmp_path / "disk" / "real") == {"1": IMAGE.top}
