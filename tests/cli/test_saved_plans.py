"""`plan --save`, `apply --plan`, `show --plan` and `state plans` through the command."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.config.values import backends
from imgmigrate.errors import StateError
from imgmigrate.state import base
from imgmigrate.state.shared.store import SharedState
from tests.fakes.depot import Bucket, MemoryDepot
from tests.fakes.elsewhere import StateElsewhere
from tests.support import images
from tests.support.layouts import write_layout

if TYPE_CHECKING:
    from imgmigrate.config.values.backends import Backend
    from tests.cli.helpers import Cli

BUCKET = "bucket://team/prod"


@pytest.fixture(params=("folder", "bucket"))
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the state is, as the config says it; the bucket's is in the memory of this process."""
    if request.param == "folder":
        return "state/imgmigrate"
    _offer(monkeypatch)
    return BUCKET


@pytest.fixture
def ready(cli: Cli, place: str) -> Cli:
    """A config with something to copy."""
    return _ready(cli, place)


def _offer(monkeypatch: pytest.MonkeyPatch, kind: type[MemoryDepot] = MemoryDepot) -> None:
    found: defaultdict[str, Bucket] = defaultdict(Bucket)

    def bucket(place: Backend) -> SharedState:
        return SharedState(kind(found[place.url], place.url), lease=place.lease)

    monkeypatch.setitem(base.KINDS, "bucket", bucket)
    monkeypatch.setattr(backends, "SCHEMES", (*backends.SCHEMES, "bucket"))


def _ready(cli: Cli, place: str = "state/imgmigrate") -> Cli:
    write_layout(cli.folder / "images/os", "12", images.image("os"))
    config = cli.write_config()
    if place == BUCKET:
        config.write_text(f"{config.read_text()}state: {{backend: '{place}'}}\n")
    return cli


def command_of(cli: Cli) -> list[str]:
    """The command that a plan said applies it, in words."""
    (line,) = (line for line in cli.out.splitlines() if line.startswith("  imgmigrate apply"))
    return line.split()[1:]


def lines_of(cli: Cli, kind: str) -> list[dict[str, Any]]:
    """The lines of one type that were printed."""
    found = [json.loads(line) for line in cli.out.splitlines()]
    return [each for each in found if each["type"] == kind]


def test_a_kept_plan_is_applied_by_the_command_that_is_printed(ready: Cli, place: str) -> None:
    """Nothing of it is left in the folder of the config, and `state plans` tells what became."""
    assert ready("plan", "--save") == 0, ready.err
    assert f"Kept in the state {place}" in ready.out
    words = command_of(ready)
    assert re.fullmatch(r"apply --plan sha256:[0-9a-f]{64}", " ".join(words))
    assert ready("state", "plans") == 0
    assert "not applied" in ready.out
    assert "of imgmigrate.yaml" in ready.out
    assert ready(*words) == 0, ready.err
    assert "1 copied" in ready.out
    assert ready("state", "plans") == 0
    assert "applied by run" in ready.out
    assert ready(*words) == 0
    assert "already done" in ready.out


def test_a_plan_is_kept_and_in_a_file(ready: Cli) -> None:
    """Both have the same bytes, and the one that is kept is the one to apply."""
    assert ready("plan", "--save", "--out", "plan.out") == 0, ready.err
    sha256 = hashlib.sha256((ready.folder / "plan.out").read_bytes()).hexdigest()
    assert f"Saved to plan.out, sha256 {sha256}" in " ".join(ready.out.split())
    assert command_of(ready) == ["apply", "--plan", f"sha256:{sha256}"]
    assert ready("apply", "plan.out") == 0
    assert ready("state", "plans", "--json") == 0
    (line,) = lines_of(ready, "kept_plan")
    assert line["sha256"] == sha256
    assert line["run"]


def test_json_says_where_a_plan_is_kept(ready: Cli, place: str) -> None:
    """By the same sha256 as that of a file."""
    assert ready("plan", "--save", "--json") == 0
    (summary,) = lines_of(ready, "change_summary")
    assert (summary["saved"], summary["saved_in"]) == (None, place)
    sha256 = summary["file_sha256"]
    assert ready("state", "plans", "--json") == 0
    (line,) = lines_of(ready, "kept_plan")
    assert (line["sha256"], line["plan_id"]) == (sha256, summary["plan_id"])
    assert (line["config"], line["run"], line["applied_at"]) == ("imgmigrate.yaml", None, None)
    assert ready("apply", "--plan", sha256, "--json") == 0, ready.out
    assert ready("state", "plans", "--json") == 0
    (line,) = lines_of(ready, "kept_plan")
    assert line["run"]
    assert line["applied_at"]


def test_a_quiet_plan_still_says_how_to_name_it(ready: Cli) -> None:
    """On the last line, as `--plan` takes it."""
    assert ready("plan", "--save", "--quiet") == 0
    *_, key = ready.out.splitlines()
    assert ready("apply", "--plan", key, "--quiet") == 0, ready.err


def test_a_kept_plan_is_shown(ready: Cli) -> None:
    """In every form, with the command that applies it; 12 digits are enough."""
    assert ready("plan", "--save", "--json") == 0
    sha256 = lines_of(ready, "change_summary")[0]["file_sha256"]
    assert ready("show", "--plan", f"sha256:{sha256[:12]}") == 0, ready.err
    assert "oci:bundle/os:12" in ready.out
    assert command_of(ready) == ["apply", "--plan", f"sha256:{sha256}"]
    assert ready("show", "--plan", sha256, "--format", "markdown") == 0
    assert f"imgmigrate apply --plan sha256:{sha256}" in ready.out
    assert ready("show", "--plan", sha256, "--format", "json", "--only", "copy") == 0
    assert len(lines_of(ready, "change")) == 1


def test_a_kept_plan_is_applied_in_parts(ready: Cli) -> None:
    """As one in a file: the options that choose rows of it choose."""
    config = ready.folder / "imgmigrate.yaml"
    rule = '  - {source: "oci:images/os:12", destination: "oci:bundle/base"}\n'
    config.write_text(config.read_text().replace("images:\n", f"images:\n{rule}"))
    assert ready("plan", "--save") == 0
    words = command_of(ready)
    assert ready(*words, "--target", "oci:bundle/os:12") == 0, ready.err
    assert "Left for another apply: 1" in ready.out
    assert ready(*words) == 0
    assert "1 copied, 1 already done" in " ".join(ready.out.split())


def test_options_of_the_plan_are_not_asked_for_again(ready: Cli) -> None:
    """What a plan holds its apply is not given; what says which state, is."""
    there = () if "backend" in (ready.folder / "imgmigrate.yaml").read_text() else ("elsewhere",)
    given = ("--state", *there) if there else ()
    assert ready("plan", "--save", "--target", "oci:bundle/**", *given) == 0
    words = command_of(ready)
    assert "--target" not in words
    assert ("--state" in words) == bool(there)
    assert ready(*words) == 0, ready.err


def test_no_plan_is_kept_yet(ready: Cli, place: str) -> None:
    """The words say what puts one there."""
    assert ready("state", "plans") == 0
    assert ready.out == f"No plan is kept in {place}: imgmigrate plan --save puts one there.\n"
    assert ready("apply", "--plan", "sha256:0123456789ab") == 64
    assert "no plan sha256:0123456789ab is kept there" in ready.err
    assert "imgmigrate state plans" in ready.err
    assert "imgmigrate plan --save" in ready.err


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (("apply", "--plan", "0123456789ab", "plan.out"), "name two plans"),
        (("show", "--plan", "0123456789ab", "plan.out"), "name two plans"),
        (("apply", "--plan", "plan.out"), "no sha256 of a plan"),
        (("apply", "--plan", "0123456789ab", "--locked"), "--locked is for planning"),
        (("apply", "--plan", "0123456789ab", "--no-refresh"), "--no-refresh"),
        (("plan", "--save", "--explain", "oci:bundle/os:12"), "--explain makes no plan"),
        (("plan", "--save", "--state-file", "exported.jsonl"), "which keeps no plans"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage(cli: Cli, words: tuple[str, ...], cause: str) -> None:
    """Before anything is planned or applied."""
    assert _ready(cli)(*words) == 64, cli.err
    assert cause in cli.err
    assert not (cli.folder / "state").exists()


def test_a_strangers_plan_is_not_kept(cli: Cli) -> None:
    """Whoever opens a pull request writes nothing to the place of the state."""
    _ready(cli)
    trusted = cli.folder.parent / f"{cli.folder.name}-trusted.yaml"
    trusted.write_text("version: 1\n")
    assert cli("plan", "--save", "--untrusted", "--trusted", str(trusted)) == 64
    assert "a stranger's config" in cli.err
    assert not (cli.folder / "state").exists()


def test_a_refused_plan_is_planned_and_kept_again(ready: Cli) -> None:
    """The command that the refusal names does both."""
    assert ready("plan", "--save") == 0
    words = command_of(ready)
    assert ready(*words, "--max-plan-age", "0s") == 4, ready.err
    assert "imgmigrate plan --save" in ready.err


def test_a_plan_of_another_config_is_applied_by_that_config(cli: Cli) -> None:
    """The refusal names the command, with the plan by its sha256."""
    _ready(cli)
    cli.write_config("other.yaml")
    assert cli("plan", "--save", "-c", "other.yaml") == 0
    key = command_of(cli)[-1]
    assert cli("apply", "--plan", key, "--state", "state/other") == 4
    assert f"imgmigrate apply -c other.yaml --plan {key}" in " ".join(cli.err.split())
    assert cli("apply", "-c", "other.yaml", "--plan", key) == 0, cli.err


def test_another_sha256_that_is_expected_is_refused(cli: Cli) -> None:
    """Where both are given, both hold."""
    assert _ready(cli)("plan", "--save") == 0
    words = command_of(cli)
    assert cli(*words, "--expect-sha256", "a" * 64) == 4
    assert "not the expected" in cli.err
    assert cli(*words, "--expect-sha256", words[-1].removeprefix("sha256:")) == 0


def test_a_damaged_plan_is_not_applied(cli: Cli) -> None:
    """Whatever its own closing line says: its name is the sha256 that was reviewed."""
    assert _ready(cli)("plan", "--save") == 0
    words = command_of(cli)
    (kept,) = (cli.folder / "state/imgmigrate/plans").glob("*.plan")
    kept.write_bytes(kept.read_bytes().replace(b"bundle", b"bungle"))
    assert cli(*words) == 1
    assert "not those that were saved" in cli.err
    assert "imgmigrate plan --save" in cli.err
    kept.unlink()
    assert cli(*words) == 1
    assert "its file is not there" in cli.err
    assert not (cli.folder / "bundle").exists()


def test_a_place_that_may_not_be_written_says_so(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that was asked for as well is there."""

    class ReadOnly(MemoryDepot):
        async def swap(self, *_: object, **__: object) -> Any:
            cause, hint = "denied (403)", "the credentials lack the right to write"
            raise StateError(cause, subject=f"state {self.place}", hint=hint)

    _offer(monkeypatch, ReadOnly)
    _ready(cli, BUCKET)
    assert cli("plan", "--save", "--out", "plan.out") == 1
    assert "bucket://team/prod: denied (403)" in cli.err
    assert (cli.folder / "plan.out").exists()


def test_a_kind_of_state_without_plans_says_so(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what to do instead."""
    monkeypatch.setitem(base.KINDS, "bucket", lambda place: StateElsewhere(place.url, {}))
    monkeypatch.setattr(backends, "SCHEMES", (*backends.SCHEMES, "bucket"))
    _ready(cli, BUCKET)
    for words in (("plan", "--save"), ("apply", "--plan", "0" * 64), ("state", "plans")):
        assert cli(*words) == 64
        assert "this kind of state keeps no plans" in cli.err
        assert "--out plan.out" in cli.err


def test_a_kept_plan_moves_with_its_state(ready: Cli, place: str) -> None:
    """It is applied where the state is now; one that is damaged stays, which is told."""
    assert ready("plan", "--save") == 0
    words = command_of(ready)
    assert ready(*words) == 0
    write_layout(ready.folder / "images/os", "12", images.image("newer"))
    assert ready("plan", "--save") == 0
    words = command_of(ready)
    assert ready("state", "migrate", "--to", "elsewhere", "--auto-approve") == 0, ready.err
    assert ", 2 plans" in ready.out
    assert ready("state", "plans", "--state", "elsewhere") == 0
    assert ready.out.count("sha256:") == 2
    assert "applied by run" in ready.out
    assert ready(*words, "--state", "elsewhere") == 0, ready.err
    assert "1 updated" in ready.out
    for each in (ready.folder / "elsewhere/plans").glob("*.plan"):
        each.write_bytes(b"edited")
    there = ("--state", "elsewhere", "-c", "imgmigrate.yaml")
    assert ready("state", "migrate", "--to", "third", "--auto-approve", *there) == 0, ready.err
    assert "plans" not in ready.out
    assert ready.err.count("Warning: 1 plan not copied: ") == 2
    assert "not those that were saved" in " ".join(ready.err.split())


def test_a_plan_without_a_config_is_kept(cli: Cli) -> None:
    """Beside the state of those plans, where its apply finds it with no config either."""
    write_layout(cli.folder / "images/os", "12", images.image("os"))
    ends = ("--from", "oci:images/os:12", "--to", "oci:bundle/os")
    assert cli("plan", *ends, "--save") == 0, cli.err
    words = command_of(cli)
    assert cli(*words) == 0, cli.err
    assert "1 copied" in cli.out
    assert cli("state", "plans", *ends) == 0, cli.err
    assert "without a config" in cli.out
    assert cli("state", "plans", "--json", *ends) == 0, cli.err
    (line,) = lines_of(cli, "kept_plan")
    assert line["config"] is None
    assert line["run"]
