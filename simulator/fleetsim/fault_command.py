"""`fleetsim fault`: arm, list and remove faults on a fleet that runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console

from fleetsim.control.caller import Caller
from fleetsim.control.running import the_running_fleet
from fleetsim.errors import RuleError
from fleetsim.faults.rules import Rule, as_fault
from fleetsim.faults.scripts import ScriptRule
from fleetsim.units import format_duration

__all__ = ["fault"]

WHERE = ("server", "tag", "route", "header", "request", "connection")
_COUNTS = ("number", "fault", "script", "armed", "fired", "over", "left")


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("rest", nargs=-1, type=click.UNPROCESSED, metavar="[NAME [--PARAMETER VALUE]...]")
@click.option("--server", type=int, multiple=True, metavar="N", help="For this server only (repeatable) [all].")
@click.option("--tag", metavar="KEY[=VALUE]", help="For servers with this tag.")
@click.option("--route", metavar="PATH", help="For this path; * stands for anything.")
@click.option("--header", metavar="NAME[=VALUE]", help="For requests with this header.")
@click.option("--request", type=int, metavar="N", help="For the n-th request of its connection.")
@click.option("--connection", type=int, metavar="N", help="For the n-th connection from now on.")
@click.option("--rate", type=float, metavar="SHARE", help="Strike this share of them. [1]")
@click.option("--times", type=int, metavar="N", help="Strike so often at most. [no limit]")
@click.option("--after", type=int, metavar="N", help="Let so many pass before. [0]")
@click.option("--for", "for_", metavar="TIME", help="Heal after this time, such as 10s. [never]")
@click.option("--seed", type=int, metavar="N", help="Chooses what a rate strikes. [the fleet's]")
@click.option("--script", metavar="STEPS", help="Instead of NAME, such as '3x unavailable, ok'.")
@click.option("--list", "listing", is_flag=True, help="List the faults at work, and stop.")
@click.option("--remove", metavar="NUMBER|all", help="Remove it, or all, and stop.")
@click.option("--control", metavar="URL", help="The fleet's control port. [the one fleet that runs]")
@click.option("--token", envvar="FLEETSIM_CONTROL_TOKEN", metavar="TEXT", help="Or in $FLEETSIM_CONTROL_TOKEN.")
def fault(
    rest: tuple[str, ...],
    script: str | None,
    listing: bool,
    remove: str | None,
    control: str | None,
    token: str | None,
    **words: Any,
) -> None:
    """Let a fault strike a fleet that was started with `fleetsim up --control`.

    Example: fleetsim fault reset --server 3 --after-chunks 2 --for 10s
    """
    if remove is not None:
        _remove(_caller(control, token), remove)
        return
    if listing:
        listed = _caller(control, token).faults()
        _print("\n".join(_line(each) for each in listed) or "no faults at work")
        return
    rule = read_rule(rest, words) if script is None else read_script(script, rest, words)
    _print(f"armed {_line(_caller(control, token).arm(rule.written()))}")


def _remove(caller: Caller, which: str) -> None:
    if which == "all":
        _print(f"removed {caller.clear()}")
    elif which.isascii() and which.isdigit():
        _print(f"removed {_line(caller.remove(int(which)))}")
    else:
        raise RuleError(f"--remove: expected the number of a fault, or all, got {which!r}")


def _caller(control: str | None, token: str | None) -> Caller:
    if control is not None:
        return Caller(control, token)
    running = the_running_fleet()
    return Caller(running.url, token or running.token)


def read_rule(rest: Sequence[str], words: dict[str, Any]) -> Rule:
    """Return the rule that a command line says. Raises FaultError and RuleError; UsageError without a fault."""
    name = rest[0] if rest else ""
    if not name or name.startswith("-"):
        raise click.UsageError("expected the name of a fault, such as reset", click.get_current_context(silent=True))
    return Rule.parse({"fault": as_fault(name, read_parameters(rest[1:])), **_given(words)})


def read_script(steps: str, rest: Sequence[str], words: dict[str, Any]) -> ScriptRule:
    """Return the script that a command line says. Raises FaultError and RuleError."""
    if rest:
        raise RuleError(f"{rest[0]}: expected no fault beside --script, whose steps they are")
    return ScriptRule.parse({"script": steps, **_given(words)})


def _given(words: dict[str, Any]) -> dict[str, Any]:
    given = {key.rstrip("_"): value for key, value in words.items() if value not in (None, ())}
    return {
        **{key: value for key, value in given.items() if key not in WHERE},
        "where": {key: value for key, value in given.items() if key in WHERE},
    }


def read_parameters(rest: Sequence[str]) -> dict[str, str]:
    """Return what `--after-bytes 200 --gap=5ms` says, as parameters of a fault."""
    parameters = {}
    left = iter(rest)
    for option in left:
        if not option.startswith("--"):
            raise RuleError(f"{option}: expected --PARAMETER VALUE")
        key, equals, value = option[2:].partition("=")
        if not equals:
            value = next(left, "")
        if not value:
            raise RuleError(f"--{key}: expected a value, got none")
        parameters[key.replace("-", "_")] = value
    return parameters


def _line(described: dict[str, Any]) -> str:
    what = f"script {', '.join(described['script'])}" if "script" in described else described["fault"]
    parts = [f"{described['number']}: {what}"]
    words = {key: value for key, value in described.items() if key not in _COUNTS}
    words |= words.pop("where", {})
    parts += [f"{key}={format_duration(value) if key == 'for' else value}" for key, value in words.items()]
    parts += [f"armed={described['armed']}", f"fired={described['fired']}"]
    parts += [f"left to {server}: {', '.join(steps)}" for server, steps in described.get("left", {}).items() if steps]
    return "  ".join([*parts, "over"] if described["over"] else parts)


def _print(text: str) -> None:
    Console(highlight=False, markup=False, soft_wrap=True).print(text)
