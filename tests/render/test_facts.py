"""What is said of a row has one source: text, Markdown and JSON say the same."""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.oci.reference import Digest, Reference
from imgmigrate.plan import Plan
from imgmigrate.render.changes.markdown import plan_markdown
from imgmigrate.render.changes.text import View, plan_text
from imgmigrate.render.facts import Bytes, facts_of, in_sections
from imgmigrate.render.json import JsonStream, plan_documents
from imgmigrate.render.style import Style
from imgmigrate.render.units import size
from imgmigrate.render.words import headline_of
from imgmigrate.state.record import Carried, Filter
from tests.render import samples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgmigrate.plan import Change
    from imgmigrate.render.facts import Value

PLAN = samples.everything()
# So wide that nothing of a row is broken into lines.
WIDE = View(style=Style(width=2_000), verbose=True)
_SAID_OF_THE_SOURCE = re.compile(r",? ?source (?:tag|digest) \S+$")


def told_in_text() -> dict[str, tuple[str, str, list[str]]]:
    """Of each address its section, where its image is from, and what is said of it."""
    found: dict[str, tuple[str, str, list[str]]] = {}
    title = origin = address = ""
    for line in plan_text(PLAN, WIDE).splitlines():
        if found_title := re.match(r"\S (.+?) \([\d,]+\): ", line):
            title, origin = found_title[1], ""
        elif line.startswith("  from "):
            origin = line.removeprefix("  from ")
        elif row := re.match(r"  \S (harbor\S+) *(.*)$", line):
            address = row[1]
            beside = _SAID_OF_THE_SOURCE.sub("", row[2])
            found[address] = (title, origin, [beside] if beside else [])
        elif line.startswith("      "):
            found[address][2].append(line.strip())
    return found


def told_in_markdown() -> dict[str, tuple[str, str, list[str]]]:
    """The same of a comment."""
    found: dict[str, tuple[str, str, list[str]]] = {}
    title = ""
    for line in plan_markdown(PLAN, limit=10_000_000).splitlines():
        if found_title := re.search(r"(?:#### \S+|<b>\S+) (.+?) \([\d,]+\): ", line):
            title = found_title[1]
        elif line.startswith("| `harbor"):
            cells = [plain(cell) for cell in line.strip("|").split(" | ")]
            address, *origin, details = (cell.strip() for cell in cells)
            said = [each for each in details.split("<br>") if each]
            found[address] = (title, "".join(origin), said)
    return found


def plain(text: str) -> str:
    """What a reader sees of Markdown: code without its marks."""
    return html.unescape(re.sub(r"`|</?code>", "", text))


def test_text_and_markdown_say_the_same_of_every_row() -> None:
    """Every action, every reason, bare and full: section, source and facts are the same."""
    text, markdown = told_in_text(), told_in_markdown()
    assert set(text) == set(markdown)
    assert len(text) == len(PLAN.changes)
    for address, (title, origin, said) in markdown.items():
        repository = str(Reference.parse(origin).repository) if origin else ""
        assert (title, repository, said) == text[address], address


def leaves(document: Any) -> Iterator[str]:
    """Every text and number of a JSON document."""
    if isinstance(document, dict):
        for each in document.values():
            yield from leaves(each)
    elif isinstance(document, list | tuple):
        yield ", ".join(map(str, document))
        for each in document:
            yield from leaves(each)
    elif document is not None:
        yield str(document)


def is_told(value: Value, told: list[str]) -> bool:
    """Tell whether a document has a value of a fact, as it is or in full."""
    match value:
        case None:
            return True  # null, and for people a word
        case Bytes():
            return value.count is None or str(value.count) in told
        case Digest():
            return str(value) in told
        case _:
            return any(str(value) in each for each in told)


def documents() -> dict[str, list[dict[str, Any]]]:
    """The rows as `show --json` and as the stream has them."""
    lines: list[str] = []
    JsonStream(lines.append).plan(PLAN)
    streamed = [json.loads(line) for line in lines]
    shown = list(plan_documents(PLAN))
    return {
        "show": [each for each in shown if each["type"] == "change"],
        "stream": [each for each in streamed if each["type"] == "planned_change"],
    }


@pytest.mark.parametrize("output", ["show", "stream"])
def test_json_says_all_that_people_are_told(output: str) -> None:
    """With digests and bytes in full; what names mean is beside them."""
    rows = documents()[output]
    assert len(rows) == len(PLAN.changes)
    for change, row in zip(PLAN.changes, rows, strict=True):
        facts, told = facts_of(change), list(leaves(row))
        said = [value for fact in (*facts.beside, *facts.below) for value in fact.values]
        said += [facts.source, *facts.inside]
        missing = [value for value in said if not is_told(value, told)]
        if not change.action.is_understood:  # said with the reason
            missing = [each for each in missing if each != f"{change.action}: {row['says']}"]
        assert missing == [], row
        assert row["section"] == facts.section.key
        assert row["dangerous"] == change.is_dangerous
        assert row["code"] == change.reason.traits.code


def test_no_row_is_left_out() -> None:
    """Each stands in one section, and sections come in the order of danger."""
    rows = [change for _, members in in_sections(PLAN.changes) for change in members]
    assert sorted(map(str, (each.address for each in rows))) == [
        str(each.address) for each in PLAN.changes
    ]
    ranks = [section.rank for section, _ in in_sections(PLAN.changes)]
    assert ranks == sorted(ranks)


def of(keys: tuple[str, ...], change: Change) -> list[str]:
    """The facts of a row with these keys, with their values in short."""

    def short(value: Value) -> str:
        match value:
            case Digest():
                return value.short
            case Bytes():
                return size(value.count)
        return str(value)

    facts = facts_of(change)
    return [
        fact.words.format(*map(short, fact.values))
        for fact in (*facts.beside, *facts.below)
        if fact.key in keys
    ]


OLD, NEW = samples.digest("old"), samples.digest("new")
WANTED = samples.digest("harbor.old/a:1 now").short


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("copy", "new", {}), [WANTED]),
        (("update", "source_moved", {"before": OLD}), [f"{OLD.short} -> {WANTED}"]),
        (("update", "incomplete", {"before": OLD}), []),
        (("adopt", "already_there", {"before": OLD}), [WANTED]),
        (("conflict", "foreign", {"before": OLD}), [f"holds {OLD.short}, wanted {WANTED}"]),
        (("unknown", "no_state", {"before": OLD}), [f"holds {OLD.short}, wanted {WANTED}"]),
        (("conflict", "written_since", {"source": None}), []),
        (
            ("drift", "changed_here", {"before": OLD, "recorded": NEW}),
            [f"holds {OLD.short}, recorded {NEW.short}"],
        ),
        (("drift", "source_moved", {"before": OLD, "recorded": OLD}), [f"holds {OLD.short}"]),
        (("keep", "overwrite_never", {"before": OLD}), [f"holds {OLD.short}, source {WANTED}"]),
        (("keep", "source_gone", {"before": OLD}), [f"holds {OLD.short}"]),
        (("delete", "rule_removed", {"before": OLD}), [f"holds {OLD.short}"]),
        (("forget", "rule_removed", {}), []),
    ],
)
def test_digests_are_said_where_a_reviewer_decides_by_them(
    change: tuple[str, str, dict[str, Any]], said: list[str]
) -> None:
    """What is there, what is wanted, what is recorded: as far as it is known."""
    action, reason, more = change
    row = samples.change("a.b/a:1", action, reason, **{"source": "harbor.old/a:1", **more})
    assert of(("digests", "before", "after"), row) == said


@pytest.mark.parametrize(("action", "before"), [("copy", None), ("conflict", "theirs")])
def test_a_chart_has_no_platforms_to_choose(action: str, before: str | None) -> None:
    """A rule's platforms are not told of what runs nowhere; that they chose, of all else."""
    there = samples.digest(before) if before else None
    chosen = Filter(platforms=("linux/amd64",), version=1)

    def said(**more: Any) -> str:
        row = samples.change("harbor.new/a:1", action, "new", filter=chosen, before=there, **more)
        return plan_text(samples.plan(row), WIDE)

    assert "platforms" in said()
    assert "platforms" not in said(platforms=())


def test_what_goes_along_is_counted_by_its_kinds() -> None:
    """Words of our own first, then types as they are; what stays behind is said, too."""
    digest = Digest.of(b"x")
    kinds = ("signature", "signature", "application/x.scan", "sbom")
    carried = tuple(
        Carried(refers_to=digest, digest=Digest.of(b"%d" % n), media_type="a/b", size=1, kind=kind)
        for n, kind in enumerate(kinds)
    )
    change = PLAN.changes[0].model_copy(
        update={
            "referrers": carried,
            "referrer_bytes": 4096,
            "referrers_left": ("signature",),
            "referrers_unread": "down (503)",
            "referrers_later": ("sbom", "sbom"),
            "referrers_excluded": ("application/x.scan",),
            "schemes": ("cosign-tag", "notation", "of-a-later-version"),
        }
    )
    said = {fact.key: fact for fact in facts_of(change).below}
    assert said["referrers"].values == (
        "2 signatures, 1 SBOM, 1 of application/x.scan",
        Bytes(4096),
    )
    assert said["referrers_left"].values == ("1 signature",)
    assert said["referrers_unread"].values == ("down (503)",)
    assert said["referrers_later"].values == ("2 SBOMs",)
    assert said["referrers_excluded"].values == ("1 of application/x.scan",)
    assert said["schemes"].values == ("cosign 1 to 3 (tag), Notation, of-a-later-version",)
    header = PLAN.header
    assert headline_of(Plan.of(header, [change])).endswith(" 1 image loses signatures or the like.")
    assert "lose" not in headline_of(PLAN)
