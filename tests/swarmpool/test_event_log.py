from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import pytest
from raw_agent import RawAgent, RawConnection, http

from swarmpool import AgentPool, Health, Retry
from swarmpool.event_log import EventLog
from swarmpool.events import PoolEventKind, PoolEvents
from swarmpool.responses import FailureKind

URL = "http://node3:8000"


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "swarmpool"]


def test_leaving_and_returning_are_told_once_each_however_often_it_is_probed(caplog: pytest.LogCaptureFixture) -> None:
    events = PoolEvents(None)
    turns = ["ejected", "probing", "ejected", "probing", "ejected", "probing", "returned", "ejected"]
    with caplog.at_level(logging.INFO, "swarmpool"):
        for turn in turns:
            events.note(PoolEventKind(turn), 3, URL, 0.0)
    ejected = ("WARNING", f"agent {URL} is ejected: it has failed too often")
    assert told(caplog) == [ejected, ("INFO", f"agent {URL} has returned"), ejected]


def test_agents_are_told_of_one_by_one() -> None:
    log = EventLog()
    assert [log.level("ejected", url) for url in ("a", "b", "a")] == [logging.WARNING, logging.WARNING, logging.DEBUG]


@pytest.mark.parametrize("kind", PoolEventKind)
def test_every_kind_of_event_has_a_sentence_and_fields(kind: PoolEventKind, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "swarmpool"):
        PoolEvents(None).note(kind, 3, URL, 0.0, failure=FailureKind.RESET, seconds=0.5)
    [record] = caplog.records
    assert URL in record.getMessage()
    fields = {name: value for name, value in vars(record).items() if name.startswith("swarmpool_")}
    assert fields == {
        "swarmpool_event": kind.value,
        "swarmpool_agent": 3,
        "swarmpool_url": URL,
        "swarmpool_failure": "reset",
        "swarmpool_seconds": 0.5,
    }


async def test_no_secret_and_no_prompt_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def refusing(connection: RawConnection) -> None:
        """A server that repeats what it was sent in its error."""
        connection.write(http(b"hunter2", status="503 x"))

    options: dict[str, Any] = {"headers": {"Authorization": "Bearer hunter2"}}
    options |= {"retry": Retry(pause=0.001), "health": Health(failures=2)}
    with caplog.at_level(logging.DEBUG, "swarmpool"):
        async with RawAgent(refusing) as agent, AgentPool([agent.endpoint], **options) as pool:
            response = await pool.post(0, "hunter2")
    assert "hunter2" in str(response.error)
    assert {level for level, _ in told(caplog)} == {"DEBUG", "WARNING"}
    assert "hunter2" not in "".join(str(vars(record)) for record in caplog.records)


def test_it_is_silent_unless_a_program_asks() -> None:
    code = "import logging, swarmpool; logging.getLogger('swarmpool').warning('heard'); logging.warning('other')"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (found.stdout, found.stderr) == ("", "WARNING:root:other\n")
