"""`mpiexec` and `srun` for one machine: so many processes, each told its rank in the launcher's own words.

    python fake_launcher.py mpiexec -n 2 --ppn 1 COMMAND...
    python fake_launcher.py srun --overlap COMMAND...             as many as $SLURM_NTASKS, or --ntasks

SIGTERM is passed on, as launchers do.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

RANKS = {"mpiexec": ("PALS_RANKID", "PALS_LOCAL_RANKID"), "srun": ("SLURM_PROCID", "SLURM_LOCALID")}
TAKE_A_VALUE = ("-n", "--ppn")


def main(launcher: str, *rest: str) -> int:
    arguments = list(rest)
    count = int(os.environ.get("SLURM_NTASKS", "1"))
    while arguments[0].startswith("-"):
        option, _, value = arguments.pop(0).partition("=")
        value = arguments.pop(0) if option in TAKE_A_VALUE else value
        count = int(value) if option in ("-n", "--ntasks") else count
    rank, local = RANKS[launcher]
    ranks = [
        subprocess.Popen(arguments, env={**os.environ, rank: str(number), local: str(number)})
        for number in range(count)
    ]
    signal.signal(signal.SIGTERM, lambda *_: end(ranks))
    return max(each.wait() for each in ranks)


def end(ranks: list[subprocess.Popen[bytes]]) -> None:
    for each in ranks:
        each.terminate()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
