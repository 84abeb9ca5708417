from __future__ import annotations

import pytest

from fleetsim.engine.limits import EngineLimits


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"max_num_seqs": 0}, "max_num_seqs: expected a whole number of at least 1, got 0"),
        ({"num_blocks": 1.5}, "num_blocks: expected a whole number of at least 1, got 1.5"),
        ({"max_num_queued_reqs": 0}, "max_num_queued_reqs: expected a whole number of at least 1, or None, got 0"),
        ({"policy": "lifo"}, "policy: expected fcfs or priority, got 'lifo'"),
        (
            {"max_num_batched_tokens": 8, "max_num_seqs": 9},
            "max_num_seqs: expected at most max_num_batched_tokens, 8, got 9",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name_and_value(settings: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError) as raised:
        EngineLimits(**settings)  # type: ignore[arg-type]  # what it refuses is the point
    assert str(raised.value) == complaint


def test_the_last_block_may_be_filled_in_part() -> None:
    limits = EngineLimits(num_blocks=3)
    assert (limits.kv_tokens, limits.blocks_for(16), limits.blocks_for(17)) == (48, 1, 2)
