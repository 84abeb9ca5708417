"""What an extra brings, and the sentence for where it is missing. Itself it needs nothing of it."""

from __future__ import annotations

__all__ = ["missing_extra"]

_BROUGHT = dict.fromkeys(("click", "faker", "msgspec", "prometheus_client", "rich", "trustme", "yaml"), "fleet")
_BROUGHT |= dict.fromkeys(("dask", "distributed"), "fleet,dask")


def missing_extra(error: ModuleNotFoundError) -> str | None:
    """Say what to install when what `error` misses is of an extra; None when it is not."""
    missing = (error.name or "").partition(".")[0]
    return f"fleetsim needs {missing}: pip install 'swarmpool[{_BROUGHT[missing]}]'" if missing in _BROUGHT else None
