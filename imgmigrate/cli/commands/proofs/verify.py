"""`verify`: whether what is recorded, or what a layout lists, is there for a puller to get."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

import click

from imgmigrate.cli.exit import Proved
from imgmigrate.cli.given.again import again
from imgmigrate.cli.given.config import answer_of, open_config, pick, with_state
from imgmigrate.cli.given.foreign import foreign_options
from imgmigrate.cli.given.oneshot import load_for_apply, plain_http_option
from imgmigrate.cli.given.options import (
    DEFAULT_CONFIG,
    Command,
    Settings,
    common_options,
    json_option,
    on_rate_limit_option,
    parallelism_option,
    pass_settings,
)
from imgmigrate.cli.given.suggestions import suggest_addresses
from imgmigrate.errors import UsageError

if TYPE_CHECKING:
    from imgmigrate.config.model import Config
    from imgmigrate.events import Sink
    from imgmigrate.oci.reference import Reference
    from imgmigrate.state.record import ImageRecord
    from imgmigrate.stores.registry.pace.metering import OnRateLimit
    from imgmigrate.verifying.verdict import Verified
    from imgmigrate.verifying.verify import VerifyOptions

__all__ = ["verify"]


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate verify                             all that is recorded
  imgmigrate verify 'registry.new/team/**:v1.*'
  imgmigrate verify --deep                      read and hash every byte
  imgmigrate verify oci:/mnt/disk/app           a layout against itself
  imgmigrate verify oci:/mnt/disk/app:1.2 --deep

\b
A GLOB chooses recorded addresses, so it needs the config and its state.
oci:PATH without a wildcard needs neither: the layout's own index.json says
what should be there. PATH is relative to where you are.

\b
What is not whole is listed with the command that writes it again:
plan --replace. What was overwritten since is told as changed, and a plan
shows whose it is.

\b
Exit codes: 0 whole, 2 incomplete or changed, 3 some images could not be
read, 64 wrong usage or config, or a glob that matches nothing.""",
)
@click.argument("what", metavar="[GLOB|oci:PATH]...", nargs=-1, shell_complete=suggest_addresses)
@click.option("--deep", is_flag=True, help="Read every blob and hash its bytes.")
@parallelism_option("How many images to look at at once.")
@on_rate_limit_option
@json_option
@plain_http_option
@foreign_options
@common_options
@pass_settings
def verify(
    settings: Settings,
    what: tuple[str, ...],
    deep: bool,
    parallelism: int,
    on_rate_limit: OnRateLimit,
    as_json: bool,
) -> Proved:
    """Read the destinations as a puller would, and list what is missing.

    Every recorded tag is read, its manifests and those of its platforms, and every blob is
    asked for with its size; one that images share, once. Changes nothing and takes no lock.
    """
    if as_json:
        settings.output.open_stream()
    from imgmigrate.verifying.verdict import Standing, most_severe
    from imgmigrate.verifying.verify import VerifyOptions

    options = VerifyOptions(deep, parallelism, on_rate_limit)
    layouts = _layouts(what)
    if layouts:
        verified = _verify_layouts(settings, layouts, options)
    else:
        verified = _verify_state(settings, what, options)
    _present(settings, verified)
    worst = most_severe(verified)
    return Proved(whole=worst is Standing.WHOLE, unread=worst is Standing.UNREAD)


def _layouts(what: tuple[str, ...]) -> list[Reference]:
    """The layouts that are named; UsageError beside globs over the state."""
    from imgmigrate.matching import has_wildcard
    from imgmigrate.oci.reference import LAYOUTS, parse_endpoint

    named = [text for text in what if text.startswith(LAYOUTS) and not has_wildcard(text)]
    if named and len(named) < len(what):
        message = "layouts are verified against themselves, GLOBs against the state"
        raise UsageError(message, hint="call it once for each")
    found = []
    for text in named:
        try:
            found.append(parse_endpoint(text))
        except ValueError as error:
            raise UsageError(str(error)) from None
        if found[-1].digest is not None:
            raise UsageError(f"{text}: name a tag, or no more than the layout")
    return found


def _verify_layouts(
    settings: Settings, layouts: list[Reference], options: VerifyOptions
) -> Verified:
    from pathlib import Path

    from imgmigrate.cli.run import look
    from imgmigrate.verifying.verdict import joined
    from imgmigrate.verifying.verify import verify_layout

    async def work(sink: Sink) -> Verified:
        base = Path.cwd()
        return joined(
            [
                await verify_layout(base, each.repository, each.tag, options, sink=sink)
                for each in layouts
            ]
        )

    return look(settings.output, work, doing="verifying")


def _verify_state(settings: Settings, globs: tuple[str, ...], options: VerifyOptions) -> Verified:
    from imgmigrate.cli.run import look
    from imgmigrate.state.base import open_state
    from imgmigrate.verifying.verify import verify_records

    config = _config(settings)
    state = answer_of(open_state(config.state_place).look())
    records: list[ImageRecord] = pick(state.live(), globs, lambda record: record.address)
    return look(
        settings.output,
        lambda sink: verify_records(config, records, options, sink=sink),
        doing="verifying",
    )


def _config(settings: Settings) -> Config:
    """Open the config; a state that plans without one have made needs none."""
    has_none = settings.config is None and not settings.foreign and not DEFAULT_CONFIG.exists()
    if settings.oneshot or (settings.state is not None and has_none):
        return with_state(settings, load_for_apply(settings))
    return open_config(settings)


def _present(settings: Settings, verified: Verified) -> None:
    from imgmigrate.render.reports.verify import (
        mending,
        verdict_line,
        verdict_text,
        verified_headline,
        verified_lines,
    )
    from imgmigrate.render.schema import report_lines
    from imgmigrate.verifying.verdict import Standing

    output, command = settings.output, partial(again, settings)
    if output.stream is None:
        for line in verified_lines(verified, command, output.style()):
            output.line(line)
        return
    for verdict in verified.verdicts:
        output.stream.line(verdict_line(verdict), verdict_text(verdict), "error")
    broken = [each for each in verified.verdicts if each.standing is Standing.INCOMPLETE]
    summary = report_lines.VerifySummary(
        images=verified.images,
        counts={standing.value: verified.count(standing) for standing in Standing},
        blobs=verified.blobs,
        size=verified.size,
        deep=verified.deep,
        mend=mending([each.address for each in broken], command) if broken else None,
        referrers=verified.referrers,
        requests=verified.requests,
    )
    level: Literal["info", "error"] = "error" if verified.verdicts else "info"
    output.stream.line(summary, verified_headline(verified), level)
