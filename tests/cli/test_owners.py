"""Two configs, one state: whose it is, for every command, as people meet it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from imgmigrate.state.local.store import LocalState
from tests.support import images
from tests.support.layouts import layout_tags, write_layout

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.helpers import Cli

YES = "--auto-approve"


@pytest.fixture
def team(cli: Cli) -> Cli:
    """`team.yaml` has been applied to its state; `team.yml` asks for something else."""
    for name in ("api", "web"):
        for tag in ("1", "2"):
            write_layout(cli.folder / "from" / name, tag, images.image(f"{name} {tag}"))
    config(cli, "team.yaml", "api")
    config(cli, "team.yml", "web")
    assert cli("apply", "-c", "team.yaml", YES) == 0
    return cli


def config(cli: Cli, file: str, name: str, extra: str = "") -> Path:
    """Write a config that brings one layout to the bundle."""
    rule = f"  - {{source: 'oci:from/{name}', destination: 'oci:bundle/{name}'}}\n"
    path = cli.folder / file
    path.write_text(f"version: 1\nimages:\n{rule}{extra}")
    return path


def owner(cli: Cli, folder: str = "state/team") -> str | None:
    return LocalState(cli.folder / folder).read().name


REFUSED = [
    ["plan"],
    ["plan", "--allow-delete", "--out", "p.out"],
    ["plan", "--refresh-only"],
    ["apply", YES],
    ["adopt", "**"],
    ["adopt", "**", "--take-ownership", YES],
    ["state", "rm", "**", YES],
    ["state", "mv", "oci:bundle/api", "oci:bundle/x", YES],
]


@pytest.mark.parametrize("arguments", REFUSED, ids=" ".join)
def test_another_config_is_refused_with_the_fix(team: Cli, arguments: list[str]) -> None:
    """Exit 64, whose it is and both ways out; no image and no record changes."""
    before = LocalState(team.folder / "state/team").read()
    assert team(*arguments, "-c", "team.yml") == 64
    assert "it belongs to team.yaml, and this is team.yml" in team.err
    assert "imgmigrate state rebind -c team.yml" in team.err
    assert "--state DIR" in team.err
    assert LocalState(team.folder / "state/team").read().head == before.head
    assert set(layout_tags(team.folder / "bundle/api")) == {"1", "2"}
    assert not (team.folder / "bundle/web").exists()


def test_a_rollback_by_another_config_is_refused(team: Cli) -> None:
    """The way back is the owner's to go."""
    run = LocalState(team.folder / "state/team").read().runs[0].run
    assert team("rollback", run, "-c", "team.yml", "--allow-delete") == 64
    assert "it belongs to team.yaml" in team.err
    assert team("rollback", run, "-c", "team.yaml") == 0


def test_the_same_state_by_option_is_refused_too(team: Cli) -> None:
    """`--state` leads two configs of different names to one folder."""
    config(team, "b.yaml", "web")
    assert team("plan", "-c", "b.yaml", "--state", "state/team") == 64
    assert "imgmigrate state rebind -c b.yaml --state state/team" in team.err
    assert team("plan", "-c", "b.yaml") == 0


def test_a_config_of_another_tool_is_another_config(team: Cli) -> None:
    """image-syncer's `team.json` would share `state/team`; by --images it does too."""
    rules = {"oci.example/from/api": "oci.example/to/api"}
    (team.folder / "team.json").write_text(json.dumps({"auth": {}, "images": rules}))
    assert team("plan", "-c", "team.json") == 64
    (team.folder / "team.json").write_text(json.dumps(rules))
    assert team("plan", "--images", "team.json") == 64
    assert "it belongs to team.yaml, and this is team.json" in team.err


def test_looking_is_free_and_says_whose_it_is(team: Cli) -> None:
    """With another config, and with none at hand."""
    for arguments in (["state", "list"], ["state", "log"], ["show"], ["status"]):
        assert team(*arguments, "-c", "team.yml") == 0
        assert "it belongs to team.yaml, not to team.yml" in team.err
        assert team(*arguments, "-c", "team.yaml") == 0
        assert team.err == ""
        assert team(*arguments, "--state", "state/team") == 0
        assert team.err == ""
    for command in ("status", "show"):
        assert team(command, "--state", "state/team") == 0
        assert "belongs to team.yaml" in team.out
    assert team("status", "--state", "state/team", "--json") == 0
    assert json.loads(team.out.splitlines()[-1])["name"] == "team.yaml"
    assert team("show", "--state", "state/team", "--json") == 0
    shown = json.loads(team.out)
    assert (shown["name"], shown["place"]) == ("team.yaml", "state/team")
    assert team("state", "repair", "--dry-run", "-c", "team.yml") == 0
    assert "it belongs to team.yaml" in team.err


def test_records_are_edited_by_the_states_folder_alone(team: Cli) -> None:
    """Where no config is meant, none is asked whether it is the right one."""
    assert team("state", "rm", "oci:bundle/api:1", YES, "--state", "state/team") == 0


def test_a_rename_is_told_by_rebind(team: Cli) -> None:
    """The images stay ours under the new name, and the log shows it."""
    (team.folder / "team.yaml").rename(team.folder / "crew.yaml")
    (team.folder / "state/team").rename(team.folder / "state/crew")
    assert team("plan", "-c", "crew.yaml") == 64
    assert "imgmigrate state rebind -c crew.yaml" in team.err
    assert team("state", "rebind", "-c", "crew.yaml", "--dry-run") == 0
    assert "State state/crew (2 recorded) belongs to team.yaml." in team.out
    assert "It would belong to crew.yaml; nothing was changed" in team.out
    assert owner(team, "state/crew") == "team.yaml"
    assert team("state", "rebind", "-c", "crew.yaml") == 64
    assert "--auto-approve" in team.err
    assert team("state", "rebind", "-c", "crew.yaml", YES) == 0
    assert "State state/crew belongs to crew.yaml now" in team.out
    assert team("plan", "-c", "crew.yaml", "--detailed-exitcode") == 0
    assert team("state", "log", "-c", "crew.yaml") == 0
    assert "the state belongs to crew.yaml now" in team.out
    assert "imgmigrate state --config crew.yaml rebind" in team.out
    assert team("state", "rebind", "-c", "crew.yaml", YES) == 0
    assert "belongs to crew.yaml already" in team.out
    assert all(len(line) <= 80 for line in team.out.splitlines())


def test_rebind_takes_a_name_and_the_folder(team: Cli) -> None:
    """For a config that is not here; a name that could not be shown is refused."""
    assert team("state", "rebind", "images.json", "--state", "state/team", YES, "--json") == 0
    line = json.loads(team.out.splitlines()[-1])
    assert (line["type"], line["operation"], line["changed"]) == ("state_change", "rebind", 1)
    assert owner(team) == "images.json"
    for bad in ("a/b.yaml", "", " x", "\x1b[31m", "x" * 200):
        assert team("state", "rebind", bad, "--state", "state/team", YES) == 64
    assert owner(team) == "images.json"


def test_there_is_nothing_to_rebind_before_the_first_apply(cli: Cli) -> None:
    """The first apply binds a state, and nothing before it."""
    cli.write_config()
    assert cli("state", "rebind", YES) == 64
    assert "there is none yet" in cli.err
    assert not (cli.folder / "state").exists()


LOOKS = [["status"], ["show"], ["state", "list"], ["state", "log"], ["state", "lock"]]


@pytest.mark.parametrize("command", LOOKS, ids=" ".join)
@pytest.mark.parametrize("behind", [True, False], ids=["behind", "before"])
def test_what_stands_instead_of_a_config_leads_to_its_state(
    team: Cli, command: list[str], behind: bool
) -> None:
    """By --images and --auth, or by --from and --to, wherever they stand: no --state is needed."""
    ways = {
        "images": ("--images", "images.yaml", "--auth", "auth.yaml", "--registry", "x.io"),
        "oneshot": ("--from", "oci:from/web", "--to", "oci:bundle/web"),
    }
    (team.folder / "images.yaml").write_text('{"q.io/a/b:1": "x.io/a/b"}')
    (team.folder / "auth.yaml").write_text("{}")
    for name, ends in ways.items():
        (team.folder / "state/team").rename(team.folder / "state" / name)
        words = [*command, *ends] if behind else [command[0], *ends, *command[1:]]
        assert team(*command, "--state", f"state/{name}") == 0
        seen = team.out
        assert team(*words) == 0
        assert team.out == seen
        assert "No run yet" not in seen
        (team.folder / "state" / name).rename(team.folder / "state/team")


def test_an_edit_by_images_asks_whose_the_state_is(team: Cli) -> None:
    """A file that stands instead of a config is one, also beside --state."""
    (team.folder / "images.yaml").write_text('{"q.io/a/b:1": "x.io/a/b"}')
    named = ("--images", "images.yaml", "--state", "state/team")
    assert team("state", "rm", "**", YES, *named) == 64
    assert "it belongs to team.yaml, and this is images.yaml" in team.err
    assert team("state", "list", *named) == 0
    assert "it belongs to team.yaml" in team.err
    assert team("state", "rebind", YES, *named) == 0
    assert owner(team) == "images.yaml"


def test_a_first_plan_goes_to_its_own_state(team: Cli) -> None:
    """Applied without its -c it is refused with the command that is right, which works."""
    config(team, "imgmigrate.yaml", "api")
    (team.folder / "conf").mkdir()
    config(team, "conf/new.yaml", "web")
    write_layout(team.folder / "conf/from/web", "1", images.image("web"))
    assert team("plan", "-c", "conf/new.yaml", "--out", "p.out") == 0
    assert "the first of new.yaml" in team.out
    assert team("apply", "p.out") == 4
    assert "made for new.yaml, before it had a state; this is imgmigrate.yaml" in team.err
    assert "imgmigrate apply -c conf/new.yaml p.out" in team.err
    assert not (team.folder / "state/imgmigrate").exists()
    assert team("apply", "-c", "conf/new.yaml", "p.out", "--state", "elsewhere") == 4
    assert "imgmigrate apply -c conf/new.yaml p.out" in team.err
    assert team("apply", "-c", "conf/new.yaml", "p.out") == 0
    assert owner(team, "conf/state/new") == "new.yaml"


def test_a_first_plan_remembers_the_state_that_was_named(team: Cli) -> None:
    """With --state it was for that folder, and the command says so."""
    config(team, "new.yaml", "web")
    assert team("plan", "-c", "new.yaml", "--state", "mine", "--out", "p.out") == 0
    assert team("apply", "-c", "new.yaml", "p.out") == 4
    assert "imgmigrate apply -c new.yaml --state mine p.out" in team.err
    assert team("apply", "-c", "new.yaml", "--state", "mine", "p.out") == 0


def test_a_plan_with_nothing_to_do_is_not_applied_to_anothers_state(team: Cli) -> None:
    """What it protects is written, so it is refused as any other."""
    config(team, "other.yaml", "api", extra="protect: ['oci:bundle/**']\n")
    assert team("apply", "-c", "other.yaml", YES) == 0
    assert team("plan", "-c", "other.yaml", "--out", "p.out") == 0
    assert team("apply", "-c", "other.yaml", "--state", "state/team", "p.out") == 64
    assert "it belongs to team.yaml" in team.err


@pytest.mark.parametrize(
    ("name", "code"),
    [("our team", 0), ("''", 64), ("a/b", 64), ("' x'", 64), ('"\\u202ex"', 64)],
)
def test_a_name_is_a_name(cli: Cli, name: str, code: int) -> None:
    """It stands in messages and commands, so it is one line that can be shown."""
    config(cli, "imgmigrate.yaml", "api", extra=f"name: {name}\n")
    assert cli("validate") == code
    assert code == 0 or "name:" in cli.err
