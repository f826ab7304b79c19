"""What TAB offers where an address or a run is typed: names from the state.

Whoever presses TAB waits, and wants no word of what is wrong: the config is not loaded, the state
not verified, and where one is not found nothing is offered.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

from imgmigrate.cli.given.options import DEFAULT_CONFIG, Settings

if TYPE_CHECKING:
    import click

__all__ = ["suggest_addresses", "suggest_plans", "suggest_runs"]

# More are offered step by step, as folders are.
MOST_SHOWN = 50
# What a shell takes as it stands: names come from a file, and stand on somebody's command line.
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@+-]*")
_STEP = re.compile(r"[/:@]")
# A key at the top of the config, and what is below it.
_STATE = re.compile(r"^state:.*\n?(?:^(?:[ \t#].*)?\n?)*", re.MULTILINE)


def suggest_addresses(
    ctx: click.Context, _: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Offer recorded addresses that begin so; of many only the next step of their names."""
    from imgmigrate.state.base import glance

    found = [
        each
        for each in glance(_folder(ctx)).addresses
        if each.startswith(incomplete) and _SAFE.fullmatch(each)
    ]
    if len(found) <= MOST_SHOWN:
        return [CompletionItem(each) for each in found]
    steps = dict.fromkeys(_step(each, len(incomplete)) for each in found)
    return [CompletionItem(each, "part" if _STEP.match(each[-1]) else "plain") for each in steps]


def suggest_runs(
    ctx: click.Context, _: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Offer the runs that the state remembers, the newest first, and files."""
    from imgmigrate.state.base import glance

    found = [each for each in glance(_folder(ctx)).runs if each.startswith(incomplete)]
    runs = [CompletionItem(each) for each in found if _SAFE.fullmatch(each)]
    return runs or [CompletionItem(incomplete, "file")]


def suggest_plans(
    ctx: click.Context, _: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Offer the plans that a folder keeps, as `--plan` takes them."""
    from imgmigrate.state.base import glance

    keys = (f"sha256:{each}" for each in glance(_folder(ctx)).plans)
    return [CompletionItem(key) for key in keys if key.startswith(incomplete)]


def _step(address: str, typed: int) -> str:
    found = _STEP.search(address, typed)
    return address[: found.end()] if found else address


def _folder(ctx: click.Context) -> Path:
    """Where the state is, as far as that can be told without loading a config."""
    from imgmigrate.config.values.paths import default_place

    settings = ctx.ensure_object(Settings)
    if settings.state is not None:
        return Path(settings.state)
    # `copy` has its ends as arguments.
    if settings.oneshot.get("--from") or "destinations" in ctx.params:
        from imgmigrate.cli.given.oneshot import STATE

        return STATE
    foreign = settings.foreign.get("--images") or settings.foreign.get("--list")
    config = settings.config or foreign or DEFAULT_CONFIG
    return config.parent / (_stated(config) or default_place(config))


def _stated(config: Path) -> str | None:
    """The place that a config names; only what stands below its key is parsed."""
    found = _STATE.search(config.read_text("utf-8-sig")) if config.exists() else None
    if found is None:
        return None
    import os

    import yaml

    from imgmigrate.config.reading.variables import expand

    path = yaml.safe_load(found[0])["state"]["path"]
    return expand(str(path), os.environ)
