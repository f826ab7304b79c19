"""What is offered where an address or a run is typed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

from imgmigrate.cli.given.options import Settings
from imgmigrate.cli.given.suggestions import suggest_addresses, suggest_plans, suggest_runs
from imgmigrate.cli.output import Output
from imgmigrate.oci.reference import Digest, Reference
from tests.state.samples import RUN, a_run, local
from tests.support.records import make_record

if TYPE_CHECKING:
    from tests.cli.helpers import Cli

COMMAND = click.Command("plan")
PARAM = click.Argument(["what"])


def remember(folder: Path, *addresses: str) -> None:
    """Write a state that holds these."""

    async def write() -> None:
        async with a_run(local(folder)) as writer:
            for each in addresses:
                address = Reference.parse(each)
                await writer.record(make_record(address, address, Digest.of(b"1")))

    asyncio.run(write())


def addresses(incomplete: str = "", **settings: Any) -> list[tuple[str, str]]:
    """The values offered, and their kinds."""
    ctx = click.Context(COMMAND, obj=Settings(Output(), **settings))
    return [(each.value, each.type) for each in suggest_addresses(ctx, PARAM, incomplete)]


@pytest.mark.parametrize(
    ("config", "settings", "folder"),
    [
        (None, {}, "state/imgmigrate"),
        ("version: 1\n", {}, "state/imgmigrate"),
        ("state: {path: here}\n", {}, "here"),
        ("a: 1\nstate:\n  # why\n\n  path: 'over there'\nb: [\n", {}, "over there"),
        ("state:\n    path: ${PLACE:-a}/b", {}, "a/b"),
        (None, {"state": Path("given")}, "given"),
        (None, {"config": Path("sub/team.yaml")}, "sub/state/team"),
        (None, {"foreign": {"--images": Path("images.json")}}, "state/images"),
        (None, {"oneshot": {"--from": "a/b"}}, "state/oneshot"),
    ],
)
def test_the_state_is_found_where_the_command_would_find_it(
    cli: Cli, config: str | None, settings: dict[str, Any], folder: str
) -> None:
    """By options, by the config's own word, also if the rest of it is broken, or by its name."""
    named = settings.get("config")
    path = cli.folder / (named if isinstance(named, Path) else "imgmigrate.yaml")
    path.parent.mkdir(exist_ok=True)
    path.write_text(config or "")
    remember(cli.folder / folder, "registry.new/a:1")
    assert addresses(**settings) == [("registry.new/a:1", "plain")]


def test_many_addresses_are_offered_step_by_step(cli: Cli) -> None:
    """As folders are: nobody reads through thousands."""
    many = [f"registry.new/team/app-{number:02}:1" for number in range(60)]
    remember(cli.folder / "state" / "imgmigrate", "other.new/a:1", *many)
    assert addresses() == [("other.new/", "part"), ("registry.new/", "part")]
    assert addresses("registry.new/") == [("registry.new/team/", "part")]
    assert addresses("registry.new/team/app-59") == [("registry.new/team/app-59:1", "plain")]
    assert len(addresses("registry.new/team/a")) == 60


def test_what_a_shell_would_not_take_as_it_stands_is_not_offered(cli: Cli) -> None:
    """A state is a file: no name of it becomes a command on somebody's line."""
    folder = cli.folder / "state" / "imgmigrate"
    remember(folder, "registry.new/a:1", "oci:my disk:1", "oci:$(reboot):1")
    path = folder / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b"oci:my disk", b"a;b\\u0007"))
    assert addresses() == [("registry.new/a:1", "plain")]


def test_runs_are_offered_or_else_files(cli: Cli) -> None:
    """A rollback takes either."""
    remember(cli.folder / "state" / "imgmigrate")
    ctx = click.Context(COMMAND, obj=Settings(Output()))
    assert [each.value for each in suggest_runs(ctx, PARAM, RUN[:3])] == [RUN]
    assert [each.type for each in suggest_runs(ctx, PARAM, "plan.")] == ["file"]


def test_plans_that_a_folder_keeps_are_offered(cli: Cli) -> None:
    """As `--plan` takes them; what is there beside them is none."""
    folder = cli.folder / "state" / "imgmigrate"
    sha256 = asyncio.run(local(folder).save_plan(b"plan", plan_id="p" * 16, config=None))
    (folder / "plans" / "notes.json").write_text("{}")
    ctx = click.Context(COMMAND, obj=Settings(Output()))
    for begun in ("", "sha", f"sha256:{sha256[:5]}"):
        assert [each.value for each in suggest_plans(ctx, PARAM, begun)] == [f"sha256:{sha256}"]
    assert suggest_plans(ctx, PARAM, "sha256:zz") == []
