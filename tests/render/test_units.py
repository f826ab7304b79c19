"""Numbers as people read them."""

from __future__ import annotations

import pytest

from imgmigrate.render.units import count, duration, moment, rate, size


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (None, "?"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (12_999_999, "12.4 MiB"),
        (1024 * 1024 - 1, "1.00 MiB"),
        (222_298_112, "212 MiB"),
        (2_023_108_766_310, "1.84 TiB"),
        (1 << 60, "1024 PiB"),
    ],
)
def test_sizes_are_binary_with_three_digits(octets: int | None, text: str) -> None:
    """A size has a binary unit and three significant digits; an unknown one is `?`."""
    assert size(octets) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "?"),
        (0, "0.0 s"),
        (3.14159, "3.1 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (3_599, "59 min 59 s"),
        (11_400, "3 h 10 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_durations_have_their_two_largest_units(seconds: float | None, text: str) -> None:
    """A duration is read at a glance."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 images"), (1, "1 image"), (8214, "8,214 images")]
)
def test_counts_agree_with_their_noun(number: int, text: str) -> None:
    """One image, two images."""
    assert count(number, "image") == text


def test_a_rate_needs_time() -> None:
    """Nothing is divided by no time at all."""
    assert rate(10 * 1024 * 1024, 2) == "5.00 MiB/s"
    assert rate(1, 0) == "?"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-11-24T07:56:02Z", "2026-11-24 07:56:02 UTC"),
        ("2026-11-24T08:56:02.5+01:00", "2026-11-24 07:56:02 UTC"),
        ("2026-11-24T07:56:02", "2026-11-24 07:56:02 UTC"),
        ("yesterday", "yesterday"),
    ],
)
def test_times_are_shown_in_utc(text: str, shown: str) -> None:
    """Every time is shown in one zone; what is no time is not hidden."""
    assert moment(text) == shown
