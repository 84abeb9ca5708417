"""`fleetsim prove`: claims about a client's connections, scenarios that would break them, and verdicts with evidence.

Read `client.py` for what a client under test must offer, `claim.py` for what a claim is, and any file of `claims/` for
the scenarios. `witness.py` is a third pair of eyes: it counts the client's sockets where neither side can colour them.
"""
