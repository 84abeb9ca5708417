"""What the installed distribution says it needs, and whether it is there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata

__all__ = ["Requirement", "fits", "installed", "requirements"]

_DISTRIBUTION = "swarmpool"
_WRITTEN = re.compile(r"(?P<name>[\w.-]+)(?:\[[^\]]*\])?\s*\(?(?P<spec>[^;)]*)\)?\s*(?:;(?P<marker>.*))?")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([\w.-]+)['"]""")


@dataclass(frozen=True, slots=True)
class Requirement:
    """A package in the versions that fit, for the library itself or for one of its extras."""

    name: str
    spec: str
    extra: str | None = None


def requirements() -> tuple[Requirement, ...]:
    """Return what the distribution asks for; nothing where it runs from its sources without having been installed."""
    try:
        written = metadata.requires(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return ()
    return tuple(_parsed(each) for each in written)


def _parsed(written: str) -> Requirement:
    found = _WRITTEN.fullmatch(written)
    assert found is not None, written
    extra = _EXTRA.search(found["marker"] or "")
    return Requirement(found["name"], found["spec"].strip(), None if extra is None else extra[1])


def installed(name: str) -> str | None:
    """Return the version of a package that is installed, None for one that is not."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def fits(version: str, spec: str) -> bool:
    """Whether `version` is one that `spec`, such as `>=3.12,!=3.14.0,<4`, allows. Only numbers are looked at."""
    return all(_fits_one(_numbers(version), each.strip()) for each in spec.split(",") if each.strip())


def _fits_one(version: tuple[int, ...], clause: str) -> bool:
    operator = clause.rstrip("0123456789.*abcrdevpost ")
    wanted = _numbers(clause.removeprefix(operator))
    return {
        ">=": version >= wanted,
        "<=": version <= wanted,
        ">": version > wanted,
        "<": version < wanted,
        "!=": version != wanted,
        "==": version == wanted,
        "~=": version >= wanted and version[: len(wanted) - 1] == wanted[:-1],
    }[operator.strip()]


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(each) for each in re.findall(r"\d+", re.split(r"[a-z+]", version.strip())[0])]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)
