"""What a load is told, by whichever front end: locust's command line, its web page, or `python -m loadtests.run`.

Values come as text and are checked here, since a web page sends text whatever was declared.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from loadtests.shapes import SHAPES, Shape
from loadtests.thresholds import Limits
from swarmpool import Health, Retry

__all__ = ["OPTIONS", "Option", "Options", "add_options"]


@dataclass(frozen=True, slots=True)
class Option:
    """One option: `--fleet-size`; its `field` is fleet_size. `shown` says whether locust's page has it."""

    flag: str
    default: str
    metavar: str
    about: str
    choices: tuple[str, ...] | None = None
    shown: bool = True

    @property
    def field(self) -> str:
        return self.flag.removeprefix("--").replace("-", "_")


OPTIONS = (
    Option("--shape", "steady", "NAME", "; ".join(f"{k}: {v.about}" for k, v in SHAPES.items()), tuple(SHAPES)),
    Option("--fleet-size", "8", "N", "Servers of the fleet that is started."),
    Option("--fleet-processes", "1", "N", "Processes that it is spread over."),
    Option("--fleet-profile", "", "FILE", "Profile of its servers, in YAML. [fleetsim's own defaults]"),
    Option("--seed", "0", "N", "Chooses prompts, agents and faults."),
    Option("--hostfile", "", "FILE", "A fleet that runs already; none is started then.", shown=False),
    Option("--control", "", "URL", "Where that fleet is driven; its ledger is compared then.", shown=False),
    Option("--retry", "", "TRIES", "How often a request is tried that no agent has begun. [once]"),
    Option("--health", "", "FAILURES", "Failures after which an agent is left alone for a while. [it never is]"),
    Option("--report", "", "PREFIX", "Write PREFIX.json and PREFIX.html."),
    Option("--max-p95", "", "MS", "What 95 % of all runs may take. [no limit]"),
    Option("--max-failures", "", "SHARE", "Failed responses of all, at most. [the shape's: mostly 0]"),
    Option("--min-reuse", "", "SHARE", "Exchanges on a connection that served before, at least. [the shape's]"),
    Option("--min-requests-per-connection", "", "N", "Exchanges for each connection opened, at least. [no limit]"),
)


def add_options(parser: argparse.ArgumentParser, *, for_locust: bool) -> None:
    """Give `parser` all options. locust's parser also takes which of them its page shows."""
    for option in OPTIONS:
        extra = {"include_in_web_ui": option.shown} if for_locust else {}
        parser.add_argument(
            option.flag,
            default=option.default,
            metavar=option.metavar if option.choices is None else None,
            choices=option.choices,
            help=option.about.replace("%", "%%"),
            **extra,  # type: ignore[arg-type]  # what locust's own parser takes beyond argparse's
        )


@dataclass(frozen=True, slots=True)
class Options:
    """The options, checked. Raises ValueError naming the option, its value and what was expected."""

    shape: Shape
    shape_name: str
    fleet_size: int
    fleet_processes: int
    fleet_profile: str | None
    seed: int
    hostfile: str | None
    control: str | None
    retry: int | None
    health: int | None
    report: str | None
    limits: Limits

    @classmethod
    def read(cls, given: Mapping[str, object]) -> Options:
        """Return what `given` says: the fields of `OPTIONS`, as text."""
        written = {option.field: str(given.get(option.field) or option.default).strip() for option in OPTIONS}
        name = written["shape"]
        if name not in SHAPES:
            raise ValueError(f"--shape: expected one of {', '.join(SHAPES)}, got {name!r}")
        if written["control"] and not written["hostfile"]:
            raise ValueError("--control: expected a --hostfile with it: a fleet of our own is found without")
        return cls(
            shape=SHAPES[name],
            shape_name=name,
            fleet_size=_whole("--fleet-size", written["fleet_size"], least=1),
            fleet_processes=_whole("--fleet-processes", written["fleet_processes"], least=1),
            fleet_profile=written["fleet_profile"] or None,
            seed=_whole("--seed", written["seed"], least=0),
            hostfile=written["hostfile"] or None,
            control=written["control"] or None,
            retry=_whole_or_none("--retry", written["retry"]),
            health=_whole_or_none("--health", written["health"]),
            report=written["report"] or None,
            limits=_limits(SHAPES[name].limits, written),
        )

    @property
    def care(self) -> dict[str, Any]:
        """The arguments of a pool that tries again and leaves agents alone as this says."""
        return {
            "retry": None if self.retry is None else Retry(tries=self.retry),
            "health": None if self.health is None else Health(failures=self.health),
        }

    def written(self) -> dict[str, object]:
        """Return what a report says of them."""
        left_out = ("shape", "limits", "shape_name", "report")
        rest = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in left_out}
        return {"shape": self.shape_name, **rest}


def _limits(base: Limits, written: Mapping[str, str]) -> Limits:
    given = {
        "p95": _number("--max-p95", written["max_p95"], per=1000.0),
        "failures": _number("--max-failures", written["max_failures"]),
        "reuse": _number("--min-reuse", written["min_reuse"]),
        "requests_per_connection": _number("--min-requests-per-connection", written["min_requests_per_connection"]),
    }
    return replace(base, **{name: value for name, value in given.items() if value is not None})


def _whole(flag: str, text: str, *, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise ValueError(f"{flag}: expected a whole number of at least {least}, got {text!r}")
    return int(text)


def _whole_or_none(flag: str, text: str) -> int | None:
    return _whole(flag, text, least=1) if text else None


def _number(flag: str, text: str, *, per: float = 1.0) -> float | None:
    if not text:
        return None
    try:
        return float(text) / per
    except ValueError:
        raise ValueError(f"{flag}: expected a number, got {text!r}") from None
