"""The ways to use the fixture `fleet`, each as a user would write it, with the pool as the client."""

from __future__ import annotations

import asyncio
import contextlib
import urllib.request
from collections.abc import AsyncIterator

import pytest

from fleetsim import Fleet, Profile
from fleetsim.faults.catalogue import Stage, fault_types
from swarmpool import VLLMPool

OF_THE_BODY = [kind.name for kind in fault_types() if kind.stage is Stage.BODY]


@pytest.fixture
async def pool(fleet: Fleet) -> AsyncIterator[VLLMPool]:
    """Opened on the test's fleet, and closed before the fleet is renewed."""
    async with VLLMPool(
        fleet.endpoints, model="sim", max_tokens=4, model_max_context=4096, concurrency_per_agent=2
    ) as pool:
        yield pool
        await pool.close()
        fleet.assert_all_closed(within="5s")


async def test_nothing_to_configure(fleet: Fleet) -> None:
    async with VLLMPool(fleet.endpoints, model="sim", max_tokens=4, model_max_context=4096) as pool:
        for number in range(40):
            assert (await pool.post(number % 4, "hi")).success
    assert fleet.ledger.opened <= len(fleet)
    fleet.assert_reused(min_ratio=0.9)
    fleet.assert_opened(at_most=4)
    fleet.assert_all_closed(within="5s")


@pytest.mark.fleet(size=64, ttft="8ms", jitter="normal", spread=0.25, itl="1ms", seed=7)
async def test_a_marker_sets_size_and_profile(fleet: Fleet, pool: VLLMPool) -> None:
    answers = await pool.send_all(["x"] * 640)
    assert all(answer.success for answer in answers)
    assert (len(fleet), fleet.seed) == (64, 7)
    fleet.assert_balanced(within=0.5)


async def test_a_fault_on_one_server_as_a_context_manager(fleet: Fleet, pool: VLLMPool) -> None:
    with fleet[2].fault("reset", after_bytes=200, times=1) as rule:
        broken = await pool.post(2, "x")
        assert not broken.success
        assert (await pool.post(2, "x")).success
    assert rule.fired == 1
    assert fleet[2].ledger.request_records()[0].outcome == "cut"
    assert fleet[2].ledger.connection_records()[0].ended_how == "rst"


async def test_a_script_of_answers_that_must_be_consumed(fleet: Fleet, pool: VLLMPool) -> None:
    script = fleet[0].script("ok", "unavailable", "before_head", "ok")
    answers = [await pool.post(0, "x") for _ in range(3)]
    with pytest.raises(AssertionError, match="1 of 4 steps were not taken: ok"):
        script.assert_consumed()
    answers.append(await pool.post(0, "x"))
    script.assert_consumed()
    assert [answer.success for answer in answers] == [True, False, False, True]
    await fleet.ledger.wait_for(in_flight=0)  # the fleet's thread may write the last line after we have its answer
    assert [record.status for record in fleet[0].ledger.request_records()] == [200, 503, None, 200]


async def test_hold_and_release_make_concurrency_without_sleeping(fleet: Fleet, pool: VLLMPool) -> None:
    with fleet.hold() as gate:
        tasks = [asyncio.create_task(pool.post(number % 4, "x")) for number in range(50)]
        await gate.wait_for(in_flight=8)  # the pool's limit
        assert fleet.ledger.in_flight == 8
    assert all(answer.success for answer in await asyncio.gather(*tasks))
    assert fleet.ledger.peak_in_flight == 8


def test_synchronous_code_needs_no_loop(fleet: Fleet) -> None:
    with urllib.request.urlopen(f"{fleet[0].base_url}/models") as response:
        assert b'"id":"sim"' in response.read()
    fleet.assert_all_closed(within="5s")


def test_somebody_elses_client_finds_its_environment_prepared(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    openai = pytest.importorskip("openai")
    monkeypatch.setenv("OPENAI_BASE_URL", fleet[0].base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with openai.OpenAI() as client:
        assert client.models.list().data[0].id == "sim"


@pytest.mark.parametrize("kind", OF_THE_BODY)
async def test_one_regression_over_every_fault_of_the_body(fleet: Fleet, pool: VLLMPool, kind: str) -> None:
    with fleet.fault(kind, rate=0.3, seed=1), contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.5):  # some never end: those are cancelled
            await pool.send_all(["x"] * 20)
    assert all(answer.success for answer in await pool.send_all(["x"] * 8))
    moment = pool.statistics()
    assert (moment.admission.in_flight, moment.admission.waiting, moment.connections.acquired) == (0, 0, 0)


def test_the_same_object_outside_of_pytest() -> None:
    with Fleet(size=8, profile=Profile(model="llama")) as fleet:
        assert len(fleet.base_urls) == 8
        fleet.assert_opened(at_most=0)
