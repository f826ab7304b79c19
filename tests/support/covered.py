"""`python -m tests.support.covered`: what `make test` measured, as a total and the files below it.

Branches count as lines do. A number here is a place to look at, never a goal: nothing fails.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from coverage import Coverage

# In percent: files below are named, if they have more than a few lines.
LOW = 90
FEW = 10


def summary(measured: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """The lines that name every file below `LOW`, the lowest first."""
    found = [
        (each["summary"]["percent_covered"], name)
        for name, each in measured.items()
        if each["summary"]["num_statements"] >= FEW
    ]
    return [f"  {percent:5.1f} %  {name}" for percent, name in sorted(found) if percent < LOW]


def main() -> int:
    """Print the summary of the data in `.coverage`."""
    coverage = Coverage()
    coverage.load()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "coverage.json"
        total = coverage.json_report(outfile=str(path))
        low = summary(json.loads(path.read_bytes())["files"])
    heading = f"Lines and branches run by the tests' own processes: {total:.1f} %"
    sys.stdout.write("\n".join([heading, *([f"Files below {LOW} %:"] if low else []), *low, ""]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
