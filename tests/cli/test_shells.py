"""What a shell is told when TAB is pressed; `tests/integration/test_shells.py` presses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.cli.shells import SHELLS
from tests.cli.given.test_suggestions import remember

if TYPE_CHECKING:
    from tests.cli.helpers import Cli

BREAKS = " \t\n\"'@><=;|&(:"
API = "registry.new:5000/team/api"


@pytest.fixture
def offers(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Offers:
    """Ask as a script asks, in a folder whose state holds two tags of one repository."""
    remember(cli.folder / "state" / "imgmigrate", f"{API}:1.1", f"{API}:1.2")
    return Offers(cli, monkeypatch)


class Offers:
    """Asks for what a shell would offer behind a line."""

    def __init__(self, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
        self._cli, self._monkeypatch = cli, monkeypatch

    def __call__(self, shell: str, line: str, breaks: str = BREAKS) -> list[str]:
        """The values offered."""
        self._monkeypatch.setenv("_IMGMIGRATE_COMPLETE", f"{shell}_complete")
        self._monkeypatch.setenv("_IMGMIGRATE_LINE", line)
        self._monkeypatch.setenv("_IMGMIGRATE_BREAKS", breaks)
        assert self._cli() == 0
        assert self._cli.err == ""
        return [each.split("\t")[1] for each in self._cli.out.splitlines()]


@pytest.mark.parametrize("shell", SHELLS)
def test_commands_options_and_their_values_are_offered(offers: Offers, shell: str) -> None:
    """Whatever the shell, and only what begins as what is typed."""
    assert offers(shell, "imgmigrate pl") == ["plan"]
    assert offers(shell, "imgmigrate state re") == ["rebind", "repair"]
    assert offers(shell, "imgmigrate plan --refresh-o") == ["--refresh-only"]
    assert offers(shell, "imgmigrate --log-level ") == ["debug", "info", "warning", "error"]
    assert offers(shell, "imgmigrate help st") == ["status", "state"]
    assert offers(shell, "imgmigrate help state re") == ["rebind", "repair"]
    assert offers(shell, "imgmigrate completion ") == list(SHELLS)


@pytest.mark.parametrize(
    ("shell", "line", "breaks", "offered"),
    [
        ("zsh", f"--target {API}:", BREAKS, [f"{API}:1.1", f"{API}:1.2"]),
        ("zsh", f"--target={API}", BREAKS, [f"{API}:1.1", f"{API}:1.2"]),
        ("fish", f"--exclude {API}:", BREAKS, [f"{API}:1.1", f"{API}:1.2"]),
        ("fish", f"--exclude={API}:1.2", BREAKS, [f"--exclude={API}:1.2"]),
        ("bash", "--replace reg", BREAKS, [f"{API}:1.1", f"{API}:1.2"]),
        ("bash", "--replace registry.new:", BREAKS, ["5000/team/api:1.1", "5000/team/api:1.2"]),
        ("bash", f"--target={API}:1", BREAKS, ["1.1", "1.2"]),
        ("bash", f"--target '{API}:1", BREAKS, [f"{API}:1.1", f"{API}:1.2"]),
        ("bash", f"--target={API}:1", " :", ["1.1", "1.2"]),
        ("bash", f"--target={API}:1", " ", [f"--target={API}:1.1", f"--target={API}:1.2"]),
    ],
)
def test_an_address_fits_what_the_shell_takes_for_a_word(
    offers: Offers, shell: str, line: str, breaks: str, offered: list[str]
) -> None:
    """Bash begins a word behind each colon, unless it is quoted; fish has one with the option."""
    assert offers(shell, f"imgmigrate plan {line}", breaks) == offered


@pytest.mark.parametrize("line", ["", "imgmigrate plan --config '", "imgmigrate state show \\"])
def test_an_unfinished_line_is_no_error(offers: Offers, line: str) -> None:
    """Quotes may be open, and there may be nothing at all."""
    for shell in SHELLS:
        offers(shell, line)


@pytest.mark.parametrize("question", ["bash", "powershell_complete", "_", "bash_more"])
def test_what_nobody_knows_is_answered_with_nothing(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    """Neither a word on the terminal nor the command itself."""
    monkeypatch.setenv("_IMGMIGRATE_COMPLETE", question)
    assert cli("plan") == 0
    assert (cli.out, cli.err) == ("", "")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_printed_by_the_command_and_by_clicks_variable(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    """Both ways give the same, without an error behind it."""
    assert cli("completion", shell) == 0
    printed = cli.out
    assert "_IMGMIGRATE_COMPLETE" in printed
    monkeypatch.setenv("_IMGMIGRATE_COMPLETE", f"{shell}_source")
    assert cli() == 0
    assert (cli.out, cli.err) == (printed, "")
