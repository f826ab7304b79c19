"""Credentials, by every way in, come out nowhere: plan, state, events, logs, tracebacks, JSON."""

from __future__ import annotations

import json
import sys
from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

import pytest

from imgmigrate.stores.registry.listing import pages as listing
from tests.cli.helpers import Cli
from tests.fakes.registry import FakeRegistry, User, in_thread
from tests.fakes.registry.access import Token
from tests.support.images import image
from tests.support.programs import Login

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.fakes.registry.access import Scheme

NAME = "robot"
# Ends that every encoding but base64 leaves as they are, and all that is escaped between them.
HEAD, TAIL = "Tr0ub4dor", "Zebra77"
PASSWORD = f'{HEAD}-"&\\x+%/= é:-{TAIL}'
TOKEN = f"{HEAD}.tok_en-{TAIL}"
REPOSITORIES = ("team/a", "copy/a")


def in_base64(text: str) -> str:
    return b64encode(text.encode()).decode()


@dataclass
class Setup:
    """Where a test may put the credentials, and what it has put there."""

    host: str
    home: Path
    monkeypatch: pytest.MonkeyPatch
    entry: list[str] = field(default_factory=list)

    def settings(self, **values: object) -> None:
        """Write keys of the registry's entry in the config."""
        self.entry += [f"{key}: {json.dumps(value)}" for key, value in values.items()]

    def file(self, name: str, document: object) -> None:
        """Write a JSON file below the home directory."""
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))

    def helper(self, username: str, secret: str) -> None:
        """Put a docker helper on PATH and into docker's file."""
        program = self.home / "docker-credential-fake"
        answer = json.dumps({"Username": username, "Secret": secret})
        program.write_text(f"#!{sys.executable} -I\nprint({answer!r})\n")
        program.chmod(0o755)
        self.monkeypatch.setenv("PATH", str(self.home))
        self.file(".docker/config.json", {"credHelpers": {self.host: "fake"}})


def by_config(setup: Setup) -> None:
    setup.settings(username=NAME, password=PASSWORD)


def by_variables(setup: Setup) -> None:
    setup.monkeypatch.setenv("THE_USER", NAME)
    setup.monkeypatch.setenv("THE_PASSWORD", PASSWORD)
    setup.settings(username="${THE_USER}", password="${THE_PASSWORD}")


def by_command(answer: str) -> Callable[[Setup], None]:
    def put(setup: Setup) -> None:
        login = Login(setup.home, answer)
        setup.settings(credential_command=[*login.words, PASSWORD])

    return put


def by_docker(**entry: str) -> Callable[[Setup], None]:
    def put(setup: Setup) -> None:
        setup.file(".docker/config.json", {"auths": {setup.host: entry}})

    return put


def by_helper(setup: Setup) -> None:
    setup.helper(NAME, PASSWORD)


def by_helper_token(setup: Setup) -> None:
    setup.helper("<token>", TOKEN)


def by_variable_of_docker(setup: Setup) -> None:
    auths = {setup.host: {"auth": in_base64(f"{NAME}:{PASSWORD}")}}
    setup.monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": auths}))


def by_podman(setup: Setup) -> None:
    auths = {
        f"{setup.host}/{repo}": {"auth": in_base64(f"{NAME}:{PASSWORD}")} for repo in ("team",)
    }
    auths[setup.host] = auths[f"{setup.host}/team"]
    setup.file("run/containers/auth.json", {"auths": auths})


INPUTS: dict[str, Callable[[Setup], None]] = {
    "config": by_config,
    "variables": by_variables,
    "command-json": by_command(json.dumps({"username": NAME, "password": PASSWORD})),
    "command-text": by_command(f"{NAME}:{PASSWORD}"),
    "docker-auth": by_docker(auth=in_base64(f"{NAME}:{PASSWORD}")),
    "docker-plain": by_docker(username=NAME, password=PASSWORD),
    "docker-identity": by_docker(auth=in_base64("0000:"), identitytoken=TOKEN),
    "docker-ready": by_docker(registrytoken=TOKEN),
    "helper": by_helper,
    "helper-identity": by_helper_token,
    "DOCKER_AUTH_CONFIG": by_variable_of_docker,
    "podman": by_podman,
}


# Some also as they are sent in the Basic scheme.
CASES = [*INPUTS, "config-basic", "command-json-basic", "helper-basic"]
# Secrets that are no passwords, and for whom they are sent in the Basic scheme, if ever.
BY_TOKEN: dict[str, tuple[str | None, str]] = {
    "docker-identity": ("0000", TOKEN),
    "docker-ready": (None, TOKEN),
    "helper-identity": ("<token>", TOKEN),
}
# What is refused, and how.
REFUSALS = (("/token", 400), ("/token", 401), ("/tags/", 400), ("/v2/", 401), ("/v2/", 500))
DEBUG = ("--log-level", "debug")


class Watch:
    """Runs commands in a folder and looks through all that they say and leave behind."""

    def __init__(self, cli: Cli, registry: FakeRegistry) -> None:
        self._cli, self._registry = cli, registry
        self._said: list[str] = []

    def __call__(self, *arguments: str, code: int | None = 0) -> None:
        """Run one command."""
        found = self._cli(*arguments)
        self._said += [self._cli.out, self._cli.err]
        assert code in (None, found), self._cli.out + self._cli.err

    def assert_clean(self) -> None:
        """Check every byte of text and files, the plan and the state among them."""
        files = [path for path in sorted(self._cli.folder.rglob("*")) if path.is_file()]
        texts = ["".join(self._said)] + [
            path.read_bytes().decode(errors="replace")
            for path in files
            if path.name != "imgmigrate.yaml"
        ]
        secrets = {HEAD, TAIL, *self._registry.tokens}
        secrets |= {in_base64(each) for each in (f"{NAME}:{PASSWORD}", PASSWORD, TOKEN)}
        secrets |= {in_base64(f"{user}:{secret}") for user, secret in BY_TOKEN.values()}
        leaks = {secret for secret in secrets for text in texts if secret in text}
        assert not leaks
        # Nothing would be found in nothing.
        assert len("".join(texts)) > 1000


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Commands run in a folder of their own."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Cli(folder, capsys)


@pytest.fixture
def registry(request: pytest.FixtureRequest) -> Iterator[FakeRegistry]:
    """A private registry that knows the user by every kind of credential."""
    scheme: Scheme = "basic" if "basic" in request.node.name else "token"
    with in_thread(FakeRegistry(auth=scheme, users=[User(NAME, PASSWORD)])) as registry:
        registry.private = ("*",)
        registry.put_image("team/a", "1", image())
        registry.refresh_tokens[TOKEN] = NAME
        rights = frozenset((repo, right) for repo in REPOSITORIES for right in ("pull", "push"))
        registry.tokens[TOKEN] = Token(NAME, rights, 1e9)
        yield registry


@pytest.fixture
def watch(
    name: str, cli: Cli, registry: FakeRegistry, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Watch:
    """Put the credentials into one input; the config names it if it must."""
    setup = Setup(registry.host, home, monkeypatch)
    INPUTS[name.removesuffix("-basic")](setup)
    entry = ", ".join(["plain_http: true", *setup.entry])
    rule = f"{{source: {registry.host}/team/a, destination: {registry.host}/copy/a}}"
    (cli.folder / "imgmigrate.yaml").write_text(
        f'version: 1\nregistries:\n  "{registry.host}": {{{entry}}}\nimages: [{rule}]\n'
    )
    return Watch(cli, registry)


@pytest.mark.parametrize("name", CASES)
def test_a_migration_shows_no_secret(name: str, watch: Watch, registry: FakeRegistry) -> None:
    """Plan, apply and all that shows them, with everything that is logged at debug."""
    watch("validate", "--online", *DEBUG)
    watch("plan", "--out", "plan.out", *DEBUG)
    watch("plan", "--json", *DEBUG)
    watch("apply", "plan.out", "--auto-approve", "--json", *DEBUG)
    watch("show", "plan.out", *DEBUG)
    watch("state", "list", "--json", *DEBUG)
    assert registry.tags("copy/a")
    watch.assert_clean()


@pytest.mark.parametrize("name", CASES)
def test_a_registry_that_repeats_secrets_makes_us_say_none(
    name: str, watch: Watch, registry: FakeRegistry
) -> None:
    """Whatever it refuses and however it quotes what it was sent."""
    user, secret = BY_TOKEN.get(name, (NAME, PASSWORD))
    forms = [secret, quote(secret, safe=""), quote_plus(secret)]
    forms.append(f"https://{NAME}:{quote(secret, safe='')}@{registry.host}/")
    if user is not None:
        forms.append(in_base64(f"{user}:{secret}"))
    body = json.dumps({"errors": [{"code": "X", "message": " and ".join(forms)}]}).encode()
    for path, status in REFUSALS:
        registry.fail("*", path, status=status, body=body)
        watch("plan", *DEBUG, code=None)
        registry.clear()
    registry.fail("*", "/uploads/", status=400, body=body)
    watch("validate", "--online", "--json", *DEBUG, code=1)
    watch.assert_clean()


@pytest.mark.parametrize("name", ["config", "command-text", "helper-identity"])
def test_a_traceback_shows_no_secret(
    name: str, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that nobody foresaw, with the secret in its text, in every style of output."""
    watch("validate", "--online")
    _, secret = BY_TOKEN.get(name, (NAME, PASSWORD))

    async def broken(*_: object) -> list[str]:
        raise RuntimeError(secret)

    monkeypatch.setattr(listing, "list_tags", broken)
    watch("plan", *DEBUG, code=1)
    watch("plan", "--json", *DEBUG, code=1)
    watch("plan", code=1)
    watch.assert_clean()


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "proxy"])
@pytest.mark.parametrize("status", [407, 502, 403])
def test_a_proxys_password_is_not_shown(
    cli: Cli,
    registry: FakeRegistry,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    status: int,
) -> None:
    """In the environment or in the config, whatever the proxy says."""
    proxy = f"http://{NAME}:{quote(PASSWORD, safe='')}@{registry.host}"
    entry = "plain_http: true"
    if variable == "proxy":
        entry += f", proxy: {json.dumps(proxy)}"
    else:
        monkeypatch.setenv(variable, proxy)
    rule = "{source: registry.test/a, destination: 'oci:out'}"
    (cli.folder / "imgmigrate.yaml").write_text(
        f'version: 1\nregistries:\n  "registry.test": {{{entry}}}\nimages: [{rule}]\n'
    )
    body = f"{PASSWORD} {in_base64(f'{NAME}:{PASSWORD}')} {proxy}".encode()
    registry.fail("*", "registry.test", status=status, body=body)
    watch = Watch(cli, registry)
    watch("validate", "--online", *DEBUG, code=1)
    watch("plan", "--out", "plan.out", *DEBUG, code=3)
    watch("plan", "--json", *DEBUG, code=3)
    assert registry.count("GET", "registry.test", status=status)
    watch.assert_clean()
