"""A TCP relay that makes loopback behave like a distance: latency, and a rate per connection.

Runs as a process of its own: `python -m tests.benchmarks.relay --to HOST:PORT` prints its port.
Every piece that arrives is forwarded `latency` seconds later, and no connection carries more
than `rate` bytes a second in one direction. It counts what it carries; a signal asks for it.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE = 64 * 1024
# Loopback's segments and windows hold megabytes of each connection, which no line of such a rate
# does: a sender would have sent what the relay carries seconds later.
SEGMENT, WINDOW = 1400, 64 * 1024
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Relay:
    """A relay that runs; `host` is its host:port."""

    host: str
    _process: subprocess.Popen[str] = field(repr=False)

    def carried(self) -> tuple[int, int]:
        """Tell how many bytes it carried so far: to the target, and from it."""
        self._process.send_signal(signal.SIGUSR1)
        there, back = _line(self._process).split()
        return int(there), int(back)


@contextmanager
def relayed(target: str, *, latency: float = 0.0, mbit: float = 0.0) -> Iterator[Relay]:
    """Relay to `target` with `latency` seconds each way."""
    command = [sys.executable, "-m", "tests.benchmarks.relay", "--to", target]
    command += ["--latency", str(latency), "--mbit", str(mbit)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            yield Relay(f"127.0.0.1:{_line(process)}", process)
        finally:
            process.kill()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@dataclass(slots=True)
class _Count:
    carried: int = 0


async def _serve(target: str, latency: float, rate: float) -> None:
    host, _, port = target.rpartition(":")
    there, back = _Count(), _Count()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        async with asyncio.TaskGroup() as group:
            group.create_task(_carry(reader, far_writer, latency, rate, there))
            group.create_task(_carry(far_reader, writer, latency, rate, back))

    listening = socket.create_server(("127.0.0.1", 0))
    if rate:
        # What is accepted there has them too.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
    server = await asyncio.start_server(meet, sock=listening, limit=PIECE if rate else 4 * PIECE)
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGUSR1, lambda: print(there.carried, back.carried, flush=True)
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


async def _carry(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    latency: float,
    rate: float,
    count: _Count,
) -> None:
    """Forward one direction; pieces wait in a queue for their time, so that latency is no rate."""
    loop = asyncio.get_running_loop()
    # As much as fits on the way: what the rate moves in a round trip, as a TCP window would.
    room = max(8, int(rate * latency * 2 / PIECE) + 2) if rate else 256
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(room)

    async def deliver() -> None:
        while True:
            due, piece = await waiting.get()
            if (left := due - loop.time()) > 0:
                await asyncio.sleep(left)
            if not piece:
                break
            writer.write(piece)
            await writer.drain()
        writer.close()

    async def collect() -> None:
        free = 0.0
        while piece := await reader.read(PIECE):
            count.carried += len(piece)
            now = loop.time()
            free = max(free, now) + (len(piece) / rate if rate else 0.0)
            await waiting.put((free + latency, piece))
            if free - now > 0.005:
                await asyncio.sleep(free - now)
        await waiting.put((loop.time() + latency, b""))

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(deliver())
            group.create_task(collect())
    except* (ConnectionError, OSError):
        writer.close()


def main() -> None:
    """Relay until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", required=True)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds each way")
    parser.add_argument("--mbit", type=float, default=0.0, help="Mbit/s a connection; 0: any")
    options = parser.parse_args()
    asyncio.run(_serve(options.to, options.latency, options.mbit * 1e6 / 8))


if __name__ == "__main__":
    main()
