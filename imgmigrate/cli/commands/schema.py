"""`schema`: the JSON Schemas of what other programs read, and of the config, from the package."""

from __future__ import annotations

import click

from imgmigrate.cli.given.options import Command, Settings, common_options, pass_settings
from imgmigrate.schemas import NAMES, schema_text

__all__ = ["schema"]


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate schema                          their names
  imgmigrate schema stream > stream.schema.json
  imgmigrate schema config > imgmigrate.schema.json   for editors

\b
Exit codes: 0 printed, 64 there is no such schema.""",
)
@click.argument("name", metavar="[NAME]", required=False, type=click.Choice(NAMES))
@common_options
@pass_settings
def schema(settings: Settings, name: str | None) -> None:
    """Print the JSON Schema of what programs read, or of the config.

    NAME is config (all of a config, for editors), plan (a line of a plan file), show (a line of
    show --format json), stream (a line of any command's --json), lock (all of
    imgmigrate.lock.yaml) or trusted (all of the file of --trusted).
    """
    if name is None:
        for each in NAMES:
            settings.output.line(each)
    else:
        settings.output.text(schema_text(name))
