"""Whose a state is: it is bound to one config, by the config's name, when it is first written.

Pure. What one config no longer asks for is there to be deleted, so a state that two of them
write would have each delete the images of the other. A state's identity is its lineage: its
place may change, and only tells people where it was. What has no config behind it (a plan by
its two ends) may use any state, as it lets nothing go.
"""

from __future__ import annotations

import os.path
from pathlib import Path
from typing import TYPE_CHECKING

from imgmigrate.config.values.paths import default_place
from imgmigrate.errors import UsageError
from imgmigrate.remedies import remedy
from imgmigrate.state.record import Owner

if TYPE_CHECKING:
    from imgmigrate.config.model import Config
    from imgmigrate.state.record import State

__all__ = ["check_owner", "is_anothers", "owner_of", "waits_for_owner"]

_DEFAULT_CONFIG = Path("imgmigrate.yaml")


def owner_of(config: Config) -> Owner | None:
    """What a state of this config is bound to; None where no config stands behind it."""
    return Owner(config.name, config.place) if config.name else None


def is_anothers(state: State, config: Config) -> bool:
    """Tell whether a state belongs to another config than this one."""
    return bool(config.name) and state.name not in (None, config.name)


def waits_for_owner(state: State, config: Config) -> bool:
    """Tell whether a state that holds something belongs to nobody yet, and will to this config."""
    return bool(config.name) and state.lineage is not None and state.name is None


def check_owner(state: State, config: Config) -> None:
    """Refuse a state that belongs to another config; UsageError tells whose, and both ways out."""
    if not is_anothers(state, config):
        return
    message = f"state {config.place}: it belongs to {state.name}, and this is {config.name}"
    hint = (
        f"if {state.name} was renamed: {_rebind(config)}; "
        "else give this config a state of its own, by state: {path: DIR} or `state` DIR"
    )
    raise UsageError(message, hint=hint)


def _rebind(config: Config) -> str:
    path = None if config.path == _DEFAULT_CONFIG else str(config.path)
    is_default = config.place == default_place(config.path)
    folder = None if is_default else os.path.relpath(config.state)
    state = config.place if config.backend else folder
    return remedy("state", "rebind", config=path, state=state)
