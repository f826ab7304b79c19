"""`pin`: write down which image each address gets, see what has moved, move what is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from imgmigrate.cli.exit import Pinned
from imgmigrate.cli.given.again import again
from imgmigrate.cli.given.config import open_config, shown
from imgmigrate.cli.given.foreign import foreign_options, say_notes
from imgmigrate.cli.given.options import (
    EVERY_ROW,
    Command,
    Settings,
    common_options,
    json_option,
    on_rate_limit_option,
    parallelism_option,
    pass_settings,
    verbose_option,
)
from imgmigrate.cli.given.suggestions import suggest_addresses
from imgmigrate.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.config.model import Config
    from imgmigrate.planning.desired.pins import Pins
    from imgmigrate.planning.pin_sources import Pinning
    from imgmigrate.planning.planner import PlanOptions
    from imgmigrate.stores.registry.pace.metering import OnRateLimit

__all__ = ["pin"]

# What stands at the head of the file.
_ABOUT = """\
# Which image each address gets. `imgmigrate pin` writes this file, `imgmigrate plan --locked`
# plans from it alone. Commit it; to move pins: imgmigrate pin --upgrade GLOB
"""


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate pin                      write imgmigrate.lock.yaml
  imgmigrate plan --locked --out plan.out
  imgmigrate pin --check              have sources moved since?
  imgmigrate pin --upgrade 'registry.new/team/api:*'

\b
Exit codes: 0 pinned, 2 sources have moved (only with --check), 3 some
source could not be read: its pins are as they were, 6 fewer tags than a
rule's min, 64 wrong usage or config.""",
)
@click.option("--check", is_flag=True, help="Write nothing; show what has moved, and exit 2.")
@click.option(
    "--upgrade",
    multiple=True,
    metavar="GLOB",
    shell_complete=suggest_addresses,
    help="Only these addresses.",
)
@parallelism_option("How many images to look at at once.")
@on_rate_limit_option
@verbose_option(EVERY_ROW)
@json_option
@foreign_options
@common_options
@pass_settings
def pin(
    settings: Settings,
    check: bool,
    upgrade: tuple[str, ...],
    parallelism: int,
    on_rate_limit: OnRateLimit,
    as_json: bool,
) -> Pinned:
    """Pin every address to the digest that its source shows now.

    The file lies beside the config, one line an address, and is meant to be committed:
    plan --locked plans from it alone. Reads the sources, with --upgrade only those of the
    addresses that it names; changes nothing else.
    """
    if as_json:
        settings.output.open_stream()
    config = open_config(settings)
    from imgmigrate.planning.desired.pins import pins_path, read_pins, respelled_pins, write_pins
    from imgmigrate.planning.planner import PlanOptions

    path = pins_path(config)
    options = PlanOptions(parallelism=parallelism, on_rate_limit=on_rate_limit)
    try:
        # Pins of some addresses alone would say that the others are not wanted.
        known = check or upgrade or path.exists()
        old = respelled_pins(config, read_pins(path)) if known else {}
    except ConfigError as error:
        if check or upgrade:
            raise
        old = {}
        settings.output.warn("pins_unreadable", f"{error.message}; all pins are written anew")
    pinning = _pin(settings, config, old, options, upgrade)
    # A file without a single pin would only hide that the sources could not be read.
    is_in_vain = bool(pinning.problems) and not pinning.pins and not path.exists()
    wrote = not (check or is_in_vain) and write_pins(path, pinning.pins, _ABOUT)
    settings.output.left_something = wrote
    _present(settings, pinning, path, wrote=wrote, check=check)
    return Pinned(bool(pinning.problems), bool(check and pinning.differences))


def _pin(
    settings: Settings,
    config: Config,
    old: Pins,
    options: PlanOptions,
    upgrade: tuple[str, ...],
) -> Pinning:
    from imgmigrate.cli.run import look
    from imgmigrate.planning.pin_sources import pin_sources

    say_notes(settings, config)
    return look(
        settings.output,
        lambda sink: pin_sources(config, old, options, upgrade=upgrade, sink=sink),
        doing="pinning",
    )


def _present(settings: Settings, pinning: Pinning, path: Path, *, wrote: bool, check: bool) -> None:
    from imgmigrate.planning.pin_sources import Kind
    from imgmigrate.redaction import printable
    from imgmigrate.render.reports.pins import (
        difference_line,
        difference_text,
        pins_headline,
        pins_lines,
    )
    from imgmigrate.render.schema import report_lines
    from imgmigrate.render.words import detail_of

    output = settings.output
    stream = output.stream
    if stream is not None:
        for each in pinning.differences:
            stream.line(difference_line(each), difference_text(each))
        for row in pinning.problems:
            detail = printable(detail_of(row) or row.reason, 2000)
            unread = report_lines.PinError(
                address=str(row.address),
                reason=row.reason,
                code=row.reason.traits.code,
                detail=detail,
            )
            stream.line(unread, f"{row.address}: {detail}", "error")
        saved = shown(path) if wrote else None
        counts = {kind.value: pinning.count(kind) for kind in Kind}
        counts |= {"unchanged": pinning.unchanged, "errors": len(pinning.problems)}
        stream.line(report_lines.PinSummary(saved=saved, counts=counts), pins_headline(pinning))
        return
    for row in pinning.problems:
        output.note(f"Error: {row.address}: {printable(detail_of(row) or row.reason, 2000)}")
    for line in pins_lines(pinning, output.style(), verbose=output.is_verbose):
        output.line(line)
    if wrote:
        output.line(f"Wrote {shown(path)}. To plan from it:")
        output.line(f"  {again(settings, 'plan', '--locked', '--out', 'plan.out')}")
    elif check and pinning.differences:
        output.line("To take them over (some of them: with --upgrade GLOB):")
        output.line(f"  {again(settings, 'pin', drop=('--check',))}")
    elif not check and path.exists():
        output.line(f"{shown(path)} is as it was.")
    elif not check:
        output.line(f"{shown(path)} was not written: nothing could be read to pin.")
