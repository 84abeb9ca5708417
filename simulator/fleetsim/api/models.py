"""`/v1/models`: one card, made anew on every request, as vLLM 0.33 does (entrypoints/openai/models)."""

from __future__ import annotations

from fleetsim.api.served import Server, now
from fleetsim.exchange import ApiRequest, Reply, Unary

__all__ = ["list_models"]

_BODY = (
    b'{"object":"list","data":[{"id":%b,"object":"model","created":%d,"owned_by":"vllm","root":%b,"parent":null,'
    b'"max_model_len":%d,"permission":[{"id":"modelperm-%b","object":"model_permission","created":%d,'
    b'"allow_create_engine":false,"allow_sampling":true,"allow_logprobs":true,"allow_search_indices":false,'
    b'"allow_view":true,"allow_fine_tuning":false,"organization":"*","group":null,"is_blocking":false}]}]}'
)


async def list_models(server: Server, request: ApiRequest) -> Reply:  # noqa: ARG001 (every route takes a request)
    """Answer with the card of the served model; `max_model_len` is in tokens."""
    served, created = server.served, now()
    permission = server.new_id().encode()
    return Unary(200, _BODY % (served.model, created, served.model, served.max_model_len, permission, created))
