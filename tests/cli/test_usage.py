"""Wrong usage is 64, never 2; `--detailed-exitcode` and the headline never disagree."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgmigrate.cli.exit import Applied, Planned, exit_code
from imgmigrate.plan import Action
from imgmigrate.render.changes.text import plan_text
from imgmigrate.render.words import has_work, headline
from tests.cli.given.test_options import every_command
from tests.render import samples

if TYPE_CHECKING:
    from imgmigrate.plan import Plan
    from tests.cli.helpers import Cli

# What each action that changes a destination is called in the headline.
CHANGING = re.compile(r"\d to (copy|update|complete|delete|move)\b")


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Plans of rows of every action, in any number, with and without unchanged ones."""
    actions = draw(st.lists(st.sampled_from(list(Action)), max_size=6))
    rows = [
        samples.change(f"harbor.new/a:{number}", action.value, "new")
        for number, action in enumerate(actions)
    ]
    return samples.plan(*rows, unchanged=draw(st.integers(0, 3)))


@given(plans())
def test_the_exit_code_says_what_the_headline_says(plan: Plan) -> None:
    """2 exactly if it counts changes, conflicts or what may be either, 3 exactly if errors."""
    text = headline(plan.summary)
    assert text in " ".join(plan_text(plan).split())
    code = exit_code(Planned(plan, detailed=True))
    if re.search(r"\d errors?\b", text):
        assert code == 3
    else:
        is_unknown = re.search(r"\d unknown[,.]", text)
        differs = CHANGING.search(text) or "conflict" in text or is_unknown
        assert code == (2 if differs else 0)
    assert exit_code(Planned(plan)) == (3 if code == 3 else 0)


@given(plans())
def test_a_plan_that_says_nothing_to_do_needs_no_apply(plan: Plan) -> None:
    """Where the headline says so, there is no work, no code 2, and an apply of it is done."""
    if headline(plan.summary).startswith("Nothing to do"):
        assert not has_work(plan.summary)
        assert exit_code(Planned(plan, detailed=True)) == 0
        assert exit_code(Applied(plan, None)) == 0


def test_every_command_refuses_wrong_options_with_64(cli: Cli) -> None:
    """Click's own refusals too: a script never takes them for changes, and stdout stays empty."""
    for name in every_command():
        for wrong in (["--no-such-option"], ["--log-level", "loud"]):
            assert cli(*name.split(), *wrong) == 64, (name, wrong)
            assert cli.out == "", (name, wrong)
            assert wrong[0] in cli.err, (name, wrong)


def test_an_option_without_its_value_is_64(cli: Cli) -> None:
    """With one dash and with two: the option is named, and nothing is done."""
    for name, command in every_command().items():
        for param in command.params:
            takes_value = isinstance(param, click.Option) and not (param.is_flag or param.count)
            if not takes_value:
                continue
            option = max(param.opts, key=len)
            for given_as in (option, option.replace("--", "-", 1)):
                assert cli(*name.split(), given_as) == 64, (name, given_as)
                assert cli.out == "", (name, given_as)
                assert option in cli.err, (name, given_as)


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan", "--detailed-exitcode", "plan.out"],
        ["plan", "--detailed-exitcode=yes"],
        ["plan", "--detailed-exitcode", "--target"],
        ["plan", "--detailed-exitcode", "--config", "absent.yaml"],
        ["plan", "--detailed-exitcode", "--target", "/(/"],
        ["plan", "--detailed-exitcode", "--target-file", "absent"],
        ["plan", "--detailed-exitcode", "--explain", "a/b:1"],
        ["plan", "--from", "a/b"],
        ["plan", "--from", "a/b", "--to", "c/d", "--config", "x.yaml"],
        ["apply", "--lock-timeout", "-1"],
        ["apply", "--max-failures", "1.5"],
        ["apply", "--expect-sha256", "ab"],
        ["pin", "--check", "extra"],
        ["convert", "nonsense", "file"],
    ],
    ids=" ".join,
)
def test_wrong_command_lines_are_64(cli: Cli, arguments: list[str]) -> None:
    """Also beside --detailed-exitcode, where 2 would be taken for changes."""
    assert cli(*arguments) == 64
    assert cli.err
