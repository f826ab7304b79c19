"""Commands to go on with: every option that was given and that they take, and nothing else."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

import imgmigrate.cli.commands
from imgmigrate.cli import commands
from imgmigrate.cli.given.again import HELD, again
from imgmigrate.cli.given.options import Settings
from imgmigrate.cli.output import Output
from tests.render import samples

if TYPE_CHECKING:
    from tests.cli.helpers import Cli, Engine

COPY = samples.change("new.example/a:1", "copy", "new")
CONFLICT = samples.change("new.example/a:2", "conflict", "not_ours", before=samples.digest("x"))
# How a command tells of what it does; none is repeated.
TELLING = {"--json", "--format", "--quiet", "--verbose"}
ENDS = {"--from", "--to", "--tags"}
# What is typed for an option that not every text fits.
TYPED = {
    "--because": "it's ours",
    "--expect-sha256": "0" * 64,
    "--format": "markdown",
    "--lock-timeout": "2m",
    "--max-delete": "2.5%",
    "--sample": "5%",
    "--max-duration": "90s",
    "--max-failures": "5",
    "--max-plan-age": "24h",
    "--target-file": "targets of mine.txt",
    "--until": "2999-12-31",
    "--wait-for-registries": "1h",
}
ARGUMENTS = {
    "acknowledge": ["a/**"],
    "adopt": ["a/**"],
    "copy": ["oci:a", "oci:b"],
    "rollback": ["run-1"],
    "state mv": ["a", "b"],
    "state push": ["imgmigrate.yaml"],
    "state rm": ["a/**"],
    "state unprotect": ["a/**"],
}
# Every command that prints commands, and those that it prints: DAY is for people to fill in.
PRINTED = [
    ("acknowledge", ["plan"]),
    ("adopt", ["adopt", "a b/**"]),
    ("apply", ["apply"]),
    ("apply", ["apply", "plan.out"]),
    ("apply", ["apply", "--from", "oci:a", "--to", "oci:b", "plan.out"]),
    ("apply", ["plan", "--out", "plan.out"]),
    ("apply", ["plan", "--allow-overwrite", "a/b:1"]),
    ("apply", ["rollback", "run-1", "--allow-delete", "--max-delete", "7", "--out", "back.out"]),
    ("apply", ["state", "unprotect", "a/b:1"]),
    ("copy", ["copy", "oci:a", "oci:b"]),
    ("copy", ["plan", "--allow-overwrite", "a/b:1"]),
    ("init", ["plan", "--config", "prod.yaml", "--out", "plan.out"]),
    ("init", ["validate"]),
    ("pin", ["pin"]),
    ("pin", ["plan", "--locked", "--out", "plan.out"]),
    ("plan", ["acknowledge", "a/b:1", "--until", "2999-12-31", "--because", "REASON"]),
    ("plan", ["apply", "plan.out"]),
    ("plan", ["plan", "--allow-overwrite", "a/b:1"]),
    ("plan", ["plan", "--refresh-only", "--out", "other.out"]),
    ("plan", ["state", "export", "--out", "state.jsonl"]),
    ("plan", ["state", "unprotect", "a/b:1"]),
    ("rollback", ["apply", "back.out"]),
    ("rollback", ["rollback", "run-1", "--max-delete", "7", "--out", "back.out"]),
    ("show", ["acknowledge", "a/b:1", "--until", "2999-12-31", "--because", "REASON"]),
    ("show", ["apply", "plan.out"]),
    ("show", ["plan", "--allow-overwrite", "a/b:1"]),
    ("state migrate", ["state", "migrate", "--to", "git"]),
    ("state mv", ["state", "mv", "a", "b"]),
    ("state push", ["state", "push", "imgmigrate.yaml"]),
    ("state rebind", ["state", "rebind", "team.yaml"]),
    ("state repair", ["state", "repair"]),
    ("state rm", ["state", "rm", "a/**"]),
    ("state unprotect", ["state", "unprotect", "a/**"]),
    ("verify", ["plan", "--refresh-referrers", "--out", "plan.out"]),
    ("verify", ["plan", "--replace", "a/b:1", "--replace", "a/b:2", "--out", "plan.out"]),
]


def found(path: str) -> click.Command:
    """The command of a name such as `state rm`."""
    command: click.Command = commands
    for word in path.split():
        assert isinstance(command, click.Group)
        command = command.commands[word]
    return command


def options_of(command: click.Command) -> dict[str, click.Option]:
    """Its options by their long names."""
    found = [each for each in command.params if isinstance(each, click.Option)]
    return {max(each.opts, key=len): each for each in found if "--help" not in each.opts}


def typed(name: str, option: click.Option) -> list[str]:
    """Words that give an option, none of its values the default."""
    if option.is_flag:
        return [name]
    value = TYPED.get(name, f"{name[2:]} of 'mine'")
    if isinstance(option.type, click.IntRange):
        value = "7"
    elif isinstance(option.type, click.Choice):
        value = str(option.type.choices[-1])
    return (
        [name, value, name, f"-{value}"] if option.multiple and name != "--only" else [name, value]
    )


def ran(
    monkeypatch: pytest.MonkeyPatch, name: str, words: list[str], told: Any = None
) -> tuple[Any, Settings]:
    """Parse a command line, and call something instead of what it does; what came of it."""
    settings = Settings(Output())
    with monkeypatch.context() as patched:
        patched.setattr(found(name), "callback", lambda **_: told(settings) if told else None)
        return commands.main(words, obj=settings, standalone_mode=False), settings


@pytest.fixture(autouse=True)
def folder(cli: Cli) -> Path:
    """A folder with the files that options read, and a config."""
    (cli.folder / TYPED["--target-file"]).write_text("a/**\n")
    cli.write_config()
    return cli.folder


@pytest.mark.parametrize(("name", "words"), PRINTED, ids=lambda part: "".join(part[:12]))
def test_every_option_that_is_taken_is_printed_again(
    monkeypatch: pytest.MonkeyPatch, name: str, words: list[str]
) -> None:
    """What is printed can be parsed, and gives each option as it was given."""
    options = options_of(found(name))
    given = [word for each, option in options.items() for word in typed(each, option)]
    line, called = ran(
        monkeypatch,
        name,
        [*name.split(), *given, *ARGUMENTS.get(name, [])],
        lambda settings: again(settings, *words),
    )
    assert set(called.given) == set(options)
    prompt, *printed = shlex.split(line)
    assert prompt == "imgmigrate"
    depth = 2 if words[0] == "state" else 1
    following = " ".join(words[:depth])
    _, understood = ran(monkeypatch, following, printed)
    taken = options_of(found(following))
    own = {each: values for each, values in called.given.items() if each in taken}
    if "--from" not in taken and "--list" not in called.given:
        own.pop("--to", None)
    for each in TELLING | ({"--auto-approve"} if following != name else set()):
        own.pop(each, None)
    _, asked = ran(monkeypatch, following, words)
    for each, values in asked.given.items():
        before = own.get(each, ()) if taken[each].multiple else ()
        own[each] = tuple(dict.fromkeys((*before, *values)))
    assert understood.given == own


def test_whoever_prints_a_command_is_in_the_table() -> None:
    """A command that is printed is made by `again`, and tried above."""
    folder = Path(str(imgmigrate.cli.__file__)).parent / "commands"
    texts = {path.stem: path.read_text() for path in folder.rglob("*.py")}
    makers = {name for name, text in texts.items() if re.search(r"\bimport .*\bagain\b", text)}
    modules = {f"state {each}": "edit" for each in ("mv", "rm", "unprotect")}
    modules |= {f"state {each}": "transfer" for each in ("migrate", "push")}
    tried = {modules.get(name, name.rpartition(" ")[2]) for name, _ in PRINTED}
    assert makers == tried
    assert not [name for name, text in texts.items() if "shlex" in text]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["apply", "plan.out"], "apply --plain-http a:5000 plan.out"),
        (["plan"], "plan --from oci:a --to oci:b --tags 1 --plain-http a:5000"),
        (["rollback", "run-1"], "rollback --plain-http a:5000 run-1"),
        (["state", "unprotect", "x"], "state --from oci:a --to oci:b unprotect x"),
    ],
)
def test_without_a_config_a_plan_knows_its_ends(
    monkeypatch: pytest.MonkeyPatch, folder: Path, words: list[str], line: str
) -> None:
    """Where no config lies they need not be named to apply it; others are told the state."""
    (folder / "imgmigrate.yaml").unlink()
    ends = ["--from", "oci:a", "--to", "oci:b", "--tags", "1", "--plain-http", "a:5000"]
    printed, _ = ran(monkeypatch, "plan", ["plan", *ends], lambda settings: again(settings, *words))
    assert printed == f"imgmigrate {line}"


def test_global_options_are_repeated_wherever_they_stood(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the command or after it: the last one counts."""
    words = ["-c", "a.yaml", "-no-color", "apply", "p.out", "-c", "b.yaml", "-strict"]
    line, _ = ran(monkeypatch, "apply", words, lambda given: again(given, "apply", "p.out"))
    assert line == "imgmigrate apply --config b.yaml p.out --no-color --strict"


def test_a_file_that_looks_like_an_option_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind two dashes nothing is an option."""
    words = ["apply", "--strict", "--", "-p.out"]
    line, _ = ran(monkeypatch, "apply", words, lambda given: again(given, "apply", "-p.out"))
    assert shlex.split(line)[1:] == words


def test_no_secret_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What looks like a credential is blanked, whatever option it was given to."""
    words = ["plan", "--target", "https://me:s3cret@new.example/a"]
    line, _ = ran(monkeypatch, "plan", words, lambda settings: again(settings, "plan"))
    assert line == "imgmigrate plan --target 'https://***@new.example/a'"


def test_a_saved_plan_holds_what_it_was_planned_with(cli: Cli, engine: Engine) -> None:
    """Whoever applies it repeats how, not what; whoever plans again repeats both."""
    engine.plan = samples.plan(COPY, CONFLICT)
    options = ["--target", "new.example/**", "--replace", "a/b", "--no-refresh"]
    assert set(options) & set(HELD)
    assert cli("plan", *options, "--parallelism", "7", "--state", "s", "--out", "p.out") == 0
    assert "  imgmigrate apply --state s p.out --parallelism 7\n" in cli.out
    again = f"{shlex.join(options)} --parallelism 7 --out p.out --allow-overwrite new.example/a:2"
    assert f"  imgmigrate plan --state s {again}\n" in cli.out
    assert cli("show", "p.out", "--target", "new.example/a:1", "--state", "s") == 0
    assert "  imgmigrate apply --state s p.out --target new.example/a:1\n" in cli.out


def test_pins_that_have_moved_are_taken_over_by_a_pin_that_writes(cli: Cli) -> None:
    """`--check` is what is left out."""
    from tests.support.images import image
    from tests.support.layouts import write_layout

    for number in "12":
        write_layout(cli.folder / "images/os", "12", image(number))
        code = cli("pin", *(["--check", "--parallelism", "7"] if number == "2" else []))
    assert code == 2
    assert "  imgmigrate pin --parallelism 7\n" in cli.out
