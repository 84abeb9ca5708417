"""What calls to a control port do. All answers are JSON; a refusal is `{"error": "..."}`.

GET    /-/servers        where each server is, its state, tags and figures
GET    /-/ledger         the fleet's figures; with ?server=3 one server's
GET    /-/faults         the rules and scripts at work, with their counts, and what is left of each script
POST   /-/faults         arm a rule: {"fault": "reset;after=200", "times": 1, "for": "10s", "where": {"server": 3}}
                         or a script: {"script": ["3x unavailable", "reset;after=200", "ok"], "where": {"server": 3}}
DELETE /-/faults         remove all of them
DELETE /-/faults/2       remove one
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from fleetsim.control.driven import Driven, DrivenFleet
from fleetsim.control.guard import Guard, refusal
from fleetsim.errors import ControlError, FaultError, RuleError
from fleetsim.exchange import Answer, ApiRequest, Reply, Unary
from fleetsim.faults.scripts import parse_rule

if TYPE_CHECKING:
    from fleetsim.fleet import Fleet

__all__ = ["answer_for", "make_control"]

_NOT_THERE = refusal(HTTPStatus.NOT_FOUND, "expected /-/servers, /-/ledger or /-/faults")


def make_control(fleet: Fleet, *, token: str | None) -> Answer:
    """Return what answers the calls to the control port of `fleet`. Any number of calls may run at once."""
    return answer_for(DrivenFleet(fleet), token=token)


def answer_for(driven: Driven, *, token: str | None) -> Answer:
    """`make_control` for a fleet whose servers run anywhere."""
    return _Control(driven, Guard(token))


class _Control:
    def __init__(self, driven: Driven, guard: Guard) -> None:
        self._driven, self._guard = driven, guard
        self._routes: dict[str, dict[str, Callable[[ApiRequest], Awaitable[Unary]]]] = {
            "/-/servers": {"GET": self._servers},
            "/-/ledger": {"GET": self._ledger},
            "/-/faults": {"GET": self._faults, "POST": self._arm, "DELETE": self._clear},
        }

    async def __call__(self, request: ApiRequest) -> Reply:
        refused = self._guard.refusal(request)
        if refused is not None:
            return refused
        methods = self._routes.get(request.path)
        if methods is None and request.path.startswith("/-/faults/"):
            methods = {"DELETE": self._remove}
        if methods is None:
            return _NOT_THERE
        handler = methods.get(request.method)
        if handler is None:
            allowed = ", ".join(methods)
            answer = refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"{request.path}: expected {allowed}, got {request.method}")
            return Unary(answer.status, answer.body, headers=(("allow", allowed),))
        try:
            return await handler(request)
        except FaultError as error:
            return refusal(HTTPStatus.BAD_REQUEST, str(error))
        except ControlError as error:
            return refusal(HTTPStatus.SERVICE_UNAVAILABLE, str(error))

    async def _servers(self, _: ApiRequest) -> Unary:
        return _json(await self._driven.servers())

    async def _ledger(self, request: ApiRequest) -> Unary:
        asked = parse_qs(request.query, keep_blank_values=True).get("server")
        if asked is None:
            return _json(await self._driven.figures())
        index, size = asked[-1], len(self._driven)
        if not (index.isascii() and index.isdigit() and int(index) < size):
            raise RuleError(f"server: expected 0 to {size - 1}, got {index!r}")
        return _json(await self._driven.figures(int(index)))

    async def _faults(self, _: ApiRequest) -> Unary:
        return _json(await self._driven.rules())

    async def _arm(self, request: ApiRequest) -> Unary:
        try:
            written = json.loads(request.body)
        except ValueError as error:
            raise RuleError(f"body: expected JSON: {error}") from error
        return _json(await self._driven.arm(parse_rule(written)), HTTPStatus.CREATED)

    async def _clear(self, _: ApiRequest) -> Unary:
        return _json({"removed": await self._driven.clear()})

    async def _remove(self, request: ApiRequest) -> Unary:
        number = request.path.removeprefix("/-/faults/")
        removed = await self._driven.remove(int(number)) if number.isascii() and number.isdigit() else None
        if removed is None:
            return refusal(HTTPStatus.NOT_FOUND, f"faults: expected the number of a rule at work, got {number!r}")
        return _json(removed)


def _json(value: object, status: HTTPStatus = HTTPStatus.OK) -> Unary:
    return Unary(status, json.dumps(value).encode())
