"""Tokens and credentials that end while the work goes on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from imgmigrate import apply_plan, load_config, make_plan
from imgmigrate.applying.apply import ApplyOptions
from imgmigrate.config.model import RegistryConfig
from imgmigrate.errors import AuthenticationError, TransientError
from imgmigrate.events import ImageFinished, Outcome
from imgmigrate.stores.base import Mounted
from tests.fakes.registry import FakeRegistry, User
from tests.support.blobs import described
from tests.support.clock import ManualClock
from tests.support.images import image
from tests.support.programs import Login

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.events import Event
    from imgmigrate.stores.base import Upload
    from imgmigrate.stores.registry.store import RegistryStore
    from tests.fakes.registry.access import Scheme
    from tests.stores.registry.conftest import Connect

ME = User("me", "swordfish")
BLOB = described(b"blob")
EXPIRED = b'{"errors":[{"code":"DENIED","message":"Your authorization token has expired."}]}'


def as_me() -> RegistryConfig:
    return RegistryConfig(plain_http=True, username=ME.name, password=ME.password)


def by_command(login: Login) -> RegistryConfig:
    return RegistryConfig(plain_http=True, credential_command=login.words)


def answer(password: str, **fields: object) -> str:
    return json.dumps({"username": ME.name, "password": password, **fields})


def serving(scheme: Scheme = "token") -> FakeRegistry:
    registry = FakeRegistry(auth=scheme, users=[ME])
    registry.private = ("*",)
    registry.put_image("a", "1", image())
    return registry


async def start(store: RegistryStore) -> Upload:
    upload = await store.start_upload("a", BLOB)
    assert not isinstance(upload, Mounted)
    return upload


async def send(upload: Upload) -> None:
    await upload.write(b"blob")
    await upload.commit()


@pytest.fixture
def login(tmp_path: Path) -> Login:
    """A command that knows the password."""
    return Login(tmp_path, answer(ME.password))


async def test_token_is_renewed_before_it_ends(connect: Connect) -> None:
    """By our own clock, before the registry has to say no."""
    clock = ManualClock()
    async with serving() as registry:
        store = connect(registry.host, as_me(), clock=clock)
        await store.head("a", "1")
        refused = registry.count("*", "", status=401)
        clock.now += registry.token_ttl - 10
        await store.head("a", "1")
        assert len(registry.token_requests) == 2
        assert registry.count("*", "", status=401) == refused


async def test_token_that_ends_between_the_requests_of_an_upload_is_renewed(
    connect: Connect,
) -> None:
    """The PUT of a session opened long ago goes out with a fresh token."""
    clock = ManualClock()
    async with serving() as registry:
        store = connect(registry.host, as_me(), clock=clock)
        upload = await start(store)
        refused = registry.count("*", "", status=401)
        clock.now += registry.token_ttl
        registry.advance(registry.token_ttl)
        await send(upload)
        assert registry.uploads_of(BLOB.digest) == 1
        assert registry.count("*", "", status=401) == refused


async def test_token_that_a_registry_ends_during_an_upload_costs_a_session(
    connect: Connect,
) -> None:
    """Bytes exist only once, so the engine begins again; the new session has a new token."""
    async with serving() as registry:
        store = connect(registry.host, as_me())
        upload = await start(store)
        registry.revoke_tokens()
        with pytest.raises(TransientError, match="during the upload"):
            await send(upload)
        await send(await start(store))
        assert registry.uploads_of(BLOB.digest) == 1


class _Ageing:
    """A sink by whose events time goes by: with each image less than the margin of a renewal."""

    def __init__(self, clock: ManualClock, *registries: FakeRegistry) -> None:
        self._clock, self._registries = clock, registries

    def emit(self, event: Event) -> None:
        """Let the tokens grow old."""
        if isinstance(event, ImageFinished):
            self._clock.now += 14
            for registry in self._registries:
                registry.advance(14)


@pytest.mark.parametrize("is_told", [True, False])
async def test_tokens_that_end_in_mid_run_are_renewed(tmp_path: Path, is_told: bool) -> None:
    """Every image arrives; by our clock unasked, where a server's clock runs fast on its 401."""
    ours, theirs = ManualClock(), ManualClock()
    async with serving() as old, serving() as new:
        old.token_ttl = new.token_ttl = 60
        new.put_image("b", "kept", image())
        images = {f"v{number}": image(f"v{number}") for number in range(12)}
        for tag, each in images.items():
            old.put_image("a", tag, each)
        entry = f"{{plain_http: true, username: {ME.name}, password: {ME.password}}}"
        path = tmp_path / "imgmigrate.yaml"
        path.write_text(
            f'version: 1\nregistries: {{"{old.host}": {entry}, "{new.host}": {entry}}}\n'
            f'images: [{{source: "{old.host}/a:/^v/", destination: "{new.host}/b"}}]\n'
        )
        config = load_config(path)
        plan = await make_plan(config)
        for registry in (old, new):
            registry.requests.clear()
            registry.token_requests.clear()
        options = ApplyOptions(parallelism=1)
        sink = _Ageing(ours if is_told else theirs, old, new)
        result = await apply_plan(config, plan, options, sink=sink, clock=ours)
        assert result.counts[Outcome.APPLIED] == len(images)
        assert {tag: new.tags("b")[tag] for tag in images} == {
            tag: each.top for tag, each in images.items()
        }
        refused = [
            sum(one.authorised and one.status == 401 for one in registry.requests)
            for registry in (old, new)
        ]
        assert all(len(registry.token_requests) > 2 for registry in (old, new))
        assert refused == [0, 0] if is_told else min(refused) > 1


@pytest.mark.parametrize("scheme", ["basic", "token"])
async def test_command_is_asked_again_before_its_credential_ends(
    scheme: Scheme, connect: Connect, login: Login
) -> None:
    """What it said of the end counts; no request is refused for it."""
    clock = ManualClock()
    login.set(answer(ME.password, expires_in=600))
    async with serving(scheme) as registry:
        store = connect(registry.host, by_command(login), clock=clock)
        await store.head("a", "1")
        clock.now += 530
        await store.head("a", "1")
        assert login.asked == 1
        refused = registry.count("*", "", status=401)
        registry.users[ME.name] = User(ME.name, "second password")
        registry.revoke_tokens()
        login.set(answer("second password", expires_in=600))
        clock.now += 20
        await store.head("a", "1")
        assert login.asked == 2
        assert registry.count("*", "", status=401) == refused


@pytest.mark.parametrize("scheme", ["basic", "token"])
async def test_command_is_asked_again_when_its_credential_is_refused(
    scheme: Scheme, connect: Connect, login: Login
) -> None:
    """As often as it has something new that works."""
    async with serving(scheme) as registry:
        store = connect(registry.host, by_command(login))
        for number in range(3):
            assert await store.list_tags("a") == ["1"]
            registry.users[ME.name] = User(ME.name, f"password {number}")
            registry.revoke_tokens()
            login.set(answer(f"password {number}"))
        assert login.asked == 3


@pytest.mark.parametrize("scheme", ["basic", "token"])
async def test_command_that_has_nothing_better_is_asked_again_once(
    scheme: Scheme, connect: Connect, login: Login
) -> None:
    """The same again is not tried again, and a second wrong one is the end."""
    login.set(answer("wrong"))
    async with serving(scheme) as registry:
        store = connect(registry.host, by_command(login))
        for repo in ("a", "b", "c"):
            with pytest.raises(AuthenticationError, match="credential_command sh were refused"):
                await store.list_tags(repo)
        assert login.asked == 2
        assert sum(each.authorised for each in registry.requests) == 1


async def test_two_wrong_answers_of_a_command_are_the_end(connect: Connect, login: Login) -> None:
    """A command that makes passwords up must not lock the account."""
    async with serving("basic") as registry:
        login.set("me:wrong one")
        store = connect(registry.host, by_command(login))
        registry.fail("GET", "/v2/$", status=401, headers={"WWW-Authenticate": "Basic"}, skip=0)
        for number in range(3):
            login.set(f"me:wrong {number}")
            with pytest.raises(AuthenticationError, match="were refused"):
                await store.list_tags("a")
        assert login.asked <= 2


async def test_credential_that_has_expired_is_asked_for_again(
    connect: Connect, login: Login
) -> None:
    """ECR says 403 DENIED after twelve hours, where others say 401."""
    async with serving("basic") as registry:
        store = connect(registry.host, by_command(login))
        await store.list_tags("a")
        registry.users["fresh"] = User("fresh", "password")
        login.set("fresh:password")
        registry.fail("GET", "/tags/", status=403, body=EXPIRED, times=1)
        registry.fail("GET", "^/v2/$", status=403, body=EXPIRED, times=1)
        assert await store.list_tags("a") == ["1"]
        assert login.asked == 2


async def test_docker_login_in_mid_run_is_noticed(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is read again when what it held is refused."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    def log_in(host: str, password: str) -> None:
        entry = {"username": ME.name, "password": password}
        (tmp_path / "config.json").write_text(json.dumps({"auths": {host: entry}}))

    async with serving("basic") as registry:
        log_in(registry.host, ME.password)
        store = connect(registry.host)
        await store.list_tags("a")
        registry.users[ME.name] = User(ME.name, "second password")
        log_in(registry.host, "second password")
        assert await store.list_tags("a") == ["1"]
