"""A server's ways with websockets."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT_WEBSOCKETS", "WebSocketSettings"]


@dataclass(frozen=True, slots=True)
class WebSocketSettings:
    """Seconds and bytes; None switches off. The defaults are uvicorn's (0.54 config.py).

    - `session_deadline`: after so long the server closes; `idle_deadline`: after so long without a message of the
      client's. Both close with `deadline_code`. uvicorn knows neither; gateways in front of it do (AWS API Gateway
      closes with 1001 after 10 minutes idle or 2 hours in all).
    - `ping_interval`: from the handshake, or a pong, to the server's next ping; `ping_timeout`: from there to a close
      with 1011 for want of a pong.
    - `max_size`: of a client's message; a longer one closes with 1009.
    """

    session_deadline: float | None = None
    idle_deadline: float | None = None
    deadline_code: int = 1001
    ping_interval: float | None = 20.0
    ping_timeout: float | None = 20.0
    max_size: int = 16 * 1024 * 1024


DEFAULT_WEBSOCKETS = WebSocketSettings()
