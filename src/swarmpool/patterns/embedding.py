"""Texts for each agent in turn, vectors in the order of the texts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from swarmpool.responses import EmbeddingResponse

if TYPE_CHECKING:
    from swarmpool.embedding_pool import EmbeddingPool

__all__ = ["scatter_gather_embeddings"]


async def scatter_gather_embeddings(
    embed_pool: EmbeddingPool, texts: Iterable[str], **options: Any
) -> list[EmbeddingResponse]:
    """`embed_pool.embed_all(texts)`: a vector or a failure for each text. `options` are that method's."""
    return await embed_pool.embed_all(texts, **options)
