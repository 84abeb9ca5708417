from __future__ import annotations

from fleetsim.engine import AbortedError, Halt


def test_of_several_halts_the_first_named_decides() -> None:
    assert list(Halt) == [Halt.DEAD, Halt.ABORTING, Halt.DRAINING, Halt.ASLEEP]


def test_an_abort_says_what_had_been_said_and_keeps_it_for_itself() -> None:
    said = {0: 3}
    aborted = AbortedError(said)
    aborted.said[1] = 2
    assert (said, AbortedError().said) == ({0: 3}, {})
