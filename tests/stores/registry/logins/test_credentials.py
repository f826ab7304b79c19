"""Where credentials come from."""

from __future__ import annotations

import json
import sys
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from imgmigrate.config.model import RegistryConfig
from imgmigrate.errors import AuthenticationError, ConfigError
from imgmigrate.redaction import redact
from imgmigrate.stores.registry.logins.credentials import Credential
from imgmigrate.stores.registry.logins.keyring import Keyring
from imgmigrate.stores.registry.quirks import quirks_of

if TYPE_CHECKING:
    from pathlib import Path

HOST = "reg.example.com:5000"


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Docker's folder for this test."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path


def write(folder: Path, **document: object) -> None:
    (folder / "config.json").write_text(json.dumps(document))


def helper(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Put `docker-credential-fake` on PATH; `body` is Python, `server` what it was asked for."""
    path = folder / "docker-credential-fake"
    lines = [f"#!{sys.executable} -I", "import sys, time", "server = sys.stdin.read()", body]
    path.write_text("\n".join(lines))
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def keyring(config: RegistryConfig | None = None, host: str = HOST) -> Keyring:
    found = config or RegistryConfig()
    return Keyring(host, lambda _: found, login_key=quirks_of(host).login_key, patience=30)


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


async def test_config_comes_before_docker(docker: Path) -> None:
    """A username and password in the config are used, whatever docker knows."""
    write(docker, auths={HOST: {"auth": encoded("docker:password")}})
    found = await keyring(RegistryConfig(username="me", password="from config")).of("a")
    assert found == Credential("the config", "me", "from config")


async def test_config_may_differ_between_repositories(docker: Path) -> None:
    """The config is asked for each repository."""
    configs = {"a": RegistryConfig(username="a", password="aaaa"), "b": RegistryConfig()}
    ring = Keyring(HOST, lambda repo: configs[repo or "b"])
    found = await ring.of("a")
    assert found is not None
    assert found.username == "a"
    assert await ring.of("b") is None


@pytest.mark.parametrize(
    ("host", "key"),
    [
        (HOST, HOST),
        (HOST, f"https://{HOST}"),
        (HOST, f"http://{HOST}/v1/"),
        ("docker.io", "https://index.docker.io/v1/"),
        ("docker.io", "registry-1.docker.io"),
    ],
)
async def test_docker_keys_match_the_whole_host(docker: Path, host: str, key: str) -> None:
    """Hosts, URLs of older files and Docker Hub's names are recognised."""
    write(
        docker, auths={f"other.{host}": {"auth": encoded("x:y")}, key: {"auth": encoded("u:p:q")}}
    )
    found = await keyring(host=host).of("a")
    assert found is not None
    assert (found.username, found.password) == ("u", "p:q")


@pytest.mark.parametrize("key", [f"evil{HOST}", f"{HOST}0", "reg.example.com", "example.com:5000"])
async def test_docker_keys_never_match_a_part_of_the_host(docker: Path, key: str) -> None:
    """A key for a host with a similar name is another registry's."""
    write(docker, auths={key: {"auth": encoded("u:p")}})
    assert await keyring().of("a") is None


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({}, None),
        ({"auth": ""}, None),
        ({"username": "u", "password": "pass"}, ("u", "pass", None, None)),
        ({"auth": encoded("u:pass\x00\x00")}, ("u", "pass", None, None)),
        ({"auth": encoded("0000:"), "identitytoken": "refresh"}, ("0000", "", "refresh", None)),
        ({"registrytoken": "ready"}, ("", "", None, "ready")),
    ],
)
async def test_docker_entries_are_read_in_all_their_forms(
    docker: Path, entry: dict[str, str], expected: tuple[str, str, str | None, str | None] | None
) -> None:
    """`auth`, plain fields, identity tokens and ready tokens; an empty entry is none."""
    write(docker, auths={HOST: entry})
    found = await keyring().of("a")
    parts = found and (
        found.username,
        found.password,
        found.identity_token,
        found.registry_token,
    )
    assert parts == expected


async def test_no_docker_file_means_anonymous(docker: Path) -> None:
    """Nothing anywhere is no error."""
    assert await keyring().of("a") is None


@pytest.mark.parametrize("text", ["{", json.dumps({"auths": {HOST: {"auth": "%%%"}}})])
async def test_a_broken_docker_file_is_named(docker: Path, text: str) -> None:
    """A file that cannot be read is an error that names it, never silently anonymous."""
    (docker / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.json.*docker login"):
        await keyring().of("a")


async def test_helper_of_the_registry_comes_first(
    docker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`credHelpers` wins over `auths`, and gets the host on its standard input."""
    write(docker, credHelpers={HOST: "fake"}, auths={HOST: {"auth": encoded("u:p")}})
    helper(docker, monkeypatch, """print('{"Username": "%s", "Secret": "hush-hush"}' % server)""")
    found = await keyring().of("a")
    assert found == Credential("docker-credential-fake", HOST, "hush-hush")


async def test_helper_may_answer_an_identity_token(
    docker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user name `<token>` marks a secret that is exchanged for tokens."""
    write(docker, credsStore="fake")
    helper(docker, monkeypatch, """print('{"Username": "<token>", "Secret": "refresh-me"}')""")
    found = await keyring().of("a")
    assert found == Credential("docker-credential-fake", identity_token="refresh-me")


async def test_docker_hub_is_asked_for_by_its_old_name(
    docker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Helpers know Docker Hub as docker login stored it."""
    write(docker, credsStore="fake")
    helper(docker, monkeypatch, """print('{"Username": "%s", "Secret": "hush"}' % server)""")
    found = await keyring(host="docker.io").of("a")
    assert found is not None
    assert found.username == "https://index.docker.io/v1/"


async def test_helper_that_knows_nothing_leaves_it_to_auths(
    docker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`credentials not found` is an answer, not a failure."""
    write(docker, credsStore="fake", auths={HOST: {"auth": encoded("u:pass")}})
    body = "print('credentials not found in native keychain'); sys.exit(1)"
    helper(docker, monkeypatch, body)
    found = await keyring().of("a")
    assert found is not None
    assert found.username == "u"


@pytest.mark.parametrize(
    "body", ["print('keychain is locked'); sys.exit(3)", "print('not json')", "print('[]')"]
)
async def test_helper_that_fails_is_an_error(
    docker: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    """Any other failure of a helper stops the work and names the helper."""
    write(docker, credsStore="fake")
    helper(docker, monkeypatch, body)
    with pytest.raises(AuthenticationError, match="docker-credential-fake failed"):
        await keyring().of("a")


@pytest.mark.parametrize("name", ["missing", "../fake", "a b", "-"])
async def test_helper_that_cannot_be_run_is_an_error(docker: Path, name: str) -> None:
    """A missing helper, or a name that is a path, is never executed nor ignored."""
    write(docker, credsStore=name)
    with pytest.raises(AuthenticationError, match="failed"):
        await keyring().of("a")


async def test_helper_that_hangs_is_killed(docker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A helper gets so long and no longer."""
    write(docker, credsStore="fake")
    helper(docker, monkeypatch, "time.sleep(3600)")
    ring = Keyring(HOST, lambda _: RegistryConfig(), patience=0.05)
    with pytest.raises(AuthenticationError, match="no answer"):
        await ring.of("a")


async def test_secrets_are_hidden_from_messages(docker: Path) -> None:
    """Every secret that was found is blanked out everywhere."""
    auth = encoded("user:swordfish")
    write(docker, auths={HOST: {"auth": auth, "identitytoken": "refresh-me"}})
    found = await keyring().of("a")
    assert redact(f"swordfish {auth} refresh-me") == "*** *** ***"
    assert "swordfish" not in repr(found)
