"""`--report FILE`: what was verified, image by image, in a file that an auditor keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from imgmigrate import __version__
from imgmigrate.cli.given.config import answer_of
from imgmigrate.cli.outfile import check_place, save_to
from imgmigrate.errors import ImgmigrateError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from imgmigrate.cli.evidence import Evidence
    from imgmigrate.cli.given.options import Settings
    from imgmigrate.config.model import Config
    from imgmigrate.plan import Plan
    from imgmigrate.state.record import State
    from imgmigrate.verifying.report import KnownPlan, Method, Report, Subject
    from imgmigrate.verifying.verdict import Verified

__all__ = ["SIGN", "Proof", "check_report", "known_plan", "report_on", "save_report"]


SIGN = "the key of --sign"


class Proof(Struct, frozen=True):
    """What was verified: by which config and state, of which records or rows."""

    verified: Verified
    config: Config | None = None
    state: State | None = None
    subjects: tuple[Subject, ...] = ()
    plans: Mapping[str, KnownPlan] = field(default_factory=dict)


def check_report(settings: Settings, out: Path, inputs: Mapping[str, str | Path | None]) -> None:
    """Refuse, before any work, a report that could not be written; `inputs` as in `check_place`."""
    from imgmigrate.render.reports.evidence import FORMATS

    if out.suffix not in FORMATS:
        known = ", ".join(FORMATS)
        message = f"--report {out}: its form follows from its suffix, which is none of {known}"
        raise UsageError(message, hint="name a file such as verified.json")
    if inputs[SIGN] is not None and out.suffix != ".json":
        raise UsageError(f"--report {out}: what is signed is JSON", hint="name a file in .json")
    check_place(out, settings, option="--report", inputs=inputs)


def report_on(proof: Proof, method: Method) -> Report:
    """Put the report together; what plans tell is known of those that the state keeps."""
    from imgmigrate.clock import now, timestamp
    from imgmigrate.verifying.report import Origin, report_of

    config, state = proof.config, proof.state
    origin = Origin(
        tool_version=__version__,
        created_at=timestamp(now()),
        config=config.path.name if config and config.sha256 else None,
        config_sha256=config.sha256 or None if config else None,
        lineage=state.lineage if state else None,
        sequence=state.sequence if state else None,
    )
    plans = dict(proof.plans)
    if config is not None and state is not None:
        plans |= _kept(config, {one.plan_id for one in proof.subjects if one.plan_id})
    return report_of(
        proof.subjects,
        proof.verified,
        method,
        origin,
        runs=state.runs if state else (),
        plans=plans,
        known=config.known if config else (),
    )


def save_report(settings: Settings, out: Path, report: Report, sign: Evidence | None) -> None:
    """Write a report in the form of its suffix, or as a signed statement; whole or not at all."""
    from imgmigrate.render.reports.evidence import document_of, report_bytes
    from imgmigrate.verifying.evidence import verify_statement

    if sign is not None:
        sign.save(settings, verify_statement(report, document_of(report)))
        return
    save_to(settings, out, report_bytes(report, out.suffix), what="report")


def known_plan(plan: Plan, sha256: str) -> KnownPlan:
    """What a report tells of a plan: its commit, and the rows that replace what is not ours."""
    from imgmigrate.verifying.report import KnownPlan

    overrides = {
        change.address: change.reason.value
        for change in plan.changes
        if change.action.writes and change.reason.traits.is_foreign
    }
    return KnownPlan(sha256, plan.header.git_commit, overrides)


def _kept(config: Config, wanted: Collection[str]) -> dict[str, KnownPlan]:
    """Look among the plans that the state keeps; one that cannot be read is known by its hash."""
    from imgmigrate.plan import decode_plan
    from imgmigrate.state.base import PlanKeeper, open_state
    from imgmigrate.verifying.report import KnownPlan

    keeper = open_state(config.state_place)
    if not isinstance(keeper, PlanKeeper):
        return {}

    async def read() -> dict[str, KnownPlan]:
        found: dict[str, KnownPlan] = {}
        for saved in await keeper.plans():
            if saved.plan_id not in wanted:
                continue
            found[saved.plan_id] = KnownPlan(saved.sha256)
            try:
                data = await keeper.read_plan(saved.sha256)
                found[saved.plan_id] = known_plan(decode_plan(data, saved.sha256), saved.sha256)
            except ImgmigrateError:
                continue
        return found

    try:
        return answer_of(read())
    except ImgmigrateError:
        return {}
