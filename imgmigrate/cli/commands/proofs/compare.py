"""`compare`: whether two places show the same images, whoever put them there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from imgmigrate.cli.exit import Proved
from imgmigrate.cli.given.config import open_config
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
from imgmigrate.errors import UsageError

if TYPE_CHECKING:
    from imgmigrate.config.model import Config
    from imgmigrate.stores.registry.pace.metering import OnRateLimit
    from imgmigrate.verifying.compare import Comparison

__all__ = ["compare"]


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate compare harbor.old/team/app registry.new/team/app
  imgmigrate compare harbor.old/team/app:1.2 registry.new/app:1.2
  imgmigrate compare 'harbor.old/team/**' 'registry.new/team/**'
  imgmigrate compare registry.new/team/app oci:/mnt/disk/app --referrers

\b
A and B are repositories, layouts, images or globs. Of two globs the paths
behind what is literal pair repositories up. :TAGS behind one of them, a name,
a glob or a /regex/, holds for both.

\b
No config and no state is needed; where a config is, its registries are
spoken to as it says. Images are equal if their digests are.

\b
Exit codes: 0 equal, 2 different, 3 some could not be read, 64 wrong usage,
or nothing to compare on either side.""",
)
@click.argument("here", metavar="A")
@click.argument("there", metavar="B")
@click.option("--referrers", is_flag=True, help="Also what refers to images: signatures, SBOMs.")
@parallelism_option("How many images to look at at once.")
@on_rate_limit_option
@json_option
@plain_http_option
@common_options
@pass_settings
def compare(
    settings: Settings,
    here: str,
    there: str,
    referrers: bool,
    parallelism: int,
    on_rate_limit: OnRateLimit,
    as_json: bool,
) -> Proved:
    """Compare two places: which images are equal, differ, or are on one side only.

    Tags are listed once a repository, and what both sides have is asked for by its digest. No
    blob is read, and nothing is changed.
    """
    if as_json:
        settings.output.open_stream()
    from imgmigrate.cli.run import look
    from imgmigrate.verifying.compare import CompareOptions, Likeness, parse_ends
    from imgmigrate.verifying.compare import compare as compare_places

    ends = parse_ends(here, there)
    options, config = CompareOptions(referrers, parallelism, on_rate_limit), _config(settings)
    comparison = look(
        settings.output,
        lambda sink: compare_places(config, *ends, options, sink=sink),
        doing="comparing",
    )
    if not comparison.found:
        message = f"neither {here} nor {there} has an image to compare"
        raise UsageError(message, hint="correct the names; of globs the tags behind them, too")
    _present(settings, comparison)
    is_equal = len(comparison.of(Likeness.EQUAL)) == len(comparison.found)
    return Proved(whole=is_equal, unread=bool(comparison.of(Likeness.UNREAD)))


def _config(settings: Settings) -> Config:
    """What says how registries are spoken to: a config if there is one, else what was given."""
    has_config = settings.config is not None or DEFAULT_CONFIG.exists()
    if has_config and not settings.oneshot:
        return open_config(settings)
    return load_for_apply(settings)


def _present(settings: Settings, comparison: Comparison) -> None:
    from imgmigrate.render.reports.compare import (
        compared_line,
        compared_text,
        comparison_headline,
        comparison_lines,
        comparison_summary,
    )
    from imgmigrate.verifying.compare import Likeness

    output = settings.output
    if output.stream is None:
        for line in comparison_lines(comparison, output.style()):
            output.line(line)
        return
    for one in comparison.found:
        output.stream.line(
            compared_line(one),
            compared_text(one),
            "info" if one.likeness is Likeness.EQUAL else "error",
        )
    is_equal = len(comparison.of(Likeness.EQUAL)) == len(comparison.found)
    headline = comparison_headline(comparison)
    output.stream.line(comparison_summary(comparison), headline, "info" if is_equal else "error")
