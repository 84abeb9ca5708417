from __future__ import annotations

import json
from pathlib import Path

from peer_results import around, cell, results, start

from loadtests.bench.peers.page import page, said
from loadtests.bench.peers.picture import picture
from loadtests.bench.peers.results import Results

DOCS = Path(__file__).resolve().parents[2] / "docs"
FIGURES = DOCS / "benchmarks.json"


def recorded() -> Results:
    return Results.read(json.loads(FIGURES.read_text(encoding="utf-8")))


def four(cpu: dict[str, float]) -> Results:
    """Two clients with two servers; `cpu` by client."""
    return results(
        *(
            cell(client, server, client_cpu=around(cpu[client], by=0.01), server_cpu=50.0)
            for server in ("fleetsim", "aiohttp")
            for client in cpu
        )
    )


def rows(text: str, first: str) -> list[list[str]]:
    found = [line for line in text.splitlines() if line.startswith(f"| {first} |")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in found]


def test_the_page_of_the_documentation_is_what_its_figures_give() -> None:
    """If it is not: python -m loadtests.bench page docs/benchmarks.json."""
    assert (DOCS / "benchmarks.md").read_text(encoding="utf-8") == page(recorded(), picture="benchmarks.svg")
    assert (DOCS / "benchmarks.svg").read_text(encoding="utf-8") == picture(recorded())


def test_the_figures_of_the_documentation_are_of_a_full_run() -> None:
    found = recorded()
    assert {"swarmpool", "aiohttp", "httpx", "openai"} <= {*found.clients()}
    assert {"fleetsim", "aiohttp", "fastapi"} <= {*found.servers()}
    assert found.sizes() == [1, 64, 1024]
    assert len(found.cells) == len(found.clients()) * len(found.servers()) * 3


def test_each_cell_in_which_ours_is_not_the_best_has_its_factor_and_who_is() -> None:
    text = page(four({"swarmpool": 150.0, "aiohttp": 100.0}), picture="p.svg")
    assert rows(text, "CPU per request, client") == [["CPU per request, client", "1", "1.50x aiohttp", "1.50x aiohttp"]]
    assert "**swarmpool** is not the best in 2 of 11 comparisons, in 2 of them by more than the noise." in text
    assert "**fleetsim** is not the best in 0 of 9 comparisons" in text


def test_a_loss_within_the_noise_stands_in_parentheses() -> None:
    text = page(four({"swarmpool": 101.0, "aiohttp": 100.0}), picture="p.svg")
    assert rows(text, "CPU per request, client")[0][2:] == ["(1.01x aiohttp)", "(1.01x aiohttp)"]
    assert "not the best in 2 of 11 comparisons, in 0 of them by more than the noise." in text


def test_where_ours_is_the_best_there_is_a_dash() -> None:
    text = page(four({"swarmpool": 90.0, "aiohttp": 100.0}), picture="p.svg")
    assert rows(text, "CPU per request, client")[0][2:] == ["-", "-"]


def test_a_loss_to_nothing_shows_both_figures() -> None:
    found = results(cell("swarmpool", "fleetsim", opened=4.0), cell("aiohttp", "fleetsim", opened=0.0))
    opened = rows(page(found, picture="p.svg"), "Connections opened per 1,000 requests")
    assert opened[0][2] == "4.00 : 0 aiohttp"


def test_the_page_says_which_machine_how_busy_and_who_is_left_out() -> None:
    found = results(cell("swarmpool", "fleetsim"), left_out=("guidellm is left out: it is not there.",))
    text = page(found, picture="p.svg")
    for part in (
        "2 CPUs (Abacus), 16 GB, Linux 6 x86_64, Python 3.11.7; 2026-01-02 03:04 UTC.",
        "the load averages were 0.1, 0.2, 0.3 before and 2.5, 1, 0.5 after",
        "servers on uvloop",
        "**Left out**: guidellm is left out: it is not there.",
        "![CPU per request, clients and servers](p.svg)",
        "which takes 123 seconds",
    ):
        assert part in text


def test_what_is_smaller_than_can_be_read_says_so() -> None:
    starts = (start("client", "swarmpool", 0.00012), start("client", "aiohttp", 0.05), start("server", "fleetsim", 0.0))
    text = page(results(cell("swarmpool", "fleetsim"), starts=starts), picture="p.svg")
    assert "| swarmpool | <0.001 (<0.001 to <0.001) |" in text
    assert "| fleetsim | 0 (0 to 0) |" in text


def test_failures_are_counted_and_the_first_is_told() -> None:
    text = page(results(cell("swarmpool", "fleetsim", 1, 1_200)), picture="p.svg")
    assert "swarmpool with fleetsim: 1,200 requests failed, the first with `it broke`." in text


def test_a_terminal_is_told_the_tables_and_both_verdicts() -> None:
    text = said(four({"swarmpool": 150.0, "aiohttp": 100.0}))
    assert len(rows(text, "swarmpool")) == 3
    assert text.endswith("**fleetsim** is not the best in 0 of 9 comparisons, in 0 of them by more than the noise.")
