from __future__ import annotations

import json

import pytest

from fleetsim.cli import run


def test_a_load_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "explain --preset 70b-h100-tp8 --rate 4 --prompt 512 --output 128 --requests 300"
    assert run(arguments.split()) == 0
    said = capsys.readouterr().out
    assert said.startswith("70b-h100-tp8: 70B on 8xH100, on paper\n300 requests, 4 per second, seed 0;")
    for word in ("time to first token", "inter-token latency", "running |"):
        assert word in said


def test_the_figures_are_there_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "explain --preset 8b-h100 --rate 9 --requests 50 --max-num-queued-reqs 1 --json"
    assert run(arguments.split()) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["requests"] == 50
    assert figures["refused"] > 0
    assert set(figures["ttft"]) == {"mean", "p50", "p90", "p99", "max"}


def test_fewer_tokens_per_step_are_taken_as_said(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "explain --preset 8b-h100 --rate 1 --requests 9 --max-num-batched-tokens 64"
    assert run(arguments.split()) == 0
    assert "at most 64 sequences and 64 tokens per step" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("--preset 8b-h10 --rate 1", "fleetsim: no preset '8b-h10'; did you mean 8b-h100?"),
        ("--preset 8b-h100 --rate 0", "fleetsim explain: rate: expected requests per second, more than 0, got 0.0"),
        ("--preset 8b-h100 --rate 1 --max-num-seqs 0", "fleetsim explain: max_num_seqs: expected a whole number"),
        (
            "--preset 13b-l40s --rate 1 --prompt 30000",
            "fleetsim explain: request: expected at most 1312 blocks of KV cache, needs 1883",
        ),
    ],
)
def test_bad_input_is_one_sentence(arguments: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", *arguments.split()]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(complaint)
    assert len(said.err.splitlines()) == 1
