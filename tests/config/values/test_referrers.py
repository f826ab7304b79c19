"""`referrers:` of a rule and of all of them: what may be written, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.oci.companions import KINDS
from imgmigrate.rules.referrers import ReferrerPolicy

if TYPE_CHECKING:
    from tests.config.conftest import Load, Refuse

RULE = "images:\n- source: q.io/a:v1\n  destination: x.io/b\n"
HEAD = "version: 1\n"
SCAN = "application/vnd.example.scan"


@pytest.mark.parametrize(
    ("defaults", "written", "expected"),
    [
        ("", "", ReferrerPolicy()),
        ("", "all", ReferrerPolicy(include=("all",))),
        ("", "none", ReferrerPolicy(include=())),
        ("", "[signature, sbom]", ReferrerPolicy(include=("signature", "sbom"))),
        ("", SCAN, ReferrerPolicy(include=(SCAN,))),
        ("", f"{{exclude: {SCAN}}}", ReferrerPolicy(KINDS, (SCAN,))),
        ("", "{required: [signature]}", ReferrerPolicy(KINDS, (), ("signature",))),
        (
            "",
            f"{{include: all, exclude: [sbom], required: [{SCAN}]}}",
            ReferrerPolicy(("all",), ("sbom",), (SCAN,)),
        ),
        ("none", "", ReferrerPolicy(include=())),
        ("none", "sbom", ReferrerPolicy(include=("sbom",))),
        ("{required: sbom}", "none", ReferrerPolicy(include=())),
    ],
)
def test_a_rule_has_its_own_referrers_or_the_defaults(
    load: Load, defaults: str, written: str, expected: ReferrerPolicy
) -> None:
    """On by default; a rule's own choice stands instead of the defaults, as a whole."""
    above = f"defaults: {{referrers: {defaults}}}\n" if defaults else ""
    below = f"  referrers: {written}\n" if written else ""
    (rule,) = load(HEAD + above + RULE + below).rules
    assert rule.referrers == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("signatures", "'signatures' is none of signature, sbom"),
        ("[all, sbom]", "'all' is none of"),
        ("{includes: sbom}", "knows include, exclude and required, and not 'includes'"),
        ("{required: sbom, exclude: sbom}", "requires sbom, and leaves it out"),
        ("{required: sbom, include: none}", "requires sbom, and leaves it out"),
        ("{required: sbom, include: signature}", "requires sbom, and leaves it out"),
        ("[[sbom]]", "must be a list of signature"),
        ("{exclude: {sbom: 1}}", "exclude must be a list of"),
    ],
)
def test_a_wrong_choice_is_refused_with_its_place(
    refuse: Refuse, written: str, expected: str
) -> None:
    """File, line, key and cause."""
    said = refuse(f"{HEAD}{RULE}  referrers: {written}\n")
    assert said.startswith("prod.yaml:5: images[0].referrers")
    assert expected in said
