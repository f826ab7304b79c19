"""Tell whether the other side of a connection still takes the bytes that we send.

Handed over is not sent: a transport and the kernel hold up to some megabytes, which a slow line
takes minutes for. What counts is what the other side has acknowledged, which Linux tells of each
connection (tcp(7), TCP_INFO). Elsewhere it is what has left the transport.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import aiohttp

from imgmigrate.stores.registry.http.limits import LEAST_PROGRESS

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterable, Callable

    from aiohttp.abc import AbstractStreamWriter

    AddressInfo = tuple[int, int, int, str, tuple[str | int | bytes, ...]]

__all__ = ["Line", "Poured", "shallow"]

# What the kernel may hold of a connection that it has not sent yet (tcp(7), TCP_NOTSENT_LOWAT).
# Left alone it takes some megabytes of each at once: of sixteen streams, minutes of a slow line,
# in which progress stands still and the time left is a guess. Less costs fast lines turns.
MOST_NOT_SENT = 128 * 1024

# `struct tcp_info` of linux/tcp.h: tcpi_unacked, tcpi_bytes_acked and tcpi_notsent_bytes, which
# never move: the structure only grows at its end.
_UNACKED, _ACKED, _NOT_SENT = (24, "=I"), (120, "=Q"), (144, "=I")
_ENOUGH = 148


class Line:
    """What one body leaves through; knows nothing before the body begins to."""

    __slots__ = ("_base", "_seen", "_writer")

    def __init__(self) -> None:
        self._writer: Any = None
        self._base = self._seen = 0

    def begin(self, writer: AbstractStreamWriter) -> None:
        """Watch the connection that this writer writes to."""
        self._writer = writer
        self._base, self._seen = self.taken(), 0

    def taken(self) -> int:
        """Bytes that the other side has taken since the body began, or less."""
        info = self._info()
        if info is not None:
            return _field(info, _ACKED) - self._base
        transport = self._transport()
        written = self._writer.output_size if self._writer is not None else 0
        return written - transport.get_write_buffer_size() if transport else self._seen

    def has_moved(self) -> bool:
        """Tell whether it took something worth the name since it last had."""
        taken = self.taken()
        if taken - self._seen < LEAST_PROGRESS:
            return False
        self._seen = taken
        return True

    @property
    def is_clear(self) -> bool:
        """Whether nothing is on its way any more, as far as that can be known."""
        info = self._info()
        return info is None or not (_field(info, _UNACKED) or _field(info, _NOT_SENT))

    def _transport(self) -> asyncio.Transport | None:
        transport = getattr(self._writer, "transport", None)
        return cast("asyncio.Transport | None", transport)

    def _info(self) -> bytes | None:
        transport = self._transport()
        known = transport.get_extra_info("socket") if transport else None
        option = getattr(socket, "TCP_INFO", None)
        if known is None or option is None:
            return None
        try:
            # A duplicate: a loop may show its own kind of socket, which cannot be asked.
            with socket.socket(known.family, known.type, fileno=os.dup(known.fileno())) as own:
                info = own.getsockopt(socket.IPPROTO_TCP, option, 256)
        except OSError:
            return None
        return info if len(info) >= _ENOUGH else None


def shallow(make: Callable[[AddressInfo], socket.socket]) -> Callable[[AddressInfo], socket.socket]:
    """Make sockets that take about as much as leaves: what was handed over has nearly been sent."""
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)

    def made(info: AddressInfo) -> socket.socket:
        connection = make(info)
        if option is not None:
            with suppress(OSError):  # a system that has the name and not the option
                connection.setsockopt(socket.IPPROTO_TCP, option, MOST_NOT_SENT)
        return connection

    return made


class Poured(aiohttp.AsyncIterablePayload):
    """A body from an iterator, that tells through which connection it leaves."""

    def __init__(self, pieces: AsyncIterable[bytes], line: Line) -> None:
        super().__init__(pieces)
        self._line = line

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        """Write all of it."""
        self._line.begin(writer)
        await super().write_with_length(writer, content_length)


def _field(info: bytes, place: tuple[int, str]) -> int:
    offset, form = place
    return cast("int", struct.unpack_from(form, info, offset)[0])
