"""Manifests, plans, journals and login files of any content are read or refused by name."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgmigrate.config.model import RegistryConfig
from imgmigrate.errors import AuthenticationError, ConfigError, PlanRefused, StateError
from imgmigrate.oci.manifest import MANIFESTS, Manifest
from imgmigrate.plan import decode_plan
from imgmigrate.state.local.store import LocalState
from imgmigrate.stores.registry.logins.keyring import Keyring
from tests.support import images
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

WORDS = (
    "schemaVersion mediaType config layers manifests digest size platform os subject annotations "
    "auths credHelpers credsStore auth reg.example username password identitytoken "
    "https://reg.example/v1/"
)
KEYS = st.sampled_from(WORDS.split())
SCALARS: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([*sorted(MANIFESTS), f"sha256:{'a' * 64}", "linux", 2, "bWU6cHc=", "x-y"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=3), inner),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=6).map(lambda found: json.dumps(found).encode())
RAW = DOCUMENTS | st.binary(max_size=60)
VALID = [raw for kind in images.KINDS.values() for _, raw in kind("fuzz").manifests.values()]


@st.composite
def _damaged(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """One of the originals with some bytes replaced, dropped, doubled or cut off."""
    data = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 40)))
        data[start:end] = draw(
            st.binary(max_size=6) | st.just(bytes(data[start:end]) * 2) | st.just(b"")
        )
    return bytes(data)


@given(RAW | _damaged(VALID), st.none() | st.sampled_from([*sorted(MANIFESTS), "text/html", "x"]))
def test_any_manifest_is_read_or_refused(raw: bytes, media_type: str | None) -> None:
    """Bytes are a manifest whose parts are sane, or a ValueError."""
    try:
        found = Manifest.parse(raw, media_type)
    except ValueError:
        return
    assert found.raw == raw
    assert found.digest.matches(raw)
    for each in (*found.children, *found.blobs):
        assert each.size >= 0
        assert each.media_type.isprintable()
    assert all(platform.isprintable() for platform in found.platforms)


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, bytes], Path]:
    """A real plan and a real state, made once, and a folder to damage copies in."""
    folder = tmp_path_factory.mktemp("journey")
    world = World(folder)
    for tag in ("v1", "v2"):
        world.seed(tag)
    plan = asyncio.run(world.plan())
    asyncio.run(world.apply(plan))
    state = Path(world.config.state)
    files = {
        name: (state / name).read_bytes()
        for name in ("snapshot.jsonl", "journal.jsonl")
        if (state / name).exists()
    }
    assert files
    return plan.encode(), files, tmp_path_factory.mktemp("damaged")


@given(st.data())
def test_any_plan_file_is_the_plan_or_refused(
    journey: tuple[bytes, dict[str, bytes], Path], data: st.DataObject
) -> None:
    """A damaged plan is never read as another one."""
    original = journey[0]
    raw = data.draw(_damaged([original]) | RAW)
    try:
        found = decode_plan(raw, "plan.out")
    except PlanRefused:
        return
    assert found.encode() == original


@given(st.data())
def test_any_state_is_read_or_refused(
    journey: tuple[bytes, dict[str, bytes], Path], data: st.DataObject
) -> None:
    """A damaged snapshot or journal is a StateError, or a torn tail; nothing else is raised."""
    _, files, folder = journey
    broken = data.draw(st.sampled_from(sorted(files)))
    for name, content in files.items():
        damaged = data.draw(_damaged([content]) | RAW) if name == broken else content
        (folder / name).write_bytes(damaged)
    with suppress(StateError):
        LocalState(folder).read()


@pytest.fixture
def login_file(home: Path) -> Callable[[bytes], None]:
    """Write docker's login file in the test's home; no helper can be found there."""
    folder = home / ".docker"
    folder.mkdir()
    return lambda raw: _write(folder / "config.json", raw)


def _write(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(RAW)
def test_any_login_file_is_read_or_refused(login_file: Callable[[bytes], None], raw: bytes) -> None:
    """Docker's `config.json` gives a credential, none, or an error about itself or its helper."""
    login_file(raw)
    path = os.environ["PATH"]
    os.environ["PATH"] = ""
    try:
        with suppress(ConfigError, AuthenticationError):
            asyncio.run(Keyring("reg.example", lambda _: RegistryConfig()).of("a"))
    finally:
        os.environ["PATH"] = path
