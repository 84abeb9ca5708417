"""`ShardedFleet`: what a user sees of a fleet over several processes."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from ssl import SSLContext
from types import EllipsisType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

import msgspec

from fleetsim.book import JOURNAL_LINES
from fleetsim.certificates import Authority
from fleetsim.control.app import answer_for
from fleetsim.control.port import ControlPort, check_control
from fleetsim.errors import FleetError
from fleetsim.faults.catalogue import Fault
from fleetsim.faults.rules import Rule
from fleetsim.faults.scripts import ScriptRule
from fleetsim.faults.where import Where
from fleetsim.fleet import authority_for, vouching
from fleetsim.fleet_options import (
    Tags,
    check_first_index,
    check_journal_lines,
    check_ports,
    check_profile,
    check_seed,
    check_size,
    check_tls,
    socket_paths,
    spread_ports,
    spread_tags,
    write_hostfile,
)
from fleetsim.open_files import check_open_files
from fleetsim.profile import Profile
from fleetsim.server import FleetEndpoint, as_reached, check_host
from fleetsim.shards.driven import DrivenShards
from fleetsim.shards.elsewhere import OF_FLEETS, SERVERS, no_such_name
from fleetsim.shards.ledger import ShardedLedger
from fleetsim.shards.rules import ShardedRules
from fleetsim.shards.shard import Shard, ShardState
from fleetsim.shards.sharded_rule import ShardedRule
from fleetsim.shards.together import together
from fleetsim.thread import Threaded
from fleetsim.wire.endings import Ending, as_ending
from fleetsim.wire.settings import check_keepalive_timeout

__all__ = ["ShardedFleet"]

logger = logging.getLogger("fleetsim")


class ShardedFleet(Threaded):
    """`size` fake vLLM servers, spread over `processes`, for what is more than one loop can serve.

    `async with` runs them beside the running loop; a plain `with` does the same from code without one, and `run` what
    is a coroutine here. Leaving ends everything, within two seconds. So does the end of this process, whatever ends it.

    - `restart_shards`: start a shard whose process is gone anew, on the same ports and with the same rules. Its counts
      are gone. One that goes while it starts stays down.
    - `report`: is given a line when a shard is gone, and when it serves again; by default it is a logged warning.
    - All else is as in `Fleet`, but for an `answer` of your own. `profile.faults` and rules that count (`times`,
      `after`, `where: connection`) must be for servers of one process, such as one server. What of a `Fleet` needs its
      servers in this process (`fleet[0]`, `hold`, the journal, `assert_...`) is refused with what to do instead.

    Raises ValueError for arguments that cannot be; on entry BindError, and FleetError where a process could not be
    started, with no server left listening.
    """

    def __init__(
        self,
        size: int,
        *,
        processes: int = 2,
        restart_shards: bool = False,
        report: Callable[[str], None] | None = None,
        profile: Profile | None = None,
        host: str = "127.0.0.1",
        base_port: int | None = None,
        seed: int | None = None,
        first_index: int = 0,
        tags: Tags = None,
        ending: str | Ending | None = None,
        keepalive_timeout: float | EllipsisType | None = ...,
        tell_connection: bool = False,
        ending_header: bool | None = None,
        journal_lines: int = JOURNAL_LINES,
        control_port: int | None = None,
        control_token: str | None = None,
        tls: bool | Authority | None = None,
        unix_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        check_size(size)
        check_processes(processes, size)
        check_control(control_port, control_token)
        check_ports(base_port, None, size)
        check_profile(profile)
        check_host(host)
        check_seed(seed)
        check_first_index(first_index)
        check_journal_lines(journal_lines)
        check_tls(tls)
        self.profile = profile = profile if profile is not None else Profile()
        self.seed = profile.seed if seed is None else seed
        idle = profile.keepalive_timeout if isinstance(keepalive_timeout, EllipsisType) else keepalive_timeout
        check_keepalive_timeout(idle)
        ended = profile.ending if ending is None else ending
        paths = socket_paths(unix_dir, size, first_index, base_port=base_port)
        self.paths = tuple(path for path in paths if path is not None)
        self._first, self._host, self._tags = first_index, host, spread_tags(tags, size, first_index=first_index)
        self._ports = tuple(spread_ports(base_port, None, size))
        self._words: dict[str, object] = {
            # Its rules are numbered here, and go to the shards they are for.
            "profile": {key: value for key, value in msgspec.structs.asdict(profile).items() if key != "faults"},
            "host": host,
            "seed": self.seed,
            "ending": None if ended is None else as_ending(ended).written(),
            "keepalive_timeout": idle,
            "tell_connection": tell_connection,
            "ending_header": ending_header,
            "journal_lines": journal_lines,
            "unix_dir": None if unix_dir is None else os.path.abspath(unix_dir),
        }
        self._authority = authority_for(host, profile.tls if tls is None else tls)
        self._words["tls"] = None if self._authority is None else dataclasses.asdict(self._authority.parts)
        self._restart, self._report = restart_shards, logger.warning if report is None else report
        spread = spread_servers(size, processes, first=first_index)
        self.shards = tuple(Shard(number, servers) for number, servers in enumerate(spread))
        self.ledger = ShardedLedger(self.shards, self._home)
        self._rules = ShardedRules(self.shards, self._tags)
        self._first_rules = list(enumerate(profile.faults, 1))
        for rule in profile.faults:
            self._rules.homes(rule)
        self._driven = DrivenShards(self.shards, self.ledger, self._rules, lambda: self.urls, self._tags)
        self._control: ControlPort | None = None
        if control_port is not None:
            at = "127.0.0.1" if control_token is None else host
            self._control = ControlPort(answer_for(self._driven, token=control_token), at, control_port)
        self._entered = False
        self._watches: list[asyncio.Task[None]] = []

    def __repr__(self) -> str:
        return f"<ShardedFleet of {len(self)} over {len(self.shards)} processes>"

    def __len__(self) -> int:
        return len(self._tags)

    if not TYPE_CHECKING:  # for whoever knows `Fleet`, and is told at run time

        def __getattr__(self, name: str) -> NoReturn:
            no_such_name(self, name, OF_FLEETS)

        def __getitem__(self, index: int) -> NoReturn:
            raise TypeError(SERVERS)

    @property
    def is_whole(self) -> bool:
        """Whether every shard serves."""
        return all(shard.state is ShardState.SERVING for shard in self.shards)

    @property
    def endpoints(self) -> tuple[FleetEndpoint, ...]:
        """Host, port, tags and scheme of each server. Raises FleetError before the fleet is entered, and for a fleet on
        Unix sockets."""
        if self.paths:
            raise FleetError(f"servers have no port: they listen at {self.paths[0]} and so on")
        ports = [port for shard in self.shards for port in shard.ports or ()]
        if len(ports) < len(self):
            raise FleetError("endpoints: expected a fleet that has been entered")
        host, scheme = as_reached(self._host), "http" if self._authority is None else "https"
        return tuple(FleetEndpoint(host, port, tags, scheme) for port, tags in zip(ports, self._tags, strict=True))

    @property
    def urls(self) -> tuple[str, ...]:
        """`http://host:port` of each server; on Unix sockets `http://localhost`, for a connector that knows the path.

        Raises FleetError before the fleet is entered."""
        if self.paths:
            return (f"{'http' if self._authority is None else 'https'}://localhost",) * len(self)
        return tuple(endpoint.url for endpoint in self.endpoints)

    @property
    def base_urls(self) -> tuple[str, ...]:
        """What OpenAI clients are given: `http://host:port/v1`. Raises FleetError before the fleet is entered."""
        return tuple(f"{url}/v1" for url in self.urls)

    def ssl_context(self) -> SSLContext:
        """`Fleet.ssl_context`: one for all processes. Raises FleetError without TLS."""
        return vouching(self._authority).client()

    def ca_file(self, path: str | os.PathLike[str]) -> Path:
        """`Fleet.ca_file`: one for all processes. Raises OSError, and FleetError without TLS."""
        return vouching(self._authority).write(Path(path))

    @property
    def control_url(self) -> str:
        """Where the fleet is driven: `http://host:port`. Raises FleetError for a fleet without a control port, or
        before it is entered."""
        if self._control is None or not self._control.port:
            raise FleetError("control_url: expected a fleet that was given a control_port and has been entered")
        return self._control.url

    def hostfile(self, path: str | os.PathLike[str]) -> Path:
        """Write a line `host<TAB>port<TAB>key=value...` per server, all at once or not at all, and return the path.

        Raises OSError when the file cannot be written, FleetError before the fleet is entered.
        """
        return write_hostfile(Path(path), self.endpoints)

    def arm_first(self, rule: Rule | ScriptRule, *, number: int) -> None:
        """Arm `rule` when the fleet starts, as the rule of that `number`: it chooses the dice. To be called before.

        Raises RuleError when it is for no server of the fleet, or counts over several processes.
        """
        self._rules.homes(rule)
        self._first_rules.append((number, rule))

    async def fault(
        self,
        fault: str | Fault,
        /,
        *,
        rate: float = 1.0,
        times: int | None = None,
        after: int = 0,
        for_: float | str | None = None,
        where: Where | Mapping[str, Any] | None = None,
        seed: int | None = None,
        **parameters: object,
    ) -> ShardedRule:
        """`Fleet.fault` over the processes: `async with await fleet.fault("reset", where={"server": 2500}) as rule:`.

        Returns when the rule holds. Raises FaultError and RuleError, and changes nothing; ControlError when no process
        serves that it is for. Cancelling it may leave it armed. Any number may call at once.
        """
        made = Rule.make(fault, parameters, rate=rate, times=times, after=after, for_=for_, where=where, seed=seed)
        armed = await self._rules.arm(made)
        return ShardedRule(made, armed["number"], self._rules)

    async def clear_faults(self) -> int:
        """Remove every rule, and return how many there were. Raises ControlError when a shard goes meanwhile."""
        return await self._rules.clear()

    async def rules(self) -> list[dict[str, Any]]:
        """Return every rule and script armed and not removed, with its counts over all processes, as the control port
        tells it. Raises ControlError when a shard goes meanwhile."""
        return await self._rules.accounts()

    async def servers(self) -> list[dict[str, Any]]:
        """Return where each server is, its state, tags and figures, as the control port tells it.

        Those of a shard that is gone are dead, and their `requests` None. Raises ControlError when one goes while it is
        asked. Cancelling it changes nothing; any number may ask at once.
        """
        return await self._driven.servers()

    async def __aenter__(self) -> Self:
        """Start every shard. Raises BindError, and FleetError when a process cannot be started or entered before; no
        process is left then, nor when it is cancelled."""
        if self._entered:
            raise FleetError("a fleet is entered once: make a new one")
        self._entered = True
        check_open_files(max(len(shard.servers) for shard in self.shards))
        for number, rule in self._first_rules:
            self._rules.add(rule, number=number)
        try:
            await together(self._start(shard) for shard in self.shards)
            if self._control is not None:
                await self._control.start()
        except BaseException:
            await self._close()
            raise
        self._watches = [asyncio.create_task(self._attend(shard)) for shard in self.shards]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close()

    def _home(self, server: int) -> Shard:
        for shard in self.shards:
            if server in shard.servers:
                return shard
        raise IndexError(f"server: expected {self._first} to {self._first + len(self) - 1}, got {server}")

    async def _start(self, shard: Shard) -> None:
        first, last = shard.servers[0] - self._first, shard.servers[-1] + 1 - self._first
        mine: dict[str, object] = {
            "size": len(shard.servers),
            "first_index": shard.servers[0],
            "ports": None if self.paths else shard.ports or self._ports[first:last],
            "tags": self._tags[first:last],
            "rules": self._rules.for_start(shard),
        }
        await shard.start(self._words | mine)

    async def _attend(self, shard: Shard) -> None:
        """Say when the shard is lost, and start it again if that is wanted, for as long as that succeeds."""
        while True:
            how = await shard.lost()
            self.ledger.lost.append(shard.number)
            self._report(f"{shard} {how}; its connections and counts are gone")
            if not self._restart:
                return
            try:
                await self._start(shard)
            except FleetError as error:
                self._report(f"{shard} could not be restarted: {error}")
                return
            self._report(f"{shard} serves again, on the same ports")

    async def _close(self) -> None:
        for watch in self._watches:
            watch.cancel()
        if self._watches:
            await asyncio.wait(self._watches)
        if self._control is not None:
            await self._control.close()
        serving = [shard for shard in self.shards if shard.state is ShardState.SERVING]
        await together(shard.end() for shard in self.shards)
        for shard in serving:
            if shard.last_figures is None:
                self.ledger.lost.append(shard.number)
                self._report(f"{shard} did not end in time and was killed; its counts are gone")
        for watch in self._watches:
            if not watch.cancelled():
                watch.result()


def check_processes(processes: object, size: int) -> None:
    if not isinstance(processes, int) or isinstance(processes, bool) or not 1 <= processes <= size:
        raise ValueError(f"processes: expected 1 to {size} for {size} servers, got {processes!r}")


def spread_servers(size: int, processes: int, *, first: int = 0) -> list[range]:
    """Return which servers each process has: neighbours together, and as many in each, give or take one."""
    bounds = [first + size * number // processes for number in range(processes + 1)]
    return [range(first, last) for first, last in itertools.pairwise(bounds)]
