"""What the code says of the documents is there, and what they say of the code is so."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imgmigrate.plan import FORMAT_VERSION, Action, Reason
from imgmigrate.state import entries
from imgmigrate.state.lines import snapshot as state_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# A section, perhaps with more of the same page behind it: "protocol 3.5, 3.7".
_PAGES = {
    "design.md": re.compile(r"DESIGN section (\d+)()"),
    "registries.md": re.compile(r"\bprotocol (\d+(?:\.\d+)?)((?:(?:,| and) \d\.\d)*)"),
}
_RULE = re.compile(r"\brule ([1-9])\b")
# What a section says under a name of its own: protocol 5 "SSRF", protocol 3.2 form C.
_NAMED = re.compile(r'\bprotocol (\d+(?:\.\d+)?)(?:,? ("[A-Z][^"]+"(?:, "[^"]+")*)| form ([A-D]))')
# Pages that are not in the repository.
_ELSEWHERE = re.compile(
    r"\brivals(?:\.md| section|, \d)|\bSTYLE\b|protocol\.md|DESIGN(?! section \d)"
)
_HEADING = re.compile(r"^#{2,} (\d+(?:\.\d+)?)\.? ", re.MULTILINE)


@cache
def sections(page: str) -> dict[str, str]:
    """Each numbered section of a page, with those below it."""
    text = (DOCS / page).read_text()
    found = list(_HEADING.finditer(text))
    ends = [each.start() for each in found[1:]] + [len(text)]
    own = {each[1]: text[each.start() : end] for each, end in zip(found, ends, strict=True)}
    return {
        number: "".join(
            own[each] for each in own if each == number or each.startswith(f"{number}.")
        )
        for number in own
    }


def sources() -> Iterator[tuple[Path, str]]:
    """Every file of the program and its tests, with the breaks in comments taken out."""
    for folder in ("imgmigrate", "tests", "examples"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path != Path(__file__):
                yield path, re.sub(r"\s*\n\s*(?:# ?)?", " ", path.read_text())


def missing(text: str) -> Iterator[str]:
    """What a text cites that is not there."""
    for page, cited in _PAGES.items():
        for first, others in cited.findall(text):
            wanted = {first, *re.findall(r"\d\.\d", others)}
            yield from (f"{page} {number}" for number in sorted(wanted - _numbers(page)))
    for number, quoted, letter in _NAMED.findall(text):
        section = sections("registries.md").get(number, "")
        names = (*re.findall(r'"([^"]+)"', quoted), *filter(None, [letter]))
        yield from (f"{number} {name}" for name in names if f"**{name}.**" not in section)
    yield from _ELSEWHERE.findall(text)


def test_every_section_that_is_cited_is_there() -> None:
    """Whoever follows a comment to a page finds what it is about."""
    found = [
        (str(path.relative_to(ROOT)), what) for path, text in sources() for what in missing(text)
    ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "as DESIGN section 99 says",
        "(protocol 3.5, 9.9)",
        "(protocol 0.99)",
        'protocol 5 "No such attack"',
        "protocol 3.2 form D and protocol 3.1 form A",
        "see rivals.md section 5",
        "(DESIGN, whatever)",
    ],
)
def test_what_is_not_there_is_noticed(text: str) -> None:
    """Each way of citing is checked."""
    assert len(list(missing(text))) == 1


def _numbers(page: str) -> set[str]:
    """What may be cited of a page: its sections, and the numbered rules of the first."""
    found = set(sections(page))
    if page == "registries.md":
        found |= {f"0.{rule}" for rule in _rules(sections(page)["0"])}
    return found


def _rules(section: str) -> list[str]:
    return re.findall(r"^(\d+)\. ", section, re.MULTILINE)


def test_citations_are_found() -> None:
    """A pattern that finds nothing would prove nothing."""
    texts = [text for _, text in sources()]
    for cited in _PAGES.values():
        assert sum(len(cited.findall(text)) for text in texts) > 20
    assert sum(len(_NAMED.findall(text)) for text in texts) > 4


def test_the_engines_rules_are_those_that_its_code_names() -> None:
    """The engine speaks of its rules by number alone."""
    rules = _rules(sections("design.md")["8"])
    assert rules == [str(number) for number in range(1, len(rules) + 1)]
    cited = {
        number
        for path in (ROOT / "imgmigrate/applying").rglob("*.py")
        for number in _RULE.findall(path.read_text())
    }
    assert {"2", "3", "7"} <= cited <= set(rules)


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    """By its path in the repository or in the package, or, of the package, by its name alone."""
    for name in re.findall(r"`([\w/.-]+\.py)`", page.read_text()):
        there = [ROOT / name, ROOT / "imgmigrate" / name]
        if "/" not in name:
            there += (ROOT / "imgmigrate").rglob(name)
        assert any(path.is_file() for path in there), name


def test_every_action_and_reason_is_told() -> None:
    """A row of a plan has no word that the design does not know."""
    named = set(re.findall(r"`([a-z_]+)`", sections("design.md")["5"]))
    assert {*Action, *Reason} - named == set()


def test_every_kind_of_journal_line_is_told() -> None:
    """And none that there is not."""
    text = sections("design.md")["7"].partition("Its\nkinds are ")[2].partition(".")[0]
    assert re.findall(r"`([a-z]+)`", text) == list(entries.KINDS)


def test_the_formats_are_those_that_are_written() -> None:
    """Of plan and state."""
    assert f"`{FORMAT_VERSION}`" in sections("design.md")["6"]
    assert f"Formats are {state_snapshot.FORMAT_VERSION};" in sections("design.md")["7"]


def test_the_exit_codes_are_those_of_the_readme() -> None:
    """Both tables, and the docstring of the function, have the same codes."""
    readme = (ROOT / "README.md").read_text().partition("## Exit codes")[2]
    assert _codes(sections("design.md")["9"]) == _codes(readme.partition("\n## ")[0])
    assert _codes((ROOT / "imgmigrate/cli/exit.py").read_text()) == _codes(readme)


def _codes(text: str) -> list[str]:
    return re.findall(r"^\| (\d[\d, ]*) \|", text, re.MULTILINE)
