from __future__ import annotations

import json
import re

from asking import app, get

from fleetsim.profile import Profile


async def test_the_card_is_vllms_to_the_byte() -> None:
    body = (await get("/v1/models", app(Profile(model="m", max_model_len=99)))).body
    body = re.sub(rb'"created":\d+', b'"created":T', re.sub(rb"modelperm-[0-9a-f]{32}", b"modelperm-P", body))
    assert body == (
        b'{"object":"list","data":[{"id":"m","object":"model","created":T,"owned_by":"vllm","root":"m","parent":null,'
        b'"max_model_len":99,"permission":[{"id":"modelperm-P","object":"model_permission","created":T,'
        b'"allow_create_engine":false,"allow_sampling":true,"allow_logprobs":true,"allow_search_indices":false,'
        b'"allow_view":true,"allow_fine_tuning":false,"organization":"*","group":null,"is_blocking":false}]}]}'
    )


async def test_the_permission_is_made_anew_for_every_request() -> None:
    answer = app()
    ids = {json.loads((await get("/v1/models", answer)).body)["data"][0]["permission"][0]["id"] for _ in range(3)}
    assert len(ids) == 3
