"""Logins of docker and podman, and the variable of CI systems: which one counts."""

from __future__ import annotations

import json
import os
import sys
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from imgmigrate.config.model import RegistryConfig
from imgmigrate.errors import ConfigError
from imgmigrate.stores.registry.logins import files as loginfiles
from imgmigrate.stores.registry.logins.keyring import Keyring

if TYPE_CHECKING:
    from pathlib import Path

HOST = "reg.example.com:5000"


def login(user: str) -> dict[str, str]:
    return {"auth": b64encode(f"{user}:password".encode()).decode()}


def put(path: Path, **auths: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"auths": auths}))


async def user_of(repo: str | None = "a/b/c", *, host: str = HOST) -> str | None:
    found = await Keyring(host, lambda _: RegistryConfig()).of(repo)
    return found.username if found is not None else None


@pytest.fixture
def places(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Where a login may be, in the order in which they count; each can be written to."""
    monkeypatch.setattr(loginfiles, "RUN_CONTAINERS", tmp_path / "run-containers")
    return {
        "docker": home / ".docker/config.json",
        "runtime": home / "run/containers/auth.json",
        "config": home / ".config/containers/auth.json",
    }


async def test_logins_count_in_their_order(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DOCKER_AUTH_CONFIG, docker's file, podman's of the session, podman's of the user."""
    assert await user_of() is None
    for name in reversed(places):
        put(places[name], **{HOST: login(name)})
        assert await user_of() == name
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {HOST: login("variable")}}))
    assert await user_of() == "variable"
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {"other": login("x")}}))
    assert await user_of() == "docker"


async def test_named_file_is_podmans_only_one(
    places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """REGISTRY_AUTH_FILE stands instead of podman's places, not of docker's."""
    for name in ("runtime", "config"):
        put(places[name], **{HOST: login(name)})
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    assert await user_of() is None
    put(tmp_path / "auth.json", **{HOST: login("named")})
    assert await user_of() == "named"
    put(places["docker"], **{HOST: login("docker")})
    assert await user_of() == "docker"


async def test_session_without_a_runtime_folder_has_one_by_its_number(
    places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where XDG_RUNTIME_DIR is not set, podman logs in at /run/containers/<uid>."""
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    put(tmp_path / f"run-containers/{os.getuid()}/auth.json", **{HOST: login("numbered")})
    assert await user_of() == "numbered"


@pytest.mark.parametrize(
    ("keys", "repo", "expected"),
    [
        ([HOST, f"{HOST}/a", f"{HOST}/a/b"], "a/b/c", f"{HOST}/a/b"),
        ([HOST, f"{HOST}/a", f"{HOST}/a/b"], "a/b", f"{HOST}/a/b"),
        ([HOST, f"{HOST}/a", f"{HOST}/a/b"], "a/x", f"{HOST}/a"),
        ([HOST, f"{HOST}/a"], "ab", HOST),
        ([HOST, f"{HOST}/a"], "b/a", HOST),
        ([HOST, f"{HOST}/a"], None, HOST),
        ([f"{HOST}/a"], "b", None),
        ([f"{HOST}/a/"], "a", f"{HOST}/a/"),
        (["reg.example.com/a"], "a", None),
        ([f"https://{HOST}/a"], "b", f"https://{HOST}/a"),
        ([f"https://{HOST}", HOST], "b", HOST),
        ([HOST, f"https://{HOST}"], "b", HOST),
        ([f"{HOST}/v2/"], "b", f"{HOST}/v2/"),
    ],
)
async def test_namespaces_count_from_the_longest(
    places: dict[str, Path], keys: list[str], repo: str | None, expected: str | None
) -> None:
    """`host/a/b`, then `host/a`, then the host; a URL stands for its host as a whole."""
    names = {key: f"user{number}" for number, key in enumerate(keys)}
    put(places["runtime"], **{key: login(name) for key, name in names.items()})
    assert await user_of(repo) == (names[expected] if expected else None)


@pytest.mark.parametrize("key", ["docker.io/library", "docker.io", "index.docker.io/library/nginx"])
async def test_docker_hub_has_namespaces_too(places: dict[str, Path], key: str) -> None:
    """By any of its names."""
    put(places["runtime"], **{key: login("hub")})
    assert await user_of("library/nginx", host="docker.io") == "hub"


async def test_repositories_of_a_registry_may_have_their_own_logins(
    places: dict[str, Path],
) -> None:
    """One keyring, asked for one after the other."""
    put(places["runtime"], **{HOST: login("all"), f"{HOST}/team": login("team")})
    ring = Keyring(HOST, lambda _: RegistryConfig())
    found = [await ring.of(repo) for repo in ("team/api", "other/api", None)]
    assert [each and each.username for each in found] == ["team", "all", "all"]


async def test_helper_is_one_for_all_namespaces(
    places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Helpers are asked for the registry, and once."""
    program = tmp_path / "docker-credential-fake"
    asked = tmp_path / "asked"
    lines = [
        f"#!{sys.executable} -I",
        "import sys",
        f"open({str(asked)!r}, 'a').write(sys.stdin.read() + ' ')",
        """print('{"Username": "helped", "Secret": "hush-hush"}')""",
    ]
    program.write_text("\n".join(lines))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    document = {"credHelpers": {HOST: "fake"}, "auths": {f"{HOST}/a": login("namespace")}}
    places["runtime"].parent.mkdir(parents=True)
    places["runtime"].write_text(json.dumps(document))
    ring = Keyring(HOST, lambda _: RegistryConfig())
    found = [await ring.of(repo) for repo in ("a", "b")]
    assert [each and each.username for each in found] == ["helped", "helped"]
    assert asked.read_text() == f"{HOST} "


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "not json"])
@pytest.mark.parametrize("place", ["DOCKER_AUTH_CONFIG", "docker", "runtime"])
async def test_what_cannot_be_read_is_named(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch, place: str, text: str
) -> None:
    """Never silently anonymous; and the content is not in the message."""
    if place in places:
        places[place].parent.mkdir(parents=True)
        places[place].write_text(text)
    else:
        monkeypatch.setenv(place, text)
    with pytest.raises(ConfigError) as caught:
        await user_of()
    name = str(places.get(place, place))
    assert str(caught.value).startswith(f"{name}: it is not JSON; ")


async def test_file_that_may_not_be_read_is_named(places: dict[str, Path]) -> None:
    """A folder where the file should be, for one."""
    places["runtime"].mkdir(parents=True)
    with pytest.raises(ConfigError, match="REGISTRY_AUTH_FILE"):
        await user_of()


@pytest.mark.parametrize("document", ["[]", '{"auths": []}', f'{{"auths": {{"{HOST}": 7}}}}', "{}"])
async def test_files_of_another_shape_hold_nothing(places: dict[str, Path], document: str) -> None:
    """As for docker: what it does not know it ignores."""
    places["runtime"].parent.mkdir(parents=True)
    places["runtime"].write_text(document)
    assert await user_of() is None
