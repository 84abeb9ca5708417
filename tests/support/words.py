"""What a server says to a prompt that is always the same."""

from __future__ import annotations

import json

from raw_http import Peer, post

__all__ = ["words_of"]

_REQUEST = post("/v1/completions", "content-type: application/json", body=b'{"prompt": "hi", "max_tokens": 5}')


async def words_of(port: int) -> str:
    """The answer's id, which the server's number chooses, and its words."""
    async with Peer(port) as peer:
        await peer.send(_REQUEST)
        answer = json.loads((await peer.response()).partition(b"\r\n\r\n")[2])
        return f"{answer['id']}: {answer['choices'][0]['text']}"
