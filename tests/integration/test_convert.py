"""A converted file against the tool itself: what `skopeo sync` copied is where ours would."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.plan import Action, read_plan
from tests.support import images, tools
from tests.support.docker_registry import put_on_disk
from tests.support.moves import run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartRegistry

pytestmark = pytest.mark.integration

SYNC = """
"{host}":
  tls-verify: false
  images:
    team/app: []
    lib/db: ["1"]
  images-by-tag-regex:
    web: ^v[0-9]+$
"""


async def test_what_skopeo_synced_is_where_a_converted_config_wants_it(
    tmp_path: Path, docker_registry: StartRegistry
) -> None:
    """Every row of the plan finds its image in place, and no image is in no row."""
    wanted = {"team/app": ("1.0", "latest"), "lib/db": ("1", "2"), "web": ("v1", "v2", "v1-rc")}
    for repo, tags in wanted.items():
        for tag in tags:
            put_on_disk(tmp_path / "old", repo, tag, images.image(f"{repo}:{tag}"))
    old, new = docker_registry("old"), docker_registry("new")
    (tmp_path / "sync.yml").write_text(SYNC.format(host=old.host))
    to = f"{new.host}/m"
    sync = ("skopeo", "--insecure-policy", "sync", "--all", "--src", "yaml", "--dest", "docker")
    tools.run(*sync, "--dest-tls-verify=false", tmp_path / "sync.yml", to)

    await run(tmp_path, "convert", "skopeo", "sync.yml", "--to", to, "--out", "imgmigrate.yaml")
    path = tmp_path / "imgmigrate.yaml"
    ours = f'registries:\n  "{new.host}": {{plain_http: true}}'
    path.write_text(path.read_text().replace("registries:", ours))
    await run(tmp_path, "plan", "--out", "plan.out")
    changes = read_plan(tmp_path / "plan.out").changes
    assert {each.action for each in changes} == {Action.ADOPT}
    assert {str(each.address).removeprefix(to) for each in changes} == {
        "/app:1.0",
        "/app:latest",
        "/db:1",
        "/web:v1",
        "/web:v2",
    }
