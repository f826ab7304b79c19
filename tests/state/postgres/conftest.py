"""One PostgreSQL server for all tests here; each test has a schema of its own in it."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest

from tests.support import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.postgres import Server

_numbers = count()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Server]:
    """A server that runs."""
    with postgres.serve() as server:
        yield server


@pytest.fixture
def server(cluster: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server, which runs, and whose password this process knows."""
    if not cluster.is_running:
        cluster.start()
    monkeypatch.setenv("PGPASSWORD", postgres.PASSWORD)
    return cluster


@pytest.fixture
def url(server: Server) -> str:
    """A place in it that nothing is in yet."""
    return f"{server.url}?schema=state_{next(_numbers)}"


@pytest.fixture
def pooled(server: Server) -> Iterator[str]:
    """The same through a pooler that gives each transaction another connection."""
    with postgres.pooled(server) as pooler:
        yield f"{pooler.url}?schema=state_{next(_numbers)}"
