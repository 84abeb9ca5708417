"""The connector laboratory: experiments on the installed aiohttp's connection pool, seen from both ends."""

from __future__ import annotations

__all__: list[str] = []
