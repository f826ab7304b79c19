"""A login that a registry refuses: the error says where it stands, and never what it is."""

from __future__ import annotations

import json
import sys
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from tests.fakes.registry import FakeRegistry, User, in_thread
from tests.support.images import image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.helpers import Cli

RIGHT, WRONG = User("robot", "Right-Password-1"), "Wrong-Password-9"


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    """A registry that lets one user in, who may read alone."""
    with in_thread(FakeRegistry(auth="token", users=[RIGHT])) as found:
        found.private = ("*",)
        found.put_image("a", "1", image())
        yield found


def write_config(cli: Cli, host: str, login: str = "") -> None:
    """Write a config whose entry of the registry stands in line 6."""
    lines = [
        "version: 1",
        "images:",
        f"  - {{source: '{host}/a:1', destination: 'oci:there'}}",
        "",
        "registries:",
        f"  '{host}':",
        "    plain_http: true",
        *(f"    {each}" for each in login.splitlines()),
    ]
    (cli.folder / "imgmigrate.yaml").write_text("\n".join(lines))


def program(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a program that prints the wrong login as docker's helpers do."""
    path = folder / name
    answer = json.dumps({"Username": RIGHT.name, "Secret": WRONG})
    path.write_text(f"#!{sys.executable} -I\nprint('''{answer}''')\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return path


def written(folder: Path, host: str) -> str:
    """What docker's and podman's files say of the wrong login."""
    auth = b64encode(f"{RIGHT.name}:{WRONG}".encode()).decode()
    text = json.dumps({"auths": {host: {"auth": auth}}})
    folder.mkdir(exist_ok=True)
    return text


def prepare(where: str, cli: Cli, host: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Put the wrong login somewhere; return what the error has to say of it."""
    folder = cli.folder / "logins"
    folder.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    at = f'imgmigrate.yaml:9: registries."{host}"'
    match where:
        case "config":
            write_config(cli, host, f"username: {RIGHT.name}\npassword: {WRONG}")
            return f"{at}.password: correct it there"
        case "variables":
            monkeypatch.setenv("REG_USER", RIGHT.name)
            monkeypatch.setenv("REG_PASSWORD", WRONG)
            write_config(cli, host, "username: ${REG_USER}\npassword: ${REG_PASSWORD}")
            return f"{at}.password, from the variables REG_USER, REG_PASSWORD: correct it there"
        case "command":
            path = program(folder, "ask", monkeypatch)
            write_config(cli, host, f"concurrency: 4\ncredential_command: ['{path}']")
            return f"{at}.credential_command: see what it prints"
        case "helper":
            program(folder, "docker-credential-fake", monkeypatch)
            (folder / "config.json").write_text(json.dumps({"credsStore": "fake"}))
            write_config(cli, host)
            named = f"docker-credential-fake, which {folder}/config.json names"
            return f"{named}: log in again with docker login {host}"
        case "docker":
            (folder / "config.json").write_text(written(folder, host))
            write_config(cli, host)
            place = f"{folder}/config.json, its entry for {host}"
            return f"{place}: log in again with docker login {host}"
        case "podman":
            (folder / "auth.json").write_text(written(folder, host))
            monkeypatch.setenv("REGISTRY_AUTH_FILE", str(folder / "auth.json"))
            write_config(cli, host)
            place = f"{folder}/auth.json, its entry for {host}"
            return f"{place}: log in again with podman login {host}"
        case _:
            monkeypatch.setenv("DOCKER_AUTH_CONFIG", written(folder, host))
            write_config(cli, host)
            return f"DOCKER_AUTH_CONFIG, its entry for {host}: correct it there"


@pytest.mark.parametrize(
    "where", ["config", "variables", "command", "helper", "docker", "podman", "variable"]
)
def test_a_refused_login_is_named_by_its_place(
    cli: Cli, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The file and line, the variable, the helper: what to mend is where the login came from."""
    said = prepare(where, cli, registry.host, monkeypatch)
    assert cli("plan", "--json", "--out", "plan.out") == 3
    rows = [json.loads(line) for line in cli.out.splitlines()]
    (row,) = [each["change"] for each in rows if each["type"] == "planned_change"]
    assert row["why"]["hint"] == f"the login is that of {said}"
    everything = cli.out + cli.err + (cli.folder / "plan.out").read_text()
    assert WRONG not in everything
    assert cli("plan") == 3
    assert f"the login is that of {said}".replace(" ", "") in "".join(cli.out.split())
    assert WRONG not in cli.out + cli.err


def test_a_login_without_the_right_is_named_by_its_place(
    cli: Cli, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A good login that may not do it is found as well."""
    monkeypatch.setenv("REG_PASSWORD", RIGHT.password)
    write_config(cli, registry.host, f"username: {RIGHT.name}\npassword: ${{REG_PASSWORD}}")
    registry.fail("*", "/v2/a/", status=403, times=None)
    assert cli("plan") == 3
    said = " ".join(cli.out.split())
    place = f'imgmigrate.yaml:9: registries."{registry.host}".password'
    assert "the credentials of the config lack pull there" in said, cli.out
    assert f"they are those of {place}, from the variable REG_PASSWORD" in said, cli.out
