"""Whatever fault of the catalogue a request meets, its caller is told the truth, and nothing of it stays behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from multidict import CIMultiDict

from fleetsim.api import make_app
from fleetsim.exchange import ApiRequest, Unary
from fleetsim.faults.catalogue import Fault, fault_types
from fleetsim.faults.catalogue import Stage as FaultStage
from fleetsim.ledger import Ledger
from fleetsim.profile import Profile
from fleetsim.proofs.cells import FOLLOWERS, MAX_TOKENS, STRUCK, Cell, cells_of, play
from fleetsim.proofs.chat import message_text, payload
from fleetsim.proofs.claim import Claim, Stage, counted, settled, totals
from fleetsim.proofs.client import Options
from fleetsim.proofs.guard import guarded

__all__ = ["CATALOGUE"]

CELL_DEADLINE = 120.0  # seconds; a cell takes ten at most, unless the machine has other work
CROWD = 8


class FaultsAt:
    """The scenario over the faults of one stage: all cells at once, each with a fleet and a pool of its own."""

    def __init__(self, kinds: Sequence[type[Fault]]) -> None:
        self.cells = [cell for kind in kinds for cell in cells_of(kind)]

    async def __call__(self, stage: Stage) -> None:
        texts, crowd = await right_texts(stage.seed), asyncio.Semaphore(CROWD)
        stages = [stage.part() for _ in self.cells]

        async def played(cell: Cell, part: Stage) -> list[Ledger]:
            ledgers: list[Ledger] = []

            async def scenario(part: Stage) -> None:
                ledgers.append(await play(part, cell, texts, crowd))

            await guarded(part, scenario, CELL_DEADLINE)
            return ledgers

        ledgers = await asyncio.gather(*[played(cell, part) for cell, part in zip(self.cells, stages, strict=True)])
        self._report(stage, stages, [ledger for some in ledgers for ledger in some])
        await check_nothing_left(stage)

    def _report(self, stage: Stage, stages: Sequence[Stage], ledgers: Sequence[Ledger]) -> None:
        for cell, part in zip(self.cells, stages, strict=True):
            for problem in part.evidence.problems:
                stage.evidence.check(False, f"{cell.name}: {problem}")
        right = sum(not part.evidence.problems for part in stages)
        stage.evidence.client = f"{right} of {counted(len(stages), 'cell')} right"
        stage.evidence.fleet = totals(*ledgers)


async def right_texts(seed: int) -> dict[str, str]:
    """What a fleet of this seed answers to each prompt of a cell, asked of its routes without a socket."""
    app = make_app(Profile(), seed=seed, index=0, in_flight=lambda: 1)
    texts = {}
    for prompt in (STRUCK, *FOLLOWERS):
        body = json.dumps(payload(Options(max_tokens=MAX_TOKENS), prompt, stream=False)).encode()
        headers = CIMultiDict({"content-type": "application/json"})
        reply = await app(ApiRequest("POST", "/v1/chat/completions", "", headers, body))
        assert isinstance(reply, Unary)
        texts[prompt] = message_text(json.loads(reply.body))
    assert len(set(texts.values())) == len(texts)  # or a foreign answer could pass for one's own
    return texts


async def check_nothing_left(stage: Stage) -> None:
    """Check that no task is left of all the cells, and that nothing has warned."""
    await settled(lambda: len(asyncio.all_tasks()))
    left = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    stage.evidence.check(not left, f"{counted(len(left), 'task')} left after all closes")
    said = stage.complaints.collect()
    stage.evidence.check(not said, f"{counted(len(said), 'warning')}: {'; '.join(text[:60] for text in said[:2])}")


def _claim(at: FaultStage) -> Claim | None:
    scenario = FaultsAt([kind for kind in fault_types() if kind.stage is at])
    faults = len({cell.fault.name for cell in scenario.cells})
    met = "The one fault" if faults == 1 else f"{faults} faults"
    sentence = f"{met} at {at.value}: the request ends as it must, no slot is lost, the next 20 get their own answers."
    return Claim(f"faults-{at.value}", sentence, scenario) if scenario.cells else None


CATALOGUE = tuple(claim for at in FaultStage if (claim := _claim(at)) is not None)
