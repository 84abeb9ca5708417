from __future__ import annotations

from fleetsim.engine.steps import Load, Step


def test_a_load_counts_one_token_for_each_sequence_that_decodes() -> None:
    load = Load(100, 7, context_tokens=900, kv_usage=0.5)
    assert load.tokens == 107
    assert repr(load) == "Load(prefill_tokens=100, decode_sequences=7, context_tokens=900, kv_usage=0.500)"


def test_a_new_step_has_done_nothing() -> None:
    assert Step().load.tokens == 0
