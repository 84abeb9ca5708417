"""An endpoint's place in a tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yarl import URL

if TYPE_CHECKING:
    from swarmpool.endpoints import AgentEndpoint

__all__ = ["Agent"]


class Agent:
    """One endpoint of a tree, as every view of it shares it.

    `tree_index` is its place in the root. `key` is the same for endpoints that are the same server, so that a cap per
    agent holds however often a server is listed. URLs are parsed once: that costs more than the rest of a request's
    bookkeeping.
    """

    __slots__ = ("_urls", "endpoint", "key", "load", "sent", "tree_index")

    def __init__(self, endpoint: AgentEndpoint, tree_index: int) -> None:
        self.endpoint = endpoint
        self.tree_index = tree_index
        self.key = endpoint.url
        self.load = 0
        """Requests in flight to it and waiting for it."""
        self.sent = 0
        """Requests that have got a slot for it."""
        self._urls: dict[str, URL] | None = None

    def url(self, path: str) -> URL:
        """The absolute URL of `path`, which begins with a slash."""
        if self._urls is None:
            self._urls = {}
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = URL(self.key + path)
        return url

    def __str__(self) -> str:
        return self.key
