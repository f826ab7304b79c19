"""What leaves through a connection: handed over is not sent."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from imgmigrate.stores.registry.http.line import MOST_NOT_SENT, shallow

if TYPE_CHECKING:
    import pytest


def test_a_kernel_takes_little_more_than_leaves() -> None:
    """Progress counts what was handed over, so what a connection hoards is kept small."""
    make = shallow(lambda info: socket.socket(info[0], info[1], info[2]))
    with make((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1))) as made:
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == MOST_NOT_SENT


def test_a_system_without_the_option_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes estimates better, and nothing depends on it."""
    monkeypatch.delattr(socket, "TCP_NOTSENT_LOWAT", raising=False)
    make = shallow(lambda info: socket.socket(info[0], info[1], info[2]))
    make((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1))).close()
