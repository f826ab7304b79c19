"""Limits as a number or a share."""

from __future__ import annotations

import pytest

from imgmigrate.config.values.shares import read_share


@pytest.mark.parametrize(
    ("text", "total", "allowed", "printed"),
    [
        ("0", 100, 0, "0"),
        ("10", 100, 10, "10"),
        ("10", 3, 10, "10"),
        ("10%", 100, 10, "10%"),
        ("10%", 19, 1, "10%"),
        ("2.5%", 1000, 25, "2.5%"),
        ("0%", 1000, 0, "0%"),
        ("100%", 7, 7, "100%"),
        (" 5 % ", 40, 2, "5%"),
    ],
)
def test_a_share_is_a_number_or_a_part_of_the_whole(
    text: str, total: int, allowed: int, printed: str
) -> None:
    """A number is itself, a percentage is rounded down, and both are printed as typed."""
    share = read_share(text)
    assert (share.of(total), str(share)) == (allowed, printed)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "101%", "ten", "%", "1%%", "1e3", "9" * 13])
def test_what_is_no_share_is_refused(text: str) -> None:
    """A typing error is told with an example."""
    with pytest.raises(ValueError, match=r"such as 10 or 2\.5%"):
        read_share(text)
