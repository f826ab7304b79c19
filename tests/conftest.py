"""What every test gets: a clean environment, retries that never wait, registries on loopback."""

from __future__ import annotations

import itertools
import logging
import os
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import stamina
from aioresponses import aioresponses
from hypothesis import settings

from imgmigrate import redaction
from imgmigrate.cli.given import limits
from tests.fakes.registry import FakeRegistry
from tests.support import docker_registry as real
from tests.support import mocked_http, mounts, terminal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.support.seaweed import Seaweed
    from tests.support.token_server import TokenServer

# The same examples in every run: a failure that only one run sees helps nobody.
settings.register_profile(
    "imgmigrate", derandomize=True, database=None, deadline=None, max_examples=60
)
settings.register_profile("more", settings.get_profile("imgmigrate"), max_examples=125)
settings.load_profile("imgmigrate")

# The engine's own number; a test may ask for fewer, never for more.
ATTEMPTS = 5

# Everything that could let the machine's own settings into a test.
FOREIGN = (
    "ALL_PROXY",
    "CI",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "COLUMNS",
    "DOCKER_AUTH_CONFIG",
    "DOCKER_CERT_PATH",
    "DOCKER_HOST",
    "FORCE_COLOR",
    "FTP_PROXY",
    "GITHUB_ACTIONS",
    "GITLAB_CI",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LINES",
    "NETRC",
    "NO_COLOR",
    "NO_PROXY",
    "REGISTRY_AUTH_FILE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TTY_COMPATIBLE",
    "TTY_INTERACTIVE",
    "XDG_RUNTIME_DIR",
)


def pytest_report_header() -> str:
    """Say what this machine does not lend and tests imitate."""
    disks = "mounted" if mounts.can_mount() else "imitated (no user namespaces here)"
    terminals = "real" if terminal.has_terminals() else "imitated (no devpts here)"
    return f"small disks: {disks}; terminals: {terminals}"


@pytest.fixture(scope="session")
def _homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Name home directories without making them: few tests ever look into theirs."""
    folder = tmp_path_factory.mktemp("homes")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(scope="session", autouse=True)
def _private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what is made for several tests out of the real home too."""
    folder = tmp_path_factory.mktemp("private")
    # Ignored under nohup, and behind a shell's `&`, by us too: tests that send it wait in vain.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MACHINE", "CACHE"):
            patch.setenv(f"IMGMIGRATE_{name}_DIR", str(folder / name.lower()))
        yield


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, _homes: Iterator[Path]) -> Iterator[None]:
    """Keep the machine's settings and other tests' secrets out, and waiting between retries."""
    home = next(_homes)
    for name in os.environ:
        if name.upper() in FOREIGN or name.startswith("IMGMIGRATE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("DOCKER_CONFIG", str(home / ".docker"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    # Without it podman's logins would be looked for in the machine's own /run/containers.
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
    # Beside the home: some tests make that themselves.
    monkeypatch.setenv("IMGMIGRATE_MACHINE_DIR", f"{home}-machine")
    # Some tests run commands at a level of their own, below what would set it back.
    logging.getLogger("imgmigrate").setLevel(logging.NOTSET)
    logging.getLogger().setLevel(logging.WARNING)
    # What is down in a test stays down.
    monkeypatch.setattr(limits, "USUAL_OUTAGE", 0.0)
    monkeypatch.setenv("IMGMIGRATE_CACHE_DIR", f"{home}-cache")
    monkeypatch.setattr(redaction, "_secrets", {origin: {} for origin in redaction._secrets})
    with stamina.set_testing(True, attempts=ATTEMPTS, cap=True):
        yield


@pytest.fixture
def home(_isolated: None) -> Path:
    """Make the test's own empty home directory; docker's settings are in `.docker` there."""
    folder = Path(os.environ["HOME"])
    folder.mkdir()
    return folder


@pytest.fixture
async def fake_registry() -> AsyncIterator[FakeRegistry]:
    """Run an honest registry in the test's own event loop."""
    async with FakeRegistry() as registry:
        yield registry


@pytest.fixture
async def other_fake_registry() -> AsyncIterator[FakeRegistry]:
    """Run a second registry, to migrate to."""
    async with FakeRegistry() as registry:
        yield registry


class StartRegistry(Protocol):
    """How a test starts a docker-registry of its own."""

    def __call__(
        self,
        name: str = "registry",
        *,
        htpasswd: bool = False,
        tokens: TokenServer | None = None,
        tls: bool = False,
        client_certificates: bool = False,
        s3: Seaweed | None = None,
        delete: bool = True,
    ) -> real.DockerRegistry:
        """Start one; `name` is its folder under the test's."""


@pytest.fixture
def docker_registry(tmp_path: Path) -> Iterator[StartRegistry]:
    """Start as many docker-registries as the test asks for; all die with the test."""
    with ExitStack() as stack:

        def start(name: str = "registry", **options: Any) -> real.DockerRegistry:
            return stack.enter_context(real.serve(tmp_path / name, **options))

        yield start


@pytest.fixture
def mocked(monkeypatch: pytest.MonkeyPatch) -> Iterator[aioresponses]:
    """Answer aiohttp requests from a script; only to map answers to errors."""
    mocked_http.patch(monkeypatch)
    with aioresponses() as responses:
        yield responses
