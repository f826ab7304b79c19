"""The order of the places where logins are looked for, and that a new one is one row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest

from imgmigrate.config.model import RegistryConfig
from imgmigrate.stores.registry.logins import keyring
from imgmigrate.stores.registry.logins.config_command import ConfigCommand
from imgmigrate.stores.registry.logins.config_password import ConfigPassword
from imgmigrate.stores.registry.logins.credentials import Credential
from imgmigrate.stores.registry.logins.files import LoginFiles
from imgmigrate.stores.registry.logins.keyring import SOURCES, Keyring

if TYPE_CHECKING:
    from imgmigrate.stores.registry.logins.base import Registry

HOST = "reg.example.com"


@dataclass
class Box:
    """A source that has a login until it is forgotten, and notes what it was asked."""

    registry: Registry
    name: str
    log: list[tuple[str, str, str | None]]
    logins: list[Credential | None]

    async def find(self, repo: str | None) -> Credential | None:
        self.log.append((self.name, "find", repo))
        return self.logins[0]

    def forget(self, repo: str | None) -> None:
        self.log.append((self.name, "forget", repo))
        if len(self.logins) > 1:
            del self.logins[0]


def test_what_is_said_for_this_tool_alone_comes_first() -> None:
    """The config's password, its command, then the files that all tools share."""
    assert (ConfigPassword, ConfigCommand, LoginFiles) == SOURCES


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str | None]]:
    """Three sources in place of the others: without a login, with two, and never asked."""
    log: list[tuple[str, str, str | None]] = []
    rows: dict[str, list[Credential | None]] = {
        "none": [None],
        "two": [Credential("two", "me", "old"), Credential("two", "me", "new")],
        "last": [Credential("last", "me", "last")],
    }
    sources = tuple(partial(Box, name=name, log=log, logins=[*row]) for name, row in rows.items())
    monkeypatch.setattr(keyring, "SOURCES", sources)
    return log


def opened() -> Keyring:
    return Keyring(HOST, lambda _: RegistryConfig())


async def test_the_first_that_has_one_is_believed(log: list[tuple[str, str, str | None]]) -> None:
    """Those behind it are not asked at all."""
    found = await opened().of("team/app")
    assert found == Credential("two", "me", "old")
    assert log == [("none", "find", "team/app"), ("two", "find", "team/app")]


async def test_who_gave_what_was_refused_looks_again(
    log: list[tuple[str, str, str | None]],
) -> None:
    """Nobody else forgets anything; what is still the same is no answer to a refusal."""
    ring = opened()
    first = await ring.of("app")
    assert first is not None
    second = await ring.renew("app", first)
    assert second == Credential("two", "me", "new")
    assert [each for each in log if each[1] == "forget"] == [("two", "forget", "app")]
    assert await ring.renew("app", second) is None
    assert await ring.renew("app", first) == second


def test_a_source_is_told_whose_logins_are_wanted() -> None:
    """The registry by both its names, and where the config says more."""
    told: list[Registry] = []

    class Told(ConfigPassword):
        def __init__(self, registry: Registry) -> None:
            super().__init__(registry)
            told.append(registry)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keyring, "SOURCES", (Told,))
        settings = RegistryConfig(username="me", password="word")
        Keyring(HOST, lambda _: settings, login_key="https://index", patience=7)
    (registry,) = told
    assert (registry.host, registry.login_key, registry.patience) == (HOST, "https://index", 7)
    assert registry.settings("app") is settings
