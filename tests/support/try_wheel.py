"""Builds the distribution, installs the wheel into empty environments, and uses it there as a stranger would.

    python tests/support/try_wheel.py FOLDER        (needs the package `build`; FOLDER is for scratch)

Everything runs outside the checkout, so that nothing can come from the source tree.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {
    "swarmpool": ROOT / "src" / "swarmpool",
    "fleetsim": ROOT / "simulator" / "fleetsim",
    "simkernel": ROOT / "simulator" / "simkernel",
}

# Run where only the library is installed.
WITHOUT_THE_EXTRA = """
import importlib.util, sys
import swarmpool
for name in ("click", "faker", "msgspec", "prometheus_client", "rich", "trustme", "yaml"):
    assert importlib.util.find_spec(name) is None, f"{name} is installed without the extra"
print("swarmpool", swarmpool.__version__, "on", sys.version.split()[0])
"""

# Run where the extra is installed too: one request through the pool to the fleet, and nothing left open.
WITH_THE_EXTRA = """
import asyncio
from fleetsim import Fleet
from swarmpool import VLLMPool

async def main():
    async with Fleet(2) as fleet:
        async with VLLMPool([(server.host, server.port) for server in fleet.endpoints]) as pool:
            answers = await pool.send_all([f"prompt {number}" for number in range(20)])
        assert all(answer.success and answer.text for answer in answers), answers
        await fleet.ledger.wait_for(open_now=0)
        assert fleet.ledger.requests >= 20, fleet.ledger.requests

asyncio.run(main())
print("20 prompts answered, no connection left")
"""


def main(scratch: Path) -> None:
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    run(sys.executable, "-m", "build", "--outdir", scratch / "dist", ROOT)
    (wheel,) = (scratch / "dist").glob("*.whl")
    check_contents(wheel)
    try_without_the_extra(scratch, wheel)
    try_with_the_extra(scratch, wheel)


def check_contents(wheel: Path) -> None:
    """The wheel holds every file of the packages and, beside its metadata, nothing else."""
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    ours = {
        f"{package}/{path.relative_to(folder)}"
        for package, folder in SOURCES.items()
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith((".", "__")) for part in path.relative_to(folder).parts[:-1])
    }
    assert shipped == ours, f"missing {sorted(ours - shipped)}, unexpected {sorted(shipped - ours)}"
    assert {f"{package}/py.typed" for package in SOURCES} <= shipped


def try_without_the_extra(scratch: Path, wheel: Path) -> None:
    bin_folder = environment(scratch / "bare", str(wheel))
    run(bin_folder / "python", "-c", WITHOUT_THE_EXTRA, cwd=scratch)
    refused = subprocess.run(
        [bin_folder / "fleetsim", "up", "1"], cwd=scratch, capture_output=True, text=True, check=False
    )
    said = (refused.stdout + refused.stderr).strip()
    assert refused.returncode == 2, refused
    assert "pip install 'swarmpool[fleet]'" in said, said
    assert "\n" not in said, said
    print(said)


def try_with_the_extra(scratch: Path, wheel: Path) -> None:
    bin_folder = environment(scratch / "full", f"{wheel}[fleet]")
    run(bin_folder / "python", "-W", "error", "-c", WITH_THE_EXTRA, cwd=scratch)
    run(bin_folder / "fleetsim", "--help", cwd=scratch)
    run(bin_folder / "fleetsim", "prove", "--list", cwd=scratch)
    run(bin_folder / "python", "-m", "pip", "check", cwd=scratch)


def environment(folder: Path, requirement: str) -> Path:
    """A new virtual environment with only `requirement` in it; returns its folder of programs."""
    venv.create(folder, with_pip=True)
    run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", requirement)
    return folder / "bin"


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    print("$", *("..." if "\n" in str(part) else part for part in command), flush=True)
    subprocess.run([str(part) for part in command], cwd=cwd, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
