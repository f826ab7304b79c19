"""Run the command line: what `imgmigrate` and `python -m imgmigrate` start."""

from __future__ import annotations

import gc
import sys

# New objects between two looks for cycles. What a command loads and makes stays until its end, or
# is freed without a look, and one at every 700 took a quarter of a plan of 100,000 images; so few
# that a start and a plan of a few hundred images need none.
COLLECT_EVERY = 200_000
# 128 + SIGINT, as a shell tells it.
INTERRUPTED = 130


def main() -> int:
    """Load the command line and run it; Ctrl-C while it loads ends without a traceback.

    The process ends with it.
    """
    gc.set_threshold(COLLECT_EVERY)
    try:
        from imgmigrate.cli import main as run

        return run()
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        # Python looks through all that is left before it exits, which took a fifth of a plan.
        gc.freeze()


if __name__ == "__main__":
    sys.exit(main())
