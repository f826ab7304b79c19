"""Run the command line: what `imgmigrate` and `python -m imgmigrate` start."""

from __future__ import annotations

import sys

# 128 + SIGINT, as a shell tells it.
INTERRUPTED = 130


def main() -> int:
    """Load the command line and run it; Ctrl-C while it loads ends without a traceback."""
    try:
        from imgmigrate.cli import main as run

        return run()
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
