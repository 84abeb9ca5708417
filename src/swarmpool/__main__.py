"""`python -m swarmpool`: see `swarmpool.cli`."""

from __future__ import annotations

import sys

from swarmpool.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
