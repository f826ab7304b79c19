"""A blob reaches a registry in the form that it takes, with no attempt wasted on learning."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from imgmigrate.applying.blobs.board import BlobBoard
from imgmigrate.config.model import RegistryConfig
from imgmigrate.events import BlobFinished, Retrying
from imgmigrate.stores.place import Place
from imgmigrate.stores.registry.http.session import Http
from imgmigrate.stores.registry.store import RegistryStore
from tests.support.blobs import described
from tests.support.images import image, layer
from tests.support.world import Recorder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fakes.registry import FakeRegistry

LAYERS = [layer(f"form {number}", 300_000) for number in range(4)]
BLOBS = [described(data) for data in LAYERS]


class Route:
    """From one registry to another, as a run goes."""

    def __init__(self, source: FakeRegistry, destination: FakeRegistry, http: Http) -> None:
        self.sink = Recorder()
        self.old, self.new = source, destination
        plain = RegistryConfig(plain_http=True)
        self._source, self._destination = (
            Place(RegistryStore(each.host, lambda _: plain, http, self.sink), "team/app")
            for each in (source, destination)
        )

    async def bring(self) -> None:
        """Bring every layer, all at once."""
        async with asyncio.TaskGroup() as tasks:
            board = BlobBoard(tasks, self.sink)
            for blob in BLOBS:
                tasks.create_task(board.ensure(blob, self._source, self._destination))

    def assert_arrived(self) -> None:
        """Check that the destination has every layer."""
        for blob, data in zip(BLOBS, LAYERS, strict=True):
            assert self.new.blobs[blob.digest] == data


@pytest.fixture
async def route(
    fake_registry: FakeRegistry, other_fake_registry: FakeRegistry
) -> AsyncIterator[Route]:
    """A source that has the layers, and an empty destination."""
    fake_registry.put_image("team/app", "1", image(layers=LAYERS))
    http = Http()
    try:
        yield Route(fake_registry, other_fake_registry, http)
    finally:
        await http.aclose()


async def test_learning_a_form_costs_no_attempt(route: Route) -> None:
    """What a registry refuses because of the form is sent again at once, and is no retry."""
    route.new.whole_put_status = 405
    await route.bring()
    route.assert_arrived()
    assert not [each for each in route.sink.events if isinstance(each, Retrying)]
    finished = [each for each in route.sink.events if isinstance(each, BlobFinished)]
    assert [each.how for each in finished] == ["uploaded"] * 4


async def test_learning_and_failing_are_counted_apart(route: Route) -> None:
    """Every attempt that a blob has is left after the form is known."""
    route.new.whole_put_status = 405
    route.new.cut_upload(at=100_000, skip=4, times=4)
    await route.bring()
    route.assert_arrived()


async def test_upload_that_broke_is_looked_up_before_it_is_sent_again(route: Route) -> None:
    """The answer to a commit may be all that was lost."""
    route.new.drop("PUT", "/blobs/uploads/", when="answer", times=4)
    await route.bring()
    route.assert_arrived()
    assert route.new.count("POST", "/uploads/") == 4
    finished = [each for each in route.sink.events if isinstance(each, BlobFinished)]
    assert [each.how for each in finished] == ["exists"] * 4
