"""Ways to put many agents to one task, each a function over a pool or any view of it.

`broadcast`, `scatter_gather`, `tree_reduce`, `blackboard` and `pipeline` have a module each, as have the steps they are
made of: `steps` sends, `reduction` says what is missing from an answer that was made of many.

What all of them keep. Arguments are checked before anything is sent. Results are in the order of the prompts. A request
that fails is in the result, never dropped. Misuse raises as it does for a pool: `EmptyPool`, `PoolClosed`, `BadIndex`.
Templates are filled by plain replacement, in one pass, so that braces in an answer mean nothing. `progress` is told
after each result; what it raises, and cancelling the call, ends all that is under way. `max_tokens` is for the answers,
`max_tokens_aggregation` for those that merge others (None: as the pool has it), `sampling` goes into every request.
Calls may run at the same time, on the same view or others.
"""

from swarmpool.patterns.blackboard import Blackboard
from swarmpool.patterns.broadcast import broadcast, broadcast_and_reduce
from swarmpool.patterns.embedding import scatter_gather_embeddings
from swarmpool.patterns.pipeline import PipelineResult, Stage, StageResult, fan_out_fan_in, run_pipeline, run_stages
from swarmpool.patterns.reduction import Reduction
from swarmpool.patterns.scatter_gather import map_gather, scatter_gather
from swarmpool.patterns.tree_reduce import tree_reduce
from swarmpool.progress import Progress

__all__ = [
    "Blackboard",
    "PipelineResult",
    "Progress",
    "Reduction",
    "Stage",
    "StageResult",
    "broadcast",
    "broadcast_and_reduce",
    "fan_out_fan_in",
    "map_gather",
    "run_pipeline",
    "run_stages",
    "scatter_gather",
    "scatter_gather_embeddings",
    "tree_reduce",
]
