"""Calls to a control port, from code without a loop."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from fleetsim.errors import ControlError

__all__ = ["Caller"]

PATIENCE = 10.0


class Caller:
    """The fleet whose control port is at `url`. No proxy stands between. Each call is a connection of its own.

    Raises ControlError for a URL that is none.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url
        self._host, self._port = _split(url)
        self._token = token

    def arm(self, rule: dict[str, Any]) -> dict[str, Any]:
        """Arm a rule, given as `Rule.written` writes it, and return it with its number and counts.

        Raises ControlError when the fleet refuses or cannot be reached; so do all calls.
        """
        return self._mapping("POST", "/-/faults", rule)

    def faults(self) -> list[dict[str, Any]]:
        """Return the rules at work, with their counts."""
        return self._list("faults")

    def remove(self, number: int) -> dict[str, Any]:
        """Remove a rule, and return it with its last counts."""
        return self._mapping("DELETE", f"/-/faults/{number}")

    def clear(self) -> int:
        """Remove all rules, and return how many there were."""
        return int(self._mapping("DELETE", "/-/faults")["removed"])

    def servers(self) -> list[dict[str, Any]]:
        """Return where each server is, its state, tags and figures."""
        return self._list("servers")

    def ledger(self) -> dict[str, Any]:
        """Return the fleet's figures, by the names of `Ledger`."""
        return self._mapping("GET", "/-/ledger")

    def _list(self, things: str) -> list[dict[str, Any]]:
        listed = self._call("GET", f"/-/{things}")
        if not isinstance(listed, list):
            raise ControlError(f"{self.url}: expected a list of {things}, got {listed!r}")
        return listed

    def _mapping(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        answer = self._call(method, path, body)
        if not isinstance(answer, dict):
            raise ControlError(f"{self.url}: expected a mapping, got {answer!r}")
        return answer

    def _call(self, method: str, path: str, body: object = None) -> object:
        headers = {} if self._token is None else {"Authorization": f"Bearer {self._token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection(self._host, self._port, timeout=PATIENCE)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return self._read(response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
            raise ControlError(f"{self.url}: no fleet answers there: {reason}") from error
        finally:
            connection.close()

    def _read(self, status: int, body: bytes) -> object:
        try:
            answer = json.loads(body)
        except ValueError as error:
            raise ControlError(f"{self.url}: expected a fleet's control port, got status {status}, no JSON") from error
        if status >= http.client.BAD_REQUEST:
            reason = answer.get("error") if isinstance(answer, dict) else answer
            raise ControlError(reason if isinstance(reason, str) else f"{self.url}: status {status}")
        return answer


def _split(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _not_a_url(url) from error
    if parts.scheme != "http" or not host or port is None:
        raise _not_a_url(url)
    return host, port


def _not_a_url(url: str) -> ControlError:
    return ControlError(f"control: expected http://HOST:PORT, got {url!r}")
