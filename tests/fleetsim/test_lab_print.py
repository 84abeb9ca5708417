from __future__ import annotations

import click

from fleetsim.lab.print import WIDTH, account_lines, list_lines
from fleetsim.lab.room import Account, Room, Row, Visit


def account(**fields: object) -> Account:
    settled: dict[str, object] = {
        "name": "some",
        "claim": "Some claim.",
        "agrees": True,
        "rows": (Row("asked", "1 acquired", "1 in flight", "Nobody answered."),),
        "conclusion": "acquired: 1",
        "problems": (),
        "source": "the docs",
        "seconds": 0.1,
    }
    return Account(**{**settled, **fields})  # type: ignore[arg-type]


def lines(told: Account) -> list[str]:
    return [click.unstyle(line) for line in account_lines(told, "3.14.5")]


def test_a_step_is_a_block_with_both_ledgers_and_the_reason() -> None:
    assert lines(account()) == [
        "some (aiohttp 3.14.5)",
        "Claim: Some claim.",
        "Read on: the docs",
        "",
        "asked",
        "  connector    1 acquired",
        "  fleet        1 in flight",
        "  why          Nobody answered.",
        "",
        "acquired: 1",
    ]


def test_what_came_out_otherwise_stands_before_the_conclusion() -> None:
    told = lines(account(problems=("acquired: claimed 2, found 1",)))
    assert told[-2:] == ["otherwise      acquired: claimed 2, found 1", "acquired: 1"]


def test_long_sentences_are_wrapped_and_a_conclusion_is_not() -> None:
    long = "word " * 60
    told = lines(account(rows=(Row("asked", "-", "-", long),), conclusion=long))
    assert max(map(len, told[:-1])) <= WIDTH
    assert told[-1] == long


def test_the_list_has_a_line_per_room() -> None:
    async def run(notes: Visit) -> None: ...

    assert list(list_lines([Room("a", "One.", run), Room("long", "Two.", run)])) == ["a     One.", "long  Two."]
