"""A report of a verification in each of its forms: all facts, and nothing that acts."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import date

import pytest

from imgmigrate.config.known import KnownConflict
from imgmigrate.matching import parse_pattern
from imgmigrate.oci.reference import Digest, Reference
from imgmigrate.render.reports.evidence import FORMATS, report_bytes
from imgmigrate.state.record import Carried, Filter, Run
from imgmigrate.verifying.report import (
    KnownPlan,
    Method,
    Origin,
    Report,
    of_record,
    report_of,
)
from imgmigrate.verifying.verdict import Fault, Kind, Verdict, Verified
from tests.support.records import make_record
from tests.support.schemas import errors

BEFORE, AFTER, GONE = (Digest.of(each) for each in (b"before", b"after", b"gone"))
HERE, THERE = Reference.parse("new.example/a:1"), Reference.parse("old.example/a:1")
HOSTILE = "=HYPERLINK(evil) | `x`\x1b[2J\nnext"


def a_report(found: str = "") -> Report:
    """Two images: one signed and cut to a platform, which lost a blob; one that is whole."""
    along = Carried(
        refers_to=BEFORE, digest=GONE, media_type="application/x", size=7, kind="signature"
    )
    record = make_record(HERE, THERE, BEFORE, referrers=(along,))
    record = replace(record, digest=AFTER, filter=Filter(platforms=("linux/amd64",), version=1))
    other = make_record(Reference.parse("new.example/b:1"), THERE, BEFORE)
    fault = Fault(Kind.MISSING, "blob", GONE, 12, found or None, along)
    verified = Verified(2, 5, 100, deep=True, verdicts=(Verdict(HERE, AFTER, (fault,)),))
    run = Run(
        run="r",
        plan_id="p",
        began_at="2026-01-01T00:00:00Z",
        sequence=1,
        head="h",
        host="runner-7",
        command="imgmigrate apply plan.out",
    )
    known = KnownConflict(parse_pattern("new.example/a"), BEFORE, date(2999, 1, 1), "ticket 7")
    return report_of(
        map(of_record, (record, other)),
        verified,
        Method(against="state", deep=True, sample="50%", sample_of=4),
        Origin("1.2", "2026-02-01T00:00:00Z", "prod.yaml", "0" * 64, "lineage", 7),
        runs=[run],
        plans={"p": KnownPlan("f" * 64, "c0ffee", {HERE: "overwrite_always"})},
        known=[known],
    )


def test_the_data_tell_everything_that_is_known_of_an_image() -> None:
    """Where from, both digests, which plan of which commit, who applied, what was overridden."""
    image, other = a_report().images
    assert (image.source, image.digest_before, image.digest_after) == (THERE, BEFORE, AFTER)
    assert (image.plan_sha256, image.config_commit) == ("f" * 64, "c0ffee")
    assert (image.applied_on, image.applied_by) == ("runner-7", "imgmigrate apply plan.out")
    assert [(each.what, each.because) for each in image.overrides] == [
        ("overwrite_always", None),
        ("known conflict", "ticket 7"),
    ]
    assert (image.standing, image.faults[0].referrer) == ("incomplete", GONE)
    assert (other.standing, other.referrers, other.overrides) == ("whole", None, ())


def test_json_meets_its_schema() -> None:
    """It is published with the others."""
    document = json.loads(report_bytes(a_report(HOSTILE), ".json"))
    assert errors("report", document) == []
    assert document["counts"]["incomplete"] == 1
    assert errors("report", {**document, "images": [{}]})


@pytest.mark.parametrize("suffix", FORMATS)
def test_each_form_names_image_plan_and_fault(suffix: str) -> None:
    """Whoever reads one form reads them all."""
    text = report_bytes(a_report(), suffix).decode()
    for fact in (str(HERE), str(AFTER), "incomplete", "missing", "state", str(GONE)):
        assert fact in text


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_a_server_said_acts_nowhere(suffix: str) -> None:
    """No escape reaches a terminal, no cell is a formula, no table breaks."""
    text = report_bytes(a_report(HOSTILE), suffix).decode()
    assert "\x1b" not in text
    if suffix == ".csv":
        head, *rows = list(csv.reader(io.StringIO(text)))
        assert [len(row) for row in rows] == [len(head)] * 2
        assert not [cell for row in rows for cell in row if cell.startswith("=")]
    if suffix == ".md":
        table = [line for line in text.splitlines() if line.startswith("|")]
        assert {line.count("|") for line in table} == {8}
