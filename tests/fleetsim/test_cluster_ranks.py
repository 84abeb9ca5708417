from __future__ import annotations

import pytest

from fleetsim.cluster.ranks import Rank, job_of, rank_of
from fleetsim.errors import FleetError


@pytest.mark.parametrize(
    ("environment", "rank"),
    [
        ({"PALS_RANKID": "7", "PALS_LOCAL_RANKID": "1", "PMI_SIZE": "12"}, Rank(7, 12, 1, "PALS_RANKID")),
        ({"PMI_RANK": "3", "PMI_SIZE": "4", "MPI_LOCALRANKID": "1"}, Rank(3, 4, 1, "PMI_RANK")),
        ({"PMI_RANK": "3", "PMI_SIZE": "4", "PMI_LOCAL_RANK": "0"}, Rank(3, 4, 0, "PMI_RANK")),
        ({"PMIX_RANK": "5"}, Rank(5, None, None, "PMIX_RANK")),
        (
            {
                "PMIX_RANK": "2",
                "OMPI_COMM_WORLD_RANK": "2",
                "OMPI_COMM_WORLD_SIZE": "3",
                "OMPI_COMM_WORLD_LOCAL_RANK": "2",
            },
            Rank(2, 3, 2, "OMPI_COMM_WORLD_RANK"),
        ),
        ({"SLURM_PROCID": "9", "SLURM_NTASKS": "16", "SLURM_LOCALID": "1"}, Rank(9, 16, 1, "SLURM_PROCID")),
        ({}, Rank(0)),
        ({"PMI_RANK": ""}, Rank(0)),
    ],
)
def test_each_launcher_says_it_in_its_own_words(environment: dict[str, str], rank: Rank) -> None:
    assert rank_of(environment) == rank


def test_what_launched_the_ranks_counts_before_the_batch_job_they_are_in() -> None:
    in_a_batch_script = {"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}
    assert rank_of(in_a_batch_script | {"PMI_RANK": "3", "PMI_SIZE": "4"}) == Rank(3, 4, None, "PMI_RANK")


def test_what_is_no_number_is_named() -> None:
    with pytest.raises(FleetError, match="PMI_RANK: expected a whole number, got 'first'"):
        rank_of({"PMI_RANK": "first"})


def test_the_job_is_known_where_there_is_one() -> None:
    assert job_of({"PBS_JOBID": "17.host"}) == "17.host"
    assert job_of({"SLURM_JOB_ID": "4711"}) == "4711"
    assert job_of({}) is None


def test_a_rank_says_who_told() -> None:
    assert str(Rank(3, 4, 1, "PMI_RANK")) == "rank 3 of 4 (PMI_RANK)"
    assert str(Rank(0)) == "rank 0 (no launcher says which)"
