"""How tokens are asked for, what for, and how long they are good."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from imgmigrate.config.model import RegistryConfig
from imgmigrate.errors import AccessDenied, AuthenticationError, StoreError
from imgmigrate.redaction import redact
from imgmigrate.stores.base import Mounted
from imgmigrate.stores.registry.auth.access import Access
from imgmigrate.stores.registry.auth.tokens import life_of
from imgmigrate.stores.registry.wire.calls import Call
from tests.fakes.registry import FakeRegistry, User
from tests.fakes.registry.calls import Refusal
from tests.support.blobs import described
from tests.support.images import image, layer

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import web

    from tests.fakes.registry.calls import Call as FakeCall
    from tests.stores.registry.conftest import Connect

ME = User("me", "swordfish")
NOON = 1_800_000_000.0
NOON_TEXT = "2027-01-15T08:00:00"


def as_me() -> RegistryConfig:
    return RegistryConfig(plain_http=True, username=ME.name, password=ME.password)


def serving() -> FakeRegistry:
    registry = FakeRegistry(auth="token", users=[ME])
    registry.private = ("*",)
    registry.put_image("a", "1", image())
    return registry


@pytest.mark.parametrize(
    ("document", "life"),
    [
        ({}, 60),
        ({"expires_in": 300}, 300),
        ({"expires_in": 59}, 60),
        ({"expires_in": 0}, 60),
        ({"expires_in": -5}, 60),
        ({"expires_in": "900"}, 900),
        ({"expires_in": None}, 60),
        ({"expires_in": True}, 60),
        ({"expires_in": "soon"}, 60),
        ({"expires_in": [1]}, 60),
        ({"expires_in": float("nan")}, 60),
        ({"expires_in": float("inf")}, 60),
        ({"expires_in": 10**400}, 60),
        ({"expires_in": 10**12}, 24 * 3600),
        # issued_at: a little ago, in the future, too long ago, and what is no time
        ({"expires_in": 300, "issued_at": f"{NOON_TEXT}Z"}, 300),
        ({"expires_in": 300, "issued_at": NOON_TEXT}, 300),
        ({"expires_in": 300, "issued_at": "2027-01-15T07:59:00.123456789Z"}, 240.123456),
        ({"expires_in": 300, "issued_at": "2027-01-15T09:59:00+02:00"}, 240),
        ({"expires_in": 300, "issued_at": "2027-01-15T08:00:01Z"}, 300),
        ({"expires_in": 300, "issued_at": "2027-01-15T07:55:00Z"}, 300),
        ({"expires_in": 300, "issued_at": "2027-01-15T07:55:14Z"}, 300),
        ({"expires_in": 300, "issued_at": "0001-01-01T00:00:00+23:59"}, 300),
        ({"expires_in": 300, "issued_at": "yesterday"}, 300),
        ({"expires_in": 300, "issued_at": 7}, 300),
    ],
)
def test_life_of_a_token(document: dict[str, object], life: float) -> None:
    """At least a minute, and a clock that contradicts ours is not believed."""
    assert life_of(document, NOON) == pytest.approx(life)


async def test_fresh_token_that_is_called_invalid_is_fetched_once_more(connect: Connect) -> None:
    """A token server whose clock is behind issues tokens that have ended already."""
    async with serving() as registry:
        challenge = f'Bearer realm="{registry.url}/token",error="invalid_token"'
        header = {"WWW-Authenticate": challenge}
        registry.fail("GET", "/tags/", status=401, times=2, headers=header)
        assert await connect(registry.host, as_me()).list_tags("a") == ["1"]
        assert len(registry.token_requests) == 2


async def test_fresh_tokens_are_not_fetched_for_ever(connect: Connect) -> None:
    """A registry that calls every token invalid is believed in the end."""
    async with serving() as registry:
        challenge = f'Bearer realm="{registry.url}/token",error="invalid_token"'
        registry.fail("GET", "/tags/", status=401, headers={"WWW-Authenticate": challenge})
        with pytest.raises(AccessDenied):
            await connect(registry.host, as_me()).list_tags("a")
        assert len(registry.token_requests) == 2


async def test_scopes_of_challenges_never_accumulate(connect: Connect) -> None:
    """ACR's front end refuses headers above some 6 KB, and tokens grow with their scopes."""
    async with serving() as registry:
        store = connect(registry.host, as_me())
        for scope in ("one", "two"):
            challenge = f'Bearer realm="{registry.url}/token",scope="{scope}"'
            header = {"WWW-Authenticate": challenge}
            registry.fail("GET", "/tags/", status=401, times=1, headers=header)
            await store.list_tags("a")
        assert registry.token_requests[-1] == ("repository:a:pull", "two")


async def test_tokens_of_many_repositories_name_one_each(connect: Connect) -> None:
    """One token for each repository, however many there are."""
    async with serving() as registry:
        store = connect(registry.host, as_me())
        names = [f"r{number}" for number in range(20)]
        for name in names:
            registry.put_image(name, "1", image())
            await store.head(name, "1")
        assert registry.token_requests == [(f"repository:{name}:pull",) for name in names]


async def test_token_for_a_mount_has_the_push_scope_first(connect: Connect) -> None:
    """Some servers honour only the first scope; the second is to read the other repository."""
    async with serving() as registry:
        data = layer("shared")
        registry.put_image("from", "1", image(layers=[data]))
        store = connect(registry.host, as_me())
        blob = described(data)
        assert isinstance(await store.start_upload("a", blob, "from"), Mounted)
        assert registry.token_requests == [("repository:a:pull,push", "repository:from:pull")]


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize("is_proved", [True, False])
async def test_token_for_a_mount_that_is_refused_is_asked_for_without(
    connect: Connect, status: int, is_proved: bool
) -> None:
    """Docker Hub's token server fails for a scope that names a repository it does not like."""
    async with serving() as registry:
        data = layer("shared")
        registry.put_image("from", "1", image(layers=[data]))
        store = connect(registry.host, as_me())
        if is_proved:
            await store.list_tags("a")
        registry.fail("GET", "/token.*scope=repository:from:pull$", status=status)
        # So it is at Hub: the rights of the token do not matter for the mount itself.
        skip = 0 if is_proved else 1
        headers = {"Location": f"{registry.url}/v2/a/blobs/uploads/00?_state=x"}
        registry.fail("POST", "mount=", status=202, body=b"", headers=headers, skip=skip)
        blob = described(data)
        for _ in range(2):
            upload = await store.start_upload("a", blob, "from")
            assert not isinstance(upload, Mounted)
            await upload.abort()
        assert registry.count("GET", "/token.*scope=repository:from:pull$") == 1
        assert await store.list_tags("a") == ["1"]


async def test_token_server_without_get_is_asked_by_the_form(connect: Connect) -> None:
    """The OAuth2 form takes the password; what is not offered is not tried again."""
    async with serving() as registry:
        registry.put_image("b", "1", image())
        registry.fail("GET", "/token", status=405)
        store = connect(registry.host, as_me())
        for repo in ("a", "b"):
            assert await store.list_tags(repo) == ["1"]
        assert registry.count("GET", "/token") == 1
        assert registry.count("POST", "/token", status=200) == 2


async def test_form_that_is_not_offered_is_not_tried_again(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An identity token goes by GET from then on."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    async with serving() as registry:
        registry.put_image("b", "1", image())
        registry.fail("POST", "/token", status=404)
        entry = {"username": ME.name, "identitytoken": ME.password}
        document = {"auths": {registry.host: entry}}
        (tmp_path / "config.json").write_text(json.dumps(document))
        store = connect(registry.host)
        for repo in ("a", "b"):
            assert await store.list_tags(repo) == ["1"]
        assert registry.count("POST", "/token") == 1


async def test_wrong_password_is_not_tried_in_the_other_form(connect: Connect) -> None:
    """A 401 is an answer, not a form that is missing."""
    async with serving() as registry:
        config = RegistryConfig(plain_http=True, username=ME.name, password="wrong")
        with pytest.raises(AuthenticationError):
            await connect(registry.host, config).list_tags("a")
        assert registry.count("POST", "/token") == 0


class Harbor(FakeRegistry):
    """Tokens for repositories; the catalog takes Basic only (harbor: authz of _catalog)."""

    async def get_catalog(self, call: FakeCall) -> web.StreamResponse:
        """List to whoever sends a password."""
        scheme = call.request.headers.get("Authorization", "").partition(" ")[0]
        if scheme != "Basic":
            headers = {"WWW-Authenticate": 'Basic realm="harbor"'}
            raise Refusal(401, "UNAUTHORIZED", headers=headers)
        self.auth = "basic"
        try:
            return await super().get_catalog(call)
        finally:
            self.auth = "token"


@pytest.mark.parametrize("is_first", [True, False])
async def test_basic_is_used_where_a_token_is_not_enough(connect: Connect, is_first: bool) -> None:
    """Harbor's catalog, whether it is asked for before or after the tokens are known."""
    async with Harbor(auth="token", users=[ME]) as registry:
        registry.private = ("*",)
        registry.put_image("a", "1", image())
        store = connect(registry.host, as_me())
        call = Call("GET", "/v2/_catalog", "catalog", Access(catalog=True))
        if not is_first:
            await store.list_tags("a")
        for _ in range(2):
            assert json.loads((await store.remote.call(call)).body) == {"repositories": ["a"]}
        # Once known, Basic goes out at once.
        assert [one.status for one in registry.matching("GET", "_catalog")][-1] == 200
        assert registry.count("GET", "_catalog", status=401) <= 2
        assert await store.list_tags("a") == ["1"]


async def test_catalog_is_asked_for_with_its_own_scope(connect: Connect) -> None:
    """`registry:catalog:*`, as distribution's token specification has it."""
    async with serving() as registry:
        store = connect(registry.host, as_me())
        await store.remote.call(Call("GET", "/v2/_catalog", "catalog", Access(catalog=True)))
        assert registry.token_requests == [("registry:catalog:*",)]


@pytest.mark.parametrize("request_number", [1, 2])
async def test_challenge_may_come_at_any_request(connect: Connect, request_number: int) -> None:
    """A registry may let everybody in at first and ask later."""
    async with serving() as registry:
        registry.auth = "none"
        store = connect(registry.host, as_me())
        for number in range(3):
            if number == request_number:
                registry.auth = "token"
            assert await store.list_tags("a") == ["1"]


@pytest.mark.parametrize("status", [400, 403, 404])
async def test_a_token_of_an_earlier_request_is_hidden_when_a_server_repeats_it(
    connect: Connect, status: int
) -> None:
    """Not only the one that was sent with the request whose answer repeats it."""
    async with serving() as registry:
        registry.put_image("b", "1", image())
        remote = connect(registry.host, as_me())
        await remote.list_tags("a")
        await remote.list_tags("b")
        issued = list(registry.tokens)
        assert len(issued) == 2
        said = json.dumps({"errors": [{"code": "X", "message": " or ".join(issued)}]})
        registry.fail("GET", "/b/tags/", status=status, body=said.encode())
        with pytest.raises(StoreError) as caught:
            await remote.list_tags("b")
        assert "*** or ***" in str(caught.value)
        assert not any(token in str(caught.value) for token in issued)


async def test_every_secret_of_a_token_servers_answer_is_hidden(connect: Connect) -> None:
    """A refresh token and an identity token come beside the token that is used."""
    async with serving() as registry:
        registry.token_keys = ("token", "refresh_token", "id_token")
        await connect(registry.host, as_me()).list_tags("a")
        (token,) = registry.tokens
        assert redact(f"x{token}x") == "x***x"
