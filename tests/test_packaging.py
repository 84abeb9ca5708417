"""The house rules that no single module can keep: who imports whom, what is exported, what is shipped."""

from __future__ import annotations

import ast
import importlib
import os
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from importlib.metadata import version
from pathlib import Path

import pytest

import swarmpool

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "swarmpool": ROOT / "src" / "swarmpool",
    "fleetsim": ROOT / "simulator" / "fleetsim",
    "simkernel": ROOT / "simulator" / "simkernel",
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRA = ("click", "faker", "msgspec", "prometheus_client", "rich", "trustme", "yaml")
# Who alone may import what the extra `clients` brings. `httpx2` comes with openai.
CLIENTS = {
    "fleetsim.proofs.httpx_client": {"httpx"},
    "fleetsim.proofs.openai_client": {"httpx2", "openai"},
}
# And what other extras bring.
FURTHER = CLIENTS | {
    "fleetsim.cluster.dask": {"distributed"},
    "swarmpool.prometheus": {"prometheus_client"},
    "swarmpool.telemetry": {"opentelemetry"},
    "swarmpool.telemetry.calls": {"opentelemetry"},
    "swarmpool.telemetry.exchanges": {"opentelemetry"},
    "swarmpool.telemetry.instrumenting": {"opentelemetry"},
    "swarmpool.telemetry.meters": {"opentelemetry"},
}
OF_FLEETSIM = {name: needed for name, needed in FURTHER.items() if name.startswith("fleetsim")}

CLAIMS = [f"fleetsim.proofs.claims.{path.stem}" for path in PACKAGES["fleetsim"].glob("proofs/claims/[a-z]*.py")]
# Modules without a test module of their own, and where they are tested instead.
TESTED_ELSEWHERE = {
    "swarmpool.__main__": "swarmpool/test_cli.py",
    "swarmpool._version": "test_packaging.py",
    "swarmpool.delivery": "pairing/test_delivery.py",  # against a fleet that fails
    "swarmpool.readiness": "pairing/test_readiness.py",
    "swarmpool.route": "pairing/test_delivery.py",
    "swarmpool.hedged_stream": "pairing/test_stream_tries.py",
    "swarmpool.stream_sending": "swarmpool/test_streaming.py",
    "swarmpool.stream": "swarmpool/test_streaming.py",
    "swarmpool.sending": "swarmpool/test_pool.py",  # what the calls of a pool are made of
    "swarmpool.observing": "pairing/test_telemetry.py",  # the telling, by what is heard
    "swarmpool.telemetry.calls": "pairing/test_telemetry.py",
    "swarmpool.telemetry.exchanges": "pairing/test_telemetry.py",
    "swarmpool.telemetry.instrumenting": "pairing/test_telemetry.py",
    "swarmpool.telemetry.meters": "pairing/test_telemetry.py",
    "swarmpool.stream_tries": "pairing/test_stream_tries.py",
    "fleetsim.exchange": "fleetsim/test_wire_turn.py",  # types alone: what passes between api and wire
    "fleetsim.faults.kinds": "fleetsim/test_wire_plan.py",  # interfaces alone, and what each kind does in a plan
    "fleetsim.testing.leaks": "fleetsim/test_testing_gate.py",  # by what the gate says of each kind of leak
    **dict.fromkeys(CLAIMS, "pairing/test_claims.py"),
    "simkernel.clocks": "simkernel/test_guards.py",
    "simkernel.connection": "simkernel/test_sockets.py",  # by the calls of its sockets
    "simkernel.descriptors": "simkernel/test_sockets.py",
    "simkernel.errors": "simkernel/test_running.py",  # each by what raises it
    "simkernel.handshake": "simkernel/test_faults.py",  # by when connects succeed, and how they fail
    "simkernel.kernel": "simkernel/test_faults.py",
    "simkernel.polling": "simkernel/test_sockets.py",
    "simkernel.settings": "simkernel/test_running.py",
    "simkernel.statistics": "simkernel/test_running.py",
    "simkernel.tcp": "simkernel/test_sockets.py",  # by the calls of its sockets
    "simkernel.testing.marks": "simkernel/test_pytest_plugin.py",  # all of these by what a user's tests do
    "simkernel.testing.provided": "simkernel/test_pytest_plugin.py",
    "simkernel.testing.simulated": "simkernel/test_pytest_plugin.py",
    "simkernel.testing.stand_in": "simkernel/test_pytest_plugin.py",
    "simkernel.testing.telling": "simkernel/test_pytest_plugin.py",
    "simkernel.waiting": "simkernel/test_running.py",  # by what a deadlock says
    "simkernel.world": "simkernel/test_running.py",
}


def sources(package: str) -> list[Path]:
    return sorted(path for path in PACKAGES[package].rglob("*.py") if not path.parent.name.startswith("."))


def module_name(package: str, path: Path) -> str:
    parts = (package, *path.relative_to(PACKAGES[package]).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


def modules(package: str) -> list[str]:
    return [module_name(package, path) for path in sources(package)]


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT / "docs",
        env=os.environ | environment,
    )


@pytest.mark.parametrize(("package", "stranger"), [("swarmpool", "fleetsim"), ("fleetsim", "swarmpool")])
def test_neither_package_imports_the_other(package: str, stranger: str) -> None:
    assert len(sources(package)) > 5
    guilty = [str(path) for path in sources(package) for name in imports(path) if name.split(".")[0] == stranger]
    assert guilty == []


def test_simkernel_needs_nothing_but_python_and_its_plugin_pytest() -> None:
    own = {"simkernel", "_typeshed", *sys.stdlib_module_names}
    foreign = {(path, name) for path in sources("simkernel") for name in imports(path) if name.split(".")[0] not in own}
    assert {name for _, name in foreign} == {"pytest"}
    assert {path.parent.name for path, _ in foreign if path.stem != "pytest_plugin"} == {"testing"}


def test_the_library_needs_aiohttp_alone() -> None:
    assert [re.split(r"[<>=!]", need)[0] for need in PROJECT["project"]["dependencies"]] == ["aiohttp"]
    allowed = {"swarmpool", "aiohttp", "yarl", "multidict", *sys.stdlib_module_names}  # the last two are aiohttp's
    foreign = {
        (module_name("swarmpool", path), name.split(".")[0]) for path in sources("swarmpool") for name in imports(path)
    }
    assert {(module, name) for module, name in foreign if name not in allowed | FURTHER.get(module, set())} == set()


def test_importing_the_library_loads_hardly_more_than_aiohttp() -> None:
    """The price of the import, counted: the clock is asked in the slow test below."""
    code = (
        "import sys, aiohttp; known = set(sys.modules); import swarmpool; print(len(known), *set(sys.modules) - known)"
    )
    found = python(code)
    assert found.returncode == 0, found.stderr
    of_aiohttp, *added = found.stdout.split()
    others = {name.split(".")[0] for name in added} - {"swarmpool"}
    assert others <= {"dataclasses", "resource", "_resource"}
    assert len(added) < 0.2 * int(of_aiohttp)


@pytest.mark.slow
def test_importing_the_library_takes_less_than_1_3_times_the_import_of_aiohttp(tmp_path: Path) -> None:
    """Processor time, and the lower quartile of interleaved runs: what else the machine does hardly shows in it."""
    cached = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path)}
    python("import swarmpool", **cached)
    times: dict[str, list[float]] = {"aiohttp": [], "swarmpool": []}
    for _ in range(15):
        for name, taken in times.items():
            code = f"import time; start = time.process_time(); import {name}; print(time.process_time() - start)"
            taken.append(float(python(code, **cached).stdout))
    bare, ours = (statistics.quantiles(taken)[0] for taken in times.values())
    assert ours < 1.3 * bare, f"import swarmpool {ours * 1000:.1f} ms, import aiohttp {bare * 1000:.1f} ms"


@pytest.mark.parametrize("name", [name for package in PACKAGES for name in modules(package)])
def test_every_module_can_be_imported_and_defines_what_it_exports(name: str) -> None:
    if name.endswith("__main__"):
        return
    for needed in FURTHER.get(name, ()):
        pytest.importorskip(needed)
    module = importlib.import_module(name)
    exported = getattr(module, "__all__", [])
    assert [public for public in exported if not hasattr(module, public)] == []
    assert len(set(exported)) == len(exported)


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_package_exports_is_exported_by_the_module_that_defines_it(package: str) -> None:
    exported = set(importlib.import_module(package).__all__) - {"__version__"}
    passed_over = ("__main__", package, *FURTHER)
    inner = [importlib.import_module(name) for name in modules(package) if not name.endswith(passed_over)]
    defined = {public for module in inner for public in getattr(module, "__all__", [])}
    assert exported - defined == set()


def test_the_library_exports_its_public_names() -> None:
    expected = {
        *("AgentEndpoint", "AgentPool", "VLLMPool", "Response", "PoolStatistics", "parse_hostfile", "write_hostfile"),
        *("SwarmPoolError", "PoolClosed", "EmptyPool", "BadIndex", "QueueTimeout", "TooManyWaiting", "HostfileError"),
    }
    assert expected - set(swarmpool.__all__) == set()


def test_every_module_has_a_test_module() -> None:
    """`fleetsim/wire/heads.py` is tested by `test_heads.py` or `test_wire_heads.py` under `tests/fleetsim`."""
    missing = []
    for package in PACKAGES:
        tests = {path.stem for path in (ROOT / "tests" / package).rglob("test_*.py")}
        for path in sources(package):
            *_, folder, stem = path.with_suffix("").parts
            accepted = {f"test_{stem.strip('_')}", f"test_{folder}_{stem.strip('_')}"}
            if stem != "__init__" and not accepted & tests:
                missing.append(module_name(package, path))
    assert [test for test in TESTED_ELSEWHERE.values() if not (ROOT / "tests" / test).exists()] == []
    assert sorted(set(missing) - TESTED_ELSEWHERE.keys()) == []
    assert sorted(TESTED_ELSEWHERE.keys() - set(missing)) == [], "these have a test module by now"


def test_without_the_extra_the_command_says_what_to_install_and_nothing_else() -> None:
    block = "import sys; sys.modules.update(dict.fromkeys({!r}.split())); ".format(" ".join(EXTRA))
    said = python(block + "sys.argv = ['fleetsim', 'up', '8']; from fleetsim.__main__ import main; sys.exit(main())")
    assert (said.returncode, said.stdout) == (2, "")
    assert "pip install 'swarmpool[fleet]'" in said.stderr
    assert len(said.stderr.splitlines()) == 1


def test_the_version_is_said_in_one_place() -> None:
    assert "version" in PROJECT["project"]["dynamic"]
    assert version("swarmpool") == swarmpool.__version__
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == swarmpool.__version__


def test_tox_tests_what_the_project_promises() -> None:
    tox = ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    promised = {
        "py" + found[1].replace(".", "")
        for line in PROJECT["project"]["classifiers"]
        if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line))
    }
    environments = set(re.split(r",\s*", tox["tox"]["env_list"]))
    assert environments == promised | {"lint", "type", "wheel", "floor"}
    lowest = re.search(r"aiohttp>=([\d.]+)", PROJECT["project"]["dependencies"][0])
    assert lowest is not None
    assert tox["testenv:floor"]["deps"] == f"aiohttp=={lowest[1]}"


def test_the_extra_is_what_the_simulator_imports() -> None:
    named = {re.split(r"[<>=!]", need)[0] for need in PROJECT["project"]["optional-dependencies"]["fleet"]}
    assert {name.replace("_", "-").replace("yaml", "pyyaml") for name in EXTRA} == named
    allowed = {"fleetsim", "aiohttp", "yarl", "multidict", *EXTRA, *sys.stdlib_module_names}
    foreign = {
        (name.split(".")[0], module_name("fleetsim", path)) for path in sources("fleetsim") for name in imports(path)
    }
    plugin = {("pytest", "fleetsim.pytest_plugin"), ("pytest", "fleetsim.testing.gate")}
    further = {(needed, name) for name, all_needed in OF_FLEETSIM.items() for needed in all_needed}
    assert {pair for pair in foreign if pair[0] not in allowed} == plugin | further


def test_the_clients_of_the_extra_are_tested() -> None:
    extra = PROJECT["project"]["optional-dependencies"]["clients"]
    tested = {need.partition("#")[0].strip() for need in PROJECT["dependency-groups"]["test"] if isinstance(need, str)}
    assert {need.replace("[aiohttp]", "") for need in extra} <= tested
    assert {re.split(r"[\[<>=!]", need)[0] for need in extra} == set.union(*CLIENTS.values()) - {"httpx2"}


def test_the_extras_of_the_library_are_tested() -> None:
    tested = {need for need in PROJECT["dependency-groups"]["test"] if isinstance(need, str)}
    extras = PROJECT["project"]["optional-dependencies"]
    # The SDK brings the API that the library needs: a test of what is told needs somebody who listens.
    assert {need.replace("-api", "-sdk") for need in (*extras["otel"], *extras["prometheus"])} <= tested
    imported = {package for name, needed in FURTHER.items() if name.startswith("swarmpool.") for package in needed}
    assert imported == {"opentelemetry", "prometheus_client"}
