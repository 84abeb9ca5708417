"""`fleetsim lab`: experiments on the connection pool of the installed aiohttp, told from both ends.

Read `room.py` for what an experiment is, `connector.py` for the published one, and `rooms.py` for the list of all.
`reader.py` is the only module that touches aiohttp's private attributes; `page.py` writes `docs/lab.md`.
"""

from __future__ import annotations

__all__: list[str] = []
