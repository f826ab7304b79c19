"""`plan --from SRC --to DST` without a config, and applying such a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.plan import Plan
from tests.render import samples

if TYPE_CHECKING:
    from tests.cli.helpers import Cli, Engine

COPY = samples.change("new.example/a:1", "copy", "new")
ENDS = ("--from", "old.example/a", "--to", "new.example/a")


def unconfigured(plan: Plan) -> Plan:
    return Plan.of(plan.header.model_copy(update={"config_sha256": None}), plan.changes)


@pytest.fixture
def bare(cli: Cli, engine: Engine) -> Engine:
    """No config file anywhere; planning and applying are prepared."""
    (cli.folder / "imgmigrate.yaml").unlink()
    engine.plan = unconfigured(samples.plan(COPY))
    return engine


def test_the_options_are_one_rule(cli: Cli, bare: Engine) -> None:
    """Source, destinations, tags and plain HTTP mean what a rule's keys do; nothing else is set."""
    arguments = ("--tags", "v*,x", "--tags", "/^y,z$/", "--plain-http", "old.example:5000")
    assert cli("plan", "-from", "old.example:5000/a", *ENDS[2:], "-to", "oci:b", *arguments) == 0
    ((config, _),) = bare.planned
    (rule,) = config.rules
    assert str(rule.source) == "old.example:5000/a"
    assert [str(each.repository) for each in rule.destinations] == ["new.example/a", "oci:b"]
    assert [str(each) for each in rule.tags or ()] == ["v*", "x", "/^y,z$/"]
    assert config.registry("old.example:5000").plain_http
    assert not config.registry("new.example").plain_http
    assert config.sha256 == ""
    assert (config.base, config.state) == (cli.folder, cli.folder / "state" / "oneshot")


def test_inline_tags_and_another_state(cli: Cli, bare: Engine) -> None:
    """Tags behind the repository and renamed ones work, and --state says where the state is."""
    ends = ("--from", "old.example/a:1,2", "--to", "new.example/a:x,y")
    assert cli("plan", *ends, "--state", "elsewhere") == 0
    ((config, _),) = bare.planned
    assert [str(a) for _, a in config.rules[0].explicit_addresses()] == [
        "new.example/a:x",
        "new.example/a:y",
    ]
    assert config.state == cli.folder / "elsewhere"


def test_a_config_that_lies_there_is_not_read(cli: Cli, engine: Engine) -> None:
    """The default config plays no part, however broken it is."""
    (cli.folder / "imgmigrate.yaml").write_text("nonsense")
    assert cli("plan", *ENDS) == 0
    assert str(engine.planned[0][0].rules[0].source) == "old.example/a"


def test_commands_to_repeat_name_the_same_ends(cli: Cli, bare: Engine) -> None:
    """A preview repeats the whole command, a saved plan needs its plain registries alone."""
    plain = ("--plain-http", "new.example")
    assert cli("plan", *ENDS, *plain) == 0
    repeated = f"imgmigrate plan {' '.join(ENDS)} {' '.join(plain)} --out plan.out"
    assert repeated in cli.out
    assert cli("plan", *ENDS, *plain, "--out", "plan.out") == 0
    assert "imgmigrate apply --plain-http new.example plan.out" in cli.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "old.example/a"], "--from needs a destination"),
        (["--to", "new.example/a"], "--to belongs to a plan without a config"),
        (["--tags", "a"], "--tags belongs to a plan without a config"),
        (["--plain-http", "a"], "--plain-http belongs to a plan without a config"),
        ([*ENDS, "--config", "c.yaml"], "--config: --from and --to stand instead of a config"),
        ([*ENDS, "--images", "i.yaml"], "--images: --from and --to stand instead of a config"),
        ([*ENDS, "--locked"], "--locked: --from and --to stand instead of a config"),
        (["--from", "Old/a", "--to", "new.example/a"], "--from Old/a: "),
        (["--from", "o.io/a", "--to", "n.io/a/"], "--to n.io/a/: "),
        (["--from", "o.io/a:1", "--to", "n.io/a", "--tags", "2"], "--from o.io/a:1: it names tags"),
        ([*ENDS, "--tags", "/(/"], "--tags /(/: the regex /(/ does not compile"),
        ([*ENDS, "--tags", "a b"], "--tags a b: "),
        ([*ENDS, "--plain-http", "http://new.example"], "--plain-http http://new.example: "),
        (["--from", "o.io/a", "--to", "o.io/a"], "source and destination are the same"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_contradictions_and_mistakes_exit_64(
    cli: Cli, bare: Engine, arguments: list[str], said: str
) -> None:
    """The message names the option that is wrong, never a file that is not there."""
    assert cli("plan", *arguments) == 64
    assert said in cli.err
    assert "command line" not in cli.err
    assert not bare.planned


def test_such_a_plan_is_applied_without_a_config(cli: Cli, bare: Engine) -> None:
    """The plan says that no config stands behind it: the one-shot state and defaults hold."""
    bare.plan.write(cli.folder / "plan.out")
    assert cli("apply", "plan.out", "--plain-http", "new.example") == 0
    ((config, plan, options),) = bare.applied
    assert plan == bare.plan
    assert config.state == cli.folder / "state" / "oneshot"
    assert config.registry("new.example").plain_http
    assert options.command == "imgmigrate apply --plain-http new.example plan.out"
    assert "is not the config" not in cli.err


@pytest.mark.parametrize(
    ("configured", "arguments", "said"),
    [
        (False, ["plan.out", "--config", "c.yaml"], "--config: the plan was made without a config"),
        (True, ["plan.out", "--plain-http", "a"], "--plain-http belongs to a plan without a"),
        (True, ["--auto-approve", "--plain-http", "a"], "--plain-http belongs to a plan without"),
    ],
)
def test_an_apply_that_contradicts_its_plan_exits_64(
    cli: Cli, engine: Engine, configured: bool, arguments: list[str], said: str
) -> None:
    """A config for a plan without one, or a plain registry beside a config, is refused."""
    plan = samples.plan(COPY)
    (plan if configured else unconfigured(plan)).write(cli.folder / "plan.out")
    assert cli("apply", *arguments) == 64
    assert said in cli.err
    assert not engine.applied
