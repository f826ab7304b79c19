"""A plan as a comment on a pull request: what stands first, what is cut, what cannot break out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from imgmigrate.causes import Cause
from imgmigrate.oci.reference import LAYOUTS, Reference, Repository
from imgmigrate.plan import Filters
from imgmigrate.redaction import printable
from imgmigrate.render.changes.hints import Hint
from imgmigrate.render.changes.markdown import LIMIT, plan_markdown
from imgmigrate.render.words import headline
from imgmigrate.state.record import Filter
from tests.render import samples

if TYPE_CHECKING:
    from markdown_it.token import Token
    from syrupy.assertion import SnapshotAssertion

    from imgmigrate.plan import Plan

MARKDOWN = MarkdownIt("commonmark").enable("table")
# What we write ourselves; everything else must be text or code.
OUR_HTML = {"<br>", "<code>", "</code>"}

ATTACKS = [
    "@everyone",
    "#1 and GH-2",
    "[a](https://evil.example)",
    "![](https://evil.example/pixel.png)",
    "<img src=https://evil.example/pixel.png>",
    "<script>alert(1)</script>",
    "</code></details><h1>Plan: nothing to do</h1>",
    "a`@everyone`b",
    "``` a ```",
    "a|b|c",
    "a\\|b",
    "\\`x\\`",
    "&lt;b&gt;",
    "-->",
    "**bold** _it_ ~~no~~",
    "line\n# heading\n\n| a |",
    "\x1b[31mred",
    "https://evil.example",
]


# What a layout's path may be.
HOSTILE = Reference(Repository(LAYOUTS, "a|b`c@d/<e>"), "1")


def rendered(text: str) -> list[Token]:
    """Every inline token of a page."""
    return [
        child
        for token in MARKDOWN.parse(text)
        if token.type == "inline"
        for child in token.children or ()
    ]


def assert_harmless(text: str) -> None:
    """Check that a page has no link, image, foreign HTML, mention or cell out of place."""
    inside = 0
    for token in rendered(text):
        assert token.type not in ("link_open", "image"), token
        if token.type == "html_inline":
            assert token.content in OUR_HTML
            inside += {"<code>": 1, "</code>": -1}.get(token.content, 0)
        if token.type == "text" and not inside:
            assert "@" not in token.content
            assert "#" not in token.content
            assert "http" not in token.content
    blocks = MARKDOWN.parse(text)
    for token in blocks:
        if token.type == "html_block":
            assert token.content.startswith(("<!-- imgmigrate ", "<details>", "</details>"))
    width = 0
    for token in blocks:
        if token.type == "thead_open":
            width = 0
        elif token.type == "th_open":
            width += 1
        elif token.type == "tr_open":
            cells = 0
        elif token.type == "td_open":
            cells += 1
        elif token.type == "tr_close" and token.level > 1 and cells:
            assert cells == width


def told(text: str) -> set[str]:
    """Every piece of code of a page, as a reader sees it."""
    found, pieces = set(), list[str]()
    for token in rendered(text):
        if token.type == "code_inline":
            found.add(token.content)
        elif token.type == "html_inline":
            if token.content == "</code>":
                found.add("".join(pieces))
            pieces = []
        else:
            pieces.append(token.content)
    return found


def test_every_action_has_its_table(snapshot: SnapshotAssertion) -> None:
    """Danger first, a table an action, the headline at both ends."""
    plan = samples.every_action()
    hint = Hint("To apply exactly this:", "imgmigrate apply plan.out")
    text = plan_markdown(plan, hints=(hint,))
    assert text == snapshot
    title = headline(plan.summary)
    first, *_, last = [line for line in text.splitlines() if line and not line.startswith("<!--")]
    assert (first, last) == (f"### {title}", f"**{title}**")
    assert text.index("errors (1)") < text.index("conflicts (2)") < text.index("copy (3)")
    assert_harmless(text)


def test_a_plan_with_nothing_to_do_is_its_headline() -> None:
    """Nothing is a table of nothing."""
    text = plan_markdown(samples.plan(unchanged=5))
    assert "all 5 images are as the config says" in text
    assert "|" not in text


def test_long_lists_are_folded_but_never_dangerous_ones() -> None:
    """Copies are behind a click; conflicts are not, however many there are."""
    text = plan_markdown(samples.many(30))
    assert text.count("<details>") == text.count("</details>") == 1
    assert text.index("#### `!` conflicts (30)") < text.index("<details>")
    assert "<summary><b>+ copy (30): new at the destination</b></summary>\n\n|" in text


@pytest.mark.parametrize("number", [100, 400, 1000, 5000])
def test_a_comment_is_never_too_long(number: int) -> None:
    """At most the limit, and what is not there is said at both ends, with how many."""
    plan = samples.many(number)
    text = plan_markdown(plan)
    assert len(text.encode()) <= LIMIT
    listed = sum(line.startswith("| `harbor.new/c:") for line in text.splitlines())
    listed += sum(line.startswith("| `harbor.new/a:") for line in text.splitlines())
    listed += sum(line.startswith("| `harbor.new/b:") for line in text.splitlines())
    notice = f"Cut to fit a comment: {listed:,} of {2 * number:,} rows are listed here."
    assert text.count(notice) == (0 if listed == 2 * number else 2)
    assert (number == 100) == (listed == 2 * number)
    assert text.endswith(f"**{headline(plan.summary)}**\n")


def test_too_many_copies_are_counted_by_repository() -> None:
    """Where rows do not fit, each repository is a line with its images and bytes."""
    text = plan_markdown(samples.many(1000))
    assert "| `harbor.new/b` | 334 | ? |" in text
    assert "One line a repository: too many rows for a comment." in text


def test_too_many_repositories_are_cut_with_a_word() -> None:
    """Ten thousand repositories: some are listed, how many are not is said."""
    rows = [samples.change(f"harbor.new/team/{n}/app:1", "copy", "new") for n in range(10_000)]
    text = plan_markdown(samples.plan(*rows))
    assert len(text.encode()) <= LIMIT
    lines = sum(line.startswith("| `harbor.new/team/") for line in text.splitlines())
    assert f"{10_000 - lines:,} repositories more not shown." in text


def test_notes_on_how_the_config_was_read_are_shown() -> None:
    """What a reviewer must know stands at the top, in code; of very many the first do."""
    page = plan_markdown(samples.plan(notes=("overwrite: always, @all",) * 12))
    assert page.count("**Note:** `overwrite: always, @all`") == 10
    assert "And 2 more notes." in page


def test_chosen_rows_are_said_to_be_chosen() -> None:
    """What `--only` and `--target` leave out is not missed silently."""
    plan = samples.every_action()
    text = plan_markdown(plan, plan.changes[:2])
    assert "Shown: 2 of 12 rows." in text


def attacked(text: str) -> Plan:
    """A plan that has a text of others wherever a plan can have one."""
    rows = [
        samples.change(
            "harbor.new/a:1",
            "update",
            text,
            before=samples.digest("b"),
            detail=text,
            inside=(text, text),
            filter=Filter(platforms=(text,), version=1),
            moved_to=HOSTILE,
        ),
        samples.change("harbor.new/a:2", "error", "unreadable", source=None, detail=text),
    ]
    filters = Filters(target=(text,))
    return samples.plan(*rows, git_commit=text, filters=filters)


@pytest.mark.parametrize("text", ATTACKS)
def test_no_text_of_others_can_break_out(text: str) -> None:
    """It is shown as it is: no mention, link, image, HTML, heading or further cell."""
    page = plan_markdown(attacked(text))
    assert_harmless(page)
    assert printable(text) in told(page)


@given(st.text(alphabet=st.sampled_from("ab@#<>&`|\\*_[]()!~-:/.\n\"' "), max_size=40))
def test_nothing_that_a_server_says_breaks_out(text: str) -> None:
    """The same for any text of Markdown's own characters."""
    assert_harmless(plan_markdown(attacked(text)))


def test_a_command_cannot_leave_its_fence() -> None:
    """A command with backticks stands in a longer fence."""
    page = plan_markdown(samples.plan(unchanged=1), hints=[Hint("do:", "x ```\n@everyone")])
    (fence,) = [token for token in MARKDOWN.parse(page) if token.type == "fence"]
    assert fence.content == "x ``` @everyone\n"


def test_what_one_cause_keeps_from_being_planned_is_one_row() -> None:
    """A registry that cannot be reached fills no comment; all rows are in the plan file."""
    why = Cause(kind="unreachable", code="IM367", place="h.new", text="refused | <b>", hint="wait")
    rows = (samples.change(f"h.new/a:{n:02}", "error", "unreadable", why=why) for n in range(40))
    text = plan_markdown(samples.plan(*rows))
    (row,) = [line for line in text.splitlines() if line.startswith("| `h.new/a:")]
    assert row.count("`h.new/a:") == 5
    assert "and 35 more; `imgmigrate show --verbose PLAN` lists all" in row
    assert "`h.new: cannot be reached, 40 rows`" in row
    assert "<b>" not in row
