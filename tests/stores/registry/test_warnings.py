"""What registries warn of reaches the user: once, and as plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.events import Warned
from imgmigrate.stores.registry.wire import notices
from tests.support.images import image

if TYPE_CHECKING:
    from tests.fakes.registry import FakeRegistry
    from tests.stores.registry.conftest import Connect, Recorder


def messages(sink: Recorder) -> list[str]:
    return [each.message for each in sink.events if isinstance(each, Warned)]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('299 - "this repository moves"', "this repository moves"),
        ('299 - "say \\"hello\\""', 'say "hello"'),
        ('299 - "red \u009b31m \u202e token=abcdef123"', "red  31m   token=***"),
        ('299 - "' + "x" * 1000 + '"', "x" * 255 + "…"),
    ],
)
async def test_warning_is_passed_on_once(
    fake_registry: FakeRegistry, connect: Connect, sink: Recorder, header: str, expected: str
) -> None:
    """Secrets, escapes and excess do not come through."""
    fake_registry.put_image("a", "1", image())
    fake_registry.rewrite("*", "/v2/a/", {"Warning": header})
    store = connect(fake_registry.host)
    for _ in range(3):
        await store.list_tags("a")
        await store.manifest("a", "1")
    (message,) = messages(sink)
    assert message == f"{fake_registry.host} warns: {expected}"


@pytest.mark.parametrize("header", ['199 - "other"', "299 - unquoted", "299", '299 - ""'])
async def test_other_warnings_are_nothing(
    fake_registry: FakeRegistry, connect: Connect, sink: Recorder, header: str
) -> None:
    """Only the form of the distribution specification is meant for users."""
    fake_registry.put_image("a", "1", image())
    fake_registry.rewrite("GET", "/tags/", {"Warning": header})
    await connect(fake_registry.host).list_tags("a")
    assert messages(sink) == []


async def test_warnings_have_an_end(
    fake_registry: FakeRegistry,
    connect: Connect,
    sink: Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A registry cannot fill the screen with ever new ones."""
    monkeypatch.setattr(notices, "MOST_WARNINGS", 3)
    fake_registry.put_image("a", "1", image())
    store = connect(fake_registry.host)
    for number in range(6):
        fake_registry.clear()
        fake_registry.rewrite("GET", "/tags/", {"Warning": f'299 - "{number}"'})
        await store.list_tags("a")
    assert len(messages(sink)) == 3
