"""`--target`, `--target-file` and `--exclude` on plan, show and apply, and how apply plans."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from imgmigrate.cli.given import limits
from imgmigrate.plan import Filters
from tests.cli.helpers import success
from tests.render import samples

if TYPE_CHECKING:
    from tests.cli.helpers import Cli, Engine

NEW = "harbor.new/team"
ROWS = (
    samples.change(f"{NEW}/api:1", "copy", "new", transfer_bytes=2048),
    samples.change(f"{NEW}/api:2", "copy", "new", transfer_bytes=1024),
    samples.change(f"{NEW}/web:1", "copy", "new", transfer_bytes=4096),
    samples.change(f"{NEW}/web:2", "conflict", "foreign"),
)
PLAN = samples.plan(*ROWS)


@pytest.fixture
def saved(cli: Cli, engine: Engine) -> Engine:
    """A saved plan of two repositories, one row of which is a conflict."""
    engine.plan = PLAN
    PLAN.write(cli.folder / "plan.out")
    (cli.folder / "targets.txt").write_text(
        f"# what is urgent\n\n{NEW}/api\n  {NEW}/web:1  \n{NEW}/api\n"
    )
    return engine


def test_plan_takes_targets_from_a_file(cli: Cli, saved: Engine) -> None:
    """One glob a line; comments, empty lines and repetitions are none; they add to --target."""
    assert cli("plan", "--target", "x/y", "-target-file", "targets.txt", "--exclude", "z/**") == 0
    ((_, options),) = saved.planned
    assert options.target == ("x/y", f"{NEW}/api", f"{NEW}/web:1")
    assert options.exclude == ("z/**",)


def test_targets_come_from_stdin(cli: Cli, saved: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` is stdin, for what another program prints."""
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{NEW}/api:1\n"))
    assert cli("plan", "--target-file", "-") == 0
    ((_, options),) = saved.planned
    assert options.target == (f"{NEW}/api:1",)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (None, "targets: cannot be read: No such file"),
        (b"# nothing\n\n", "targets: holds no glob"),
        (b"\xff\xfe\x00", "targets: cannot be read"),
    ],
)
@pytest.mark.parametrize("command", [["plan"], ["show", "plan.out"], ["apply", "plan.out"]])
def test_a_file_that_names_no_target_is_refused(
    cli: Cli, saved: Engine, command: list[str], content: bytes | None, cause: str
) -> None:
    """Absent, empty or unreadable, it never means everything: exit 64."""
    if content is not None:
        (cli.folder / "targets").write_bytes(content)
    assert cli(*command, "--target-file", "targets") == 64
    assert cause in cli.err
    assert not saved.planned
    assert not saved.applied


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        (["--target", f"{NEW}/api"], ["api:1", "api:2"]),
        (["--target", f"{NEW}/api:1", "--target", f"{NEW}/web"], ["api:1", "web:1", "web:2"]),
        (["--exclude", f"{NEW}/web:2"], ["api:1", "api:2", "web:1"]),
        (["--target", f"{NEW}/*:1", "--exclude", f"{NEW}/api"], ["web:1"]),
        (["--target-file", "targets.txt"], ["api:1", "api:2", "web:1"]),
    ],
)
def test_apply_does_the_chosen_rows_of_a_plan(
    cli: Cli, saved: Engine, options: list[str], chosen: list[str]
) -> None:
    """Its id stays, so that the rest is done by the same plan; how many are left is told."""
    code = cli("apply", "plan.out", *options)
    ((_, applied, _),) = saved.applied
    assert [str(each.address) for each in applied.changes] == [f"{NEW}/{each}" for each in chosen]
    assert applied.plan_id == PLAN.plan_id
    assert not applied.header.complete
    assert code == (7 if "web:2" in chosen else 0)
    left = len(ROWS) - len(chosen)
    assert cli.out.splitlines()[-1] == f"Left for another apply: {left} of the plan's rows."
    assert cli.out.startswith(f"Plan: {sum(each != 'web:2' for each in chosen)} to copy")


def test_json_tells_how_many_rows_are_left(cli: Cli, saved: Engine) -> None:
    """The summary of what is applied has the number of rows that are not."""
    assert cli("apply", "plan.out", "--json", "--target", f"{NEW}/api") == 0
    assert saved.applied
    (summary,) = (
        line for line in map(json.loads, cli.out.splitlines()) if line["type"] == "change_summary"
    )
    assert (summary["rows_left"], summary["changes"]["copy"]) == (2, 2)
    assert (summary["plan_id"], summary["complete"]) == (PLAN.plan_id, False)


@pytest.mark.parametrize("command", ["show", "apply"])
@pytest.mark.parametrize(
    ("options", "cause"),
    [
        (["--target", "harbor.nwe/**"], "--target harbor.nwe/**: matches no address"),
        (["--exclude", f"{NEW}/wbe"], f"--exclude {NEW}/wbe: matches no address"),
        (["--target", f"{NEW}/api", "--target", "a/b"], "--target a/b: matches no address"),
        (["--target", "/(/"], "--target /(/: "),
    ],
)
def test_a_glob_that_matches_nothing_is_refused(
    cli: Cli, saved: Engine, command: str, options: list[str], cause: str
) -> None:
    """A typing error is named with exit 64, and nothing is applied."""
    assert cli(command, "plan.out", *options) == 64
    assert cause in cli.err
    assert not saved.applied


def test_a_choice_that_leaves_nothing_is_refused(cli: Cli, saved: Engine) -> None:
    """Nothing to do because everything is excluded is an error, not a success."""
    assert cli("apply", "plan.out", "--exclude", f"{NEW}/**") == 64
    assert "--exclude leaves no row of the plan to do" in cli.err
    assert not saved.applied


@pytest.mark.usefixtures("saved")
def test_show_chooses_like_apply(cli: Cli) -> None:
    """What `show` lists for the same options is what `apply` would do."""
    options = ["--target-file", "targets.txt", "--exclude", f"{NEW}/api:2"]
    assert cli("show", "plan.out", *options) == 0
    assert "shown: 2 of 4 rows" in cli.out
    assert f"{NEW}/api:1" in cli.out
    assert f"{NEW}/web:1" in cli.out
    listed = [line for line in cli.out.splitlines() if not line.startswith("  imgmigrate ")]
    assert f"{NEW}/api:2" not in "\n".join(listed)
    assert f"imgmigrate apply plan.out {' '.join(options)}" in cli.out
    assert cli("show", *options) == 64
    assert "name its file" in cli.err


@pytest.mark.parametrize(
    "option",
    [["--replace", "a/b"], ["--allow-overwrite", "a/b"], ["--no-refresh"], ["--locked"]],
    ids=" ".join,
)
def test_options_of_planning_are_refused_beside_a_plan(
    cli: Cli, saved: Engine, option: list[str]
) -> None:
    """A saved plan is planned; what would change it is refused with exit 64."""
    assert cli("apply", "plan.out", *option) == 64
    assert f"{option[0]} is for planning, and PLAN is planned" in cli.err
    assert not saved.applied


def test_apply_plans_like_plan(cli: Cli, saved: Engine) -> None:
    """Without PLAN the options of `plan` reach the planner, and the way on repeats them."""
    options = ["--target", "a/**", "--exclude", "a/b", "--replace", "a/c"]
    options += ["--allow-overwrite", "a/d", "--no-refresh", "--target-file", "targets.txt"]
    assert cli("apply", "--auto-approve", *options) == 7
    assert cli("plan", *options) == 0
    (_, one), (_, other) = saved.planned
    # An apply records what is seen itself.
    assert (one.record, other.record) == (None, False)
    assert one == replace(other, record=None)
    assert not one.refresh
    ((_, _, applying),) = saved.applied
    assert applying.command == (
        "imgmigrate apply --auto-approve --target 'a/**' --exclude a/b --replace a/c "
        "--allow-overwrite a/d --no-refresh --target-file targets.txt"
    )
    assert applying.replan.startswith("imgmigrate plan --target 'a/**' --exclude a/b")
    assert applying.replan.endswith("--out plan.out")


def test_a_limited_plan_says_so(cli: Cli, engine: Engine) -> None:
    """The plan's text names its globs, ten at most, and that it is not the whole."""
    targets = tuple(f"harbor.new/r{number}" for number in range(1000))
    filters = Filters(target=targets)
    engine.plan = samples.plan(ROWS[0], filters=filters, complete=False)
    assert cli("plan") == 0
    words = " ".join(cli.out.split())
    assert "not the whole: limited by --target harbor.new/r0, --target harbor.new/r1" in words
    assert "--target harbor.new/r9, and 990 more" in words


@pytest.mark.parametrize(
    ("typed", "expected", "repeated"),
    [
        ([], (False, None, None, None), ""),
        (["--fail-fast"], (True, None, None, None), " --fail-fast"),
        (["-max-failures=5"], (False, "5", None, None), " --max-failures 5"),
        (["--max-failures", "2.5%"], (False, "2.5%", None, None), " --max-failures 2.5%"),
        (["--max-duration", "8h"], (False, None, 28800.0, None), " --max-duration 8h"),
        (["--max-plan-age", "24h"], (False, None, None, 86400.0), ""),
    ],
)
def test_limits_reach_the_run(
    cli: Cli,
    engine: Engine,
    typed: list[str],
    expected: tuple[bool, str | None, float | None, float | None],
    repeated: str,
) -> None:
    """Each limit is passed on as typed, and repeated by the command that goes on."""
    plan = samples.plan(ROWS[0])
    engine.result = success(plan)
    plan.write(cli.folder / "plan.out")
    assert cli("apply", "plan.out", *typed) == 0
    ((_, _, options),) = engine.applied
    most = str(options.max_failures) if options.max_failures else None
    assert (options.fail_fast, most, options.max_duration, options.max_plan_age) == expected
    assert options.command == f"imgmigrate apply plan.out{repeated}"


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ([], (300.0, False)),
        (["--wait-for-registries", "15m"], (900.0, True)),
        (["--wait-for-registries", "0s"], (0.0, True)),
    ],
)
def test_how_long_a_registry_is_waited_for_reaches_the_run(
    cli: Cli,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    typed: list[str],
    expected: tuple[float, bool],
) -> None:
    """Five minutes, and not for strangers, unless it is said."""
    monkeypatch.setattr(limits, "USUAL_OUTAGE", 300.0)
    engine.plan = samples.plan(ROWS[0])
    assert cli("apply", "--auto-approve", *typed) == 0
    ((_, planning, *_),) = engine.planned
    ((_, _, applying),) = engine.applied
    for options in (planning, applying):
        assert (options.outage, options.awaits_strangers) == expected


@pytest.mark.parametrize(
    ("typed", "cause"),
    [
        (["--max-failures", "many"], "such as 10 or 2.5%"),
        (["--max-failures", "101%"], "such as 10 or 2.5%"),
        (["--max-failures", "-1"], "such as 10 or 2.5%"),
        (["--max-duration", "soon"], "such as 90s, 5m, 1h or 7d"),
        (["--max-plan-age", "1y"], "such as 90s, 5m, 1h or 7d"),
        (["--fail-fast", "--max-failures", "3"], "leave one of them out"),
    ],
)
def test_limits_that_cannot_be_read_are_refused(
    cli: Cli, engine: Engine, typed: list[str], cause: str
) -> None:
    """A typing error shows how to write it: exit 64 before anything is asked."""
    assert cli("apply", "--auto-approve", *typed) == 64
    assert cause in cli.err
    assert not engine.planned


def test_planning_counts_towards_the_duration(
    cli: Cli, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An apply that plans for itself has what planning leaves of --max-duration."""
    times = iter([1000.0, 1090.0])
    # The package's attribute of that name is the command.
    module = sys.modules["imgmigrate.cli.commands.apply"]
    monkeypatch.setattr(module, "monotonic", lambda: next(times))
    engine.plan = samples.plan(ROWS[0])
    assert cli("apply", "--auto-approve", "--max-duration", "2m") == 0
    ((_, _, options),) = engine.applied
    assert options.max_duration == 30.0


def test_a_chosen_row_brings_along_what_keeps_its_former_image(cli: Cli, engine: Engine) -> None:
    """Without it the row could not be done; rows that are not chosen bring nothing."""
    before = samples.digest("old")
    plan = samples.plan(
        *(
            samples.change(
                f"{NEW}/api:{tag}",
                "update",
                "source_moved",
                before=before,
                kept_as=f"{NEW}/api:{tag}-before",
            )
            for tag in "12"
        ),
        *(samples.change(f"{NEW}/api:{tag}-before", "copy", "keep_previous") for tag in "12"),
    )
    plan.write(cli.folder / "plan.out")
    assert cli("apply", "plan.out", "--target", f"{NEW}/api:1") == 0
    ((_, applied, _),) = engine.applied
    assert [each.address.tag for each in applied.changes] == ["1", "1-before"]
