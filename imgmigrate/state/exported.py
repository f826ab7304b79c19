"""A state in one file, for whoever may look but has no access to the state itself.

It is a snapshot, sealed and with the hash of its bytes, of records and open claims: all that
tells what is ours. The runs, with the commands, hosts and failures that they tell of, stay at
home. What is made of it is read-only: nothing is ever written into such a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from imgmigrate.errors import UsageError
from imgmigrate.state.lines.sealing import explain
from imgmigrate.state.lines.snapshot import NewerFormat, print_snapshot, read_snapshot
from imgmigrate.state.local.trouble import damaged, unreadable

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.state.memory import StateInMemory
    from imgmigrate.state.view import View

__all__ = ["print_export", "read_exported"]


def print_export(view: View) -> bytes:
    """Print a view that has a lineage as JSON Lines."""
    return b"".join(print_snapshot(replace(view, runs=[])))


def read_exported(path: Path) -> StateInMemory:
    """Read and verify an exported state; StateError if it is damaged. Blocking."""
    again = "export it again: imgmigrate state export"
    try:
        with path.open("rb") as file:
            return read_snapshot(file).state()
    except FileNotFoundError:
        message = f"state file {path}: there is no such file"
        raise UsageError(message, hint=again) from None
    except OSError as error:
        raise unreadable(path, error) from None
    except NewerFormat as error:
        raise damaged(path, str(error), "use the imgmigrate that wrote it") from None
    except ValueError as error:
        raise damaged(path, f"damaged: {explain(error)}", again) from None
