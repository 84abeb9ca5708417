from __future__ import annotations

import pytest

from fleetsim.api.refusals import RefusalError
from fleetsim.api.served import Server, served
from fleetsim.profile import Profile


def server(index: int = 0, seed: int = 1, profile: Profile | None = None) -> Server:
    return Server(profile or Profile(), seed=seed, index=index, in_flight=int)


def test_servers_of_one_profile_share_all_that_is_large() -> None:
    first, second = server(0), server(1)
    assert first.served is second.served
    assert server(profile=Profile(model="other")).served.corpus is first.served.corpus


def test_jitter_is_each_servers_own() -> None:
    jittery = Profile(itl=1, jitter="normal")
    assert server(0, profile=jittery).engine is not server(1, profile=jittery).engine


def test_new_ids_are_unlike_all_others_and_the_same_in_every_run() -> None:
    ids = [server.new_id() for server in (server(0), server(1), server(0, seed=2)) for _ in range(100)]
    assert len(set(ids)) == 300
    assert all(len(each) == 32 and int(each, 16) >= 0 for each in ids)
    again = server(0)
    assert [again.new_id() for _ in range(3)] == ids[:3]


def test_the_fingerprint_is_the_models() -> None:
    assert served(Profile()).fingerprint == b'"vllm-0.33.0-7b4e3495"'
    assert served(Profile(model="m")).fingerprint != served(Profile()).fingerprint


@pytest.mark.parametrize("model", [None, "", "sim"])
def test_the_served_model_may_be_left_out(model: str | None) -> None:
    served(Profile()).require(model)


def test_room_is_what_the_prompt_leaves() -> None:
    small = served(Profile(max_model_len=10))
    assert small.room(4, None) == 6
    assert small.room(4, 6) == 6
    assert small.room(10, None) == 0
    with pytest.raises(RefusalError, match="for a total of at least 11 tokens"):
        small.room(5, 6)
    with pytest.raises(RefusalError, match="max_tokens=11 cannot be greater than max_model_len=10"):
        small.room(1, 11)
