"""Images of layouts that lost parts stand among what a reviewer must not miss."""

from __future__ import annotations

from imgmigrate.render.changes.markdown import plan_markdown
from imgmigrate.render.changes.text import plan_text
from tests.render import samples

PLAN = samples.plan(
    samples.change("oci:bundle/api:0.9", "copy", "new", transfer_bytes=1),
    samples.change(
        "oci:bundle/api:1.0",
        "update",
        "incomplete",
        before=samples.digest("1.0"),
        after=samples.digest("1.0"),
        recorded=samples.digest("1.0"),
        transfer_bytes=4_096,
        detail="the layout has lost 36933e18aa15 and 1 more of its parts",
    ),
)


def test_they_have_a_section_of_their_own_above_what_is_new() -> None:
    """What is to move and what is gone are said; both digests are the same."""
    text = plan_text(PLAN)
    assert text.index("! incomplete (1)") < text.index("+ copy (1)")
    assert "oci:bundle/api:1.0  4.00 KiB\n" in text
    assert "the layout has lost 36933e18aa15 and 1 more of its parts" in text
    assert "->" not in text


def test_a_comment_says_the_same() -> None:
    """As a row of a table, with its source."""
    text = plan_markdown(PLAN)
    assert text.index("incomplete (1)") < text.index("copy (1)")
    assert "4.00 KiB<br>`the layout has lost 36933e18aa15 and 1 more of its parts`" in text
    assert "->" not in text.partition("-->")[2]
