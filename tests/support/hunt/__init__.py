"""The hunt: plans drawn from a seed, carried out with a pool on a fleet in a simulated world, and judged by oracles.

    @pytest.mark.simulated(seeds=150, plan=draw_contended, simpler=simpler, **CONTENDED)
    async def test_contended_plans_find_nothing(net, plan):
        await carry_out(net, AGENT_POOL, plan)

`hunt` and `attempt` do the same without pytest.

A *plan* is a list of frozen steps (`steps.py`) that prints as the Python that makes it again. `drawing.py` draws two
sorts: random ones, and contended ones with few slots, many callers, coincidences, and cancels a few turns of the loop
after a hand-over. `carrying_out.py` does what a plan says, heals the network and the fleet, waits for what is pending,
lets all come to rest, tries every slot, closes the pool and then the fleet.

Nothing is judged where it is done. `World` tells the *oracles* (`oracles/`) of it, and they keep what they find; the
end raises it as `Broken`. Some look from outside and hold for any pool: what the kernel says of sockets, what the fleet
says of requests, what callers are told. Others read the pool's own books after each of their transitions.

To add an oracle: subclass `Oracle` (`oracles/oracle.py`), override the moments it needs, use `self.must(holds, why)`,
and add it to `oracles.ORACLES`. Watch it fail on a pool that is broken on purpose.

To add a kind of pool: make a `Kind` (`kinds.py`). What it makes must speak `post(agent_index, prompt, max_tokens)` with
a result like `Response`, have `size` and `endpoints`, and `close(drain)`. `lacks` names the methods it has not; steps
that need them are passed over. Books that it does not keep are not read.

To add a step: a frozen dataclass with `at`, and a function registered with `perform.register` in `performing.py`.
"""

from hunt.carrying_out import Broken, carry_out
from hunt.drawing import CALM, CONTENDED, draw_caring, draw_contended, draw_random
from hunt.hunting import attempt, hunt, plan_of
from hunt.kinds import AGENT_POOL, VLLM_POOL, Kind
from hunt.simpler import simpler

__all__ = [
    "AGENT_POOL",
    "CALM",
    "CONTENDED",
    "VLLM_POOL",
    "Broken",
    "Kind",
    "attempt",
    "carry_out",
    "draw_caring",
    "draw_contended",
    "draw_random",
    "hunt",
    "plan_of",
    "simpler",
]
