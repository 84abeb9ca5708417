from __future__ import annotations

import inspect
import pickle

import pytest

from fleetsim import errors


def test_every_error_is_a_fleet_error_and_drawn_in_the_tree() -> None:
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), errors.FleetError)
        assert name in (inspect.getdoc(errors) or "")


def test_a_bind_error_carries_where_and_why() -> None:
    error = errors.BindError("127.0.0.1", 80, "Permission denied")
    assert str(error) == "cannot listen on 127.0.0.1 port 80: Permission denied"
    assert (error.host, error.port, error.reason) == ("127.0.0.1", 80, "Permission denied")
    assert isinstance(error, OSError)


def test_errors_of_ours_are_also_what_python_would_raise() -> None:
    with pytest.raises(ValueError):
        raise errors.EndingError("no such ending")
    with pytest.raises(TimeoutError):
        raise errors.LedgerTimeoutError(1.0, {"open_now": 0}, {"open_now": 1})


@pytest.mark.parametrize(
    "error",
    [
        errors.BindError("127.0.0.1", 80, "Permission denied"),
        errors.LedgerTimeoutError(1.0, {"open_now": 0}, {"open_now": 1}),
        errors.FleetError("no"),
    ],
)
def test_errors_come_over_from_another_process_as_they_are(error: errors.FleetError) -> None:
    came = pickle.loads(pickle.dumps(error))
    assert (type(came), str(came), vars(came)) == (type(error), str(error), vars(error))
