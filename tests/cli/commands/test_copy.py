"""`copy SRC DST`: what no config names, in one go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.state.local.store import LocalState
from tests.cli.helpers import Terminal
from tests.render import samples
from tests.support import images
from tests.support.layouts import layout_tags, write_layout

if TYPE_CHECKING:
    from tests.cli.helpers import Cli, Engine

ENDS = ("oci:from/os", "oci:to/os")


@pytest.fixture
def source(cli: Cli) -> Cli:
    """A layout with two tags, and a config that is broken."""
    for tag in ("1", "2"):
        write_layout(cli.folder / "from/os", tag, images.image(tag))
    (cli.folder / "imgmigrate.yaml").write_text("nonsense")
    return cli


def test_it_plans_shows_and_applies(source: Cli) -> None:
    """The tags that are asked for, shown first and recorded as those of a one-shot plan."""
    assert source("copy", *ENDS, "oci:to/other", "--tags", "1", "--auto-approve") == 0
    assert source.out.index("2 to copy") < source.out.index("Apply complete")
    assert set(layout_tags(source.folder / "to/os")) == {"1"}
    assert set(layout_tags(source.folder / "to/other")) == {"1"}
    assert LocalState(source.folder / "state/oneshot").read().live_count == 2
    assert source("copy", *ENDS, "--tags", "1", "--auto-approve") == 0
    assert "Nothing to do" in source.out
    assert source("copy", *ENDS, "--auto-approve", "--state", "s", "--json") == 0
    assert LocalState(source.folder / "s").read().live_count == 2


@pytest.mark.parametrize(("answer", "code"), [("yes", 0), ("y", 1), ("", 1)])
def test_it_asks(source: Cli, monkeypatch: pytest.MonkeyPatch, answer: str, code: int) -> None:
    """As apply does: only yes is accepted, and anything else changes nothing."""
    monkeypatch.setattr("sys.stdin", Terminal(f"{answer}\n"))
    assert source("copy", *ENDS) == code
    assert "2 to copy" in source.out
    assert (source.folder / "to").exists() == (code == 0)


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_where_nobody_can_answer_it_is_refused_first(
    cli: Cli, engine: Engine, more: list[str]
) -> None:
    """Before anything is planned."""
    assert cli("copy", *ENDS, *more) == 64
    assert "--auto-approve" in (cli.out if more else cli.err)
    assert not engine.planned


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["Old/a", "new.example/a"], "SRC Old/a: "),
        (["o.io/a", "n.io/a/"], "DST n.io/a/: "),
        (["o.io/a:1", "n.io/a", "--tags", "2"], "SRC o.io/a:1: it names tags"),
        (["o.io/a", "n.io/a", "--tags", "/(/"], "--tags /(/: the regex /(/ does not compile"),
        ([*ENDS, "--config", "c.yaml"], "--config: SRC and DST stand instead of a config"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_told_by_what_was_typed(
    cli: Cli, engine: Engine, arguments: list[str], said: str
) -> None:
    """Exit 64; the message names the argument, and no option that was not given."""
    assert cli("copy", *arguments, "--auto-approve") == 64
    assert said in cli.err
    assert "--from" not in cli.err
    assert not engine.planned


def test_the_same_command_goes_on(cli: Cli, engine: Engine) -> None:
    """It is what status and an interruption name; who plans instead has both ends named."""
    engine.plan = samples.plan(samples.change("n.io/a:1", "copy", "new"))
    arguments = ("--plain-http", "n.io", "--tags", "1", "--max-failures", "3")
    assert cli("copy", "o.io/a", "n.io/a", *arguments, "--auto-approve") == 0
    ((config, _, options),) = engine.applied
    assert config.state == cli.folder / "state" / "oneshot"
    assert config.registry("n.io").plain_http
    same = "imgmigrate copy --plain-http n.io --tags 1 o.io/a n.io/a --max-failures 3"
    assert options.command == f"{same} --auto-approve"
    plan = "imgmigrate plan --plain-http n.io --tags 1 --from o.io/a --to n.io/a --out plan.out"
    assert options.replan == plan
