"""`fleetsim`, run as a child that ends when its standard input does: with its parent, however that ends.

A load that is killed by SIGKILL cannot end its fleet; but the kernel closes its end of the pipe.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from fleetsim.__main__ import main

__all__ = ["end_with_input"]


def end_with_input() -> None:
    """Wait for the end of the standard input, and end this process as SIGTERM would."""
    while os.read(0, 4096):  # not sys.stdin, whose lock this thread would hold as the interpreter ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=end_with_input, daemon=True).start()
    sys.exit(main(sys.argv[1:]))
