"""`fleetsim doctor`: whether this machine can run a fleet of some size, before it is tried.

`machine.py` looks, `checks.py` decides, `requirements.py` reads what the distribution says it needs.
"""
