"""What goes wrong on a simulated network goes wrong as on Linux, and faults add up."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import pytest
from sim_echo import PORT, Line, elapsed, serving

import simkernel
from simkernel import Net


def run(main: simkernel.Main[Any], **settings: Any) -> Any:
    """The value of a run without jitter, which is the same a second time."""
    return simkernel.verify(main, **{"latency": 0.01, "jitter": 0.0, "name_delay": 0.0} | settings).value


async def fails(work: Any) -> int | None:
    """The errno of what it raises."""
    with pytest.raises(OSError) as caught:
        await work
    return caught.value.errno


def test_a_partition_holds_everything_back_until_it_heals() -> None:
    async def main(net: Net) -> tuple[bytes, float]:
        async with serving(net, "a"):
            line = await Line.to("a")
            net.partition("a", lasting=30)
            answer = await line.ask()
            line.hang_up()
            return answer, elapsed(net)

    answer, seconds = run(main)
    assert answer == b"hello"
    assert 30 < seconds < 32


def test_two_partitions_are_over_when_both_are() -> None:
    async def main(net: Net) -> float:
        async with serving(net, "a"):
            line = await Line.to("a")
            net.partition("a", lasting=5)
            net.partition(lasting=10)
            await line.ask()
            line.hang_up()
            return elapsed(net)

    assert 10 < run(main) < 12


def test_a_partition_strikes_only_its_target() -> None:
    async def main(net: Net) -> bool:
        async with serving(net, "a", "b"):
            net.partition(("a", PORT))
            line = await Line.to("b")
            await line.ask()
            line.hang_up()
            return elapsed(net) < 1

    assert run(main)


def test_heal_ends_what_is_in_force_on_its_target() -> None:
    async def main(net: Net) -> list[bool]:
        async with serving(net, "a", "b"):
            faults = [net.partition("a"), net.slow(f"a:{PORT}", extra=1), net.refuse("b")]
            net.heal("a")
            healed = [fault.in_force for fault in faults]
            net.heal()
            return [*healed, faults[2].in_force]

    assert run(main) == [False, False, True, False]


def test_a_connect_through_a_partition_gives_up_after_127_seconds() -> None:
    async def main(net: Net) -> tuple[int | None, float]:
        net.partition("10.0.0.1")
        return await fails(Line.to("10.0.0.1")), elapsed(net)

    assert run(main) == (errno.ETIMEDOUT, pytest.approx(127, abs=0.1))


def test_data_that_nobody_acknowledges_ends_the_connection() -> None:
    async def main(net: Net) -> tuple[int | None, float]:
        async with serving(net, "a"):
            line = await Line.to("a")
            net.partition("a")
            number = await fails(line.ask())
            line.hang_up()
            return number, elapsed(net)

    assert run(main) == (errno.ETIMEDOUT, pytest.approx(924, abs=1))


def test_a_lost_syn_is_sent_again_after_one_second_and_then_two() -> None:
    async def main(net: Net) -> list[float]:
        async with serving(net, "a"):
            seconds = []
            for count in (1, 2, 0):
                net.lose_syn("a", count)
                started = net.now
                (await Line.to("a")).hang_up()
                seconds.append(net.now - started)
            return seconds

    assert run(main) == pytest.approx([1.02, 3.02, 0.02])


def test_a_full_backlog_makes_connects_wait() -> None:
    async def main(net: Net) -> float:
        async with serving(net, "a"):
            net.fill_backlog("a", lasting=2)
            (await Line.to("a")).hang_up()
            return elapsed(net)

    assert run(main) == pytest.approx(3.02)


def test_a_backlog_that_nobody_empties_is_full() -> None:
    async def main(net: Net) -> int:
        with socket.socket() as listening:
            listening.bind((net.host("a").address, PORT))
            listening.listen(2)
            dials = [asyncio.ensure_future(Line.to("a")) for _ in range(5)]
            await asyncio.sleep(0.5)
            connected = [dial.result() for dial in dials if dial.done()]
            for line in connected:
                line.hang_up()
            for dial in dials:
                dial.cancel()
            return len(connected)

    assert run(main) == 3  # Linux: backlog + 1


def test_a_refusing_host_keeps_the_connections_it_has() -> None:
    async def main(net: Net) -> tuple[int | None, bytes, bytes]:
        async with serving(net, "a"):
            line = await Line.to("a")
            refusal = net.refuse("a")
            number = await fails(Line.to("a"))
            answer = await line.ask()
            refusal.end()
            again = await Line.to("a")
            later = await again.ask()
            line.hang_up()
            again.hang_up()
            return number, answer, later

    assert run(main) == (errno.ECONNREFUSED, b"hello", b"hello")


def test_a_reset_ends_the_connections_there_are() -> None:
    async def main(net: Net) -> tuple[int | None, bytes]:
        async with serving(net, "a"):
            line = await Line.to("a")
            net.reset("a", after=0.5)
            number = await fails(line.reader.read())
            line.hang_up()
            again = await Line.to("a")
            answer = await again.ask()
            again.hang_up()
            return number, answer

    assert run(main) == (errno.ECONNRESET, b"hello")


def test_a_black_hole_swallows_old_connections_and_no_new_ones() -> None:
    async def main(net: Net) -> tuple[bool, bytes]:
        async with serving(net, "a"):
            line = await Line.to("a")
            net.blackhole("a")
            new = await Line.to("a")
            answer = await new.ask()
            silent = asyncio.ensure_future(line.ask())
            await asyncio.sleep(100)
            unanswered = not silent.done()
            silent.cancel()
            for each in (line, new):
                each.hang_up()
            return unanswered, answer

    assert run(main) == (True, b"hello")


def test_a_killed_server_sends_a_fin_and_listens_no_more() -> None:
    async def main(net: Net) -> tuple[bytes, int | None]:
        async with serving(net, "a"):
            line = await Line.to("a")
            await line.ask()
            net.kill("a")
            end = await line.reader.read()
            line.hang_up()
            return end, await fails(Line.to("a"))

    assert run(main) == (b"", errno.ECONNREFUSED)


def test_slow_links_add_up() -> None:
    async def main(net: Net) -> list[float]:
        async with serving(net, "a"):
            line, seconds = await Line.to("a"), []
            net.slow("a", factor=10, lasting=0.25)
            net.slow("a", extra=0.1, lasting=1)
            for pause in (0, 0.1, 2):
                await asyncio.sleep(pause)
                started = net.now
                await line.ask()
                seconds.append(net.now - started)
            line.hang_up()
            return seconds

    assert run(main) == pytest.approx([0.4, 0.22, 0.02])


def test_bandwidth_bounds_each_direction() -> None:
    async def main(net: Net) -> float:
        async with serving(net, "a"):
            line = await Line.to("a")
            net.bandwidth("a", 1_000)
            await line.ask(b"x" * 999)
            line.hang_up()
            return elapsed(net)

    assert run(main) == pytest.approx(2.04)


def test_at_the_descriptor_limit_there_are_no_more_sockets() -> None:
    async def main(net: Net) -> tuple[int | None, bytes]:
        async with serving(net, "a"):
            limit = net.fd_limit(len(net.descriptors))
            number = await fails(Line.to("a"))
            limit.end()
            line = await Line.to("a")
            answer = await line.ask()
            line.hang_up()
            return number, answer

    assert run(main) == (errno.EMFILE, b"hello")


def test_a_name_can_fail_in_each_way_a_resolver_does() -> None:
    async def main(net: Net) -> list[int | None]:
        async with serving(net, "a"):
            net.dns_fail("a", error=socket.EAI_AGAIN, lasting=1)
            numbers = [await fails(Line.to("a")), await fails(Line.to("nobody"))]
            await asyncio.sleep(1)
            (await Line.to("a")).hang_up()
            net.dns_fail()
            return [*numbers, await fails(Line.to("a"))]

    assert run(main) == [socket.EAI_AGAIN, socket.EAI_NONAME, socket.EAI_NONAME]


def test_a_fault_that_is_ended_before_its_time_never_strikes() -> None:
    async def main(net: Net) -> str:
        fault = net.partition("10.0.0.1", after=1)
        assert repr(fault) == "<Fault partition 10.0.0.1: to come>"
        fault.end()
        await asyncio.sleep(2)
        return repr(fault)

    assert run(main) == "<Fault partition 10.0.0.1: over>"


@pytest.mark.parametrize(
    ("strike", "message"),
    [
        (lambda net: net.partition("nobody"), "target 'nobody': expected an IPv4 address or one of the hosts"),
        (lambda net: net.refuse("10.0.0.1:http"), "target .10.0.0.1:http.: expected a port"),
        (lambda net: net.refuse(("10.0.0.1", 99999)), "99999.*: expected a port from 1 to 65535"),
        (lambda net: net.refuse(("10.0.0.1", 1, 2)), "target .'10.0.0.1', 1, 2.: expected an IPv4 address"),
        (lambda net: net.refuse(7), "target 7: expected an IPv4 address"),
        (lambda net: net.refuse(after="1"), "after=.1.: expected a number"),
        (lambda net: net.fd_limit(2.5), "limit=2.5: expected a whole number"),
        (lambda net: net.slow(factor=-1), "factor=-1: expected a number of at least 0"),
        (lambda net: net.bandwidth(None, 0), "bytes_per_second=0: expected more than 0"),
        (lambda net: net.reset(after=float("inf")), "after=inf: expected"),
        (lambda net: net.dns_fail(error=1), "error=1: expected one of"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(strike: Any, message: str) -> None:
    async def main(net: Net) -> None:
        strike(net)

    with pytest.raises(ValueError, match=message):
        simkernel.run(main)
