"""Migrate from Python: plan, look at the changes, apply, and see every receipt as it comes.

    python examples/migrate.py imgmigrate.yaml            what would change
    python examples/migrate.py imgmigrate.yaml --apply    do it
    python examples/migrate.py imgmigrate.yaml --undo     bring back what that replaced

The same engine as the command's, with the same config, state and plan files.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from imgmigrate import (
    Action,
    ImageFinished,
    ImgmigrateError,
    RunFinished,
    apply_plan,
    load_config,
    make_plan,
    make_rollback,
    read_plan,
)

if TYPE_CHECKING:
    from imgmigrate import Event
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


async def undo(config_file: Path, plan_file: Path) -> bool:
    """Plan the way back from the saved plan, and go it; what was new stays."""
    config = load_config(config_file)
    back = await make_rollback(config, read_plan(plan_file))
    finished = await apply_plan(config, back, sink=Receipts())
    return not finished.unfinished


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
    parser.add_argument("--undo", action="store_true", help="undo the last plan that was applied")
    arguments = parser.parse_args()
    config_file: Path = arguments.config
    if arguments.undo:
        work = undo(config_file, config_file.with_name("plan.out"))
    else:
        work = migrate(config_file, do_apply=arguments.apply)
    try:
        complete = asyncio.run(work)
    except ImgmigrateError as error:
        # Each error says what to do; its class says what kind of thing went wrong.
        print(f"{error.message}\n  {error.hint or ''}".rstrip(), file=sys.stderr)
        return error.exit_code
    return 0 if complete else 3


if __name__ == "__main__":
    raise SystemExit(main())
