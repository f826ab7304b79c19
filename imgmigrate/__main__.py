"""Run the command line as `python -m imgmigrate`."""

import sys

from imgmigrate.cli import main

if __name__ == "__main__":
    sys.exit(main())
