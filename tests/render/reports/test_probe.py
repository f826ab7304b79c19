"""How reports about registries look."""

from __future__ import annotations

import json

from imgmigrate.probing.probe import Check, Report, Verdict
from imgmigrate.render.json import document_line
from imgmigrate.render.reports.probe import probe_headline, probe_line, probe_lines
from imgmigrate.render.style import Style

GOOD = Report(
    "old.example",
    ("source",),
    (
        Check("reach", Verdict.OK, "https://old.example"),
        Check("log in", Verdict.UNTRIED, "no credentials", is_needed=False),
        Check("catalog", Verdict.ABSENT, is_needed=False),
    ),
)
BAD = Report(
    "new.example:5000",
    ("source", "destination"),
    (
        Check("reach", Verdict.OK),
        Check(
            "push",
            Verdict.FAILED,
            "team/api: denied (403): DENIED: the requested access to the resource is denied",
            "the credentials lack push there",
        ),
    ),
    about="team/api",
)


def test_reports_are_a_table_of_eighty_columns() -> None:
    """A line for each check, its reason and fix beside it, and the sum at the end."""
    assert list(probe_lines([GOOD, BAD])) == [
        "old.example (source)",
        "  reach      ok           https://old.example",
        "  log in     not tried    no credentials",
        "  catalog    not offered",
        "",
        "new.example:5000 for team/api (source and destination)",
        "  reach      ok",
        "  push       failed       team/api: denied (403): DENIED: the requested access",
        "                          to the resource is denied",
        "                          fix: the credentials lack push there",
        "",
        "1 of 2 registries cannot do what the rules need: new.example:5000.",
    ]


def test_colours_change_nothing_but_the_colour() -> None:
    """The same text, with escapes around the verdicts."""
    coloured = list(probe_lines([BAD], Style(colour=True)))
    assert any("\x1b[31mfailed\x1b[0m" in line for line in coloured)
    plain = [line.replace("\x1b[0m", "") for line in coloured]
    for code in (1, 2, 31, 32):
        plain = [line.replace(f"\x1b[{code}m", "") for line in plain]
    assert plain == list(probe_lines([BAD]))


def test_sum_is_said_in_one_sentence() -> None:
    """Whether all is well, and if not, where."""
    assert probe_headline([]) == "No registries: the rules name none."
    assert probe_headline([GOOD]) == "1 registry tried: all that is needed works."
    assert probe_headline([BAD]) == (
        "1 of 1 registry cannot do what the rules need: new.example:5000."
    )


def test_text_of_servers_cannot_control_the_terminal() -> None:
    """Escapes of a hostile registry come out as blanks."""
    check = Check("pull", Verdict.FAILED, "a\x1b[2Jb\r\nc", "d\x07e")
    report = Report("q.io", ("source",), (check,))
    text = "".join(probe_lines([report])) + str(probe_line(report))
    assert not any(character in text for character in "\x1b\r\n\x07")


def test_document_says_everything() -> None:
    """For programs: every check with its verdict, and whether it matters."""
    found = json.loads(document_line(probe_line(BAD).document()))
    assert (found["host"], found["about"], found["works"]) == (BAD.host, "team/api", False)
    assert found["checks"][0] == {
        "name": "reach",
        "verdict": "ok",
        "needed": True,
        "detail": "",
        "fix": None,
    }


def test_what_was_not_tried_stands_in_the_last_line() -> None:
    """All that is needed works only if all of it was tried; what no rule needs is not missed."""
    untried = Report(
        "new.example", ("destination",), (Check("push", Verdict.UNTRIED, "not known"),)
    )
    assert probe_headline([GOOD]) == "1 registry tried: all that is needed works."
    assert probe_headline([GOOD, untried]) == (
        "2 registries tried: what was tried works. Not tried: push at new.example."
    )
    assert probe_headline([BAD, untried]) == (
        "1 of 2 registries cannot do what the rules need: new.example:5000. "
        "Not tried: push at new.example."
    )
