"""`verify`: whether what is recorded, or what a layout lists, is there for a puller to get."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from imgmigrate.cli.commands.proofs.report import (
    SIGN,
    Proof,
    check_report,
    known_plan,
    report_on,
    save_report,
)
from imgmigrate.cli.evidence import evidence_of, sign_option
from imgmigrate.cli.exit import Proved
from imgmigrate.cli.given.again import again
from imgmigrate.cli.given.config import answer_of, open_config, pick, with_state
from imgmigrate.cli.given.foreign import foreign_options
from imgmigrate.cli.given.limits import share
from imgmigrate.cli.given.oneshot import load_for_apply, plain_http_option
from imgmigrate.cli.given.options import (
    DEFAULT_CONFIG,
    Command,
    Settings,
    common_options,
    file_path,
    json_option,
    on_rate_limit_option,
    parallelism_option,
    pass_settings,
)
from imgmigrate.cli.given.suggestions import suggest_addresses
from imgmigrate.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from imgmigrate.config.model import Config
    from imgmigrate.config.values.shares import Share
    from imgmigrate.events import Sink
    from imgmigrate.oci.reference import Reference
    from imgmigrate.plan import Change, Plan
    from imgmigrate.signing.keys import PublicKey
    from imgmigrate.state.record import ImageRecord
    from imgmigrate.stores.registry.pace.metering import OnRateLimit
    from imgmigrate.verifying.evidence import Evidence, Stated
    from imgmigrate.verifying.verdict import Verified
    from imgmigrate.verifying.verify import VerifyOptions

__all__ = ["verify"]

# What `--against` may name beside a plan.
STATE, SOURCE = "state", "source"

_Row = TypeVar("_Row", "ImageRecord", "Change", "Stated")


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  imgmigrate verify                             all that is recorded
  imgmigrate verify 'registry.new/team/**:v1.*'
  imgmigrate verify --deep                      read and hash every byte
  imgmigrate verify oci:/mnt/disk/app           a layout against itself
  imgmigrate verify oci:/mnt/disk/app:1.2 --deep
  imgmigrate verify --against source            and what the sources show now
  imgmigrate verify --against plan.out          what a plan was to write
  imgmigrate verify --deep --sample 5%          the same twentieth each time
  imgmigrate verify --deep --report proof.json  and what an auditor keeps
  imgmigrate verify --report proof.json --sign key.pem
  imgmigrate verify --against proof.json --key key.pub

\b
A GLOB chooses recorded addresses, so it needs the config and its state.
oci:PATH without a wildcard needs neither: the layout's own index.json says
what should be there. PATH is relative to where you are.

\b
What is not whole is listed with the command that writes it again:
plan --replace. What was overwritten since is told as changed, and a plan
shows whose it is. What has moved at its source is told as that.

\b
Exit codes: 0 whole, 2 incomplete, changed or moved, 3 some images could not
be read, 64 wrong usage or config, or a glob that matches nothing.""",
)
@click.argument("what", metavar="[GLOB|oci:PATH]...", nargs=-1, shell_complete=suggest_addresses)
@click.option("--deep", is_flag=True, help="Read every blob and hash its bytes.")
@click.option(
    "--against",
    default=STATE,
    metavar="state|source|FILE",
    help="What should be there: what is recorded, also what the sources show now, what a "
    "plan's file (or sha256:HEX, one that is kept with the state) writes, or what an earlier "
    "report that --sign has made says.  [default: state]",
)
@click.option(
    "--key",
    type=file_path(),
    metavar="FILE",
    help="The public key (PEM) that has to have signed the report of --against.",
)
@click.option(
    "--sample",
    callback=share,
    metavar="N[%]",
    help="Only some images, chosen by their addresses: the same ones each time.",
)
@click.option(
    "--report",
    type=file_path(),
    metavar="FILE",
    help="Write what was verified, image by image: .txt, .json, .csv or .md.",
)
@sign_option
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
    against: str,
    sample: Share | None,
    report: Path | None,
    sign: str | None,
    key: Path | None,
    parallelism: int,
    on_rate_limit: OnRateLimit,
    as_json: bool,
) -> Proved:
    """Read the destinations as a puller would, and list what is missing.

    Every recorded tag is read, its manifests and those of its platforms, and every blob is
    asked for with its size; one that images share, once. So are signatures and the like that
    went along. Changes nothing and takes no lock.
    """
    if as_json:
        settings.output.open_stream()
    from imgmigrate.verifying.report import Method
    from imgmigrate.verifying.verdict import Standing, most_severe
    from imgmigrate.verifying.verify import VerifyOptions

    options = VerifyOptions(deep, parallelism, on_rate_limit, sources=against == SOURCE)
    layouts = _layouts(what)
    if layouts and (against != STATE or sample is not None or report is not None):
        message = "layouts are verified against themselves, and whole"
        hint = "leave --against, --sample and --report out, or name a GLOB"
        raise UsageError(message, hint=hint)
    signed = evidence_of(report, sign) if sign is not None else None
    if report is not None:
        config = settings.config or DEFAULT_CONFIG
        read = {SIGN: sign, "the key of --key": key, "what --against names": against}
        check_report(settings, report, {"the config": config, **read})
    evidence = _evidence(settings, against, key)
    if layouts:
        proof = _verify_layouts(settings, layouts, options)
    elif evidence is not None:
        proof = _verify_evidence(settings, evidence, what, options, sample)
    elif against in (STATE, SOURCE):
        proof = _verify_state(settings, what, options, sample)
    else:
        proof = _verify_plan(settings, against, what, options, sample)
    verified = proof.verified
    _present(settings, verified)
    if report is not None:
        method = Method(
            against=against,
            deep=deep,
            sample=str(sample) if sample else None,
            sample_of=verified.sample_of,
        )
        save_report(settings, report, report_on(proof, method), signed)
    worst = most_severe(verified)
    is_whole = worst is Standing.WHOLE and not (evidence and evidence.left)
    return Proved(whole=is_whole, unread=worst is Standing.UNREAD)


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


def _verify_layouts(settings: Settings, layouts: list[Reference], options: VerifyOptions) -> Proof:
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

    return Proof(look(settings.output, work, doing="verifying"))


def _verify_state(
    settings: Settings, globs: tuple[str, ...], options: VerifyOptions, sample: Share | None
) -> Proof:
    from imgmigrate.state.base import open_state
    from imgmigrate.verifying.report import of_record
    from imgmigrate.verifying.verify import verify_records

    config = _config(settings)
    state = answer_of(open_state(config.state_place).look())
    records: list[ImageRecord] = pick(state.live(), globs, lambda record: record.address)
    kept, verified = _looked(
        settings,
        records,
        sample,
        lambda chosen, sink: verify_records(config, chosen, options, sink=sink),
    )
    return Proof(verified, config, state, tuple(map(of_record, kept)))


def _verify_plan(
    settings: Settings,
    against: str,
    globs: tuple[str, ...],
    options: VerifyOptions,
    sample: Share | None,
) -> Proof:
    """Verify what a plan was to write; what it does not touch it says nothing of."""
    from imgmigrate.verifying.report import of_change
    from imgmigrate.verifying.verify import verify_changes

    plan, sha256 = _plan(settings, against)
    config = _config_if_any(settings)
    rows = [change for change in plan.changes if change.after is not None]
    rows = pick(rows, globs, lambda change: change.address)
    kept, verified = _looked(
        settings,
        rows,
        sample,
        lambda chosen, sink: verify_changes(config, chosen, options, sink=sink),
    )
    subjects = tuple(of_change(change, plan.plan_id) for change in kept)
    return Proof(verified, config, None, subjects, {plan.plan_id: known_plan(plan, sha256)})


def _evidence(settings: Settings, against: str, key: Path | None) -> Evidence | None:
    """Read the images of a report; None where `--against` names something else."""
    from pathlib import Path

    from imgmigrate.verifying.evidence import is_evidence, read_evidence

    path = Path(against)
    data = path.read_bytes() if against not in (STATE, SOURCE) and path.is_file() else b""
    if not is_evidence(data):
        if key is not None:
            message = "--key is for a signed report, and --against names none"
            raise UsageError(message, hint="name the report: --against FILE")
        return None
    if key is None:
        message = f"{against}: whose signature it has was not looked at; name the key with --key"
        settings.output.warn("unsigned_report", message)
    try:
        found = read_evidence(data, None if key is None else _public_key(key))
    except ValueError as error:
        raise UsageError(f"--against {against}: {error}") from None
    if found.left:
        number, first = len(found.left), found.left[0]
        message = f"{against}: {number:,} of its images were not done, or not whole: {first}"
        settings.output.warn("left_by_report", message + (", ..." if number > 1 else ""))
    elif not found.images:
        raise UsageError(f"--against {against}: it tells of no image")
    return found


def _public_key(path: Path) -> PublicKey:
    from imgmigrate.signing.keys import LARGEST_KEY, read_public_key

    try:
        with path.open("rb") as file:
            return read_public_key(file.read(LARGEST_KEY + 1), str(path))
    except OSError as error:
        raise UsageError(f"--key {path}: it cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"--key {path}: {error}") from None
    except ImportError:
        message = f"--key {path}: checking signatures needs cryptography, which is not installed"
        raise UsageError(message, hint="pip install 'imgmigrate[verify]'") from None


def _verify_evidence(
    settings: Settings,
    evidence: Evidence,
    globs: tuple[str, ...],
    options: VerifyOptions,
    sample: Share | None,
) -> Proof:
    """Verify what a report says is there; neither state nor source are asked."""
    from imgmigrate.verifying.report import of_stated
    from imgmigrate.verifying.verify import verify_stated

    config = _config_if_any(settings)
    rows = pick(list(evidence.images), globs, lambda one: one.address)
    kept, verified = _looked(
        settings,
        rows,
        sample,
        lambda chosen, sink: verify_stated(config, chosen, options, sink=sink),
    )
    return Proof(verified, config, None, tuple(map(of_stated, kept)))


def _plan(settings: Settings, against: str) -> tuple[Plan, str]:
    """Read a plan from its file, or from where the state is; with the sha256 of all its bytes."""
    import hashlib
    from pathlib import Path

    from imgmigrate.plan import read_plan

    if against.startswith("sha256:"):
        from imgmigrate.cli.given.saved import fetch_plan

        fetched = fetch_plan(settings, against, None)
        return fetched.plan, fetched.key.removeprefix("sha256:")
    if not Path(against).exists():
        message = f"--against {against}: there is no such file"
        raise UsageError(message, hint="say state, source, or name a plan's file")
    plan = read_plan(Path(against))
    return plan, hashlib.sha256(Path(against).read_bytes()).hexdigest()


def _looked(
    settings: Settings,
    rows: list[_Row],
    sample: Share | None,
    verifies: Callable[[list[_Row], Sink], Coroutine[Any, Any, Verified]],
) -> tuple[list[_Row], Verified]:
    """Verify all rows or a sample of them; with those that were chosen."""
    from imgmigrate.cli.run import look
    from imgmigrate.verifying.sample import sampled

    kept = rows if sample is None else sampled(rows, sample, lambda row: row.address)
    verified = look(settings.output, lambda sink: verifies(kept, sink), doing="verifying")
    return kept, verified.sampled_of(len(rows)) if sample else verified


def _config_if_any(settings: Settings) -> Config:
    """Open the config where there is one; of what is said elsewhere only logins are needed."""
    has_config = settings.config is not None or settings.foreign or DEFAULT_CONFIG.exists()
    return _config(settings) if has_config else load_for_apply(settings)


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
        sample_of=verified.sample_of,
        pending=verified.pending,
    )
    level: Literal["info", "error"] = "error" if verified.verdicts else "info"
    output.stream.line(summary, verified_headline(verified), level)
