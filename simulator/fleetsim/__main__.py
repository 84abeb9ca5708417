"""The `fleetsim` command: says what to install where the extra is missing, else hands over to `fleetsim.cli`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]

_EXTRA = frozenset({"click", "faker", "msgspec", "prometheus_client", "rich", "yaml"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments` (default: the process's own) and return its exit code; 2 is bad input."""
    try:
        from fleetsim.cli import run  # noqa: PLC0415 (it needs the extra, and this module must not)

        return run(arguments)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRA:
            raise
        print(f"fleetsim needs {missing}: pip install 'swarmpool[fleet]'", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
