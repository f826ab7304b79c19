"""One PostgreSQL server for all tests here; each test has a schema of its own in it."""

from __future__ import annotations

import tempfile
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.state.postgres.server import PASSWORD, Pooler, Server, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

_numbers = count()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Server]:
    """A server that runs."""
    with serve() as server:
        yield server


@pytest.fixture
def server(cluster: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server, which runs, and whose password this process knows."""
    if not cluster.is_running:
        cluster.start()
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    return cluster


@pytest.fixture
def url(server: Server) -> str:
    """A place in it that nothing is in yet."""
    return f"{server.url}?schema=state_{next(_numbers)}"


@pytest.fixture
def pooled(server: Server) -> Iterator[str]:
    """The same through a pooler that gives each transaction another connection."""
    with (
        tempfile.TemporaryDirectory(prefix="imgmigrate-pgb-") as folder,
        Pooler(server, Path(folder)).running() as found,
    ):
        yield f"{found}?schema=state_{next(_numbers)}"
