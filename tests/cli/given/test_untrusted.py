"""A pull request from a stranger: the job that plans it gives nothing away and writes nothing."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imgmigrate.plan import Action, read_plan
from tests.fakes.registry import FakeRegistry, User
from tests.fakes.registry.threaded import in_thread
from tests.support.images import image
from tests.support.layouts import write_layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.helpers import Cli

README = (Path(__file__).parents[3] / "README.md").read_text()
CONFIG = """\
version: 1
images:
  - source: "oci:images/os"
    destination: "oci:bundle/os"
    tags: ["1", "2", "3"]
"""
STRANGER = ("--untrusted", "--trusted", "../trusted.yaml")


def tree(folder: Path) -> dict[str, bytes | None]:
    """All that lies below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def checkout(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with three images, one of which is at its destination in another form."""
    folder = cli.folder / "checkout"
    folder.mkdir()
    (folder / "imgmigrate.yaml").write_text(CONFIG)
    (cli.folder / "trusted.yaml").write_text("version: 1\n")
    for tag in "123":
        write_layout(folder / "images/os", tag, image(tag))
    write_layout(folder / "bundle/os", "1", image("1"))
    write_layout(folder / "bundle/os", "2", image("another"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    """A registry that knows one user."""
    fake = FakeRegistry(auth="token", users=[User("ci", "s3cret-of-ci")])
    with in_thread(fake):
        fake.put_image("team/api", "1", image("a"))
        yield fake


def test_without_a_state_nothing_is_called_a_conflict(cli: Cli, checkout: Path) -> None:
    """The headline says first and last what is not known; apply refuses such a plan."""
    assert cli("plan", *STRANGER, "--out", "../plan.out", "--detailed-exitcode") == 2
    headline = "Plan: 1 to copy, 1 unknown, 1 unchanged."
    assert cli.out.startswith(headline)
    assert " ".join(cli.out.split()).count("No state: what is ours is not known.") == 2
    assert "conflict" not in cli.out
    plan = read_plan(checkout.parent / "plan.out")
    assert [(str(each.address), each.action) for each in plan.changes] == [
        ("oci:bundle/os:2", Action.UNKNOWN),
        ("oci:bundle/os:3", Action.COPY),
    ]
    assert cli("show", "../plan.out", "--format", "markdown") == 0
    assert "#### `?` ownership unknown (1)" in cli.out
    assert cli("show", "../plan.out", "--only", "unknown") == 0
    assert cli("apply", "../plan.out") == 4
    assert "made without a state" in cli.err


def test_nothing_is_written(cli: Cli, checkout: Path) -> None:
    """No state, no cache and no lock, whatever the plan had to read; only what --out names."""
    (checkout / "imgmigrate.yaml").write_text(
        CONFIG.replace("tags:", "platforms: [linux/amd64]\n    tags:")
        + '  - source: "oci:images/os"\n    destination: "oci:bundle/new"\n'
        "    tags: {newest: 2, include: ['*']}\n"
    )
    before = tree(checkout)
    assert cli("plan", *STRANGER, "--sizes", "always", "--out", "../plan.out") == 0
    assert cli("plan", *STRANGER, "--explain", "2") == 0
    assert cli("validate", *STRANGER) == 0
    assert "state: not known here" in cli.out
    assert tree(checkout) == before


def test_a_state_that_a_trusted_job_exported_tells_what_is_ours(cli: Cli, checkout: Path) -> None:
    """The same rows as with the state itself, and a plan that may be applied to it."""
    assert cli("state", "export", "--out", "../state.jsonl") == 64
    assert "there is none yet" in cli.err
    assert cli("apply", "--auto-approve") == 7
    assert cli("state", "export", "--out", "../state.jsonl") == 0
    assert stat.S_IMODE((checkout.parent / "state.jsonl").stat().st_mode) == 0o600
    for tag in "13":
        write_layout(checkout / "images/os", tag, image(f"{tag}, newer"))
    os.rename(checkout / "state", checkout.parent / "hidden")
    given = (*STRANGER, "--state-file", "../state.jsonl")
    assert cli("plan", *given, "--out", "../plan.out") == 0
    assert cli.out.startswith("Plan: 2 to update, 1 conflict.")
    assert "No state" not in cli.out
    os.rename(checkout.parent / "hidden", checkout / "state")
    assert cli("apply", "../plan.out") == 7
    assert cli("plan", "--state-file", "../state.jsonl", "--state", "x") == 64


def test_a_state_in_the_checkout_is_the_strangers(cli: Cli, checkout: Path) -> None:
    """Who may write the config may write a state that says what is ours; it is not read."""
    assert cli("apply", "--auto-approve") == 7
    assert cli("plan", *STRANGER) == 0
    assert "1 unknown" in cli.out
    state = f"{(checkout / 'state/imgmigrate').as_posix()}"
    (checkout.parent / "trusted.yaml").write_text(f"version: 1\nstate: {{path: '{state}'}}\n")
    assert cli("plan", *STRANGER) == 0
    assert "1 conflict, 2 unchanged" in cli.out
    (checkout.parent / "trusted.yaml").write_text("version: 1\nstate: {path: no/where}\n")
    assert cli("plan", *STRANGER) == 0
    assert "1 unknown" in cli.out
    assert not (checkout.parent / "no").exists()


def test_a_command_of_the_trusted_file_is_run(
    cli: Cli, checkout: Path, registry: FakeRegistry
) -> None:
    """The operator's way to log in works; a stranger's is not even looked for."""
    command = [sys.executable, "-c", "print('ci:s3cret-of-ci')"]
    entry = {"plain_http": True, "credential_command": command}
    trusted = {"version": "1", "registries": {registry.host: entry}}
    (checkout.parent / "trusted.yaml").write_text(json.dumps(trusted))
    rule = f'images: [{{source: "{registry.host}/team/api", destination: "oci:bundle/api"}}]\n'
    (checkout / "imgmigrate.yaml").write_text(f"version: 1\n{rule}")
    assert cli("plan", *STRANGER) == 0
    assert "1 to copy" in cli.out

    evil = [sys.executable, "-c", "open('pwned', 'w')"]
    asked = json.dumps({registry.host: {"plain_http": True, "credential_command": evil}})
    (checkout / "imgmigrate.yaml").write_text(f"version: 1\nregistries: {asked}\n{rule}")
    assert cli("plan", *STRANGER) == 64
    assert "credential_command: it runs a program" in cli.err
    assert not (checkout / "pwned").exists()


def test_dockers_login_is_not_looked_up_for_others(
    cli: Cli, checkout: Path, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of a trusted registry is; no request reaches any other."""
    helper = cli.folder / "docker-credential-tell"
    helper.write_text(
        '#!/bin/sh\ncat >> asked\necho \'{"Username": "ci", "Secret": "s3cret-of-ci"}\'\n'
    )
    helper.chmod(0o755)
    (cli.folder / "config.json").write_text('{"credsStore": "tell"}')
    monkeypatch.setenv("PATH", str(cli.folder), prepend=os.pathsep)
    monkeypatch.setenv("DOCKER_CONFIG", str(cli.folder))
    rule = f'images: [{{source: "{registry.host}/team/api", destination: "oci:bundle/api"}}]\n'
    (checkout / "imgmigrate.yaml").write_text(f"version: 1\n{rule}")
    (checkout.parent / "trusted.yaml").write_text(
        f'version: 1\nregistries: {{"{registry.host}/other": {{plain_http: true}}}}\n'
    )
    assert cli("plan", *STRANGER) == 64
    assert not (checkout / "asked").exists()
    assert registry.count("*", ".*") == 0
    (checkout.parent / "trusted.yaml").write_text(
        f'version: 1\nregistries: {{"{registry.host}": {{plain_http: true}}}}\n'
    )
    assert cli("plan", *STRANGER) == 0
    assert (checkout / "asked").read_text().strip() == registry.host


class Elsewhere(FakeRegistry):
    """A registry whose token server is another host."""

    tokens_at = ""

    def realm(self) -> str:
        """Under the other name of this machine."""
        return f"http://localhost:{self.tokens_at}/token"


@pytest.mark.parametrize("is_trusted", [False, True])
def test_a_token_server_has_to_be_a_registrys_own_or_trusted(
    cli: Cli, checkout: Path, registry: FakeRegistry, is_trusted: bool
) -> None:
    """Also where nobody logs in: a realm is an address that somebody else chose."""
    port = registry.host.rpartition(":")[2]
    others = f', "localhost:{port}": {{plain_http: true}}' if is_trusted else ""
    with in_thread(Elsewhere(auth="token")) as other:
        other.tokens_at = port
        other.put_image("team/api", "1", image("a"))
        (checkout.parent / "trusted.yaml").write_text(
            f'version: 1\nregistries: {{"{other.host}": {{plain_http: true}}{others}}}\n'
        )
        (checkout / "imgmigrate.yaml").write_text(
            "version: 1\n"
            f'images: [{{source: "{other.host}/team/api:1", destination: "oci:bundle/api"}}]\n'
        )
        assert cli("plan", *STRANGER) == 3
    assert (registry.count("GET", "/token.*") > 0) is is_trusted
    told = f"name localhost:{port} among the trusted registries"
    assert (told in " ".join(cli.out.split())) is not is_trusted


def test_the_storage_of_a_trusted_registry_may_be_anywhere(
    cli: Cli, checkout: Path, registry: FakeRegistry
) -> None:
    """What a registry redirects to is asked as nobody, as far inside a network as it lies."""
    registry.auth = "none"
    registry.redirect_status = 307
    (checkout.parent / "trusted.yaml").write_text(
        f'version: 1\nregistries: {{"{registry.host}": {{plain_http: true}}}}\n'
    )
    (checkout / "imgmigrate.yaml").write_text(
        f'version: 1\nimages: [{{source: "{registry.host}/team/api", '
        'destination: "oci:bundle/api", tags: {created_after: 2000-01-01, min: 0}}]\n'
    )
    assert cli("plan", *STRANGER) == 0
    assert registry.count("GET", "/v2/team/api/blobs/.*", status=307) > 0


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("plan", "--untrusted"), "add --trusted FILE"),
        (("plan", "--trusted", "../trusted.yaml"), "add --untrusted"),
        (("validate", *STRANGER, "--online"), "--online opens uploads"),
        (("plan", *STRANGER, "--allow-delete"), "--allow-delete: a plan of a stranger's"),
        (("plan", *STRANGER, "--allow-delete-gone"), "--allow-delete-gone: a plan of a stranger's"),
        (("plan", *STRANGER, "--forget"), "--forget: a plan of a stranger's"),
        (("plan", *STRANGER, "--refresh-only"), "--refresh-only: a plan of a stranger's"),
        (("plan", *STRANGER, "--from", "a.io/a", "--to", "b.io/a"), "not for --from"),
        (("plan", *STRANGER, "--images", "x", "--auth", "y"), "not for --images"),
        (("plan", "--untrusted", "--trusted", "../none.yaml"), "none.yaml: there is no such file"),
    ],
)
def test_options_that_contradict_are_refused(
    cli: Cli, checkout: Path, command: tuple[str, ...], expected: str
) -> None:
    """Before anything is read of the config."""
    assert checkout.is_dir()
    assert cli(*command) == 64
    assert expected in " ".join(cli.err.split())


def test_a_trusted_file_that_the_stranger_can_change_is_told(cli: Cli, checkout: Path) -> None:
    """In the config's folder it is part of the pull request."""
    (checkout / "trusted.yaml").write_text("version: 1\n")
    assert cli("plan", "--untrusted", "--trusted", "trusted.yaml") == 0
    assert "the trusted file lies in the config's folder" in " ".join(cli.err.split())
    assert cli("plan", *STRANGER) == 0
    assert "trusted file" not in cli.err


def test_what_comes_next_repeats_the_options(cli: Cli, checkout: Path) -> None:
    """A command to paste must not drop the guard."""
    (checkout / "imgmigrate.yaml").write_text(CONFIG.replace('"oci:images/os"', '"oci:images/no"'))
    assert cli("plan", *STRANGER) == 3
    assert cli("plan", *STRANGER, "--json") == 3
    last = json.loads(cli.out.splitlines()[-1])
    assert (last["type"], last["stateless"]) == ("change_summary", True)


def test_the_recipe_for_forks_runs_as_it_stands(
    cli: Cli, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The README's commands, in a checkout of a fork beside a base that has the trusted file."""
    recipe = re.search(r"```sh\n(git show [^`]*--untrusted[^`]*)```", README)
    assert recipe is not None
    git = ("git", "-c", "user.name=x", "-c", "user.email=x@example.com")
    (checkout / "trusted.yaml").write_text("version: 1\nregistries: {}\n")
    for command in (
        ("init", "-q", "-b", "main"),
        ("add", "-A"),
        ("commit", "-q", "-m", "base"),
        ("update-ref", "refs/remotes/origin/main", "HEAD"),
    ):
        subprocess.run([*git, *command], cwd=checkout, check=True)
    (checkout / "trusted.yaml").write_text("version: 1\nvariables: [AWS_SECRET_ACCESS_KEY]\n")
    assert cli("apply", "--auto-approve") == 7
    assert cli("state", "export", "--out", "../state.jsonl") == 0
    os.rename(checkout / "state", checkout.parent / "hidden")
    bin_folder = Path(sys.executable).parent
    runner = checkout.parent / "runner"
    runner.mkdir()
    environ = {
        **os.environ,
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "RUNNER_TEMP": str(runner),
        "STATE_FILE": str(checkout.parent / "state.jsonl"),
    }
    done = subprocess.run(
        ["sh", "-euc", recipe[1]],
        cwd=checkout,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    comment = (runner / "comment.md").read_text()
    assert "1 conflict, 2 unchanged" in comment
