"""The stores of a run: made when first used, one for each registry."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from imgmigrate.events import NoSink
from imgmigrate.foreign.load import load_config
from imgmigrate.oci.reference import LAYOUTS, Repository
from imgmigrate.stores.pool import open_stores
from tests.support.images import image

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.config.model import Config
    from tests.fakes.registry import FakeRegistry


@pytest.fixture
def config(tmp_path: Path, fake_registry: FakeRegistry) -> Config:
    """A config that knows the fake registry."""
    path = tmp_path / "imgmigrate.yaml"
    path.write_text(
        f"""
version: 1
registries:
  "{fake_registry.host}": {{plain_http: true, concurrency: 3}}
images:
  - {{source: "quay.io/a/b", destination: "{fake_registry.host}/a"}}
"""
    )
    return load_config(path)


async def test_repositories_of_a_registry_share_a_store(
    config: Config, fake_registry: FakeRegistry
) -> None:
    """One store, one session, one budget for a host, and its settings are the config's."""
    fake_registry.put_image("a", "1", image())
    async with open_stores(config, sink=NoSink()) as stores:
        store = stores.of(Repository(fake_registry.host, "a"))
        assert store is stores.of(Repository(fake_registry.host, "b"))
        assert store is not stores.of(Repository("quay.io", "a"))
        assert store.identity == fake_registry.host
        assert store.budget.read.limit == store.budget.write.limit == 3
        assert await store.list_tags("a") == ["1"]


async def test_layouts_share_a_store(config: Config) -> None:
    """All directories are one store."""
    async with open_stores(config, sink=NoSink()) as stores:
        store = stores.of(Repository(LAYOUTS, "x"))
        assert store is stores.of(Repository(LAYOUTS, "y"))
        assert store.identity == LAYOUTS


@pytest.mark.parametrize(
    ("host", "metered", "needs_manifest"),
    [
        ("docker.io", True, False),
        ("quay.io", False, False),
        ("1234.dkr.ecr.eu-west-1.amazonaws.com", False, True),
        ("1234.dkr.ecr.cn-north-1.amazonaws.com.cn", False, True),
        ("public.ecr.aws", False, False),
    ],
)
async def test_vendor_facts_are_the_stores(
    config: Config, host: str, metered: bool, needs_manifest: bool
) -> None:
    """What planning and applying must know of a vendor, they ask the store."""
    async with open_stores(config, sink=NoSink()) as stores:
        store = stores.of(Repository(host, "a"))
        assert (store.is_metered, store.mounts_need_manifest) == (metered, needs_manifest)


def test_opening_stores_loads_no_http() -> None:
    """A run among layouts starts at once."""
    script = (
        "import sys, imgmigrate.stores.pool, imgmigrate.stores.layout.store;"
        "print('aiohttp' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"
