"""The journal of a state folder in the hands of the one process that holds its lock."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from imgmigrate.state.local.appender import Appender
from imgmigrate.state.local.compaction import compact
from imgmigrate.state.local.trouble import explain

if TYPE_CHECKING:
    from imgmigrate.state.local.compaction import Places
    from imgmigrate.state.view import View

__all__ = ["HeldJournal"]

logger = logging.getLogger(__name__)

# A journal beyond this, in bytes, is compacted before the next run; replay stays a second or two.
LONGEST_JOURNAL = 64 * 1024 * 1024


class HeldJournal(Appender):
    """An appender that can also turn the journal into a snapshot (`writer.Journal`)."""

    def __init__(self, places: Places) -> None:
        super().__init__(places.journal)
        self._places = places

    @property
    def is_long(self) -> bool:
        """Whether reading it takes seconds."""
        return self.size > LONGEST_JOURNAL

    async def compact(self, view: View) -> None:
        """Compact if there is anything to compact; a failure costs nothing but tidiness."""
        if self.size == 0:
            return
        await self.flush()
        try:
            await self.run(lambda: list(compact(self._places, view)))
        except OSError as error:
            logger.warning(
                "state %s: not compacted, the journal stays: %s", self._places.folder, error
            )
        except ValueError as error:
            logger.warning("state %s: not compacted: %s", self._places.snapshot, explain(error))
        finally:
            await self.reopen()
