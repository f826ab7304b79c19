"""Authentication: what is sent, what is asked once, and what a refusal means."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from imgmigrate.config.model import RegistryConfig
from imgmigrate.errors import AccessDenied, AuthenticationError, ProtocolError, StoreError
from imgmigrate.oci.manifest import Manifest
from imgmigrate.stores.base import Mounted
from tests.fakes.registry import FakeRegistry, Hostile, User
from tests.support.blobs import described
from tests.support.images import image, layer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fakes.registry.access import Scheme
    from tests.stores.registry.conftest import Connect

ME = User("me", "swordfish")
READER = User("reader", "swordfish", push=())
STRANGER = User("stranger", "swordfish", pull=("own/*",), push=("own/*",))
SCHEMES: list[Scheme] = ["basic", "token"]
BLOB = described(b"blob")


def as_user(user: User, password: str | None = None) -> RegistryConfig:
    return RegistryConfig(plain_http=True, username=user.name, password=password or user.password)


@asynccontextmanager
async def serving(scheme: Scheme, *private: str) -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry(auth=scheme, users=[ME, READER, STRANGER]) as registry:
        registry.put_image("a", "1", image())
        registry.put_image("own/x", "1", image())
        registry.private = private
        yield registry


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_credentials_let_us_read_and_write(scheme: Scheme, connect: Connect) -> None:
    """Basic and Bearer, learnt from the first challenge."""
    async with serving(scheme, "*") as registry:
        store = connect(registry.host, as_user(ME))
        assert await store.list_tags("a") == ["1"]
        found = await store.manifest("a", "1")
        await store.put_manifest("a", "2", found)
        assert registry.tags("a")["2"] == found.digest


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("method", "path"), [("GET", "/tags/list"), ("HEAD", "/manifests/")])
async def test_what_is_hidden_from_strangers_is_asked_for_with_the_login(
    scheme: Scheme, method: str, path: str, connect: Connect
) -> None:
    """A 404 to nobody in particular is no answer while there are credentials to offer."""
    async with serving(scheme, "*") as registry:
        registry.fail(method, path, status=404, times=1)
        store = connect(registry.host, as_user(ME))
        if method == "GET":
            assert await store.list_tags("a") == ["1"]
        else:
            assert await store.head("a", "1") is not None


async def test_a_registry_without_logins_is_asked_for_one_once(connect: Connect) -> None:
    """Credentials that nobody wants cost one request, not one for each thing that is absent."""
    async with FakeRegistry() as registry:
        store = connect(registry.host, as_user(ME))
        found = await asyncio.gather(*(store.blob_exists("a", BLOB.digest) for _ in range(5)))
        assert found == [False] * 5
        pings = [each for each in registry.requests if each.path == "/v2/"]
        assert len(pings) == 1


async def test_public_repositories_are_read_anonymously(connect: Connect) -> None:
    """A token server gives those without credentials what everybody may have."""
    async with serving("token") as registry:
        assert await connect(registry.host).list_tags("a") == ["1"]


async def test_only_the_first_request_is_refused(connect: Connect) -> None:
    """Once the registry has said how, tokens are fetched before they are asked for."""
    async with serving("token", "*") as registry:
        store = connect(registry.host, as_user(ME))
        for repo in ("a", "own/x"):
            await store.list_tags(repo)
            await store.manifest(repo, "1")
        assert [each.status for each in registry.requests if each.status == 401] == [401]
        scopes = [("repository:a:pull",), ("repository:own/x:pull",)]
        assert registry.token_requests == scopes


async def test_token_to_push_also_reads(connect: Connect) -> None:
    """No second token for a repository that is being written."""
    async with serving("token", "*") as registry:
        store = connect(registry.host, as_user(ME))
        assert not await store.blob_exists("a", BLOB.digest)
        await store.manifest("a", "1")
        assert registry.token_requests == [("repository:a:pull,push",)]


async def test_many_waiters_ask_for_a_token_once(connect: Connect) -> None:
    """Single flight: however many requests wait, one token is fetched."""
    async with serving("token", "*") as registry:
        store = connect(registry.host, as_user(ME))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(20):
                tasks.create_task(store.head("a", "1"))
        assert registry.token_requests == [("repository:a:pull",)]


async def test_token_that_has_expired_is_renewed_on_401(connect: Connect) -> None:
    """A server whose tokens end sooner than it said costs one more request, not the image."""
    async with serving("token", "*") as registry:
        store = connect(registry.host, as_user(ME))
        await store.head("a", "1")
        registry.advance(3600)
        assert await store.head("a", "1") is not None
        assert len(registry.token_requests) == 2


@pytest.mark.parametrize("keys", [("token",), ("access_token",)])
async def test_token_is_found_under_either_name(connect: Connect, keys: tuple[str, ...]) -> None:
    """Servers use one name or the other."""
    async with serving("token", "*") as registry:
        registry.token_keys = keys
        assert await connect(registry.host, as_user(ME)).list_tags("a") == ["1"]


@pytest.mark.parametrize("service", [None, "a service, with a comma"])
async def test_service_is_passed_on(connect: Connect, service: str | None) -> None:
    """As the challenge has it, and not at all if it has none."""
    async with serving("token", "*") as registry:
        registry.service = service
        await connect(registry.host, as_user(ME)).list_tags("a")
        (asked,) = registry.matching("GET", "/token")
        assert asked.query.get("service") == service


async def test_scope_that_the_challenge_adds_is_asked_for(connect: Connect) -> None:
    """ECR Public wants `aws`, which nobody could guess."""
    async with serving("token", "*") as registry:
        challenge = f'Bearer realm="{registry.url}/token",scope="aws"'
        header = {"WWW-Authenticate": challenge}
        registry.fail("GET", "/tags/", status=401, times=1, headers=header)
        await connect(registry.host, as_user(ME)).list_tags("a")
        assert registry.token_requests == [("repository:a:pull", "aws")]


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_wrong_credentials_are_an_authentication_error(
    scheme: Scheme, connect: Connect
) -> None:
    """The hint says where to put the right ones, and no message has the wrong ones."""
    async with serving(scheme, "*") as registry:
        store = connect(registry.host, as_user(ME, "wrong password"))
        with pytest.raises(AuthenticationError, match=rf"docker login {registry.host}") as caught:
            await store.list_tags("a")
        assert f'registries."{registry.host}"' in str(caught.value)
        assert "wrong password" not in str(caught.value)


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_missing_credentials_are_an_authentication_error(
    scheme: Scheme, connect: Connect
) -> None:
    """Anonymous where somebody must log in."""
    async with serving(scheme, "*") as registry:
        with pytest.raises(AuthenticationError, match="there are no credentials for"):
            await connect(registry.host).list_tags("a")


@pytest.mark.parametrize("lacking", [401, 403])
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_good_credentials_without_the_right_are_access_denied(
    scheme: Scheme, lacking: int, connect: Connect
) -> None:
    """Planning reads this as a repository that may not exist yet, so it must be told apart."""
    async with serving(scheme, "*") as registry:
        registry.lacking_status = lacking
        store = connect(registry.host, as_user(STRANGER))
        with pytest.raises(AccessDenied, match="lack pull"):
            await store.list_tags("a")
        with pytest.raises(AccessDenied):
            await store.head("a", "1")
        assert await store.list_tags("own/x") == ["1"]


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_right_to_push_that_is_missing_is_access_denied(
    scheme: Scheme, connect: Connect
) -> None:
    """Whoever may only read is told so."""
    async with serving(scheme) as registry:
        store = connect(registry.host, as_user(READER))
        manifest = Manifest.parse(image().raw, image().media_type)
        with pytest.raises(AccessDenied, match="lack push"):
            await store.put_manifest("a", "2", manifest)
        with pytest.raises(AccessDenied, match="lack push"):
            await store.start_upload("a", BLOB)


async def test_token_server_that_denies_a_scope_is_asked_about_the_credentials(
    connect: Connect,
) -> None:
    """GitLab answers 403 to both wrong credentials and missing rights."""
    async with serving("token", "*") as registry:
        registry.fail("GET", "/token.*scope=", status=403)
        with pytest.raises(AccessDenied, match="repository:a:pull"):
            await connect(registry.host, as_user(ME)).list_tags("a")
        registry.fail("GET", "/token", status=403)
        with pytest.raises(AuthenticationError, match="were refused"):
            await connect(registry.host, as_user(ME)).list_tags("a")


async def test_credentials_that_have_expired_are_no_missing_right(connect: Connect) -> None:
    """ECR answers 403 DENIED after twelve hours; nothing is absent because of that."""
    async with serving("basic", "*") as registry:
        store = connect(registry.host, as_user(ME))
        await store.list_tags("a")
        text = "Your authorization token has expired. Reauthenticate and try again."
        body = json.dumps({"errors": [{"code": "DENIED", "message": text}]}).encode()
        registry.fail("*", "", status=403, body=body)
        with pytest.raises(AuthenticationError, match="expired"):
            await store.head("a", "1")


async def test_403_without_a_challenge_is_answered_with_credentials(connect: Connect) -> None:
    """A registry that denies strangers without asking who they are is asked how to log in."""
    async with serving("basic", "*") as registry:
        registry.fail("GET", "/tags/", status=403, times=1)
        assert await connect(registry.host, as_user(ME)).list_tags("a") == ["1"]


async def test_basic_challenge_after_a_token_does_not_change_the_scheme(connect: Connect) -> None:
    """Harbor challenges with Basic once anything was sent."""
    async with serving("token", "*") as registry:
        store = connect(registry.host, as_user(ME))
        await store.list_tags("a")
        registry.revoke_tokens()
        header = {"WWW-Authenticate": 'Basic realm="harbor"'}
        registry.fail("GET", "/tags/", status=401, times=1, headers=header)
        assert await store.list_tags("a") == ["1"]
        assert len(registry.token_requests) == 2


async def test_token_that_ends_before_its_first_use_is_replaced(connect: Connect) -> None:
    """Harbor says no word of it and offers Basic, which it then refuses: one more token."""
    header = {"WWW-Authenticate": 'Basic realm="harbor"'}
    async with serving("token", "*") as registry:
        store = connect(registry.host, as_user(ME))
        # The first token, and Basic.
        registry.fail("GET", "/tags/", status=401, times=2, skip=1, headers=header)
        assert await store.list_tags("a") == ["1"]
        assert len(registry.token_requests) == 2
        registry.fail("GET", "/tags/", status=401, headers=header)
        with pytest.raises(StoreError):
            await store.list_tags("a")
        assert len(registry.token_requests) <= 4


def docker_login(folder: Path, host: str, **entry: str) -> None:
    (folder / "config.json").write_text(json.dumps({"auths": {host: entry}}))


async def test_identity_token_is_exchanged(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the OAuth2 form, and it is never shown."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    async with serving("token", "*") as registry:
        registry.refresh_tokens["refresh-me"] = ME.name
        docker_login(tmp_path, registry.host, identitytoken="refresh-me")
        assert await connect(registry.host).list_tags("a") == ["1"]
        assert registry.count("POST", "/token", status=200) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 405])
async def test_identity_token_falls_back_to_get(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """Not every token server has the OAuth2 form; some take the token as a password."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    async with serving("token", "*") as registry:
        registry.fail("POST", "/token", status=status)
        auth = b64encode(f"{ME.name}:".encode()).decode()
        docker_login(tmp_path, registry.host, auth=auth, identitytoken=ME.password)
        assert await connect(registry.host).list_tags("a") == ["1"]


async def test_ready_made_token_is_sent_as_it_is(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker's `registrytoken` needs no token server."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    async with serving("token", "*") as registry:
        await connect(registry.host, as_user(ME)).list_tags("a")
        (token,) = registry.tokens
        docker_login(tmp_path, registry.host, registrytoken=token)
        assert await connect(registry.host).list_tags("a") == ["1"]
        assert len(registry.token_requests) == 1


async def test_credentials_are_never_sent_to_a_foreign_realm(connect: Connect) -> None:
    """A challenge that names a stranger's token server is an attack."""
    async with Hostile(auth="token", users=[ME]) as registry, FakeRegistry(auth="token") as thief:
        registry.private = ("*",)
        # Another name for the same machine: not the registry's own.
        registry.foreign_realm = thief.url.replace("127.0.0.1", "localhost") + "/token"
        registry.put_image("a", "1", image())
        with pytest.raises(ProtocolError, match="not its own"):
            await connect(registry.host, as_user(ME)).list_tags("a")
        assert not thief.requests


async def test_token_server_may_not_redirect_away(connect: Connect) -> None:
    """A realm that moves to another origin does not take the credentials along."""
    async with serving("token", "*") as registry:
        headers = {"Location": f"http://{registry.cdn_host}/token"}
        registry.fail("GET", "/token", status=307, body=b"", headers=headers)
        with pytest.raises(ProtocolError, match="redirects to another host"):
            await connect(registry.host, as_user(ME)).list_tags("a")
        assert not registry.cdn_requests


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"token": 7}', b'{"token": "a\\r\\nX: y"}', b"<html>"]
)
async def test_token_server_that_answers_no_token_is_a_protocol_error(
    connect: Connect, content: bytes
) -> None:
    """What becomes a header is checked first."""
    async with serving("token", "*") as registry:
        registry.fail("GET", "/token", status=200, body=content)
        with pytest.raises(ProtocolError, match="without a token"):
            await connect(registry.host, as_user(ME)).list_tags("a")


async def test_token_server_is_retried(connect: Connect) -> None:
    """It fails like any server."""
    async with serving("token", "*") as registry:
        registry.fail("GET", "/token", status=503, times=2)
        registry.drop("GET", "/token", times=1)
        assert await connect(registry.host, as_user(ME)).list_tags("a") == ["1"]


async def test_token_that_a_server_repeats_is_not_shown(connect: Connect) -> None:
    """Error bodies that quote what they refuse are blanked out."""
    async with serving("token", "*") as registry:
        store = connect(registry.host, as_user(ME))
        await store.list_tags("a")
        (token,) = registry.tokens
        body = json.dumps({"errors": [{"code": "X", "message": f"bad {token}"}]}).encode()
        registry.fail("GET", "/tags/", status=400, body=body)
        with pytest.raises(StoreError, match=r"bad \*\*\*") as caught:
            await store.list_tags("a")
        assert token not in str(caught.value)


async def test_repositories_with_their_own_credentials_are_kept_apart(connect: Connect) -> None:
    """Each is asked for as its own user, and nothing is mounted across users."""
    async with serving("token", "*") as registry:
        data = layer("shared")
        registry.put_image("own/x", "blob", image(layers=[data]))
        own = {"own/x": as_user(STRANGER)}
        store = connect(registry.host, as_user(ME), repositories=own)
        blob = described(data)
        upload = await store.start_upload("a", blob, "own/x")
        assert not isinstance(upload, Mounted)
        await upload.abort()
        assert registry.count("POST", "mount=") == 0
