"""Clients and servers beside others of their kind, in one run: `python -m loadtests.bench peers`.

Each client meets each server with 1, 64 and 1,024 agents. What makes it a comparison:

- **Processes.** A client has a process of its own for each number of agents; a server has one too, with as many ports.
  This process only tells them when to begin (`child`, `told`), so its own cost is in nobody's figures.
- **The same work.** The same prompts in the same order, 64 at once, each agent in its turn, and a bound on requests and
  on seconds (`plan`). A client is made for each server it meets, asks to open its connections, and then is measured.
- **In turn.** All servers stand; each round goes through all cells in an order drawn from a seed (`run`). Whatever the
  machine does besides falls on all alike, and how much that is shows in the quartiles over the rounds.
- **As they come.** Nobody is tuned and nobody retries; access logs are off. Servers run on uvloop where it is
  installed, as uvicorn and guidellm choose by themselves; clients on asyncio's own loop.

Connections opened are counted by an audit hook on `socket.connect`, which sees all clients alike. Timer error is how
late a sleep of 10 ms ends in the loop that is measured (`lag`). A peer that is not installed is left out with a
sentence (`installed`). `page` says what came out, `losses` where somebody is better than we are.
"""
