"""Two more tabs of locust's page: Fleet, a row per server, and Pool, the figures that locust has not.

The page asks /stats/requests every two seconds, and shows what its answer has under `extended_stats`.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

from flask import request
from locust import events

from fleetsim.errors import ControlError
from loadtests.conductor import Conductor, conductor_of
from loadtests.tables import FLEET_COLUMNS, POOL_COLUMNS, fleet_rows, pool_rows

__all__ = ["show_tabs"]

_TABS = {"fleet": ("Fleet", FLEET_COLUMNS), "pool": ("Pool", POOL_COLUMNS)}


def show_tabs() -> None:
    """Add the tabs where locust has a page. To be called after `conduct_begin`."""

    def init(environment: Any, **_: Any) -> None:
        page, conductor = environment.web_ui, conductor_of(environment)
        if page is None or conductor is None:
            return
        page.template_args.update(
            extended_tabs=[{"title": title, "key": key} for key, (title, _) in _TABS.items()],
            extended_tables=[
                {"key": key, "structure": [{"key": name, "title": title} for name, title in columns.items()]}
                for key, (_, columns) in _TABS.items()
            ],
        )
        tables = _Tables(conductor)
        page.app.after_request(tables.add_to)

    events.init.add_listener(init)


class _Tables:
    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor
        self._servers: list[dict[str, str | int]] = []

    def add_to(self, response: Any) -> Any:
        if request.path.endswith("/stats/requests") and response.is_json:
            response.set_data(json.dumps({**response.json, "extended_stats": self._stats()}))
        return response

    def _stats(self) -> list[dict[str, Any]]:
        return [
            {"key": "fleet", "data": self._fleet()},
            {"key": "pool", "data": pool_rows(self._conductor.figures())},
        ]

    def _fleet(self) -> list[dict[str, str | int]]:
        """The fleet's rows; as they were last, once it has ended."""
        fleet = self._conductor.fleet
        if fleet is not None and fleet.control is not None and self._conductor.is_running:
            with contextlib.suppress(ControlError):  # it is ending just now
                self._servers = fleet_rows(fleet.control.servers())
        return self._servers
