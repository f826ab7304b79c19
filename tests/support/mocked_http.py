"""Make aioresponses 0.7.9 work with aiohttp 3.14 (pnuckowski/aioresponses#289).

For mapping answers to errors only: a mocked session runs no redirects, limits or streams,
for those there is the fake registry.
"""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import aioresponses.core
from aiohttp import ClientResponse, StreamReader

if TYPE_CHECKING:
    import asyncio

    import pytest

# A mocked body has no connection that could be paused.
NEVER_PAUSE = 2**30


class PatchedResponse(ClientResponse):
    """A response that does not ask who wrote the request."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "stream_writer" in inspect.signature(ClientResponse.__init__).parameters:
            kwargs.setdefault("stream_writer", SimpleNamespace(output_size=0))
        super().__init__(*args, **kwargs)


def patch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mend aioresponses for one test."""
    monkeypatch.setattr(aioresponses.core, "ClientResponse", PatchedResponse)
    monkeypatch.setattr(aioresponses.core, "stream_reader_factory", _reader)


def _reader(loop: asyncio.AbstractEventLoop | None = None) -> StreamReader:
    return StreamReader(Mock(_reading_paused=False), limit=NEVER_PAUSE, loop=loop)
