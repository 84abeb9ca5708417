"""A fleet over several processes, for one loop is one core.

`ShardedFleet` (`fleet.py`) starts its shards, each a process with an interpreter and a loop of its own, and is all that
a user sees: one hostfile, one control port, one ledger. A shard (`process.py`) is a plain `Fleet` that is part of the
whole and answers calls (`channel.py`). On the fleet's side `shard.py` is one such process, `rules.py` sends each rule
to the shards it is for, `ledger.py` adds up.

Guarantees. Nothing is announced before every server listens. A server says the same words, on the same seed, in
whichever process it is. When the fleet ends, or is killed, so do its shards.

What is hard is the end. A fleet and its shard share a socket pair, of which each holds one end. Whichever way a process
ends, SIGKILL included, the kernel closes its end, and the other side reads the end of file: that is all it takes for
a shard to go, and for the fleet to know that one is gone. So there are no heartbeats, and no process ids in files.

Shards are started anew, not forked, because a fork copies the loop and the locks of other threads; and not by
`multiprocessing`, which would import the user's main module in every shard, and asks for a guard in it. They have a
session of their own, so that Ctrl-C reaches the fleet alone, which then ends them.
"""
