"""`pin`, and `plan --locked`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import Interrupted, TransientError
from imgmigrate.observing.problems import failed
from imgmigrate.oci.reference import Digest, Reference
from imgmigrate.plan import Reason
from imgmigrate.planning import pin_sources as pinning
from imgmigrate.planning.planner import PlanOptions, Resolved
from tests.render import samples

if TYPE_CHECKING:
    from imgmigrate.config.model import Config
    from imgmigrate.plan import Change
    from tests.cli.helpers import Cli, Engine

ADDRESS, SOURCE = Reference.parse("oci:bundle/os:12"), Reference.parse("oci:images/os:12")
OLD, NEW = Digest.of(b"old"), Digest.of(b"new")
LOCK = "imgmigrate.lock.yaml"


class Sources:
    """Stands for what the sources show."""

    def __init__(self) -> None:
        self.source = SOURCE
        self.digest: Digest | None = OLD
        self.problems: tuple[Change, ...] = ()
        self.asked: list[PlanOptions] = []
        self.error: BaseException | None = None

    async def resolve(self, _: Config, options: PlanOptions, **__: object) -> Resolved:
        """Give what a test prepared."""
        self.asked.append(options)
        if self.error is not None:
            raise self.error
        images = {ADDRESS: (self.source, self.digest)} if self.digest else {}
        return Resolved(images, self.problems)


@pytest.fixture
def sources(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Sources:
    """A config whose sources a test prepares."""
    cli.write_config()
    sources = Sources()
    monkeypatch.setattr(pinning, "resolve", sources.resolve)
    return sources


def unreadable() -> tuple[Change, ...]:
    error = TransientError("oci:images/os", "cannot be read")
    return (failed(ADDRESS, Reason.UNREADABLE, str(error)),)


def test_pin_writes_the_file_and_names_the_next_command(cli: Cli, sources: Sources) -> None:
    """What was pinned is shown; the options reach the sources."""
    assert cli("pin", "-parallelism", "3", "-on-rate-limit=stop") == 0
    assert f'"{ADDRESS}": "{SOURCE}@{OLD}"' in (cli.folder / LOCK).read_text()
    assert f"added    {ADDRESS}  {OLD.short}" in cli.out
    assert "1 pin: 1 added." in cli.out
    repeated = "--parallelism 3 --on-rate-limit stop"
    assert f"imgmigrate plan {repeated} --locked --out plan.out" in cli.out
    assert (sources.asked[0].parallelism, sources.asked[0].on_rate_limit) == (3, "stop")
    assert cli("pin") == 0
    assert f"1 pin: 1 unchanged.\n{LOCK} is as it was.\n" in cli.out


def test_check_writes_nothing_and_exits_2_when_sources_moved(cli: Cli, sources: Sources) -> None:
    """Old and new digest are shown; the file stays as it was; without a move the code is 0."""
    cli("pin")
    assert cli("pin", "--check") == 0
    sources.digest = NEW
    before = (cli.folder / LOCK).read_bytes()
    assert cli("pin", "--check") == 2
    assert f"moved    {ADDRESS}  {OLD.short} -> {NEW.short}  ({SOURCE})" in cli.out
    assert (cli.folder / LOCK).read_bytes() == before
    assert cli("pin") == 0
    assert str(NEW) in (cli.folder / LOCK).read_text()


@pytest.mark.parametrize("arguments", [[], ["--check"]])
def test_an_unreadable_source_exits_3(cli: Cli, sources: Sources, arguments: list[str]) -> None:
    """Its error is told on stderr, and its pin stays."""
    cli("pin")
    before = (cli.folder / LOCK).read_bytes()
    sources.digest, sources.problems = None, unreadable()
    assert cli("pin", *arguments) == 3
    assert f"{ADDRESS}: oci:images/os: cannot be read" in cli.err
    assert "1 pin: 1 not read, 1 unchanged." in cli.out
    assert (cli.folder / LOCK).read_bytes() == before


def test_pins_are_data_with_json(cli: Cli, sources: Sources) -> None:
    """Every difference, problem and count is a line, digests in full."""
    cli("pin")
    sources.digest = NEW
    other = Reference.parse("oci:bundle/other:1")
    sources.problems = (failed(other, Reason.UNREADABLE, "no answer"),)
    assert cli("pin", "--json") == 3
    version, moved, problem, summary = (json.loads(line) for line in cli.out.splitlines())
    assert version["type"] == "version"
    assert (moved["type"], moved["address"], moved["change"]) == ("pin", str(ADDRESS), "moved")
    assert moved["before"] == {"source": str(SOURCE), "digest": OLD}
    assert moved["after"] == {"source": str(SOURCE), "digest": NEW}
    assert (problem["type"], problem["detail"]) == ("pin_error", "no answer")
    assert (summary["type"], summary["saved"]) == ("pin_summary", LOCK)
    assert summary["counts"] == {
        "moved": 1, "added": 0, "removed": 0, "unchanged": 0, "errors": 1,
    }  # fmt: skip
    assert cli.err == ""


def test_a_glob_that_matches_nothing_exits_64(cli: Cli, sources: Sources) -> None:
    """--upgrade with a typing error writes nothing."""
    cli("pin")
    before = (cli.folder / LOCK).read_bytes()
    sources.digest = NEW
    assert cli("pin", "--upgrade", "oci:nowhere:*") == 64
    assert "--upgrade oci:nowhere:*: matches no address of the pins" in cli.err
    assert (cli.folder / LOCK).read_bytes() == before


def test_a_broken_file_is_written_anew_only_by_a_whole_pin(cli: Cli, sources: Sources) -> None:
    """What must keep other pins refuses a file that it cannot read; a whole pin needs no file."""
    (cli.folder / LOCK).write_text("<<<<<<<\n")
    assert cli("pin", "--check") == 64
    assert cli("pin", "--upgrade", str(ADDRESS)) == 64
    assert f"{LOCK}:1: a merge left its marks here" in cli.err
    assert cli("pin") == 0
    assert "a merge left its marks here; all pins are written anew" in cli.err
    assert cli("pin", "--check") == 0


@pytest.mark.parametrize("arguments", [["--check"], ["--upgrade", str(ADDRESS)]])
def test_there_must_be_pins_to_compare_or_upgrade(
    cli: Cli, sources: Sources, arguments: list[str]
) -> None:
    """Without a file nothing is asked, nor are some addresses pinned as if they were all."""
    assert cli("pin", *arguments) == 64
    assert f"{LOCK}: there is no such file" in cli.err
    assert "imgmigrate pin" in cli.err
    assert not sources.asked
    assert not (cli.folder / LOCK).exists()


def test_an_interrupted_pin_says_that_nothing_changed(cli: Cli, sources: Sources) -> None:
    """A signal while sources are read leaves the file alone."""
    sources.error = Interrupted(2, "interrupted by SIGINT")
    assert cli("pin") == 130
    assert "while pinning; nothing was changed" in cli.err
    assert not (cli.folder / LOCK).exists()


def test_a_locked_plan_is_planned_from_the_pins(cli: Cli, sources: Sources, engine: Engine) -> None:
    """The planner gets the pinned digest; commands to repeat keep --locked, apply needs none."""
    cli("pin")
    engine.plan = samples.plan(samples.change("harbor.new/a:1", "copy", "new"))
    assert cli("plan", "-locked") == 0
    assert "imgmigrate plan --locked --out plan.out" in cli.out
    ((config, _),) = engine.planned
    (rule,) = config.rules
    assert (rule.digest, rule.digest_addresses()) == (OLD, (ADDRESS,))
    assert cli("plan", "--locked", "--out", "plan.out") == 0
    assert "imgmigrate apply plan.out" in cli.out


def test_long_names_are_folded_and_stay_whole(cli: Cli, sources: Sources) -> None:
    """In 80 columns a check names the address, the pinned digest and the one that is there."""
    cli("pin")
    sources.digest = NEW
    long = "oci:" + "/".join(["a-folder-with-a-long-name"] * 6) + ":12"
    sources.source = Reference.parse(long)
    assert cli("pin", "--check") == 2
    assert all(len(line) <= 80 for line in cli.out.splitlines())
    assert cli.out.startswith(f"moved    {ADDRESS}\n")
    told = "".join(cli.out.split())
    for part in (OLD.short, NEW.short, SOURCE, long):
        assert str(part) in told


def test_apply_can_plan_from_the_pins(cli: Cli, sources: Sources, engine: Engine) -> None:
    """`apply --locked` plans what is pinned; the command that goes on does so too."""
    cli("pin")
    engine.plan = samples.plan(samples.change("harbor.new/a:1", "copy", "new"))
    assert cli("apply", "--locked", "--auto-approve") == 0
    ((config, _),) = engine.planned
    assert [rule.digest for rule in config.rules] == [OLD]
    ((_, _, options),) = engine.applied
    assert options.command == "imgmigrate apply --locked --auto-approve"


def test_a_plan_file_is_not_planned_from_pins_again(
    cli: Cli, sources: Sources, engine: Engine
) -> None:
    """`apply PLAN --locked` contradicts itself; PLAN alone needs no pins, locked or not."""
    cli("pin")
    made = samples.plan(samples.change("harbor.new/a:1", "copy", "new"), lock_sha256="ab" * 32)
    made.write(cli.folder / "plan.out")
    assert cli("apply", "plan.out", "--locked") == 64
    assert "--locked is for planning, and PLAN is planned" in cli.err
    assert not engine.applied
    (cli.folder / LOCK).unlink()
    assert cli("apply", "plan.out") == 0
    assert cli("show", "plan.out") == 0
    assert "from the pins abababababab" in cli.out
    assert cli("show", "plan.out", "--json") == 0
    assert f"{'ab' * 32}" in cli.out


def test_a_locked_plan_without_pins_is_refused(cli: Cli, engine: Engine) -> None:
    """The error names the file and the command that writes it."""
    assert cli("plan", "--locked") == 64
    assert f"{LOCK}: there is no such file" in cli.err
    assert "imgmigrate pin" in cli.err
    assert not engine.planned


def test_where_nothing_could_be_read_no_file_is_written(cli: Cli, sources: Sources) -> None:
    """A first file without a single pin would only hide that the sources were not read."""
    sources.digest, sources.problems = None, unreadable()
    assert cli("pin") == 3
    assert not (cli.folder / LOCK).exists()
    assert f"{LOCK} was not written: nothing could be read to pin." in cli.out
    assert "--locked" not in cli.out
