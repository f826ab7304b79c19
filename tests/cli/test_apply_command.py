"""`apply`."""

from __future__ import annotations

import hashlib
import io
import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.errors import AccessDenied, Interrupted, PlanRefused, StateLocked, StateUnsaved
from imgmigrate.events import ImageFinished, ImageStarted, Outcome, Receipt, RunStarted
from imgmigrate.plan import Filters
from tests.cli.helpers import Terminal, success
from tests.render import samples

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.plan import Change, Plan
    from tests.cli.helpers import Cli, Engine

COPY = samples.change("harbor.new/a:1", "copy", "new", transfer_bytes=2048)
FORGET = samples.change("harbor.new/a:2", "forget", "rule_removed", source=None)
KEEP = samples.change("harbor.new/a:3", "keep", "source_gone", source=None)
CONFLICT = samples.change("harbor.new/c:1", "conflict", "foreign")


def save(cli: Cli, plan: Plan, name: str = "plan.out") -> Path:
    path = cli.folder / name
    plan.write(path)
    return path


def here(cli: Cli, *rows: Change) -> Plan:
    """A plan made from the config that is here."""
    config = hashlib.sha256((cli.folder / "imgmigrate.yaml").read_bytes()).hexdigest()
    plan = samples.plan(*rows)
    return plan.of(plan.header.model_copy(update={"config_sha256": config}), plan.changes)


def answers(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(text))


def test_a_saved_plan_is_applied_without_asking(cli: Cli, engine: Engine) -> None:
    """The file is the approval: exactly it is applied, with the options as typed."""
    plan = here(cli, COPY)
    save(cli, plan)
    code = cli("apply", "plan.out", "-parallelism=5", "-strict", "-lock-timeout=2m", "-state", "s")
    assert code == 0
    ((config, applied, options),) = engine.applied
    assert applied == plan
    assert not engine.planned
    assert config.state == cli.folder / "s"
    assert (options.parallelism, options.strict, options.lock_timeout) == (5, True, 120)
    repeated = "--parallelism 5 --strict --lock-timeout 2m"
    assert options.command == f"imgmigrate apply --state s plan.out {repeated}"
    assert cli.out.splitlines() == [
        "Plan: 1 to copy. 2.00 KiB to transfer.",
        "Apply complete: 1 done; 4.00 KiB moved in 2.0 s, 2.00 KiB/s.",
    ]
    assert cli.err == ""


def test_each_finished_image_is_a_line_on_stderr(cli: Cli, engine: Engine) -> None:
    """Progress goes to stderr, so that stdout is the result alone."""
    save(cli, here(cli, COPY))
    receipt = Receipt(COPY.address, Outcome.APPLIED, moved=2048)
    engine.events = (
        RunStarted("run", "plan", 1, 2048),
        ImageStarted(COPY.address),
        ImageFinished(receipt),
    )
    assert cli("apply", "plan.out", "--verbose") == 0
    assert cli.err == "[1/1] done: harbor.new/a:1, 2.00 KiB\n"


def test_another_config_is_warned_of(cli: Cli, engine: Engine) -> None:
    """The plan alone decides what is written, but a changed config is worth a word."""
    save(cli, samples.plan(COPY))
    assert cli("apply", "plan.out") == 0
    assert "Warning: imgmigrate.yaml is not the config" in cli.err
    assert engine.applied


def test_another_commit_is_warned_of(
    cli: Cli, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan from another commit is applied, with a warning that names both."""
    monkeypatch.setattr("imgmigrate.planning.heading.git_commit", lambda _: "b" * 40)
    plan = here(cli, COPY)
    header = plan.header.model_copy(update={"git_commit": "a" * 40})
    save(cli, plan.of(header, plan.changes))
    assert cli("apply", "plan.out", "--json") == 0
    warning = json.loads(cli.out.splitlines()[1])
    assert warning["code"] == "commit_differs"
    assert "a" * 12 in warning["summary"]
    assert "b" * 12 in warning["summary"]
    assert engine.applied


def test_a_plan_other_than_the_reviewed_one_is_refused(cli: Cli, engine: Engine) -> None:
    """`--expect-sha256` compares what sha256sum prints; a mismatch exits 4 and applies nothing."""
    path = save(cli, here(cli, COPY))
    assert cli("apply", "plan.out", "--expect-sha256", "0" * 64) == 4
    assert not engine.applied
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    assert cli("apply", "plan.out", "--expect-sha256", found) == 0
    ((_, _, options),) = engine.applied
    # Who goes on checks the same.
    assert options.command == f"imgmigrate apply plan.out --expect-sha256 {found}"


@pytest.mark.parametrize(
    ("header", "row", "command"),
    [
        ({}, COPY, "plan --out plan.out"),
        ({"refresh_only": True}, FORGET, "plan --refresh-only --out plan.out"),
        ({"undoes": "run-1"}, COPY, "rollback run-1 --out plan.out"),
        (
            {},
            samples.change("harbor.new/a:9", "blocked", "max_delete"),
            "plan --allow-delete --max-delete 1 --out plan.out",
        ),
    ],
    ids=["plan", "refresh", "rollback", "deletes over the limit"],
)
def test_who_has_to_plan_again_is_told_the_same_kind_of_plan(
    cli: Cli, engine: Engine, header: dict[str, Any], row: Change, command: str
) -> None:
    """A rollback is planned again as one, and deletes that were too many are allowed."""
    plan = samples.plan(CONFLICT, COPY, *({row} - {COPY}), **header)
    save(cli, plan)
    refused = Receipt(CONFLICT.address, Outcome.CONFLICT, error=AccessDenied("c", "moved"))
    engine.result = success(plan, refused)
    cli("apply", "plan.out")
    assert cli.out.splitlines()[-1] == f"  imgmigrate {command}"
    ((_, _, options),) = engine.applied
    assert options.replan == f"imgmigrate {command}"


@pytest.mark.parametrize(
    ("more", "chosen"),
    [(0, "--target 'a/**' --exclude 'a/x:*' "), (9, "")],
    ids=["few globs", "more than a command line is for"],
)
def test_who_has_to_plan_again_keeps_what_the_plan_was_limited_to(
    cli: Cli, engine: Engine, more: int, chosen: str
) -> None:
    """The same rows into the same file, and not a plan of everything beside it."""
    targets = ("a/**", *(f"b/{number}" for number in range(more)))
    filters = Filters(target=targets, exclude=("a/x:*",))
    plan = samples.plan(CONFLICT, COPY, filters=filters)
    save(cli, plan, "mine.out")
    refused = Receipt(CONFLICT.address, Outcome.CONFLICT, error=AccessDenied("c", "moved"))
    engine.result = success(plan, refused)
    cli("apply", "mine.out")
    assert cli.out.splitlines()[-1] == f"  imgmigrate plan {chosen}--out mine.out"


@pytest.mark.parametrize("content", [b"", b"{}\n{}\n", b"\x00\xff"])
def test_what_is_no_plan_is_refused(cli: Cli, engine: Engine, content: bytes) -> None:
    """Any other file exits 4 before anything is touched."""
    (cli.folder / "plan.out").write_bytes(content)
    assert cli("apply", "plan.out") == 4
    assert not engine.applied


@pytest.mark.parametrize("rows", [[], [KEEP]])
def test_nothing_to_do_needs_no_run(cli: Cli, engine: Engine, rows: list[Change]) -> None:
    """A plan without work exits 0 at once, saved or not, without asking."""
    engine.plan = here(cli, *rows)
    save(cli, engine.plan)
    assert cli("apply", "plan.out") == 0
    assert cli("apply", "--auto-approve") == 0
    assert not engine.applied


def test_bookkeeping_is_work(cli: Cli, engine: Engine) -> None:
    """Rows that only change the state are applied too."""
    engine.plan = here(cli, FORGET)
    assert cli("apply", "--auto-approve") == 0
    assert len(engine.applied) == 1


def test_a_plan_of_conflicts_alone_is_shown_and_exits_7(cli: Cli, engine: Engine) -> None:
    """Where nothing can be done, why is shown, and the code says that it is not done."""
    save(cli, here(cli, CONFLICT))
    assert cli("apply", "plan.out") == 7
    assert "harbor.new/c:1" in cli.out
    assert not engine.applied


def test_what_is_not_done_is_listed_with_the_way_on(cli: Cli, engine: Engine) -> None:
    """Exit 3; each row with its error and hint; the same command resumes."""
    save(cli, here(cli, COPY))
    error = AccessDenied("harbor.new/a", "denied (403)", hint="the account lacks push")
    failed = Receipt(COPY.address, Outcome.FAILED, error=error)
    engine.result = success(here(cli, COPY), failed)
    assert cli("apply", "plan.out", "--config", "imgmigrate.yaml") == 3
    assert "  ! harbor.new/a:1: harbor.new/a: denied (403)" in cli.out
    assert "the account lacks push" in cli.out
    assert cli.out.endswith("  imgmigrate apply --config imgmigrate.yaml plan.out\n")


def test_yes_applies_what_was_shown(
    cli: Cli, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a file the plan is shown on stdout, the question asked on stderr."""
    engine.plan = here(cli, COPY)
    answers(monkeypatch, "yes\n")
    assert cli("apply") == 0
    ((_, applied, options),) = engine.applied
    assert applied == engine.plan
    assert options.command == "imgmigrate apply"
    assert cli.out.count("Plan: 1 to copy.") == 2
    assert "Only yes is accepted: " in cli.err
    assert "Only yes" not in cli.out


@pytest.mark.parametrize("answer", ["", "no\n", "y\n", "YES\n", "yes please\n"])
def test_only_the_word_yes_is_yes(
    cli: Cli, engine: Engine, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    """Every other answer applies nothing and exits 1."""
    engine.plan = here(cli, COPY)
    answers(monkeypatch, answer)
    assert cli("apply") == 1
    assert "not applied" in cli.err
    assert not engine.applied


def test_an_interruption_at_the_question_applies_nothing(
    cli: Cli, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C is an answer too: exit 130, and nothing was begun."""

    def interrupt() -> str:
        raise KeyboardInterrupt

    engine.plan = here(cli, COPY)
    answers(monkeypatch, "")
    monkeypatch.setattr("sys.stdin.readline", interrupt)
    assert cli("apply") == 130
    assert cli.err.endswith("Error: interrupted\n")
    assert not engine.applied


@pytest.mark.parametrize("arguments", [["apply"], ["apply", "--json"]])
def test_without_a_terminal_nothing_is_even_planned(
    cli: Cli, engine: Engine, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """What could not be approved is refused at once: exit 64."""
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    assert cli(*arguments) == 64
    assert "--auto-approve" in cli.err + cli.out
    assert not engine.planned


@pytest.mark.parametrize(
    ("arguments", "planned"),
    [
        (["--auto-approve"], ["planned_change", "change_summary"]),
        (["plan.out"], ["change_summary"]),
    ],
)
def test_json_tells_the_whole_story(
    cli: Cli, engine: Engine, arguments: list[str], planned: list[str]
) -> None:
    """The plan, every event and the end are lines on stdout, and nothing else is."""
    engine.plan = here(cli, COPY)
    save(cli, engine.plan)
    engine.result = success(engine.plan)
    engine.events = (ImageStarted(COPY.address), engine.result)
    assert cli("apply", "--json", *arguments) == 0
    kinds = [json.loads(line)["type"] for line in cli.out.splitlines()]
    # The stand-in emits its events while planning as well.
    began = [] if "plan.out" in arguments else ["apply_start", "run_summary"]
    assert kinds == ["version", *began, *planned, "apply_start", "run_summary"]
    assert cli.err == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_apply_says_what_is_saved_and_how_to_go_on(
    cli: Cli, engine: Engine, number: signal.Signals
) -> None:
    """After a signal the last words are how much is recorded, where, and the command."""
    save(cli, here(cli, COPY))
    engine.events = (
        RunStarted("run", "plan", 3, None),
        ImageStarted(COPY.address),
        ImageFinished(Receipt(COPY.address, Outcome.APPLIED)),
    )
    engine.error = Interrupted(number, "interrupted")
    assert cli("apply", "plan.out") == 128 + number
    assert "1 of 3 images done and recorded in state/imgmigrate" in cli.err
    assert cli.err.endswith("  to go on: imgmigrate apply plan.out\n")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PlanRefused("of another lineage"), 4),
        (StateLocked("held by 4711"), 5),
        (StateUnsaved("disk full", hint="see recovery.jsonl"), 8),
    ],
)
def test_errors_keep_their_codes(
    cli: Cli, engine: Engine, error: PlanRefused | StateLocked | StateUnsaved, code: int
) -> None:
    """What stops an apply is told with its hint and exits with its own code."""
    save(cli, here(cli, COPY))
    engine.error = error
    assert cli("apply", "plan.out") == code
    assert error.message in cli.err


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_state_that_fails_at_the_end_does_not_swallow_the_summary(
    cli: Cli, engine: Engine, form: list[str]
) -> None:
    """Exit 8, and before the error everything that the run has to say."""
    save(cli, here(cli, COPY))
    error = AccessDenied(str(COPY.address), "denied (403)")
    failed = Receipt(COPY.address, Outcome.FAILED, error=error)
    engine.events = (success(engine.plan, failed),)
    engine.error = StateUnsaved("journal.jsonl: disk full", hint="mend it")
    assert cli("apply", "plan.out", *form) == 8
    assert "denied (403)" in cli.out
    assert ("Apply incomplete" in cli.out) is not bool(form)
    assert "disk full" in (cli.out if form else cli.err)
