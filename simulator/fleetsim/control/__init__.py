"""A running fleet, driven from outside: a port of its own under `/-/`, and the file that says where it is.

`guard.py` decides who may call, `app.py` what a call does to a `driven.py`, `port.py` listens; `running.py` writes and
finds the state files, `caller.py` is the other side of the wire.
"""
