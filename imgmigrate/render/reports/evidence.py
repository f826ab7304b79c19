"""Write a report of a verification: as text, JSON, CSV or Markdown, by the suffix of its file.

Pure. What servers and layouts said passes through `printable`; a cell that a spreadsheet would take
for a formula is quoted.
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from imgmigrate.redaction import printable
from imgmigrate.render.changes.markdown import code
from imgmigrate.render.units import count, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imgmigrate.verifying.report import FaultFound, Image, Report

__all__ = ["FORMATS", "document_of", "report_bytes"]

LONGEST = 500
# How a spreadsheet tells a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def report_bytes(report: Report, suffix: str) -> bytes:
    """Write a report in the form of a suffix of `FORMATS`."""
    return FORMATS[suffix](report).encode()


def document_of(report: Report) -> dict[str, Any]:
    """Lay a report out for JSON; what servers said is printable."""
    document = report.model_dump(mode="json")
    for image in document["images"]:
        for fault in image["faults"]:
            fault["found"] = fault["found"] and printable(fault["found"], LONGEST)
        image["error"] = image["error"] and printable(image["error"], LONGEST)
    return document


def _json(report: Report) -> str:
    return json.dumps(document_of(report), indent=2, ensure_ascii=False) + "\n"


def _csv(report: Report) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    rows = [_row(image) for image in report.images]
    writer.writerow([*_row_names(), "against", "deep"])
    for row in rows:
        cells = [*row.values(), report.method.against, "yes" if report.method.deep else "no"]
        writer.writerow([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells])
    return file.getvalue()


def _text(report: Report) -> str:
    return "\n".join([*_head(report), *_blocks(report)]) + "\n"


def _markdown(report: Report) -> str:
    lines = [f"# {'Whole' if report.whole else 'Not whole'}", ""]
    lines += [f"- {code(line)}" for line in _head(report)]
    lines += ["", "| image | stands | digest | source | plan | applied | found |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    for image in report.images:
        row = _row(image)
        cells = ("address", "standing", "digest_after", "source", "plan_id", "applied_at", "faults")
        lines.append(f"| {' | '.join(code(row[cell]) for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _head(report: Report) -> Iterator[str]:
    """What the whole report says, a line each."""
    how = "every byte read and hashed" if report.method.deep else "each blob there with its size"
    yield f"verified at {report.created_at} by imgmigrate {report.tool_version}"
    yield f"against {printable(report.method.against, LONGEST)}; {how}; referrers too"
    if report.method.sample_of is not None:
        sample = f"{len(report.images):,} of {report.method.sample_of:,} images"
        yield f"a sample ({report.method.sample}): {sample}"
    if report.config is not None:
        yield f"config {printable(report.config, LONGEST)}, sha256 {report.config_sha256}"
    if report.state_lineage is not None:
        yield f"state {report.state_lineage}, line {report.state_sequence}"
    looked = f"{count(report.blobs, 'blob')}, {size(report.size)}"
    looked += f", {count(report.referrers, 'referrer')}, {count(report.requests, 'request')}"
    stand = ", ".join(f"{number:,} {name}" for name, number in report.counts.items() if number)
    yield f"{count(len(report.images), 'image')}: {stand or 'none'}; {looked}"


def _blocks(report: Report) -> Iterator[str]:
    for image in report.images:
        yield ""
        row = _row(image)
        yield row.pop("address")
        yield from (f"  {name.replace('_', ' ')}: {cell}" for name, cell in row.items() if cell)


def _row(image: Image) -> dict[str, str]:
    """What is said of an image, in words; empty where it is not known."""
    along = image.referrers
    cells = {
        "address": str(image.address),
        "standing": image.standing,
        "source": image.source and str(image.source),
        "digest_before": image.digest_before,
        "digest_after": image.digest_after,
        "platforms": " ".join(image.filter.platforms) if image.filter else "",
        "referrers": "not looked for"
        if along is None
        else "; ".join(f"{one.kind} {one.digest}" for one in along),
        "plan_id": image.plan_id,
        "plan_sha256": image.plan_sha256,
        "config_commit": image.config_commit,
        "run": image.run,
        "applied_at": image.applied_at,
        "applied_on": image.applied_on,
        "applied_by": image.applied_by,
        "approved_by": image.approved_by,
        "overrides": "; ".join(
            each.what if each.because is None else f"{each.what}: {each.because}"
            for each in image.overrides
        ),
        "faults": "; ".join(
            [*map(_said, image.faults), *([image.error] if image.error is not None else [])]
        ),
    }
    return {name: printable(cell or "", LONGEST * 8) for name, cell in cells.items()}


def _row_names() -> list[str]:
    return [
        *("address", "standing", "source", "digest_before", "digest_after", "platforms"),
        *("referrers", "plan_id", "plan_sha256", "config_commit", "run", "applied_at"),
        *("applied_on", "applied_by", "approved_by", "overrides", "faults"),
    ]


def _said(fault: FaultFound) -> str:
    name = f"{fault.part} {fault.digest}" if fault.digest else fault.part
    of = f" of referrer {fault.referrer}" if fault.referrer else ""
    found = f" ({printable(fault.found, LONGEST)})" if fault.found else ""
    return f"{fault.kind}: {name}{of}{found}"


# What writes a report, by the suffix of the file.
FORMATS: dict[str, Callable[[Report], str]] = {
    ".txt": _text,
    ".json": _json,
    ".csv": _csv,
    ".md": _markdown,
}
