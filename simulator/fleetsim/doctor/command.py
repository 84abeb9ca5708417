"""`fleetsim doctor`: can this machine run a fleet of that size?"""

from __future__ import annotations

import json

import click
from rich.console import Console

from fleetsim.doctor.checks import Finding, Verdict, Wanted, examine
from fleetsim.doctor.machine import this_machine

__all__ = ["doctor"]


@click.command()
@click.argument("size", type=click.IntRange(min=1), default=1_000)
@click.option("--processes", type=click.IntRange(min=1), default=1, metavar="N", help="Spread over so many. [1]")
@click.option("--connections", type=click.IntRange(min=0), metavar="N", help="Open at once. [one to each server]")
@click.option("--json", "as_json", is_flag=True, help="Say it in JSON.")
def doctor(size: int, processes: int, connections: int | None, as_json: bool) -> int:
    """Look whether this machine can run a fleet of SIZE servers [1000].

    Each line says what is there, what is needed, and what to do. The exit code is 1 when something would fail.

    Example: fleetsim doctor 4000 --processes 2
    """
    if processes > size:
        raise click.UsageError(f"--processes: expected 1 to {size} for {size} servers, got {processes}")
    findings = examine(this_machine(), Wanted(size, processes, size if connections is None else connections))
    Console(highlight=False, markup=False, soft_wrap=True).print(in_json(findings) if as_json else in_lines(findings))
    return 1 if any(finding.verdict is Verdict.FAIL for finding in findings) else 0


def in_json(findings: list[Finding]) -> str:
    """Return a list with a mapping for each finding."""
    return json.dumps(
        [
            {
                "check": finding.name,
                "verdict": finding.verdict.value.lower(),
                "found": finding.found,
                "needed": finding.needed,
                "advice": finding.advice,
            }
            for finding in findings
        ],
        indent=2,
    )


def in_lines(findings: list[Finding]) -> str:
    """Return a line for each finding."""
    return "\n".join(_line(finding) for finding in findings)


def _line(finding: Finding) -> str:
    said = f"{finding.verdict.value:<5} {finding.name:<15}  {finding.found}; needs {finding.needed}"
    return f"{said}: {finding.advice}" if finding.advice else said
