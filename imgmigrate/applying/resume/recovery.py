"""Save records somewhere else when the state cannot be written any more.

The last resort: the claims in the journal already make the images ours, so what is saved
here only spares somebody the question what happened.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from imgmigrate.files import write_atomically
from imgmigrate.state.record import RECORDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgmigrate.state.record import ImageRecord

__all__ = ["save_elsewhere"]


def save_elsewhere(records: Sequence[ImageRecord], run: str, base: Path) -> str:
    """Write records beside the config, else to the temporary folder; say where, or "nowhere"."""
    data = b"".join(RECORDS.dump_json(record, exclude_none=True) + b"\n" for record in records)
    for folder in (base, Path.cwd(), Path(tempfile.gettempdir())):
        path = folder / f"imgmigrate-recovery-{run}.jsonl"
        try:
            write_atomically(path, data)
        except OSError:
            continue
        return str(path)
    return "nowhere (no folder could be written)"
