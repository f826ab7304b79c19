"""The command line: one module per command group; parsing, wiring and exit codes only.

Importing it loads click and nothing heavier, so that `--help` is instant: each command
imports what it needs when it runs.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import click

from imgmigrate import __version__
from imgmigrate.cli.commands import COMMANDS, Commands
from imgmigrate.cli.exit import exit_code
from imgmigrate.cli.given.options import Group, Settings, common_options
from imgmigrate.cli.output import Output, logging_to_stderr, report
from imgmigrate.cli.shells import VARIABLE, answer
from imgmigrate.cli.signals import interruptible
from imgmigrate.cli.streams import guarded_streams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgmigrate.cli.streams import Streams

__all__ = ["commands", "main"]

_EPILOG = """\b
Examples:
  imgmigrate init                     write a config to start from
  imgmigrate plan --out plan.out      what would change, and why
  imgmigrate apply plan.out           do exactly that; again: resume

\b
Exit codes:
  0    done
  1    an error; nothing was changed
  2    only plan --detailed-exitcode: a destination would change or is a
       conflict, or with --refresh-only has moved, as may its source;
       pin --check: sources have moved; verify: images are not whole;
       compare: they are not equal
  3    partly done, another run may mend it: some images failed, could not
       be read or were not reached
  4    the plan was refused: damaged, edited, mismatched or too old
  5    the state is locked by another run
  6    a guard refused
  7    done but for conflicts, which a person must decide
  8    images moved, but the state could not be written
  64   wrong usage or config
  130  interrupted (SIGINT), 143 (SIGTERM), 129 (SIGHUP); the state
       is consistent
"""


# -v as docker, skopeo and Terraform have it: no command says more with a -v.
@click.group(cls=Group, epilog=_EPILOG, commands=Commands(COMMANDS))
@click.version_option(__version__, "-v", "-V", "--version", message=f"imgmigrate {__version__}")
@common_options
def commands() -> None:
    """Migrate container images between registries.

    A config says what should exist where, `plan` shows what would change, `apply` does exactly
    that, and records every image as it lands.
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the process's exit code (see `imgmigrate.cli.exit`)."""
    with guarded_streams() as streams:
        settings = Settings(Output())
        if VARIABLE in os.environ:
            settings.output.text(answer(commands, settings))
            return 0
        with logging_to_stderr(settings):
            outcome = _outcome(argv, settings)
        is_untold = _is_untold(streams, settings.output)
    return exit_code(outcome, is_untold=is_untold)


def _outcome(argv: Sequence[str] | None, settings: Settings) -> object:
    try:
        with interruptible(signals=(signal.SIGTERM, signal.SIGHUP)):
            return commands.main(
                args=list(argv) if argv is not None else None,
                prog_name="imgmigrate",
                obj=settings,
                standalone_mode=False,
            )
    except BaseException as error:  # noqa: BLE001 - the process ends here, with a code
        report(error, settings)
        return error


def _is_untold(streams: Streams, output: Output) -> bool:
    """Tell whether stdout failed that was all the command was to leave; say that it did."""
    output.flush()
    failure = streams.stdout.failure
    if failure is None:
        return False
    output.note(f"Warning: stdout cannot be written: {failure.strerror or failure}")
    return not output.left_something
