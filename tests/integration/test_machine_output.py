"""What real commands write for programs: every line of it meets its schema."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.support import images
from tests.support.layouts import write_layout
from tests.support.moves import Move, half_done, reach
from tests.support.moves import ended as ended_process
from tests.support.schemas import assert_valid, read_lines

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.registry import FakeRegistry

pytestmark = pytest.mark.integration


@pytest.fixture
async def move(
    tmp_path: Path, fake_registry: FakeRegistry, other_fake_registry: FakeRegistry
) -> Move:
    """One image moved, one waiting."""
    return await half_done(tmp_path, fake_registry, other_fake_registry)


async def stream(move: Move, *arguments: str, code: int = 0, **options: Any) -> list[str]:
    """Run a command with `--json`; every line meets its schema; give the types of its lines."""
    ran = await move.run(*arguments, "--json", code=code, **options)
    types = [line["type"] for line in read_lines("stream", ran.out)]
    assert types[0] == "version"
    return types[1:]


async def test_a_whole_migration(move: Move) -> None:
    """Plan, show, apply, and looking at the state: all lines are as described."""
    plan = ("plan", "--out", "plan.out")
    types = await stream(move, *plan)
    assert types[-2:] == ["planned_change", "change_summary"]
    assert "listed" in types
    read_lines("plan", (move.folder / "plan.out").read_text())
    ran = await move.run("show", "plan.out", "--format", "json")
    shown = read_lines("show", ran.out)
    assert [line["type"] for line in shown] == ["plan", "change", "end"]
    types = await stream(move, "apply", "plan.out")
    assert types[-2:] == ["apply_complete", "run_summary"]
    assert {"run_start", "apply_start"} < set(types)
    ran = await move.run("show", "--json")
    assert [line["type"] for line in read_lines("show", ran.out)] == ["state"]
    assert await stream(move, "state", "list") == ["record", "record"]


async def test_rows_that_fail_and_rows_that_conflict(move: Move) -> None:
    """What is not done is told with its error and hint, while it happens and at the end."""
    move.old.put_image("app", "third", images.image("third"))
    move.new.put_image("app", "third", images.image("theirs"))
    move.new.fail("PUT", "/manifests/second", status=403)
    types = await stream(move, "apply", "--auto-approve", code=3)
    assert types.count("apply_errored") == 2
    assert types[-1] == "run_summary"


async def test_a_run_that_is_interrupted(move: Move) -> None:
    """A signal ends the stream with a diagnostic, not in the middle of a line."""
    plan = await move.plan()
    stall = move.old.stall("GET", "/blobs/")
    with move.start("apply", plan.name, "--json") as process:
        await reach(process, stall)
        process.send_signal(signal.SIGTERM)
        ran = await ended_process(process, 143)
    assert read_lines("stream", ran.out)[-1]["kind"] == "Interrupted"


async def test_retries_and_unreadable_sides(move: Move) -> None:
    """What is tried again is told; what could not be read is a row."""
    move.old.fail("GET", "/tags/list", status=503)
    types = await stream(move, "plan", code=3, impatient=True)
    assert {"retry", "planned_change"} < set(types)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["plan", "-c", "absent.yaml"], 64),
        (["apply", "absent.out"], 4),
        (["apply"], 64),
        (["state", "list", "nothing/**"], 64),
    ],
    ids=["no config", "no plan", "no terminal", "no match"],
)
async def test_refusals(move: Move, arguments: list[str], code: int) -> None:
    """A command that does not begin says why, in the stream too."""
    assert await stream(move, *arguments, code=code) == ["diagnostic"]


async def test_what_has_drifted(move: Move) -> None:
    """`plan --refresh-only` writes the same lines about what has moved."""
    move.new.put_image("app", "first", images.image("theirs"))
    types = await stream(move, "plan", "--refresh-only", "--out", "drift.out")
    assert types[-2:] == ["planned_change", "change_summary"]
    read_lines("plan", (move.folder / "drift.out").read_text())


async def test_looking_at_config_registries_and_pins(move: Move) -> None:
    """`validate`, `plan --explain` and `pin` too, and the file of the pins."""
    types = await stream(move, "validate", "--online")
    assert types == ["valid", "registry", "registry", "validate_summary"]
    assert await stream(move, "plan", "--explain", "1") == ["listed", "selection"]
    types = await stream(move, "pin")
    assert types[-3:] == ["pin", "pin", "pin_summary"]
    assert_valid("lock", yaml.safe_load((move.folder / "imgmigrate.lock.yaml").read_text()))
    move.old.fail("*", "/manifests/first", status=403)
    assert "pin_error" in await stream(move, "pin", "--check", code=3)


@pytest.mark.parametrize(
    ("arguments", "types"),
    [
        (["status"], ["status"]),
        (["state", "log"], ["run"]),
        (["state", "lock"], ["lock"]),
        (["state", "repair", "--dry-run"], ["state_survey"]),
        (["state", "rm", "**", "--dry-run"], ["record", "state_change"]),
    ],
    ids=["status", "log", "lock", "repair", "rm"],
)
async def test_care_for_the_state(move: Move, arguments: list[str], types: list[str]) -> None:
    """Commands about the state write lines that are described."""
    assert await stream(move, *arguments) == types


async def test_what_adopt_and_moves_tell(move: Move) -> None:
    """So do those that record what is there, and that give a record another address."""
    move.new.put_image("app", "second", images.image("second"))
    assert "adoption" in await stream(move, "adopt", "**", "--dry-run")
    there, other = move.address("first"), f"{move.new.host}/other:first"
    types = await stream(move, "state", "mv", there, other, "--dry-run")
    assert types == ["state_move", "state_change"]


async def test_the_schemas_can_be_had_from_the_command(move: Move) -> None:
    """`schema` lists their names and prints each as it ships."""
    from imgmigrate.schemas import NAMES, schema_text

    assert (await move.run("schema")).out.split() == list(NAMES)
    assert (await move.run("schema", "stream")).out == schema_text("stream")
    await move.run("schema", "../plan", code=64)


async def test_a_comment_for_a_pull_request(move: Move) -> None:
    """`show --format markdown` of a real plan: headline, table, the command that applies it."""
    await move.plan()
    for form in ("markdown", "md"):
        ran = await move.run("show", "plan.out", "--format", form)
        assert "### Plan: 1 to copy" in ran.out
        assert f"| `{move.address('second')}` | `{move.old.host}/app:second` |" in ran.out
        assert "```sh\nimgmigrate apply plan.out\n```" in ran.out
    await move.run("show", "--format", "markdown", code=64)


def test_layouts_are_described_too(tmp_path: Path) -> None:
    """Addresses of layouts meet the same schemas."""
    from tests.support.cli import imgmigrate, write_config

    write_layout(tmp_path / "images", "1", images.image("1"))
    write_config(tmp_path, "  - {source: 'oci:images', destination: 'oci:bundle'}")
    ran = imgmigrate(tmp_path, "apply", "--auto-approve", "--json")
    assert read_lines("stream", ran.out)[-1]["type"] == "run_summary"
