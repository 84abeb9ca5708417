from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

from fleetsim import Fault, FaultError
from fleetsim.faults.parameters import choice, count, duration, number


@dataclass(frozen=True, slots=True)
class Sample(Fault):
    """A fault with a parameter of each sort. Not in the catalogue."""

    name: ClassVar[str] = "sample"
    seconds: float = duration(1.0, "how long")
    until: float | None = duration(None, "how long at most")
    size: int = count(8, "bytes", "how many", least=1, most=9)
    after: int | None = count(None, "events", "how many")
    how: str = choice("fin", "which", "rst")
    factor: float = number(2.5, "times", "as long")


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({"seconds": "80ms"}, "seconds", 0.08),
        ({"seconds": 2}, "seconds", 2.0),
        ({"until": None}, "until", None),
        ({"until": "1m"}, "until", 60.0),
        ({"size": "9"}, "size", 9),
        ({"after": 0}, "after", 0),
        ({"how": "rst"}, "how", "rst"),
        ({"factor": "0.5"}, "factor", 0.5),
        ({"factor": 3}, "factor", 3.0),
    ],
)
def test_a_parameter_is_read_from_text_and_from_python(given: dict[str, object], field: str, value: object) -> None:
    assert getattr(Sample(**given), field) == value  # type: ignore[arg-type]  # what people may write


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"seconds": None}, "fault 'sample': seconds: expected a duration such as 80ms, 1.5s, 2m or 0, got None"),
        ({"until": "soon"}, "fault 'sample': until: expected a duration such as 80ms, 1.5s, 2m or 0, got 'soon'"),
        ({"size": 0}, "fault 'sample': size: expected a whole number of bytes from 1 to 9, got 0"),
        ({"size": "10"}, "fault 'sample': size: expected a whole number of bytes from 1 to 9, got '10'"),
        ({"size": True}, "fault 'sample': size: expected a whole number of bytes from 1 to 9, got True"),
        ({"after": -1}, "fault 'sample': after: expected a whole number of events, got -1"),
        ({"how": 7}, "fault 'sample': how: expected fin or rst, got 7"),
        ({"factor": "fast"}, "fault 'sample': factor: expected a number of times above 0, got 'fast'"),
        ({"factor": 0}, "fault 'sample': factor: expected a number of times above 0, got 0"),
        ({"factor": True}, "fault 'sample': factor: expected a number of times above 0, got True"),
    ],
)
def test_a_wrong_value_is_refused_with_name_value_and_expectation(given: dict[str, object], sentence: str) -> None:
    with pytest.raises(FaultError) as caught:
        Sample(**given)  # type: ignore[arg-type]  # the point
    assert str(caught.value) == sentence


def test_what_is_not_as_by_default_is_written_with_its_unit() -> None:
    assert Sample().written() == "sample"
    given = Sample(seconds=0.5, until=90.0, size=3, after=0, how="rst")
    assert given.written() == "sample;seconds=500ms;until=90s;size=3;after=0;how=rst"
