"""Keep plans in the folder of a state: for each its bytes, and a small file of what is known of it.

Blocking, and without a lock: a plan is there once its small file is, which comes last and goes
first, and no two processes ever write different bytes under one name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.clock import timestamp
from imgmigrate.files import make_folder, write_atomically
from imgmigrate.state.local.trouble import unreadable, unwritable
from imgmigrate.state.saved import (
    SavedPlan,
    checked,
    damaged_plan,
    find_plan,
    kept,
    with_run,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

__all__ = ["list_plans", "note_run", "read_plan", "save_plans"]

FOLDER = "plans"


def save_plans(folder: Path, plans: Mapping[SavedPlan, bytes], *, now: datetime) -> None:
    """Save plans, and remove those whose time is over."""
    place = folder / FOLDER
    try:
        make_folder(folder)  # a parent that is made on the way would be everybody's to look into
        make_folder(place)
        for plan, data in plans.items():
            write_atomically(_bytes(folder, plan.sha256), data)
            _note(folder, plan)
        before = list_plans(folder)
        stay = {each.sha256 for each in kept(before, now)}
        for each in before:
            if each.sha256 not in stay:
                _facts(folder, each.sha256).unlink(missing_ok=True)
                _bytes(folder, each.sha256).unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(place, error) from None


def list_plans(folder: Path) -> list[SavedPlan]:
    """Those that are kept, the oldest first; one whose small file is damaged is none of them."""
    found = []
    try:
        for path in sorted((folder / FOLDER).glob("*.json")):
            try:
                plan = SavedPlan.model_validate_json(path.read_bytes())
            except FileNotFoundError:
                continue  # somebody removed it meanwhile
            except ValueError:
                continue
            if path == _facts(folder, plan.sha256):
                found.append(plan)
    except OSError as error:
        raise unreadable(folder / FOLDER, error) from None
    return sorted(found, key=lambda plan: plan.saved_at)


def read_plan(folder: Path, key: str) -> bytes:
    """Read and verify the bytes of a plan."""
    plan, place = find_plan(list_plans(folder), key, str(folder)), str(folder)
    try:
        data = _bytes(folder, plan.sha256).read_bytes()
    except FileNotFoundError:
        raise damaged_plan(plan, place, "its file is not there") from None
    except OSError as error:
        raise unreadable(_bytes(folder, plan.sha256), error) from None
    return checked(plan, data, place)


def note_run(folder: Path, sha256: str, run: str, now: datetime) -> None:
    """Note the run that applied a plan; nothing if it is kept no more."""
    for plan in list_plans(folder):
        if plan.sha256 == sha256:
            try:
                _note(folder, with_run(plan, run, timestamp(now)))
            except OSError as error:
                raise unwritable(folder / FOLDER, error) from None


def _note(folder: Path, plan: SavedPlan) -> None:
    data = plan.model_dump_json(exclude_none=True).encode() + b"\n"
    write_atomically(_facts(folder, plan.sha256), data)


def _bytes(folder: Path, sha256: str) -> Path:
    return folder / FOLDER / f"{sha256}.plan"


def _facts(folder: Path, sha256: str) -> Path:
    return folder / FOLDER / f"{sha256}.json"
