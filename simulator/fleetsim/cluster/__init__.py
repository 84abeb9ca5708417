"""Fleets over machines, by the launcher that is there: `mpiexec` or `srun` starts one `fleetsim serve` per rank.

`ranks.py` asks the environment which rank this is. Each rank writes a file of its own into a folder that all nodes
share (`registry.py`); `fleetsim hostfile` waits for them and puts them together (`gather.py`). Nothing else is needed
between the nodes: no port, no daemon.
"""
