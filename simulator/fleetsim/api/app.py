"""From a request to its route, and what is refused on the way.

The order is vLLM's: the authentication middleware before the router, so that a wrong key is 401 even on a path that is
not there; then the router's own refusals (404, 405, a slash too many); then the route. Websockets have routes of their
own: where there is none, 403, and a plain request for one of them finds nothing there.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from fleetsim.api.chat import create_chat_completion
from fleetsim.api.completions import create_completion
from fleetsim.api.echo import echo
from fleetsim.api.embeddings import create_embedding
from fleetsim.api.generate import generate
from fleetsim.api.instrumentation import health, load, version
from fleetsim.api.models import list_models
from fleetsim.api.realtime import realtime
from fleetsim.api.refusals import RefusalError, detail, halted
from fleetsim.api.served import Server
from fleetsim.api.sleeping import is_sleeping, sleep, wake_up
from fleetsim.api.tokenize import detokenize, tokenize
from fleetsim.engine import EngineHaltedError, Halt
from fleetsim.exchange import Answer, ApiRequest, Reply, Unary, WebSocket
from fleetsim.profile import Profile

__all__ = ["make_app"]

Route = Callable[[Server, ApiRequest], Awaitable[Reply]]
WebSocketRoute = Callable[[Server, ApiRequest], Awaitable[WebSocket]]

# FastAPI's GET routes do not answer HEAD.
_ROUTES: dict[str, dict[str, Route]] = {
    "/health": {"GET": health},
    "/ping": {"GET": health, "POST": health},
    "/version": {"GET": version},
    "/load": {"GET": load},
    "/v1/models": {"GET": list_models},
    "/v1/chat/completions": {"POST": create_chat_completion},
    "/v1/completions": {"POST": create_completion},
    "/v1/embeddings": {"POST": create_embedding},
    "/tokenize": {"POST": tokenize},
    "/detokenize": {"POST": detokenize},
    "/generate": {"POST": generate},
}
_DEV_ROUTES: dict[str, dict[str, Route]] = {
    "/sleep": {"POST": sleep},
    "/wake_up": {"POST": wake_up},
    "/is_sleeping": {"GET": is_sleeping},
}
_WITH_DEV_ROUTES = _ROUTES | _DEV_ROUTES
_WEBSOCKETS: dict[str, WebSocketRoute] = {
    "/v1/realtime": realtime,
    "/echo": echo,
}
_GUARDED = ("/v1", "/v2", "/inference", "/cohere")
_UNAUTHORIZED = Unary(HTTPStatus.UNAUTHORIZED, b'{"error":"Unauthorized"}')
# Starlette's router closes a websocket it has no route for before accepting it, which uvicorn turns into this.
_NO_WEBSOCKET = Unary(HTTPStatus.FORBIDDEN, b"", "text/plain; charset=utf-8")
_NOT_FOUND = detail(HTTPStatus.NOT_FOUND)


def make_app(profile: Profile, *, seed: int, index: int, in_flight: Callable[[], int]) -> Answer:
    """Return what answers the requests to server number `index` of a fleet.

    Same profile, seed and index: same words, ids and jitter. `in_flight` returns the number of requests that are not
    answered to their end yet, the one that asks included. Any number of requests may run at once; cancelling one stops
    its generation at once, and so does closing its events.
    """
    return _App(Server(profile, seed=seed, index=index, in_flight=in_flight))


class _App:
    __slots__ = ("_routes", "_server")

    def __init__(self, server: Server) -> None:
        self._server = server
        self._routes = _WITH_DEV_ROUTES if server.served.profile.server_dev_mode else _ROUTES

    async def __call__(self, request: ApiRequest) -> Reply | WebSocket:
        if self._server.served.api_key is not None and not self._authorized(request):
            return _UNAUTHORIZED
        if request.websocket:
            granting = _WEBSOCKETS.get(request.path)
            return _NO_WEBSOCKET if granting is None else await granting(self._server, request)
        routes = self._routes.get(request.path)
        if routes is None:
            return _no_route(request)
        route = routes.get(request.method)
        if route is None:
            # Where two routes share a path, the router names the first one's method only.
            return detail(HTTPStatus.METHOD_NOT_ALLOWED, headers=(("allow", next(iter(routes))),))
        try:
            return await route(self._server, request)
        except RefusalError as refusal:
            return refusal.reply()
        except EngineHaltedError as reason:
            return halted(reason).reply()

    def steer(self, *, pace: float, halt: Halt | None) -> None:
        """See `Steered.steer`."""
        self._server.steer(pace, halt)

    def _authorized(self, request: ApiRequest) -> bool:
        if request.method == "OPTIONS" or not request.path.startswith(_GUARDED):
            return True
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(
            key.encode(errors="surrogateescape"), self._server.served.api_key or b""
        )


def _no_route(request: ApiRequest) -> Unary:
    """404, or where the path has one slash too many a redirection, as from Starlette's router."""
    path = request.path.removesuffix("/")
    if path == request.path or path not in _ROUTES:
        return _NOT_FOUND
    query = f"?{request.query}" if request.query else ""
    location = f"http://{request.headers.get('host', '')}{path}{query}"
    return Unary(HTTPStatus.TEMPORARY_REDIRECT, b"", content_type=None, headers=(("location", location),))
