"""Lines that fit, and colour as an extra."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from imgmigrate.render.style import NARROWEST, PLAIN, Style, fold

REFERENCES = st.from_regex(
    r"[a-z]{1,20}\.[a-z]{2,9}(:[0-9]{4})?(/[a-z-]{1,70}){1,4}:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}",
    fullmatch=True,
)


@given(REFERENCES, st.integers(20, 120))
def test_folding_loses_nothing_and_fits(reference: str, width: int) -> None:
    """A folded reference is the reference, in pieces none of which is too wide."""
    pieces = fold(reference, width)
    assert "".join(pieces) == reference
    assert all(len(piece) <= width for piece in pieces)


def test_folding_prefers_the_borders_of_a_name() -> None:
    """A reference breaks after a slash or before the tag, not within a word."""
    reference = f"harbor.new/{'a' * 20}/{'b' * 20}:{'v' * 30}"
    assert fold(reference, 40) == [
        f"harbor.new/{'a' * 20}/",
        f"{'b' * 20}",
        f":{'v' * 30}",
    ]


def test_colour_is_only_an_extra() -> None:
    """Without colours the text is just the text; with them it is the same within codes."""
    assert PLAIN.paint("x", "red") == "x"
    assert Style(colour=True).paint("x", "bold", "red") == "\x1b[1;31mx\x1b[0m"
    assert Style(colour=True).paint("", "red") == ""


def test_lines_are_never_narrower_than_a_reference_needs() -> None:
    """A terminal of ten columns gets lines that can still be read."""
    assert Style(width=10).columns == NARROWEST


def test_prose_is_indented_where_it_goes_on() -> None:
    """A sentence that is too long goes on below its own beginning."""
    assert Style(width=40).wrap("word " * 12, hanging="  ") == [
        "word word word word word word word word",
        "  word word word word",
    ]
    assert PLAIN.wrap("", indent="  ") == [""]
