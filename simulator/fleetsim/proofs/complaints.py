"""What Python and asyncio complained about while a claim ran: warnings, unraisable exceptions, errors on "asyncio".

Only strings are kept: a kept warning holds its source alive, and with it whatever else would have complained
(a kept "Unclosed client session" hides its "Unclosed connector").
"""

from __future__ import annotations

import gc
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Complaints", "listening"]

COLLECT_PASSES = 3  # a finalizer may free only the next layer


class Complaints:
    """The complaints so far, oldest first, as text."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def collect(self) -> list[str]:
        """Collect garbage, so that everything dropped has complained, and return all texts."""
        for _ in range(COLLECT_PASSES):
            gc.collect()
        return list(self.texts)

    def warned(self, message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        """Stands in for `warnings.showwarning`."""
        self.texts.append(f"{category.__name__}: {message}")

    def unraisable(self, event: sys.UnraisableHookArgs, /) -> None:
        """Stands in for `sys.unraisablehook`."""
        self.texts.append(f"unraisable {event.exc_type.__name__}: {event.exc_value}")

    def filter(self, record: logging.LogRecord) -> bool:
        """A logging filter: errors are kept here and go no further."""
        if record.levelno < logging.WARNING:
            return True
        self.texts.append(f"asyncio: {record.getMessage()}")
        return False


@contextmanager
def listening() -> Iterator[Complaints]:
    """Record complaints of the whole process while the context is open; garbage of before is collected first."""
    complaints = Complaints()
    complaints.collect()
    logger, hook = logging.getLogger("asyncio"), sys.unraisablehook
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = complaints.warned
        sys.unraisablehook = complaints.unraisable
        logger.addFilter(complaints.filter)
        try:
            yield complaints
        finally:
            logger.removeFilter(complaints.filter)
            sys.unraisablehook = hook
