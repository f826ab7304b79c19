"""Limits of a registry as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from imgmigrate.config.values.quantities import read_bandwidth, read_proxy, read_rate

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("text", "rate"),
    [("50", 50), ("50/s", 50), (" 0.5 / s ", 0.5), (".5", 0.5), (7, 7), (2.5, 2.5), (None, None)],
)
def test_rate_is_requests_a_second(text: Any, rate: float | None) -> None:
    """A number, with or without the unit."""
    assert read_rate(text) == rate


@pytest.mark.parametrize("text", ["", "0", "-1", "fast", "50/m", "1e9", "10000000", [], {}, True])
def test_other_rates_are_refused(text: Any) -> None:
    """The message shows how to write one."""
    with pytest.raises(ValueError, match="such as 50"):
        read_rate(text)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("200MiB/s", 200 * MIB),
        ("1.5 GB/s", 1_500_000_000),
        ("1.5GB", 1_500_000_000),
        ("64 KiB/s", 65_536),
        ("64 kB / s", 64_000),
        ("1k", 1000),
        ("2Mi", 2 * MIB),
        ("1TiB/s", 1024**4),
        ("1000000", 1_000_000),
        ("1000000 B/s", 1_000_000),
        (5000, 5000),
        (None, None),
    ],
)
def test_bandwidth_is_bytes_a_second(text: Any, rate: float | None) -> None:
    """Decimal and binary units differ; without a unit it is bytes."""
    assert read_bandwidth(text) == rate


@pytest.mark.parametrize(
    "text",
    ["", "0", "0.5", "-5", "fast", "200 Mbit/s", "200Mb/s", "200i", "200iB", "1PB", "9999TB", []],
)
def test_other_bandwidths_are_refused(text: Any) -> None:
    """Bits are not taken for bytes."""
    with pytest.raises(ValueError, match=r"such as 200MiB/s, 1\.5GB/s or 1000000"):
        read_bandwidth(text)


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("http://proxy:3128", "http://proxy:3128"),
        ("https://proxy.example.com/", "https://proxy.example.com/"),
        ("http://me:p%40ss@[fd00::1]:3128", "http://me:p%40ss@[fd00::1]:3128"),
        ("", None),
        (None, None),
    ],
)
def test_proxy_is_a_url(text: str | None, proxy: str | None) -> None:
    """With or without a user; empty is none."""
    assert read_proxy(text) == proxy


@pytest.mark.parametrize(
    "text",
    [
        "proxy:3128",
        "proxy",
        "socks5://secretuser:secretpw@proxy:1080",
        "http://",
        "http://proxy:port",
        "http://proxy:99999",
        "http://proxy/path",
        "http://proxy:1?secretpw",
        "http://a b:1",
        "http://proxy:1\r\nX: y",
    ],
)
def test_other_proxies_are_refused_without_showing_them(text: str) -> None:
    """What is wrong may hold a password."""
    with pytest.raises(ValueError, match=r"such as http://proxy\.example\.com:3128") as raised:
        read_proxy(text)
    assert "secret" not in str(raised.value)
