"""`Stream`: one answer as it comes, whoever reads it from the wire."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Generator
from types import TracebackType
from typing import Any, Self

from swarmpool.responses import Response, StreamChunk

__all__ = ["Stream"]


class Stream(AsyncIterator[StreamChunk], ABC):
    """One answer, piece by piece.

    `async for chunk in stream` yields text as it comes and, last, a chunk with the `Response`; `await stream` reads to
    the end and returns that `Response`. The request is sent by the first of these, which therefore raises what an
    admission raises. For one task at a time, others get a RuntimeError; cancelling a read aborts the stream.
    """

    @property
    @abstractmethod
    def response(self) -> Response | None:
        """The result, once there is one."""

    @property
    @abstractmethod
    def text(self) -> str:
        """What has come so far."""

    @abstractmethod
    async def __anext__(self) -> StreamChunk:
        """The next chunk; StopAsyncIteration after the one with the `response`."""

    @abstractmethod
    async def aclose(self) -> None:
        """Leave the stream. One that has not ended is aborted, and its `response` is of kind `abandoned`.

        Raises RuntimeError, and changes nothing, while another task reads: cancel that task instead.
        """

    def __aiter__(self) -> Self:
        return self

    def __await__(self) -> Generator[Any, None, Response]:
        return self._to_the_end().__await__()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _to_the_end(self) -> Response:
        async for chunk in self:
            if chunk.response is not None:
                return chunk.response
        if self.response is None:
            raise RuntimeError("this stream has been left already and has no response")
        return self.response
