"""image-syncer's files between real registries, by the real command, and converted."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

import pytest

from tests.support import images, registries
from tests.support.cli import imgmigrate
from tests.support.docker_registry import PASSWORD, USERNAME, put_on_disk

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartRegistry

pytestmark = pytest.mark.integration

IMAGE = images.two_platforms()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_insecure_registries_are_reached_whatever_they_speak(
    tmp_path: Path, docker_registry: StartRegistry, tls: bool
) -> None:
    """Plan and apply with the two files, replace what differs, then the same converted."""
    for tag in ("1", "2", "3"):
        put_on_disk(tmp_path / "old", "team/app", tag, IMAGE)
    old, new = docker_registry("old"), docker_registry("new", htpasswd=True, tls=tls)
    registries.push(new.remote, "m/app", "one", images.image())
    auth = {
        old.host: {"insecure": True},
        f"{new.host}/m": {"username": "$NEW_USER", "password": PASSWORD, "insecure": True},
    }
    (tmp_path / "auth.json").write_text(f"// logins\n{json.dumps(auth)}")
    rules = {f"{old.host}/team/app:1,2": "$NEW_HOST/m/app:one,two", f"{old.host}/team/app:3": ""}
    (tmp_path / "images.json").write_text(json.dumps(rules))
    named = ("--auth", "auth.json", "--images", "images.json")
    env = {"NEW_HOST": new.host, "DEFAULT_REGISTRY": new.host, "DEFAULT_NAMESPACE": "m"}
    env["NEW_USER"] = USERNAME

    planned = imgmigrate(tmp_path, "plan", *named, "--out", "plan.out", env=env)
    assert "overwrite: always" in planned.err
    imgmigrate(tmp_path, "apply", *named, "plan.out", env=env)
    for tag in ("one", "two", "3"):
        registries.assert_holds(new.remote, "m/app", tag, IMAGE)
    assert (tmp_path / "state" / "images").is_dir()

    files = ("auth.json", "images.json")
    imgmigrate(tmp_path, "convert", "image-syncer", *files, "--out", "new.yaml", env=env)
    lines = shlex.split((tmp_path / "new.env").read_text(), comments=True)
    secrets = dict(line.split("=", 1) for line in lines)
    again = ("plan", "-c", "new.yaml", "--detailed-exitcode")
    imgmigrate(tmp_path, *again, code=0, env={**env, **secrets})
