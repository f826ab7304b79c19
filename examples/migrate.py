"""Migrate from Python: plan, look at the changes, apply, and see every receipt as it comes.

    python examples/migrate.py imgmigrate.yaml            what would change
    python examples/migrate.py imgmigrate.yaml --apply    do it

The same engine as the command's, with the same config, state and plan files.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from imgmigrate import ImgmigrateError, apply_plan, load_config, make_plan, read_plan
from imgmigrate.events import ImageFinished, RunFinished
from imgmigrate.plan import Action

if TYPE_CHECKING:
    from imgmigrate.events import Event
    from imgmigrate.plan import Plan


class Receipts:
    """A sink: it is told what happens, on the event loop, and must not take long."""

    def emit(self, event: Event) -> None:
        """Print what became of each image, and ignore all other events."""
        if isinstance(event, ImageFinished):
            receipt = event.receipt
            digest = receipt.digest.short if receipt.digest else "-"
            print(f"{receipt.outcome:<9} {receipt.address} {digest} {receipt.moved} bytes")
            if receipt.error is not None:
                print(f"          {receipt.error.message}")


async def plan(config_file: Path, plan_file: Path) -> Plan:
    """Compare what the config asks for with what is there, and save the plan."""
    made = await make_plan(load_config(config_file))
    for change in made.changes:
        source = change.source.reference if change.source else "-"
        print(f"{change.action:<9} {change.address} from {source}: {change.reason}")
        if change.action is Action.ERROR:
            print(f"          {change.detail}")
    print(f"{made.summary.writes} to write, {made.summary.unchanged} unchanged")
    # `imgmigrate apply` takes this file too, and so does another machine with the same state.
    made.write(plan_file)
    return made


async def apply(config_file: Path, plan_file: Path) -> RunFinished:
    """Do exactly what the saved plan says; run it again after any interruption."""
    reviewed = read_plan(plan_file)
    return await apply_plan(load_config(config_file), reviewed, sink=Receipts())


async def migrate(config_file: Path, *, do_apply: bool) -> bool:
    """Plan and, if asked to, apply; tell whether everything is as the config says."""
    plan_file = config_file.with_name("plan.out")
    made = await plan(config_file, plan_file)
    if not do_apply:
        return not made.changes
    finished = await apply(config_file, plan_file)
    return not finished.unfinished


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description="Migrate images as a config says.")
    parser.add_argument("config", type=Path)
    parser.add_argument("--apply", action="store_true", help="do it, instead of only showing it")
    arguments = parser.parse_args()
    try:
        complete = asyncio.run(migrate(arguments.config, do_apply=arguments.apply))
    except ImgmigrateError as error:
        # Each error says what to do; its class says what kind of thing went wrong.
        print(f"{error.message}\n  {error.hint or ''}".rstrip(), file=sys.stderr)
        return error.exit_code
    return 0 if complete else 3


if __name__ == "__main__":
    raise SystemExit(main())
