"""What to say where the optional dependencies of the simulator are not installed."""

from __future__ import annotations

__all__ = ["remedy"]

_EXTRA = frozenset({"click", "faker", "msgspec", "prometheus_client", "rich", "yaml"})


def remedy(error: ModuleNotFoundError) -> str | None:
    """Return `MODULE: pip install ...` when it is the extra that is missing, None for any other module."""
    missing = (error.name or "").partition(".")[0]
    return f"{missing}: pip install 'swarmpool[fleet]'" if missing in _EXTRA else None
