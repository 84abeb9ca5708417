"""The rules at work in a fleet: which servers they are on, in which order they are asked, and how they come and go.

Guarantees. A rule armed or removed, from any thread, holds from the next connection or request on, whole or not at all:
each server reads one `_Asked`, which is replaced and never changed. A server on which nothing is armed has no rules at
all, and its requests pay nothing; where rules are armed for other paths, they pay for one look at theirs. What is over
stays listed, with its counts, and is asked no more.

Precedence: a request that names its own faults is not asked about; then the first script with a step for it decides
alone; then every rule decides for itself, and all that strike add up in the order they were armed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from fleetsim.errors import RuleError
from fleetsim.faults.catalogue import Fault, Rules
from fleetsim.faults.doorkeeper import Doorkeeper
from fleetsim.faults.rules import ArmedRule, Rule
from fleetsim.faults.scripts import ArmedScript, Script, ScriptRule, Step, read_steps
from fleetsim.faults.where import Where
from fleetsim.records import ConnectionLine, RequestLine

__all__ = ["Armoury", "ServerRules"]

Switch = Callable[[Rules | None], None]
Clock = Callable[[], float]


class _Asked:
    """Whom a server asks: `rules` and `scripts`, arranged by who can have something to say."""

    def __init__(self, rules: tuple[ArmedRule, ...] = (), scripts: tuple[Script, ...] = ()) -> None:
        self.rules, self.scripts = rules, scripts
        self.of_connections = tuple(each for each in rules if each.rule.is_for_connections)
        self.counting = tuple(each for each in rules if each.rule.where.connection is not None)
        of_requests = tuple(each for each in rules if not each.rule.is_for_connections)
        self.anywhere = tuple(each for each in of_requests if each.rule.where.path is None)
        paths = {each.rule.where.path for each in of_requests} - {None}
        self.by_path = {
            path: tuple(each for each in of_requests if each.rule.where.path in (None, path)) for path in paths
        }
        self.mortal = tuple(each for each in rules if each.rule.times is not None or each.rule.for_ is not None)
        self.timed = tuple(each for each in self.mortal if each.rule.for_ is not None)


class ServerRules:
    """What is armed on one server: the `Rules` its wire asks. `switch` sets them there, None when there are none."""

    def __init__(self, index: int, tags: Mapping[str, str], clock: Clock, switch: Switch) -> None:
        self.index, self.tags = index, tags
        self._clock, self._switch = clock, switch
        self._lock = threading.Lock()
        self._asked = _Asked()
        self._holding: tuple[Fault, ...] = ()
        self.doorkeeper = Doorkeeper(self._hold)

    def add(self, armed: ArmedRule | Script) -> None:
        """Ask it from the next connection or request on; let it hold now, if it is a server's."""
        if isinstance(armed, ArmedRule) and armed.rule.is_standing:
            self.doorkeeper.begin(armed)
            return
        with self._lock:
            there = self._asked
            if isinstance(armed, Script):
                self._asked = _Asked(there.rules, (*there.scripts, armed))
            else:
                self._asked = _Asked((*there.rules, armed), there.scripts)
            self._switch_over()

    def discard(self, gone: Iterable[ArmedRule | Script]) -> None:
        """Ask these no more; those that are not there are none to ask."""
        left = set(gone)
        with self._lock:
            self._asked = _Asked(
                tuple(each for each in self._asked.rules if each not in left),
                tuple(each for each in self._asked.scripts if each not in left),
            )
            self._switch_over()
        for each in left:
            if isinstance(each, ArmedRule):
                self.doorkeeper.end(each)

    def clear(self) -> None:
        """Ask nothing and nobody any more."""
        with self._lock:
            self._asked = _Asked()
            self._switch_over()

    def _hold(self, faults: Sequence[Fault]) -> None:
        """These hold for the server's process: every request that comes meanwhile has their names."""
        with self._lock:
            self._holding = tuple(faults)
            self._switch_over()

    def _switch_over(self) -> None:
        asked = self._asked
        self._switch(self if asked.rules or asked.scripts or self._holding else None)

    def for_connection(self, line: ConnectionLine) -> Sequence[Fault]:
        """Return the faults for a connection just accepted."""
        asked = self._asked
        for each in asked.counting:
            each.count_connection(line)
        for script in asked.scripts:
            step = script.for_connection()
            if step is not None:
                return (step,)
        if not asked.of_connections:
            return ()
        now = self._clock()
        struck = [each.rule.fault for each in asked.of_connections if each.strikes_connection(self.index, line, now)]
        self._drop_what_is_over(asked, now)
        return struck

    def for_request(self, line: RequestLine, headers: Mapping[str, str]) -> Sequence[Fault]:
        """Return the faults for a request whose head has arrived."""
        asked = self._asked
        for script in asked.scripts:
            step = script.for_request(line, headers)
            if step is not None:
                return (*step, *self._holding)
        rules = asked.by_path.get(line.path, asked.anywhere)
        if not rules and not asked.timed and not asked.scripts:
            return self._holding  # a rule that counts is over when it has struck, which is seen there and then
        now = self._clock()
        struck = [each.rule.fault for each in rules if each.strikes_request(self.index, line, headers, now)]
        self._drop_what_is_over(asked, now)
        return (*struck, *self._holding)

    def _drop_what_is_over(self, asked: _Asked, now: float) -> None:
        over: list[ArmedRule | Script] = [each for each in asked.mortal if each.is_over(now)]
        over += [each for each in asked.scripts if not each.remaining]
        if over:
            self.discard(over)


class Armoury:
    """All rules of one fleet. `seed` is for those that bring none; `clock` returns the time of the fleet's loop."""

    def __init__(self, *, seed: int = 0) -> None:
        self._seed = seed
        self._clock: Clock | None = None
        self._servers: list[ServerRules] = []
        self._lock = threading.Lock()
        self._armed: dict[int, ArmedRule] = {}
        self._scripts: dict[int, ArmedScript] = {}
        self._count = 0

    def join(self, index: int, tags: Mapping[str, str], switch: Switch) -> ServerRules:
        """Return the rules of one more server."""
        self._servers.append(ServerRules(index, tags, self._now, switch))
        return self._servers[-1]

    def begin(self, clock: Clock) -> None:
        """The fleet runs, by `clock`: durations begin to count."""
        with self._lock:
            self._clock = clock
            for armed in self._armed.values():
                armed.begin(clock())

    def arm(self, rule: Rule, *, only: ServerRules | None = None, number: int | None = None) -> ArmedRule:
        """Arm `rule` on the servers it is for, of all or of `only` one; `number` is its where another numbers them.

        Raises RuleError, and arms nothing, when it is for none of them.
        """
        meant = self._meant(rule.where, self._servers if only is None else [only])
        with self._lock:
            self._count = self._count + 1 if number is None else number
            armed = self._armed[self._count] = ArmedRule(rule, self._count, self._seed, self._remove, self.settled)
            if self._clock is not None:
                armed.begin(self._clock())
        for server in meant:
            server.add(armed)
        return armed

    def arm_script(self, steps: Iterable[Step], where: Where, server: ServerRules) -> Script:
        """Let `steps` be the faults of the next requests to `server` that `where` means."""
        return self.arm_scripts(ScriptRule(read_steps(steps), where), only=server).scripts[server.index]

    def arm_scripts(
        self, rule: ScriptRule, *, only: ServerRules | None = None, number: int | None = None
    ) -> ArmedScript:
        """Let every server that `rule` is for, of all or of `only` one, play it; `number` as in `arm`.

        Raises RuleError, and arms nothing, when it is for none of them.
        """
        meant = self._meant(rule.where, self._servers if only is None else [only])
        with self._lock:
            self._count = self._count + 1 if number is None else number
            armed = self._scripts[self._count] = ArmedScript(rule, self._count, self._remove_script)
        for server in meant:
            script = Script(rule.script, rule.where, partial(self._leave_script, armed, server))
            armed.scripts[server.index] = script
            server.add(script)
        return armed

    def arm_any(self, rule: Rule | ScriptRule, *, number: int | None = None) -> ArmedRule | ArmedScript:
        """`arm` or `arm_scripts`, whichever it is for."""
        return self.arm(rule, number=number) if isinstance(rule, Rule) else self.arm_scripts(rule, number=number)

    def scripts(self) -> tuple[ArmedScript, ...]:
        """Return the scripts that have been armed and not removed, in that order, consumed ones included."""
        with self._lock:
            return tuple(self._scripts.values())

    def rules(self) -> tuple[ArmedRule, ...]:
        """Return what has been armed and not removed, in that order, what is over included."""
        with self._lock:
            return tuple(self._armed.values())

    async def settled(self) -> None:
        """Return when no fault is about to begin or end to hold for a server. Cancelling it changes nothing."""
        for server in self._servers:
            await server.doorkeeper.settled()

    def find(self, number: int) -> ArmedRule | ArmedScript | None:
        """Return the rule or script that was given this number; None if there is none, or no more."""
        with self._lock:
            return self._armed.get(number) or self._scripts.get(number)

    def is_over(self, armed: ArmedRule | ArmedScript) -> bool:
        """Whether `armed` will never strike again."""
        return armed.is_over(0.0 if self._clock is None else self._clock())

    def clear(self) -> int:
        """Remove every rule and every script, and return how many there were."""
        there: list[ArmedRule | ArmedScript] = [*self.rules(), *self.scripts()]
        for armed in there:
            armed.remove()
        return len(there)

    def start_anew(self) -> None:
        """Remove every rule and script, and number from 1 again."""
        self.clear()
        for server in self._servers:
            server.clear()
        self._count = 0

    def _meant(self, where: Where, among: Sequence[ServerRules]) -> list[ServerRules]:
        meant = [server for server in among if where.is_for_server(server.index, server.tags)]
        if not meant:
            wanted = f"server={where.written().get('server')!r}" if where.tag is None else f"tag={where.tag!r}"
            raise RuleError(f"where: expected one of servers {among[0].index} to {among[-1].index}, got {wanted}")
        return meant

    def _remove(self, armed: ArmedRule) -> None:
        with self._lock:
            self._armed.pop(armed.number, None)
        for server in self._servers:
            server.discard([armed])

    def _leave_script(self, armed: ArmedScript, server: ServerRules, script: Script) -> None:
        server.discard([script])
        if len(armed.scripts) == 1:
            with self._lock:
                self._scripts.pop(armed.number, None)

    def _remove_script(self, armed: ArmedScript) -> None:
        with self._lock:
            self._scripts.pop(armed.number, None)
        for script in armed.scripts.values():
            script.remove()

    def _now(self) -> float:
        assert self._clock is not None  # a server that is asked has been started
        return self._clock()
