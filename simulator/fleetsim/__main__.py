"""The `fleetsim` command: says what to install where the extra is missing, else hands over to `fleetsim.cli`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from fleetsim.extra import missing_extra

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments` (default: the process's own) and return its exit code; 2 is bad input."""
    try:
        from fleetsim.cli import run  # noqa: PLC0415 (it needs the extra, and this module must not)

        return run(arguments)
    except ModuleNotFoundError as error:
        said = missing_extra(error)
        if said is None:
            raise
        print(said, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
