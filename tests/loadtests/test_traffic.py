from __future__ import annotations

from loadtests.traffic import Traffic


def test_the_same_seed_and_user_ask_the_same() -> None:
    one, other = Traffic(7, 3), Traffic(7, 3)
    assert one.prompts(5) == other.prompts(5)
    assert [one.prompt() for _ in range(20)] == [other.prompt() for _ in range(20)]
    assert [one.agent(range(9)) for _ in range(20)] == [other.agent(range(9)) for _ in range(20)]


def test_another_user_or_another_seed_asks_something_else() -> None:
    asked = {tuple(Traffic(seed, user).prompts(5)) for seed in (0, 1) for user in (0, 1)}
    assert len(asked) == 4


def test_a_prompt_is_a_question_of_some_length_in_words() -> None:
    assert all(" asks: " in prompt and 30 < len(prompt) < 600 for prompt in Traffic(0).prompts(200))


def test_every_agent_is_asked_sooner_or_later() -> None:
    traffic = Traffic(0)
    assert {traffic.agent(range(8)) for _ in range(200)} == set(range(8))
