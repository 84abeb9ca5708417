"""Settings of a profile as options of a command: checked one by one, by the profile's own rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from fleetsim.profile import Profile, ProfileError

__all__ = ["Jitter", "Processes", "Setting", "described_profile", "profile_options", "whole_number"]

Command = Callable[..., Any]

if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:
    # Not generic at run time in the oldest click allowed.
    ParamType = click.ParamType


class Setting(ParamType):
    """An option for the profile's `key`; `read` turns its text into what the profile takes."""

    def __init__(self, key: str, metavar: str, read: Callable[[str], Any] = str) -> None:
        self.name = metavar
        self._key = key
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value for `Profile.parse`. Fails with the profile's words."""
        read = self._read(value) if isinstance(value, str) else value
        try:
            Profile.parse({self._key: read})
        except ProfileError as error:
            self.fail(str(error).removeprefix(f"{self._key}: "), param, ctx)
        return read


class Jitter(ParamType):
    """`none`, `normal`, `lognormal`, or one of them with its spread, as in `normal:20%` or `normal:0.2`."""

    name = "KIND[:SPREAD]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        """Return the settings for `Profile.parse`. Fails with the profile's words."""
        if isinstance(value, dict):
            return value
        kind, colon, spread = value.partition(":")
        settings: dict[str, Any] = {"jitter": kind}
        if colon:
            settings["spread"] = _fraction(spread)
        try:
            Profile.parse(settings)
        except ProfileError as error:
            self.fail(str(error).removeprefix("jitter: "), param, ctx)
        return settings


class Processes(ParamType):
    """How many processes a fleet is spread over, and whether one that is killed is started anew: `2`, `2:restart`."""

    name = "N[:restart]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, bool]:
        """Return the number and whether to restart."""
        if isinstance(value, tuple):
            return value
        number, colon, restart = value.partition(":")
        if not (number.isascii() and number.isdigit() and int(number)) or (colon and restart != "restart"):
            self.fail(f"expected a whole number of at least 1, such as 2, or 2:restart, got {value!r}", param, ctx)
        return int(number), bool(colon)


def profile_options(command: Command) -> Command:
    """Give a command the options that say what its servers are; `described_profile` reads them."""
    for option in reversed(_options()):
        command = option(command)
    return command


def _options() -> list[Callable[[Command], Command]]:
    option = click.option
    return [
        option(
            "--profile", type=click.Path(dir_okay=False), metavar="FILE", help="YAML with these settings, and more."
        ),
        option("--model", type=Setting("model", "NAME"), help="Served model. [sim]"),
        option("--ttft", type=Setting("ttft", "TIME"), help="Time to first token. [0]"),
        option("--itl", type=Setting("itl", "TIME"), help="Time between tokens. [0]"),
        option("--jitter", type=Jitter(), help="none, normal, lognormal; normal:20%."),
        option("--prefill-per-token", type=Setting("prefill_per_token", "TIME"), help="More ttft per prompt token."),
        option("--output-tokens", type=Setting("output_tokens", "N", whole_number), help="Length of an answer. [64]"),
        option("--keepalive-timeout", type=Setting("keepalive_timeout", "TIME", never_or), help="Or never. [5s]"),
        option("--ending", type=Setting("ending", "ENDING"), help="How responses end, e.g. 'delayed;seconds=1s'."),
        option("--seed", type=int, metavar="N", help="Chooses words and jitter. [0]"),
    ]


def described_profile(
    ctx: click.Context, profile: str | None, jitter: dict[str, Any] | None, settings: dict[str, Any]
) -> Profile:
    """Return the profile that a command line says: its options over the file `profile`, over the defaults."""
    given = {key: value for key, value in settings.items() if _is_given(ctx, key)} | (jitter or {})
    return Profile.parse(given, base=Profile() if profile is None else Profile.load(profile))


def _is_given(ctx: click.Context, key: str) -> bool:
    return ctx.get_parameter_source(key) is not click.core.ParameterSource.DEFAULT


def never_or(text: str) -> str | None:
    """Return None for `never`, all else as it is."""
    return None if text == "never" else text


def whole_number(text: str) -> int | str:
    """Return `text` as a number where it is one, else as it is, for the profile to refuse."""
    try:
        return int(text)
    except ValueError:
        return text


def _fraction(text: str) -> float | str:
    try:
        return float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return text
