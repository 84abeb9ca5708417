"""What the pytest fixtures are set by: the command line, then markers, then fixtures, then the ini file.

Nothing of the extra is imported before a fleet is wanted, for pytest loads this module in every run.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fleetsim.units import parse_duration

if TYPE_CHECKING:
    from fleetsim.fleet import Fleet

__all__ = ["DEFAULT_SIZE", "OPTIONS", "RANDOM", "Setting", "make_fleet"]

DEFAULT_SIZE = 4
RANDOM = "random"
NEVER = "never"

# Fields of a profile that a Fleet takes too: a profile reads durations with units.
_OF_THE_PROFILE = frozenset({"keepalive_timeout", "seed"})


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting as an option `--fleet-NAME` and as `fleet_NAME` in the ini file; `read` raises ValueError."""

    name: str
    metavar: str
    read: Callable[[str], object]
    help: str

    @property
    def option(self) -> str:
        return f"--fleet-{self.name.replace('_', '-')}"

    @property
    def key(self) -> str:
        """Its name in the ini file, and where pytest keeps the option's value."""
        return f"fleet_{self.name}"


def read_size(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ValueError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def read_seed(text: str) -> int | str:
    if text == RANDOM:
        return text
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"expected a whole number or {RANDOM!r}, got {text!r}") from None


def read_patience(text: str) -> float | str:
    return text if text == NEVER else parse_duration(text)


OPTIONS = (
    Setting("size", "N", read_size, f"servers of the `fleet` fixture (default: {DEFAULT_SIZE})"),
    Setting("seed", "N", read_seed, "chooses words, jitter and faults; `random` picks one and says which (default: 0)"),
    Setting("profile", "FILE", str, "what each server is, in YAML"),
    Setting("ttft", "DURATION", parse_duration, "time to first token, such as 80ms (default: 0)"),
    Setting("itl", "DURATION", parse_duration, "time between tokens, such as 10ms (default: 0)"),
    Setting("ending", "NAME", str, "how every response ends (default: as vLLM does)"),
    Setting("keepalive_timeout", "DURATION", read_patience, "when idle connections are closed, or never (default: 5s)"),
)


def make_fleet(settings: Mapping[str, Any]) -> Fleet:
    """Return a fleet, not yet entered, of `settings`: arguments of `Fleet` and fields of `Profile` by their names.

    `profile` is a Profile or the path of a YAML file; the fields go over it. Raises ValueError naming the setting,
    ModuleNotFoundError where the extra is missing.
    """
    # Late: see the module's docstring.
    from fleetsim.fleet import Fleet  # noqa: PLC0415
    from fleetsim.profile import Profile  # noqa: PLC0415

    arguments = {name for name in inspect.signature(Fleet).parameters if name not in _OF_THE_PROFILE}
    fields = set(Profile.__struct_fields__) - arguments
    for name in settings:
        if name not in arguments | fields:
            known = ", ".join(sorted(arguments | fields))
            raise ValueError(f"{name}: unknown setting; expected one of {known}")
    base = settings.get("profile")
    profile = base if base is None or isinstance(base, Profile) else Profile.load(base)
    over = {name: value for name, value in settings.items() if name in fields}
    if over.get("keepalive_timeout") == NEVER:
        over["keepalive_timeout"] = None
    profile = Profile.parse(over, base=profile)
    rest = {name: value for name, value in settings.items() if name in arguments}
    return Fleet(**{"size": DEFAULT_SIZE, **rest, "profile": profile})
