"""What can go wrong with a connection, by name: `catalogue.py` is where to start.

One module per stage of a connection's life holds the faults that strike there, one small class each; `kinds.py` says
what a fault may do, and the wire does it.
"""
