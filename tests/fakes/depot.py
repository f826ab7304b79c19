"""A depot in the memory of this process, which can be away, refuse, lie, and forget its clock."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imgmigrate.errors import StateAway
from imgmigrate.state.shared.depot import Missing, Overtaken, Seen

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["Bucket", "MemoryDepot"]


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass
class Bucket:
    """What is there, for every depot that is opened on it; `now` is its own clock's time."""

    files: dict[str, bytes] = field(default_factory=dict)
    head: bytes | None = None
    version: int = 0
    swapped_at: float = 0.0
    now: float = 0.0
    has_clock: bool = True
    is_away: bool = False
    # Swaps that are carried out and whose answer is lost.
    mute: int = 0
    swaps: int = 0
    # Cleared while files are on their way that are brought before a head names them.
    arrives: asyncio.Event = field(default_factory=_set)
    proofs: int = 0


class MemoryDepot:
    """One process's way to a bucket; it stands still while the process is not `awake`."""

    def __init__(
        self,
        bucket: Bucket,
        place: str = "memory://bucket/team",
        awake: asyncio.Event | None = None,
    ) -> None:
        self.bucket, self.place, self._awake = bucket, place, awake

    @property
    def identity(self) -> str:
        """Its place."""
        return self.place

    async def fetch(self) -> Seen | None:
        """Read the head."""
        await self._answer()
        bucket = self.bucket
        return None if bucket.head is None else Seen(bucket.head, str(bucket.version))

    async def read(self, name: str) -> bytes:
        """Read a file."""
        await self._answer()
        if name not in self.bucket.files:
            raise Missing(name)
        return self.bucket.files[name]

    async def bring(self, files: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """Add them, once the bucket lets them arrive: large files take long."""
        await self._answer()
        await self.bucket.arrives.wait()
        self.bucket.files |= files
        return {}

    async def swap(
        self,
        seen: Seen | None,
        head: bytes,
        add: Mapping[str, bytes] | None = None,
        drop: Collection[str] = (),
    ) -> Seen:
        """Swap the head if it is the one that was seen, or is there already."""
        await self._answer()
        bucket = self.bucket
        if bucket.head == head:
            return Seen(head, str(bucket.version))
        bucket.files |= add or {}
        if (None if bucket.head is None else str(bucket.version)) != (seen and seen.version):
            raise Overtaken
        bucket.head, bucket.version = head, bucket.version + 1
        bucket.swaps += 1
        bucket.swapped_at = bucket.now
        if bucket.mute:
            bucket.mute -= 1
            raise StateAway("the answer was lost", subject=f"state {self.place}")
        for name in drop:
            bucket.files.pop(name, None)
        return Seen(head, str(bucket.version))

    async def names(self, folder: str) -> list[str]:
        """List the files of a folder."""
        await self._answer()
        return sorted(name for name in self.bucket.files if name.startswith(f"{folder}/"))

    async def add(self, name: str, data: bytes) -> None:
        """Put a file beside the head."""
        await self._answer()
        self.bucket.files[name] = data

    async def age(self, seen: Seen) -> float | None:
        """By the bucket's clock."""
        await self._answer()
        return self.bucket.now - self.bucket.swapped_at if self.bucket.has_clock else None

    async def prove(self) -> None:
        """Count who asks."""
        self.bucket.proofs += 1

    async def close(self) -> None:
        """Let go of nothing."""

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self._awake is not None:
            await self._awake.wait()
        if self.bucket.is_away:
            raise StateAway("it gives no answer", subject=f"state {self.place}", hint="wait")
