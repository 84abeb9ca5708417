"""How bytes leave and connections end: vLLM's HTTP, exactly, on aiohttp's low-level server.

`listener.py` accepts, `connection.py` serves one connection, `endings.py` is the catalogue of ways a response stops,
`outgoing.py` one response on its way, `heads.py` its head; `aiohttp_seam.py` alone knows aiohttp's insides.
"""
