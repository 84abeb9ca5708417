"""How the user's callbacks are called."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

__all__ = ["finished", "takes_timeout"]


def takes_timeout(name: str, callback: Callable[..., object]) -> bool:
    """Whether `callback` is called with the timeout or with nothing.

    With it, if it has a positional parameter without a default, one called `timeout`, or `*args`. A callback that needs
    more than that is a TypeError.
    """
    if not callable(callback):
        raise TypeError(f"{name} must be callable, not {type(callback).__name__}")
    try:
        signature = inspect.signature(callback)
    except ValueError:  # written in C, and says nothing of itself
        return True
    wanted = any(_wants_timeout(parameter) for parameter in signature.parameters.values())
    try:
        signature.bind(*([1.0] if wanted else []))
    except TypeError as error:
        raise TypeError(f"{name} must take the timeout in seconds, or nothing: {error}") from None
    return wanted


def _wants_timeout(parameter: inspect.Parameter) -> bool:
    if parameter.kind is parameter.VAR_POSITIONAL:
        return True
    if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
        return False
    return parameter.default is parameter.empty or parameter.name == "timeout"


async def finished(result: object) -> object:
    """What a callback returned, awaited if it can be: callbacks may be plain functions or coroutine functions."""
    return await result if isinstance(result, Awaitable) else result
