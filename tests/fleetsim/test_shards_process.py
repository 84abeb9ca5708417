from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def shard_process() -> Iterator[tuple[socket.socket, subprocess.Popen[bytes]]]:
    """A shard on its own, and our end of its socket."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(20)
        command = [sys.executable, "-W", "error", "-m", "fleetsim.shards.process"]
        with subprocess.Popen(command, stdin=theirs.fileno(), stderr=subprocess.PIPE) as process:
            theirs.close()
            try:
                yield ours, process
            finally:
                process.kill()


def call(ours: socket.socket, **message: object) -> None:
    body = json.dumps(message).encode()
    ours.sendall(struct.pack("!I", len(body)) + body)


def answer(ours: socket.socket) -> dict[str, object]:
    with ours.makefile("rb") as file:
        (length,) = struct.unpack("!I", file.read(4))
        found: dict[str, object] = json.loads(file.read(length))
        return found


def complaints(process: subprocess.Popen[bytes]) -> tuple[int, bytes]:
    _, said = process.communicate(timeout=20)
    return process.returncode, said


def test_it_ends_in_silence_when_nobody_ever_calls() -> None:
    with shard_process() as (ours, process):
        ours.close()
        assert complaints(process) == (0, b"")


@pytest.mark.parametrize("told", [True, False])
def test_it_ends_when_told_to_and_when_the_fleet_is_gone(told: bool) -> None:
    with shard_process() as (ours, process):
        call(ours, id=1, call="start", **{"with": {"size": 1, "first_index": 5, "profile": {}, "rules": []}})
        started = answer(ours)
        assert isinstance(started["result"], list)
        call(ours, id=2, call="changed", **{"with": {"since": {"opened": 0}}})
        with socket.create_connection(("127.0.0.1", started["result"][0]), timeout=20):
            assert answer(ours) == {"id": 2, "result": {"opened": 1}}
            call(ours, id=3, call="changed", **{"with": {"since": {"opened": 1}}})
            if told:
                call(ours, id=4, call="stop", **{"with": {}})
                last = answer(ours)
                assert isinstance(last["result"], dict)
                assert (last["id"], last["result"]["opened"], last["result"]["open_now"]) == (4, 1, 0)
            ours.close()
            assert complaints(process) == (0, b"")


def test_a_bug_is_a_traceback_and_the_end() -> None:
    with shard_process() as (ours, process):
        call(ours, id=1, call="start", **{"with": {"size": 1, "profile": {}, "rules": []}})
        answer(ours)
        call(ours, id=2, call="no such thing", **{"with": {}})
        code, said = complaints(process)
        assert code == 1
        assert b"KeyError: 'no such thing'" in said
