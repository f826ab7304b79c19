"""Ports for servers of our own that cannot be asked to choose theirs."""

from __future__ import annotations

import socket
from contextlib import ExitStack

__all__ = ["answers", "free_port", "free_ports"]


def free_port() -> int:
    """Find a free loopback port."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Find several, all of them different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def answers(port: int) -> bool:
    """Tell whether something listens at a loopback port."""
    with socket.socket() as connection:
        connection.settimeout(1)
        return connection.connect_ex(("127.0.0.1", port)) == 0
