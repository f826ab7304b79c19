"""Wrong credentials are tried once, not once per repository."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from imgmigrate.config.model import RegistryConfig
from imgmigrate.errors import AccessDenied, AuthenticationError
from tests.fakes.registry import FakeRegistry, User
from tests.support.blobs import described
from tests.support.clock import ManualClock
from tests.support.images import image

if TYPE_CHECKING:
    from tests.fakes.registry.access import Scheme
    from tests.stores.registry.conftest import Connect

ME = User("me", "swordfish")
SCHEMES: list[Scheme] = ["basic", "token"]
REPOSITORIES = 30
BLOB = described(b"x")


def as_me(password: str = ME.password) -> RegistryConfig:
    return RegistryConfig(plain_http=True, username=ME.name, password=password)


def serving(scheme: Scheme) -> FakeRegistry:
    registry = FakeRegistry(auth=scheme, users=[ME])
    registry.private = ("*",)
    registry.put_image("a", "1", image())
    return registry


def tries(registry: FakeRegistry) -> int:
    """How often somebody was refused who had said who they were."""
    return sum(each.authorised and each.status in (401, 403) for each in registry.requests)


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_wrong_credentials_are_tried_once_a_run(scheme: Scheme, connect: Connect) -> None:
    """However many requests wait and follow: one try, and one and the same error for all."""
    async with serving(scheme) as registry:
        store = connect(registry.host, as_me("wrong"))
        asked = [store.list_tags(f"team/r{number}") for number in range(REPOSITORIES)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        with pytest.raises(AuthenticationError) as later:
            await store.start_upload("late", BLOB)
        assert {str(error) for error in found} == {str(later.value)}
        assert all(isinstance(error, AuthenticationError) for error in found)
        assert str(later.value).startswith(f"{registry.host}: not authenticated (401)")
        assert tries(registry) == 1


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_wrong_credentials_of_one_registry_leave_the_others(
    scheme: Scheme, connect: Connect
) -> None:
    """Each registry thinks for itself."""
    async with serving(scheme) as one, serving(scheme) as other:
        with pytest.raises(AuthenticationError):
            await connect(one.host, as_me("wrong")).list_tags("a")
        assert await connect(other.host, as_me()).list_tags("a") == ["1"]


async def test_wrong_credentials_of_one_repository_leave_the_others(connect: Connect) -> None:
    """A registry may know several users of ours."""
    async with serving("token") as registry:
        registry.put_image("own", "1", image())
        store = connect(registry.host, as_me(), repositories={"own": as_me("wrong")})
        with pytest.raises(AuthenticationError):
            await store.list_tags("own")
        assert await store.list_tags("a") == ["1"]


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_good_credentials_that_are_refused_are_tried_again_later(
    scheme: Scheme, connect: Connect
) -> None:
    """A directory that is away for a moment must not end a migration of hours."""
    clock = ManualClock()
    async with serving(scheme) as registry:
        store = connect(registry.host, as_me(), clock=clock)
        await store.list_tags("a")
        registry.users[ME.name] = User(ME.name, "changed")
        registry.revoke_tokens()
        for _ in range(5):
            with pytest.raises(AuthenticationError):
                await store.list_tags("a")
        registry.users[ME.name] = ME
        before = tries(registry)
        with pytest.raises(AuthenticationError):
            await store.list_tags("a")
        assert tries(registry) == before
        clock.now += 301
        assert await store.list_tags("a") == ["1"]


async def test_good_credentials_are_not_held_for_refused_over_one_scope(connect: Connect) -> None:
    """A token server that answers 401 to a scope is asked about the credentials alone."""
    async with serving("token") as registry:
        store = connect(registry.host, as_me())
        await store.list_tags("a")
        registry.fail("GET", "/token.*strange", status=401)
        with pytest.raises(AccessDenied, match="repository:strange:pull"):
            await store.list_tags("strange")
        assert await store.list_tags("a") == ["1"]


async def test_basic_is_tried_by_one_request_before_the_others(connect: Connect) -> None:
    """The others wait for the one, then all go."""
    async with serving("basic") as registry:
        store = connect(registry.host, as_me())
        await asyncio.gather(*(store.head("a", "1") for _ in range(10)))
        assert registry.count("GET", "/v2/$", status=200) == 1
