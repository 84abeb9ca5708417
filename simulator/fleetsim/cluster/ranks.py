"""Which rank this process is, as its launcher says it in the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fleetsim.errors import FleetError

__all__ = ["Rank", "job_of", "rank_of"]


@dataclass(frozen=True, slots=True)
class Rank:
    """This process is number `number` of `ranks`, and number `local` on its node; None where nobody says.

    `source` names the variable that said so.
    """

    number: int
    ranks: int | None = None
    local: int | None = None
    source: str | None = None

    def __str__(self) -> str:
        whole = "" if self.ranks is None else f" of {self.ranks}"
        return f"rank {self.number}{whole} ({self.source or 'no launcher says which'})"


@dataclass(frozen=True, slots=True)
class _Launcher:
    rank: str
    ranks: str | None = None
    local: tuple[str, ...] = ()


# Asked in this order. Slurm is the last, for it sets its own in a batch script too, whatever launches the ranks there.
# Open MPI comes before PMIx, for it sets both, and says more.
_LAUNCHERS = (
    _Launcher("PALS_RANKID", "PMI_SIZE", ("PALS_LOCAL_RANKID",)),
    _Launcher("PMI_RANK", "PMI_SIZE", ("PMI_LOCAL_RANK", "MPI_LOCALRANKID")),
    # https://docs.open-mpi.org/en/v5.0.x/tuning-apps/environment-var.html
    _Launcher("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", ("OMPI_COMM_WORLD_LOCAL_RANK",)),
    _Launcher("PMIX_RANK"),
    # https://slurm.schedmd.com/srun.html#SECTION_OUTPUT-ENVIRONMENT-VARIABLES
    _Launcher("SLURM_PROCID", "SLURM_NTASKS", ("SLURM_LOCALID",)),
)

_JOBS = ("PBS_JOBID", "SLURM_JOB_ID")


def rank_of(environment: Mapping[str, str]) -> Rank:
    """Return the rank that `environment` names, 0 where it names none. Raises FleetError for what is no number."""
    for launcher in _LAUNCHERS:
        number = _number(environment, launcher.rank)
        if number is not None:
            ranks = None if launcher.ranks is None else _number(environment, launcher.ranks)
            local = next((each for name in launcher.local if (each := _number(environment, name)) is not None), None)
            return Rank(number, ranks, local, launcher.rank)
    return Rank(0)


def job_of(environment: Mapping[str, str]) -> str | None:
    """Return the batch job that this is part of; None where there is none."""
    return next((environment[name] for name in _JOBS if environment.get(name)), None)


def _number(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise FleetError(f"{name}: expected a whole number, got {text!r}")
    return int(text)
