"""One command a file: its options, its words, what it calls; here the table of all of them."""

from __future__ import annotations

from collections.abc import MutableMapping
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click

__all__ = ["COMMANDS", "Commands"]

# In the order of the work, as `--help` lists them: where each of them stands.
COMMANDS = {
    "init": "init:init",
    "validate": "init:validate",
    "plan": "plan:plan",
    "show": "show:show",
    "apply": "apply:apply",
    "copy": "copy:copy",
    "status": "status:status",
    "verify": "proofs.verify:verify",
    "compare": "proofs.compare:compare",
    "rollback": "rollback:rollback",
    "adopt": "adopt:adopt",
    "acknowledge": "acknowledge:acknowledge",
    "pin": "pin:pin",
    "state": "state.group:state",
    "convert": "convert:convert",
    "schema": "help:schema",
    "completion": "help:completion",
    "help": "help:show_help",
    "version": "help:show_version",
}


class Commands(MutableMapping[str, "click.Command"]):
    """Commands by name, each imported when somebody looks at it: `--help` at all, a run at one."""

    def __init__(self, places: dict[str, str]) -> None:
        self._found: dict[str, click.Command | str] = {**places}

    def __getitem__(self, name: str) -> click.Command:
        found = self._found[name]
        if isinstance(found, str):
            module, _, attribute = found.partition(":")
            found = getattr(import_module(f"imgmigrate.cli.commands.{module}"), attribute)
            self._found[name] = found
        return found

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._found[name] = command

    def __delitem__(self, name: str) -> None:
        del self._found[name]

    def __contains__(self, name: object) -> bool:
        return name in self._found

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)
