from __future__ import annotations

from pathlib import Path

import pytest

from fleetsim.profile import Profile, ProfileError
from fleetsim.wire.websocket_settings import WebSocketSettings


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "fleet.yaml"


def test_the_defaults_are_instant_and_keep_connections_as_long_as_vllm() -> None:
    profile = Profile()
    assert (profile.model, profile.ttft, profile.itl) == ("sim", 0, 0)
    assert (profile.keepalive_timeout, profile.backlog) == (5.0, 2048)


def test_a_file_gives_durations_with_units(written: Path) -> None:
    written.write_text("model: llama\nttft: 80ms\nitl: 0.01\nkeepalive_timeout: null\njitter: lognormal\n")
    profile = Profile.load(written)
    assert (profile.model, profile.ttft, profile.itl) == ("llama", 0.08, 0.01)
    assert (profile.keepalive_timeout, profile.jitter) == (None, "lognormal")


def test_a_file_gives_a_servers_ways_with_websockets(written: Path) -> None:
    written.write_text("ws_session_deadline: 2m\nws_ping_timeout: null\nws_deadline_code: 4000\nws_max_size: 1024\n")
    assert Profile.load(written).websockets == WebSocketSettings(
        session_deadline=120.0, ping_timeout=None, deadline_code=4000, max_size=1024
    )


def test_a_file_lies_over_its_base(written: Path) -> None:
    written.write_text("itl: 5ms\n")
    profile = Profile.load(written, base=Profile(model="llama"))
    assert (profile.model, profile.itl) == ("llama", 0.005)


@pytest.mark.parametrize("text", ["", "# nothing yet\n"], ids=["empty", "only a comment"])
def test_a_file_without_keys_is_the_base(written: Path, text: str) -> None:
    written.write_text(text)
    assert Profile.load(written) == Profile()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("model: a\nttft: 80parsecs\n", ":2: ttft: expected a duration such as 80ms, 1.5s, 2m or 0, got '80parsecs'"),
        ("\n\nittl: 5ms\n", ":3: ittl: unknown key; did you mean itl?"),
        ("colour: red\n", ":1: colour: unknown key; expected one of model, max_model_len, ttft"),
        ("max_model_len: 0\n", ":1: max_model_len: expected a whole number of at least 1, got 0"),
        ("backlog: true\n", ":1: backlog: expected a whole number of at least 1, got True"),
        ("jitter: wild\n", ":1: jitter: expected none, normal or lognormal, got 'wild'"),
        ("jitter: [1]\n", ":1: jitter: expected none, normal or lognormal, got [1]"),
        ("spread: -1\n", ":1: spread: expected a number of at least 0"),
        ("model: ''\n", ":1: model: expected a name, got ''"),
        ("seed: x\n", ":1: seed: expected a whole number, got 'x'"),
        ("server_load_tracking: 1\n", ":1: server_load_tracking: expected true or false, got 1"),
        (
            "ws_idle_deadline: 0\n",
            ":1: ws_idle_deadline: expected seconds, as a number above 0, or null for never, got 0",
        ),
        (
            "ws_deadline_code: 1005\n",
            ":1: ws_deadline_code: expected a close code such as 1001, or one from 3000 to 4999",
        ),
        ("ws_max_size: 1MB\n", ":1: ws_max_size: expected a whole number of bytes of at least 1, got '1MB'"),
        ("ending: 3\n", ":1: ending: expected a name, or null, got 3"),
        ("itl: 1ms\nttft: 0\nitl: 2ms\n", ":3: itl: given twice; expected one value (the first is on line 1)"),
        ("- a\n- b\n", ":1: expected `key: value` lines, got a sequence"),
        ("just words\n", ":1: expected `key: value` lines, got a scalar"),
        ("a: b: c\n", ":1: no valid YAML: mapping values are not allowed here"),
        ("itl: !ruby 1\n", ":1: itl: expected a plain value, got !ruby"),
        ("itl: \x07\n", ": no valid YAML: unacceptable character"),
    ],
)
def test_a_bad_file_is_refused_with_place_key_value_and_expectation(written: Path, text: str, complaint: str) -> None:
    written.write_text(text)
    with pytest.raises(ProfileError) as caught:
        Profile.load(written)
    assert f"{written}{complaint}" in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"none\.yaml: cannot be read: No such file"):
        Profile.load(tmp_path / "none.yaml")


def test_a_file_that_is_not_text_is_refused(written: Path) -> None:
    written.write_bytes(b"model: \xff\n")
    with pytest.raises(ProfileError, match="expected UTF-8 text, got byte 0xff"):
        Profile.load(written)


def test_a_mapping_is_refused_without_a_place() -> None:
    with pytest.raises(ProfileError, match=r"^ttft: expected a duration such as 80ms.*, got '8'$"):
        Profile.parse({"ttft": "8"})


def test_a_constructor_takes_seconds_only() -> None:
    with pytest.raises(ProfileError, match=r"ttft: expected seconds.*got '80ms'"):
        Profile(ttft="80ms")  # type: ignore[arg-type]  # the mistake under test


def test_no_secret_is_shown() -> None:
    profile = Profile(api_key="s3cret", itl=0.5)
    assert repr(profile) == "Profile(itl=0.5, api_key=<hidden>)"
    assert dict(profile.__rich_repr__()) == {"itl": 0.5, "api_key": "<hidden>"}
    with pytest.raises(ProfileError) as caught:
        Profile.parse({"api_key": ["s3cret"]})
    assert "s3cret" not in str(caught.value)


def test_a_file_lists_faults_as_text_or_with_words(written: Path) -> None:
    written.write_text(
        "faults:\n- reset;after=200\n- fault: before_head\n  rate: 0.1\n  for: 10s\n  where: {route: /v1/*}\n"
    )
    assert [rule.written() for rule in Profile.load(written).faults] == [
        {"fault": "reset;after=200"},
        {"fault": "before_head", "rate": 0.1, "for": 10.0, "where": {"route": "/v1/*"}},
    ]


def test_a_file_lists_scripts_among_the_faults(written: Path) -> None:
    written.write_text(
        "faults:\n- script: [3x unavailable, reset;after=200, ok]\n  where: {server: 3}\n- script: 2x reset, ok\n"
    )
    profile = Profile.load(written)
    assert repr(profile) == (
        "Profile(faults=(ScriptRule(script=['3x unavailable', 'reset;after=200', 'ok'], where={'server': 3}), "
        "ScriptRule(script=['2x reset', 'ok'])))"
    )
    assert Profile.parse({"faults": list(profile.faults)}) == profile


def test_faults_in_python_are_the_same_as_in_a_file(written: Path) -> None:
    written.write_text("faults: [reset, {fault: before_head, times: 2}]\n")
    given = ["reset", {"fault": "before_head", "times": 2}]
    profile = Profile.parse({"faults": given})
    assert profile == Profile.load(written)
    assert repr(profile) == "Profile(faults=(Rule(fault='reset'), Rule(fault='before_head', times=2)))"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("faults: reset\n", ":1: faults: expected a list of faults, got 'reset'"),
        ("faults:\n- script: [ok, sulk]\n", ":2: faults[0]: unknown fault 'sulk'; expected one of "),
        ("model: m\nfaults:\n- reset\n- sulk\n", ":4: faults[1]: unknown fault 'sulk'; expected one of "),
        ("faults:\n- fault: reset\n  rate: 2\n", ":2: faults[0]: rate: expected a number from 0 to 1, got 2"),
        ("faults:\n- reset\n\n- {fault: reset, often: 1}\n", ":4: faults[1]: often: unknown word; expected one of "),
        ("faults: [{fault: reset, where: {rack: 1}}]\n", ":1: faults[0]: where: rack: unknown word; expected one of "),
    ],
)
def test_a_bad_fault_is_refused_with_the_line_it_is_on(written: Path, text: str, complaint: str) -> None:
    written.write_text(text)
    with pytest.raises(ProfileError) as refused:
        Profile.load(written)
    assert str(refused.value).startswith(f"{written}{complaint}")
