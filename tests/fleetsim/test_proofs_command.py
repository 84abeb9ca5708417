from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fleetsim.proofs import client as clients
from fleetsim.proofs.claims import CLAIMS
from fleetsim.proofs.claims.faults import CATALOGUE
from fleetsim.proofs.command import chosen_claims, prove


def run(*arguments: str) -> Result:
    return CliRunner().invoke(prove, arguments)


def test_claims_that_hold_exit_with_0_and_a_summary() -> None:
    result = run("--client", "aiohttp", "--only", "one-connection")
    assert result.exit_code == 0, result.output
    assert "aiohttp: 1 of 1 claim holds in" in result.output


def test_swarmpool_is_the_client_unless_another_is_named() -> None:
    result = run("--only", "one-connection")
    assert result.exit_code == 0, result.output
    assert "swarmpool: 1 of 1 claim holds in" in result.output


def test_a_claim_that_fails_exits_with_1_and_its_reason() -> None:
    result = run("--client", "aiohttp", "--only", "concurrency")
    assert result.exit_code == 1
    assert "why: concurrency 8: 32 requests were in flight at once" in result.output


def test_clients_are_proved_one_after_the_other_and_reported_together(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    arguments = ["--only", "one-connection,exactly-n", "--seed", "4711", "--json", str(report)]
    assert run("--client", "aiohttp", "--client", "swarmpool", *arguments).exit_code == 0
    told = json.loads(report.read_text())
    assert told["seed"] == 4711
    assert [each["client"] for each in told["runs"]] == ["aiohttp", "swarmpool"]
    assert [claim["name"] for claim in told["runs"][0]["claims"]] == ["one-connection", "exactly-n"]


def test_the_list_names_every_claim_and_client_and_runs_none() -> None:
    result = run("--list")
    assert result.exit_code == 0
    *claims, clients = result.output.splitlines()
    assert [line.split()[:2] for line in claims] == [[str(n), claim.name] for n, claim in enumerate(CLAIMS, 1)]
    assert clients.startswith("clients: ")
    assert "aiohttp" in clients


def test_a_claim_may_be_named_by_its_number_in_the_list(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    assert run("--client", "aiohttp", "--only", "2,one-connection", "--json", str(report)).exit_code == 0
    claims = json.loads(report.read_text())["runs"][0]["claims"]
    assert [claim["name"] for claim in claims] == ["one-connection", "exactly-n"]


@pytest.mark.parametrize("number", ["0", str(len(CLAIMS) + 1), "-1", "01"])
def test_a_number_that_no_claim_has_is_one_line_and_2(number: str) -> None:
    result = run("--only", number)
    assert result.exit_code == 2
    assert f"no claim '{number}': expected 1 to {len(CLAIMS)}, faults, or one of one-connection, " in result.output


def test_the_claims_about_faults_have_a_name_in_common() -> None:
    chosen = [claim.name for claim in chosen_claims(["faults", "exactly-n"])]
    assert chosen[0] == "exactly-n"
    assert {name.partition("-")[0] for name in chosen[1:]} == {"faults"}
    assert chosen[1:] == [claim.name for claim in CATALOGUE]


def test_an_unknown_claim_is_one_line_and_2() -> None:
    result = run("--only", "one-conection")
    assert result.exit_code == 2
    assert (
        f"no claim 'one-conection': expected 1 to {len(CLAIMS)}, faults, or one of one-connection, exactly-n"
        in result.output
    )


def test_an_unknown_client_is_one_line_and_2() -> None:
    result = run("--client", "nobody")
    assert result.exit_code == 2
    assert "no client 'nobody': expected one of aiohttp" in result.output


def test_a_report_that_cannot_be_written_is_found_before_anything_runs(tmp_path: Path) -> None:
    result = run("--json", str(tmp_path / "no" / "such" / "folder"))
    assert result.exit_code == 2
    assert "No such file or directory" in result.output
    assert "one-connection" not in result.output


def test_help_fits_one_screen_and_has_an_example() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert len(result.output.splitlines()) <= 24
    assert "fleetsim prove --client swarmpool" in result.output


def test_several_clients_end_in_a_matrix_of_client_by_claim() -> None:
    result = run("--client", "aiohttp", "--client", "swarmpool", "--only", "one-connection,concurrency")
    assert result.output.splitlines()[-3:] == [
        "claim           aiohttp  swarmpool",
        "one-connection  holds    holds",
        "concurrency     fails    holds",
    ]


def test_all_clients_are_proved_but_those_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    built_in = {"aiohttp": clients.BUILT_IN["aiohttp"], "httpx": clients.BUILT_IN["httpx"]}
    monkeypatch.setattr(clients, "BUILT_IN", built_in)
    monkeypatch.delitem(sys.modules, "fleetsim.proofs.httpx_client", raising=False)
    monkeypatch.setitem(sys.modules, "httpx", None)
    result = run("--client", "all", "--only", "one-connection")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "left out: client 'httpx' needs httpx: pip install 'swarmpool[clients]'"
    assert lines[-2].split() == ["claim", "aiohttp", "swarmpool"]


def test_a_client_that_is_not_installed_is_one_line_and_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "fleetsim.proofs.httpx_client", raising=False)
    monkeypatch.setitem(sys.modules, "httpx", None)
    result = run("--client", "httpx")
    assert result.exit_code == 2
    assert "client 'httpx' needs httpx: pip install 'swarmpool[clients]'" in result.output
