"""`--plan sha256:...` and `plan --save`: plans that lie where the state lies."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, TypeVar

import click
from msgspec import Struct

from imgmigrate.cli.given.config import answer_of, shown, state_place
from imgmigrate.cli.given.oneshot import ENDS, STATE
from imgmigrate.cli.given.options import DEFAULT_CONFIG, with_options
from imgmigrate.cli.given.suggestions import suggest_plans
from imgmigrate.errors import StateError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imgmigrate.cli.given.options import Settings
    from imgmigrate.config.model import Config
    from imgmigrate.config.values.backends import Backend
    from imgmigrate.plan import Plan
    from imgmigrate.state.base import PlanKeeper

__all__ = [
    "Fetched",
    "fetch_plan",
    "keeper_at",
    "keeper_for",
    "kept_at",
    "saved_plan_option",
    "store_plan",
]

_Decorated = TypeVar("_Decorated", bound="Callable[..., Any]")


def saved_plan_option(function: _Decorated) -> _Decorated:
    """Add `--plan sha256:HEX` to a command that can take a file of a plan."""
    option = click.option(
        "--plan",
        "saved_plan",
        metavar="sha256:HEX",
        shell_complete=suggest_plans,
        help="A plan that plan --save put where the state is, instead of PLAN.",
    )
    return with_options(function, (option,))


class Fetched(Struct, frozen=True):
    """A plan and where it was: `key` is its whole sha256, as `--plan` takes it."""

    plan: Plan
    key: str
    keeper: PlanKeeper

    def note_run(self, run: str) -> None:
        """Note what applied it; that fails in silence, as the state's own runs tell it too."""
        try:
            answer_of(self.keeper.note_run(self.key.removeprefix("sha256:"), run))
        except StateError:
            return


def fetch_plan(
    settings: Settings, key: str, plan_file: Path | None, *, expect_sha256: str | None = None
) -> Fetched:
    """Read and verify a plan that was saved where the state is."""
    from imgmigrate.plan import decode_plan

    if plan_file is not None:
        message = f"--plan {key} and PLAN {plan_file} name two plans"
        raise UsageError(message, hint="leave one of them out")
    keeper = keeper_at(kept_at(settings))
    data = answer_of(keeper.read_plan(key))
    whole = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return Fetched(decode_plan(data, whole, expect_sha256=expect_sha256), whole, keeper)


def keeper_for(settings: Settings, config: Config) -> PlanKeeper:
    """Give what `plan --save` writes to; UsageError, before any work, where it must not."""
    out = "save it in a file: --out plan.out"
    if settings.untrusted:
        message = "--save: a plan of a stranger's config does not go where the state is"
        raise UsageError(message, hint=out)
    if config.state_file is not None:
        message = f"--save: --state-file {config.state_file} is an export, which keeps no plans"
        raise UsageError(message, hint=out)
    return keeper_at(config.state_place)


def store_plan(settings: Settings, keeper: PlanKeeper, made: Plan, data: bytes) -> str:
    """Save a plan where the state is; return its sha256."""
    sha256 = answer_of(keeper.save_plan(data, plan_id=made.plan_id, config=made.header.config))
    settings.output.left_something = True
    return sha256


def keeper_at(place: Path | Backend) -> PlanKeeper:
    """Open the state of a place that can keep plans; UsageError if it is of another kind."""
    from imgmigrate.state.base import PlanKeeper, open_state

    store = open_state(place)
    if not isinstance(store, PlanKeeper):
        message = f"state {shown(place)}: this kind of state keeps no plans"
        raise UsageError(message, hint="save a plan in a file: imgmigrate plan --out plan.out")
    return store


def kept_at(settings: Settings) -> Path | Backend:
    """Where the state is; beside no config it is that of plans without one."""
    is_stated = settings.state is not None or settings.config is not None or settings.foreign
    if is_stated or DEFAULT_CONFIG.exists() or any(name in settings.oneshot for name in ENDS):
        return state_place(settings)
    return STATE
