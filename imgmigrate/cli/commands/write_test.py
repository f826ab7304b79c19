"""`validate --online --write-test`: ask, write, show, and keep what was found out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from imgmigrate import __version__
from imgmigrate.cli.approval import approved, check_can_ask
from imgmigrate.errors import Interrupted, UsageError

if TYPE_CHECKING:
    from imgmigrate.cli.output import Output
    from imgmigrate.config.model import Config
    from imgmigrate.events import Sink
    from imgmigrate.oci.reference import Repository
    from imgmigrate.render.reports.write_test import TrialReport

__all__ = ["check_write_test", "is_approved", "try_by_writing"]

OPTION = "--write-test"


def check_write_test(text: str, *, online: bool, auto_approve: bool, as_json: bool) -> Repository:
    """Read the option; UsageError for what could not be done, or not be asked for, later on."""
    from imgmigrate.oci.reference import parse_endpoint

    if not online:
        message = f"{OPTION} writes to a registry"
        raise UsageError(message, hint="say --online too")
    try:
        reference = parse_endpoint(text)
    except ValueError as error:
        raise UsageError(f"{OPTION}: {error}") from None
    if reference.tag or reference.digest:
        message = f"{OPTION}: {text!r} is an image"
        raise UsageError(message, hint=f"name a repository: {reference.repository}")
    if reference.repository.is_layout:
        message = f"{OPTION}: {text!r} is a layout"
        raise UsageError(message, hint="name a repository of a registry")
    check_can_ask(auto_approve=auto_approve, as_json=as_json, instead=f"leave {OPTION} out")
    return reference.repository


def is_approved(output: Output, repository: Repository, *, auto_approve: bool) -> bool:
    """Ask before anything is written."""
    from imgmigrate.probing.trial.trial import siblings_of

    beside, below = siblings_of(repository.path)
    question = (
        f"This writes a few tiny images to {repository}, which must be empty or absent, "
        f"mounts a blob to {beside} or {below}, and deletes what it can of it. Do it?"
    )
    lines = "\n".join(output.style("stderr").wrap(question))
    return approved(output, lines, auto_approve=auto_approve)


def try_by_writing(config: Config, repository: Repository, output: Output, sink: Sink) -> None:
    """Run the test, keep and show what came of it; StoreError if it could not be done."""
    from imgmigrate.cli.run import run
    from imgmigrate.render.reports.write_test import trial_headline, trial_line, trial_lines

    try:
        report = run(lambda: _tried(config, repository, sink))
    except Interrupted as error:
        message = f"{error.message}; what was written to {repository} may be there still"
        raise Interrupted(error.signal_number, message) from None
    if output.stream is not None:
        output.stream.line(trial_line(report), trial_headline(report))
        return
    output.line("")
    for line in trial_lines(report, output.style()):
        output.line(line)


async def _tried(config: Config, repository: Repository, sink: Sink) -> TrialReport:
    from imgmigrate.probing.trial.trial import write_test
    from imgmigrate.render.reports.write_test import TrialReport
    from imgmigrate.stores.registry.known.kept import LONGEST, keep

    found = await write_test(config, repository, sink=sink)
    now = datetime.now(UTC)
    facts = {topic.value: answer for topic, answer in found.facts.items()}
    is_kept = keep(repository.store, str(repository), facts, now)
    at = now.isoformat(timespec="seconds")
    return TrialReport(str(repository), at, __version__, found, LONGEST if is_kept else None)
