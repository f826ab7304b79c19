"""Refuse to plan from a state of another config; tell of one that will get its owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.events import Warned
from imgmigrate.state.owner import check_owner, waits_for_owner

if TYPE_CHECKING:
    from imgmigrate.config.model import Config
    from imgmigrate.events import Sink
    from imgmigrate.state.record import State

__all__ = ["tell_owner"]


def tell_owner(state: State, config: Config, sink: Sink) -> None:
    """Check whose a state is; UsageError if it is another's.

    One that an earlier version wrote belongs to nobody: the next apply binds it, and whoever
    reviews the plan should know.
    """
    check_owner(state, config)
    if waits_for_owner(state, config):
        said = f"state {config.place}: it belongs to no config yet; the next apply makes it "
        sink.emit(Warned("state_unbound", f"{said}that of {config.name}"))
