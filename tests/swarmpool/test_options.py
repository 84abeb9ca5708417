from __future__ import annotations

import math
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmpool import AgentPool, VLLMPool
from swarmpool.options import PoolOptions, VLLMOptions, count, count_or_none, seconds, seconds_or_none, text

VARIABLES = ["MAX_TOKENS", "MAX_TOKENS_AGGREGATION", "MODEL_MAX_CONTEXT", "TIMEOUT_PER_SEQUENCE"]


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        for prefix in ("SWARMPOOL_", "AURORA_SWARM_"):
            monkeypatch.delenv(prefix + name, raising=False)


def pool_options(**changes: Any) -> PoolOptions:
    values: dict[str, Any] = {
        "concurrency": 8,
        "connector_limit": 16,
        "timeout": 120.0,
        "concurrency_per_agent": None,
        "queue_timeout": None,
        "max_waiting": None,
        "keepalive_timeout": 4.0,
        "connect_timeout": 10.0,
        "dns_ttl": None,
        "headers": {},
        "ssl": True,
    }
    return PoolOptions(**{**values, **changes})


def vllm_options(**changes: Any) -> VLLMOptions:
    values: dict[str, Any] = {
        "model": None,
        "max_tokens": None,
        "max_tokens_aggregation": None,
        "model_max_context": None,
        "buffer": 512,
        "use_batch": True,
        "batch_concurrency": 256,
        "timeout_per_sequence": None,
        "batch_timeout_cap": None,
        "sampling": {},
    }
    return VLLMOptions.resolve(**{**values, **changes})


def complaint(make: Callable[[], object]) -> str:
    """The type and the words of the error that `make` raises."""
    with pytest.raises((TypeError, ValueError)) as caught:
        make()
    return f"{type(caught.value).__name__}: {caught.value}"


# ------------------------------------------------------------------------------------------------ single arguments


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "ValueError: limit must be at least 1, not 0"),
        (-3, "ValueError: limit must be at least 1, not -3"),
        (1.0, "TypeError: limit must be a whole number, not 1.0"),
        ("8", "TypeError: limit must be a whole number, not '8'"),
        (True, "TypeError: limit must be a whole number, not True"),
        (None, "TypeError: limit must be a whole number, not None"),
    ],
)
def test_a_count_that_is_none_is_refused_by_name(value: object, message: str) -> None:
    assert complaint(lambda: count("limit", value)) == message


def test_a_count_may_be_off_or_zero_where_that_means_something() -> None:
    assert (count("n", 5), count("n", 0, at_least=0), count_or_none("n", None), count_or_none("n", 2)) == (
        5,
        0,
        None,
        2,
    )
    assert complaint(lambda: count_or_none("n", 0)) == "ValueError: n must be at least 1, not 0"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "ValueError: timeout must be a number of seconds above 0, not 0"),
        (-0.5, "ValueError: timeout must be a number of seconds above 0, not -0.5"),
        (math.inf, "ValueError: timeout must be a number of seconds above 0, not inf"),
        (math.nan, "ValueError: timeout must be a number of seconds above 0, not nan"),
        ("5s", "TypeError: timeout must be a number of seconds, not '5s'"),
        (False, "TypeError: timeout must be a number of seconds, not False"),
        (None, "TypeError: timeout must be a number of seconds, not None"),
    ],
)
def test_seconds_that_are_none_are_refused_by_name(value: object, message: str) -> None:
    assert complaint(lambda: seconds("timeout", value)) == message


def test_a_number_of_seconds_too_large_for_a_clock_is_refused_by_name() -> None:
    message = complaint(lambda: seconds("timeout", 10**400))
    assert message == "ValueError: timeout must be a number of seconds above 0, not inf"


def test_seconds_may_be_off_or_zero_where_that_means_something() -> None:
    assert (seconds("t", 5), seconds("t", 0, zero=True), seconds_or_none("t", None)) == (5.0, 0.0, None)
    assert (
        complaint(lambda: seconds("drain", -1, zero=True))
        == "ValueError: drain must be a number of seconds of at least 0, not -1"
    )


@given(st.integers() | st.floats() | st.none() | st.text() | st.booleans() | st.lists(st.integers()))
def test_whatever_is_given_is_taken_or_refused_by_name(value: object) -> None:
    checks: list[Callable[[str, object], object]] = [count, count_or_none, seconds, seconds_or_none, text]
    for check in checks:
        try:
            taken = check("argument", value)
        except (TypeError, ValueError) as error:
            message = str(error)
        else:
            assert taken == value
            continue
        assert message.startswith("argument must be ")


def test_text_is_refused_without_being_shown() -> None:
    assert text("api_key", "x") == "x"
    assert complaint(lambda: text("api_key", b"sk-secret")) == "TypeError: api_key must be text, not bytes"


# ------------------------------------------------------------------------------------------------ the pool's


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"concurrency": 0}, "ValueError: concurrency must be at least 1, not 0"),
        ({"connector_limit": None}, "TypeError: connector_limit must be a whole number, not None"),
        ({"concurrency_per_agent": 0}, "ValueError: concurrency_per_agent must be at least 1, not 0"),
        ({"max_waiting": -1}, "ValueError: max_waiting must be at least 0, not -1"),
        ({"timeout": 0}, "ValueError: timeout must be a number of seconds above 0, not 0"),
        ({"queue_timeout": "1"}, "TypeError: queue_timeout must be a number of seconds, not '1'"),
        ({"keepalive_timeout": -1}, "ValueError: keepalive_timeout must be a number of seconds above 0, not -1"),
        ({"connect_timeout": 0.0}, "ValueError: connect_timeout must be a number of seconds above 0, not 0.0"),
        ({"dns_ttl": True}, "TypeError: dns_ttl must be a number of seconds, not True"),
        (
            {"ssl": "no"},
            "TypeError: ssl must be an ssl.SSLContext, an aiohttp.Fingerprint, True, False or None, not str",
        ),
        ({"headers": ["x"]}, "TypeError: headers must be a mapping of names to values, not list"),
        ({"headers": {"a b": "x"}}, "ValueError: headers has a name that HTTP does not allow: 'a b'"),
        ({"headers": {7: "x"}}, "ValueError: headers has a name that HTTP does not allow: 7"),
        ({"headers": {"": "x"}}, "ValueError: headers has a name that HTTP does not allow: ''"),
    ],
)
def test_a_bad_pool_option_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    assert complaint(lambda: pool_options(**changes)) == message


@pytest.mark.parametrize("value", ["sk-secret\r\nX: y", "sk-secret\n", "sk-secret\0", "sk-\ud800", b"sk-secret", 7])
def test_a_bad_header_is_refused_without_showing_its_value(value: object) -> None:
    message = complaint(lambda: pool_options(headers={"Authorization": value}))
    assert message == "ValueError: headers['Authorization'] must be text on one line"


@pytest.mark.parametrize(
    "name", ["timeout", "concurrency_per_agent", "queue_timeout", "max_waiting", "keepalive_timeout", "connect_timeout"]
)
def test_none_turns_a_limit_off(name: str) -> None:
    assert getattr(pool_options(**{name: None}), name) is None


def test_requests_in_flight_are_bounded_by_the_smaller_of_the_two_limits() -> None:
    assert pool_options(concurrency=3, connector_limit=5).limit == 3
    assert pool_options(concurrency=5, connector_limit=3).limit == 3


def test_no_secret_shows_in_the_repr() -> None:
    context = ssl.create_default_context()
    shown = repr(pool_options(headers={"Authorization": "Bearer sk-secret"}, ssl=context))
    assert "secret" not in shown
    assert "Authorization" not in shown
    assert "SSLContext" not in shown
    assert "concurrency=8" in shown


# ------------------------------------------------------------------------------------------------ vLLM's


def test_the_defaults_are_those_of_the_documentation() -> None:
    options = vllm_options()
    assert (options.max_tokens, options.max_tokens_aggregation) == (512, 1024)
    assert (options.model_max_context, options.timeout_per_sequence) == (None, 60.0)


@pytest.mark.parametrize("prefix", ["SWARMPOOL_", "AURORA_SWARM_"])
def test_the_environment_gives_defaults_under_either_prefix(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in zip(VARIABLES, ["7", "8", "9", "2.5"], strict=True):
        monkeypatch.setenv(prefix + name, value)
    options = vllm_options()
    assert (options.max_tokens, options.max_tokens_aggregation) == (7, 8)
    assert (options.model_max_context, options.timeout_per_sequence) == (9, 2.5)


def test_an_explicit_argument_wins_over_the_environment_and_zero_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv("SWARMPOOL_" + name, "99")
    options = vllm_options(max_tokens=0, max_tokens_aggregation=0, model_max_context=1, timeout_per_sequence=0.5)
    assert (options.max_tokens, options.max_tokens_aggregation) == (0, 0)
    assert (options.model_max_context, options.timeout_per_sequence) == (1, 0.5)


def test_zero_in_the_environment_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARMPOOL_MAX_TOKENS", "0")
    assert (vllm_options().max_tokens, vllm_options().max_tokens_aggregation) == (0, 0)


def test_the_aggregation_default_is_twice_the_max_tokens_wherever_they_come_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert vllm_options(max_tokens=10).max_tokens_aggregation == 20
    monkeypatch.setenv("AURORA_SWARM_MAX_TOKENS", "30")
    assert vllm_options().max_tokens_aggregation == 60


def test_our_own_prefix_wins_and_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AURORA_SWARM_MAX_TOKENS", "1")
    monkeypatch.setenv("SWARMPOOL_MAX_TOKENS", "2")
    assert vllm_options().max_tokens == 2
    monkeypatch.setenv("SWARMPOOL_MAX_TOKENS", " ")
    assert vllm_options().max_tokens == 1


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("SWARMPOOL_MAX_TOKENS", "many", "ValueError: {} must be a number, not 'many'"),
        ("AURORA_SWARM_MAX_TOKENS", "12.5", "TypeError: {} must be a whole number, not 12.5"),
        ("SWARMPOOL_MAX_TOKENS_AGGREGATION", "-1", "ValueError: {} must be at least 0, not -1"),
        ("SWARMPOOL_MODEL_MAX_CONTEXT", "0", "ValueError: {} must be at least 1, not 0"),
        ("SWARMPOOL_TIMEOUT_PER_SEQUENCE", "0", "ValueError: {} must be a number of seconds above 0, not 0"),
        ("AURORA_SWARM_TIMEOUT_PER_SEQUENCE", "60s", "ValueError: {} must be a number, not '60s'"),
        ("SWARMPOOL_TIMEOUT_PER_SEQUENCE", "nan", "ValueError: {} must be a number of seconds above 0, not nan"),
    ],
)
def test_nonsense_in_the_environment_names_the_variable(
    variable: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    assert complaint(vllm_options) == message.format(f"the environment variable {variable}")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": 7}, "TypeError: model must be text, not int"),
        ({"model": ""}, "ValueError: model must be a name or None, not an empty text"),
        ({"max_tokens": -1}, "ValueError: max_tokens must be at least 0, not -1"),
        ({"max_tokens": "5"}, "TypeError: max_tokens must be a whole number, not '5'"),
        ({"max_tokens_aggregation": 1.5}, "TypeError: max_tokens_aggregation must be a whole number, not 1.5"),
        ({"model_max_context": 0}, "ValueError: model_max_context must be at least 1, not 0"),
        ({"buffer": -1}, "ValueError: buffer must be at least 0, not -1"),
        ({"use_batch": 1}, "TypeError: use_batch must be True or False, not 1"),
        ({"batch_concurrency": 0}, "ValueError: batch_concurrency must be at least 1, not 0"),
        ({"timeout_per_sequence": 0}, "ValueError: timeout_per_sequence must be a number of seconds above 0, not 0"),
        ({"batch_timeout_cap": -1}, "ValueError: batch_timeout_cap must be a number of seconds above 0, not -1"),
        ({"sampling": ["x"]}, "TypeError: sampling must be a mapping of parameters, not list"),
    ],
)
def test_a_bad_vllm_option_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    assert complaint(lambda: vllm_options(**changes)) == message


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "Expect"])
def test_headers_that_frame_a_body_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"headers must not have {name}"):
        AgentPool([], headers={name: "1"})


def test_a_key_and_an_authorization_header_are_refused_together() -> None:
    with pytest.raises(ValueError, match="must not both be given"):
        VLLMPool([], headers={"authorization": "mine"}, api_key="key")
