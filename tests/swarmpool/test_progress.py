"""`progress=` must be something that a result can be told to."""

from __future__ import annotations

from typing import Any

import pytest

from swarmpool.progress import Progress, checked_progress


async def _nobody_awaits_it(moment: Progress) -> None: ...


@pytest.mark.parametrize("progress", [7, "bar", _nobody_awaits_it])
def test_what_cannot_be_told_is_refused(progress: Any) -> None:
    with pytest.raises(TypeError, match="progress must be a plain function of one Progress or None, not "):
        checked_progress(progress)


def test_any_plain_callable_will_do() -> None:
    checked_progress(None)
    checked_progress([].append)
    checked_progress(print)
