"""`plan --refresh-only`: who has moved since the state recorded it, instead of what to do."""

from __future__ import annotations

import click

from imgmigrate.errors import UsageError

__all__ = ["refresh_only_option", "refuse_with_refresh_only"]

refresh_only_option = click.option(
    "--refresh-only",
    is_flag=True,
    help="Show who moved since the record: the source, the destination, or both.",
)


def refuse_with_refresh_only(**options: object) -> None:
    """Refuse what only a plan of the rules can mean."""
    for name, value in options.items():
        if value not in (None, False, ()):
            option = f"--{name.replace('_', '-')}"
            message = f"{option}: --refresh-only looks at what is recorded, not at the rules"
            raise UsageError(message, hint=f"leave {option} out, or --refresh-only")
