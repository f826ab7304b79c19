"""`validate --online`: text, data and exit codes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.fakes.registry import FakeRegistry, User, in_thread
from tests.fakes.registry.profiles import Ghcr
from tests.support.images import image
from tests.support.quirks import give_quirks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.helpers import Cli

ME = User("me", "swordfish")


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    """A registry that wants a login."""
    with in_thread(FakeRegistry(auth="token", users=[ME])) as registry:
        registry.private = ("*",)
        registry.put_image("team/a", "1", image())
        yield registry


def write_config(cli: Cli, registry: FakeRegistry, password: str = ME.password) -> None:
    entry = f"{{plain_http: true, username: {ME.name}, password: {password}}}"
    rule = f"{{source: {registry.host}/team/a, destination: {registry.host}/copy/a}}"
    (cli.folder / "imgmigrate.yaml").write_text(
        f'version: 1\nregistries: {{"{registry.host}": {entry}}}\nimages: [{rule}]\n'
    )


def test_all_that_works_exits_0(cli: Cli, registry: FakeRegistry) -> None:
    """The config first, then a table for each registry, in 80 columns."""
    write_config(cli, registry)
    assert cli("validate", "--online") == 0
    lines = cli.out.splitlines()
    assert lines[0] == "imgmigrate.yaml is valid: 1 rule"
    assert f"{registry.host} (source and destination)" in lines
    assert "  push       ok           copy/a" in lines
    assert lines[-1] == "1 registry tried: all that is needed works."
    assert all(len(line) <= 80 for line in lines)


def test_wildcards_are_tried_too(cli: Cli, registry: FakeRegistry) -> None:
    """A rule that names no repository still needs its registry, and the registry's list."""
    entry = f"{{plain_http: true, username: {ME.name}, password: {ME.password}}}"
    rule = f'{{source: "{registry.host}/team/**", destination: "oci:out/{{match}}"}}'
    (cli.folder / "imgmigrate.yaml").write_text(
        f'version: 1\nregistries: {{"{registry.host}": {entry}}}\nimages: [{rule}]\n'
    )
    assert cli("validate", "--online") == 0
    assert "  list       ok           1 repository matches team/**" in cli.out.splitlines()
    registry.fail("GET", "/v2/_catalog", status=404)
    assert cli("validate", "--online") == 1
    assert "  list       failed" in cli.out
    assert all(len(line) <= 80 for line in cli.out.splitlines())


def test_a_list_that_needs_another_right_says_which(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GitHub's token may pull and yet not list; what it lacks is in the report."""
    registry = Ghcr()
    registry.list_refusal = (403, "You need at least read:packages scope to list packages.")
    user = registry.user
    with in_thread(registry):
        give_quirks(registry, monkeypatch)
        entry = f"{{plain_http: true, username: {user.name}, password: {user.password}}}"
        rule = f'{{source: "{registry.host}/team/**", destination: "oci:out/{{match}}"}}'
        (cli.folder / "imgmigrate.yaml").write_text(
            f'version: 1\nregistries: {{"{registry.host}": {entry}}}\nimages: [{rule}]\n'
        )
        assert cli("validate", "--online") == 1
    text = " ".join(cli.out.split())
    assert "list failed denied (403): You need at least read:packages scope" in text
    assert "fix: its password must be a personal access token (classic)" in text
    assert user.password not in cli.out + cli.err


def test_what_does_not_work_exits_1(cli: Cli, registry: FakeRegistry) -> None:
    """And says what to mend, but no password."""
    write_config(cli, registry, "wrong-password")
    assert cli("validate", "--online") == 1
    assert "  log in     failed       not authenticated (401)" in cli.out
    said = "fix: the login is that of imgmigrate.yaml:"
    assert said in " ".join(cli.out.split())
    assert "wrong-password" not in cli.out + cli.err


@pytest.mark.parametrize(("password", "code"), [(ME.password, 0), ("wrong-password", 1)])
def test_json_is_a_stream(cli: Cli, registry: FakeRegistry, password: str, code: int) -> None:
    """A line for the config, one for each registry, one for the sum."""
    write_config(cli, registry, password)
    assert cli("validate", "--online", "--json") == code
    found = [json.loads(line) for line in cli.out.splitlines()]
    assert [line["type"] for line in found] == ["version", "valid", "registry", "validate_summary"]
    assert found[1]["registries"] == [registry.host]
    assert found[2]["works"] is (code == 0)
    assert {check["name"]: check["verdict"] for check in found[2]["checks"]}["reach"] == "ok"
    assert found[3]["works"] is (code == 0)


def test_json_needs_no_network(cli: Cli) -> None:
    """Without --online it tells of the config alone."""
    cli.write_config()
    assert cli("validate", "--json") == 0
    found = [json.loads(line) for line in cli.out.splitlines()]
    assert [line["type"] for line in found] == ["version", "valid"]
    assert (found[1]["rules"], found[1]["registries"], found[1]["layouts"]) == (1, [], 2)


def test_config_of_layouts_has_no_registries_to_try(cli: Cli) -> None:
    """Nothing is asked, and that is said."""
    cli.write_config()
    assert cli("validate", "--online") == 0
    assert cli.out.endswith("No registries: the rules name none.\n")


def test_an_invalid_config_is_not_tried(cli: Cli) -> None:
    """The config's error comes first, with its own exit code."""
    (cli.folder / "imgmigrate.yaml").write_text("version: 1\n")
    assert cli("validate", "--online", "--json") == 64
    assert "images" in cli.out
