from __future__ import annotations

import os
import subprocess
import sys

import pytest

from loadtests.bench.processes import Meter, Shares, descendants, descriptors, resident_bytes

WAITING = "import sys; print('ready', flush=True); sys.stdin.read()"


def test_processes_are_found_with_those_that_they_have_started() -> None:
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {WAITING!r}])"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", parent], stdin=pipe, stdout=pipe) as child:
        assert child.stdout is not None
        child.stdout.readline()
        (grandchild,) = descendants(child.pid)
        assert {child.pid, grandchild} <= set(descendants(os.getpid()))
        assert descendants(grandchild) == []


def test_a_descriptor_more_is_counted() -> None:
    before = descriptors(os.getpid())
    with open(os.devnull, "rb"):
        assert descriptors(os.getpid()) == before + 1
    assert descriptors(os.getpid()) == before


def test_memory_that_is_written_to_is_resident() -> None:
    before = resident_bytes(os.getpid())
    block = bytearray(b"x" * 64_000_000)
    assert resident_bytes(os.getpid()) - before > len(block) // 2


def test_what_is_used_is_told_apart() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", WAITING], stdin=pipe, stdout=pipe) as idle:
        assert idle.stdout is not None
        idle.stdout.readline()
        meter = Meter(os.getpid(), [idle.pid])
        while (shares := meter.shares()).client < 0.1:
            sum(range(100_000))
        assert sum(shares.servers) < shares.client
        assert shares.seconds > 0


@pytest.mark.parametrize(
    ("client", "servers", "others", "limit"),
    [
        (9.5, (4.0,), 0.0, "the client"),
        (4.0, (9.5, 1.0), 0.0, "the fleet"),
        (7.0, (3.0, 3.0), 6.0, "the machine: all of its 2 cores were busy, 0.60 of them"),
        (4.0, (3.0,), 1.0, "neither"),
    ],
)
def test_the_limit_is_what_was_used_up(client: float, servers: tuple[float, ...], others: float, limit: str) -> None:
    assert Shares(10.0, client, servers, others, 2).limit.startswith(limit)
