from __future__ import annotations

from peer_results import around, cell, results, start

from loadtests.bench.peers.losses import START, Comparison, comparisons
from loadtests.bench.peers.results import Cell, Results


def compared(found: Results, side: str, title: str) -> Comparison:
    (one,) = [each for each in comparisons(found) if (each.side, each.figure.title) == (side, title)]
    return one


def clients(*, ours: float, theirs: float, failures: int = 0, by: float = 0.0, figure: str = "client_cpu") -> Results:
    def made(client: str, value: float, failures: int = 0) -> Cell:
        return cell(client, "fleetsim", 1, failures, **{figure: around(value, by=by)})

    return results(made("swarmpool", ours), made("aiohttp", theirs, failures), made("httpx", 1_000_000.0))


def test_less_cpu_is_better_and_the_factor_says_how_much() -> None:
    found = compared(clients(ours=150.0, theirs=100.0), "client", "CPU per request, client")
    assert (found.lost, found.factor, found.who, found.noise) == (True, 1.5, "aiohttp", False)
    assert not compared(clients(ours=99.0, theirs=100.0), "client", "CPU per request, client").lost


def test_more_requests_per_second_are_better() -> None:
    found = results(
        cell("swarmpool", "fleetsim", requests_per_second=1_000.0),
        cell("aiohttp", "fleetsim", requests_per_second=1_250.0),
        cell("swarmpool", "aiohttp", requests_per_second=900.0),
    )
    of_client = [each for each in comparisons(found) if each.side == "client" and each.figure.higher_is_better]
    assert [(each.against, each.lost, each.factor, each.who) for each in of_client] == [
        ("fleetsim", True, 1.25, "aiohttp"),
        ("aiohttp", False, None, ""),
    ]
    of_server = [each for each in comparisons(found) if each.side == "server" and each.figure.higher_is_better]
    assert [(each.against, each.lost) for each in of_server] == [("swarmpool", False), ("aiohttp", False)]


def test_an_order_within_the_quartiles_is_noise() -> None:
    title = "CPU per request, client"
    assert compared(clients(ours=104.0, theirs=100.0, by=0.03), "client", title).noise
    assert not compared(clients(ours=110.0, theirs=100.0, by=0.03), "client", title).noise


def test_who_failed_is_not_the_best() -> None:
    found = compared(clients(ours=150.0, theirs=100.0, failures=1), "client", "CPU per request, client")
    assert (found.who, found.lost) == ("httpx", False)


def test_nothing_is_not_divided_by() -> None:
    title = "Connections opened per 1,000 requests"
    assert compared(clients(ours=2.0, theirs=0.0, figure="opened"), "client", title).factor is None
    assert compared(clients(ours=2.0, theirs=0.0, figure="opened"), "client", title).lost
    assert not compared(clients(ours=0.0, theirs=0.0, figure="opened"), "client", title).lost


def test_starts_are_compared_by_number_of_agents_and_imports_for_themselves() -> None:
    made = (start("client", "swarmpool", 0.5), start("client", "aiohttp", 0.25), start("server", "fleetsim", 1.0))
    imported = (start("client", "swarmpool", 0.1, None), start("client", "aiohttp", 0.2, None))
    found = results(cell("swarmpool", "fleetsim"), starts=(*made, *imported))
    of_client = [each for each in comparisons(found) if (each.side, each.figure) == ("client", START)]
    assert [(each.agents, each.lost, each.factor) for each in of_client] == [(None, False, 0.5), (1, True, 2.0)]
    assert compared(found, "server", "Start-up").best is None


def test_a_run_without_us_compares_nothing() -> None:
    assert comparisons(results(cell("aiohttp", "fastapi"))) == []
