"""A fleet: N fake vLLM servers in this loop, and the one ledger over them all."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from ssl import SSLContext
from types import EllipsisType, TracebackType
from typing import Any, Self

from fleetsim.book import JOURNAL_LINES, Book
from fleetsim.certificates import Authority
from fleetsim.control.app import make_control
from fleetsim.control.port import ControlPort, check_control
from fleetsim.errors import FleetError, StuckRequestError
from fleetsim.exchange import Answer
from fleetsim.faults.armoury import Armoury
from fleetsim.faults.catalogue import Fault
from fleetsim.faults.rules import ArmedRule, Rule
from fleetsim.faults.where import Where
from fleetsim.fleet_options import (
    Tags,
    check_answer,
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
from fleetsim.hold import Hold
from fleetsim.ledger import Ledger
from fleetsim.open_files import check_open_files, raise_open_files
from fleetsim.profile import Profile
from fleetsim.server import FakeVLLMServer, FleetEndpoint, as_reached
from fleetsim.testing.assertions import Assertions
from fleetsim.thread import Threaded
from fleetsim.wire.endings import Ending, as_ending

__all__ = ["Fleet"]

# How often a renewal ends the connections of clients that come again before it gives up.
_RENEWALS = 5


class Fleet(Threaded, Assertions):
    """`size` fake vLLM servers.

    `async with Fleet(8) as fleet:` runs them in the running loop; `with Fleet(8) as fleet:` runs the same in a thread
    of its own, for code without a loop. Leaving closes everything at once, requests in flight included.

    - `profile`: what each server is. `answer`: instead of vLLM's routes, `answer(index)` makes a server's Answer.
    - `host`: where to listen. `base_port`: the first server's port, the others count on; None lets the kernel choose.
      `ports`: instead, the port of each, 0 for what the kernel shall choose.
    - `seed`: chooses words and jitter; None takes the profile's. `first_index`: the first server's index, which chooses
      them too, where the fleet is part of a larger one.
    - `tags`: one mapping for all, a sequence of one per server, or a function of the index.
    - `ending`, `keepalive_timeout` (seconds; None never): instead of the profile's.
    - `tls`: whether to speak TLS, instead of the profile's, or by which Authority; see `ssl_context`.
    - `unix_dir`: a folder in which each server listens at a socket file of its own, its `path`, and on no port.
    - `tell_connection`, `ending_header`: see `FakeVLLMServer`. `journal_lines`: how many the ledger's journal keeps.
    - `control_port`: where calls under `/-/` drive the fleet (0: a free port; None: nowhere), on loopback; with a
      `control_token`, which every call then needs, on `host`.

    Raises ValueError for arguments that cannot be, and BindError on entry, with no server left listening.
    """

    def __init__(
        self,
        size: int,
        *,
        profile: Profile | None = None,
        answer: Callable[[int], Answer] | None = None,
        host: str = "127.0.0.1",
        base_port: int | None = None,
        ports: Sequence[int] | None = None,
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
        check_control(control_port, control_token)
        check_ports(base_port, ports, size)
        check_first_index(first_index)
        check_profile(profile)
        check_answer(answer)
        check_seed(seed)
        check_journal_lines(journal_lines)
        check_tls(tls)
        each_path = socket_paths(unix_dir, size, first_index, base_port=base_port, ports=ports)
        self.profile = profile if profile is not None else Profile()
        self._book = Book(journal_lines=journal_lines)
        self.ledger = Ledger(self._book, self._book.total, None)
        self.seed = self.profile.seed if seed is None else seed
        self._make = make = answer if answer is not None else self._answers()
        idle = self.profile.keepalive_timeout if isinstance(keepalive_timeout, EllipsisType) else keepalive_timeout
        self._armoury = Armoury(seed=self.seed)
        each_port = spread_ports(base_port, ports, size)
        each_tags = spread_tags(tags, size, first_index=first_index)
        self._authority = authority_for(host, self.profile.tls if tls is None else tls)
        self._servers = tuple(
            FakeVLLMServer(
                make(index),
                host=host,
                port=port,
                index=index,
                book=self._book,
                tags=each,
                backlog=self.profile.backlog,
                ending=self.profile.ending if ending is None else ending,
                keepalive_timeout=idle,
                tell_connection=tell_connection,
                ending_header=ending_header,
                armoury=self._armoury,
                anew=partial(make, index),
                path=path,
                tls=None if self._authority is None else self._authority.server,
                websockets=self.profile.websockets,
            )
            for index, (port, each, path) in enumerate(zip(each_port, each_tags, each_path, strict=True), first_index)
        )
        self._arm_profile()
        self._control: ControlPort | None = None
        if control_port is not None:
            at = "127.0.0.1" if control_token is None else host
            self._control = ControlPort(make_control(self, token=control_token), at, control_port)
        self._entered = False

    def _answers(self) -> Callable[[int], Answer]:
        # Imported here, for whoever brings an `answer` needs none of what the routes need.
        from fleetsim.api import make_app  # noqa: PLC0415

        def make(index: int) -> Answer:
            tally = self._book.part(index)
            return make_app(self.profile, seed=self.seed, index=index, in_flight=lambda: tally.in_flight)

        return make

    def __repr__(self) -> str:
        return f"<Fleet of {len(self)}: {self.ledger!r}>"

    def __len__(self) -> int:
        return len(self._servers)

    def __getitem__(self, index: int) -> FakeVLLMServer:
        return self._servers[index]

    def __iter__(self) -> Iterator[FakeVLLMServer]:
        return iter(self._servers)

    @property
    def endpoints(self) -> tuple[FleetEndpoint, ...]:
        """Host, port, tags and scheme of each server. Raises FleetError before the fleet is entered, and for a fleet
        on Unix sockets."""
        return tuple(server.endpoint for server in self)

    @property
    def urls(self) -> tuple[str, ...]:
        """`http://host:port` of each server. Raises FleetError before the fleet is entered."""
        return tuple(server.url for server in self)

    @property
    def base_urls(self) -> tuple[str, ...]:
        """What OpenAI clients are given: `http://host:port/v1`. Raises FleetError before the fleet is entered."""
        return tuple(server.base_url for server in self)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The socket file of each server; none for a fleet on ports."""
        return tuple(server.path for server in self if server.path is not None)

    def ssl_context(self) -> SSLContext:
        """Return a new context for clients, which trusts this fleet and nobody else: `AgentPool(..., ssl=context)`.

        The certificate is for localhost, its addresses and the fleet's `host`. Raises FleetError without TLS.
        """
        return vouching(self._authority).client()

    def ca_file(self, path: str | os.PathLike[str]) -> Path:
        """Write the certificate of the fleet's authority to `path`, as PEM for `curl --cacert` and `SSL_CERT_FILE`.

        Returns the path. Raises OSError when it cannot be written, FleetError for a fleet without TLS.
        """
        return vouching(self._authority).write(Path(path))

    def set_ending(self, ending: str | Ending | None) -> None:
        """Set how responses of every server end, from the next request on. Raises EndingError and changes nothing."""
        parsed = as_ending(ending)
        for server in self:
            server.ending = parsed

    def fault(
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
    ) -> ArmedRule:
        """`FakeVLLMServer.fault` for all servers, or for those that `where` names: one rule with one account."""
        made = Rule.make(fault, parameters, rate=rate, times=times, after=after, for_=for_, where=where, seed=seed)
        return self._armoury.arm(made)

    @property
    def faults(self) -> Armoury:
        """The rules at work in the fleet: `fleet.faults.rules()`, `fleet.faults.clear()`."""
        return self._armoury

    @property
    def control_url(self) -> str:
        """Where the fleet is driven: `http://host:port`. Raises FleetError for a fleet without a control port, or
        before it is entered."""
        if self._control is None or not self._control.port:
            raise FleetError("control_url: expected a fleet that was given a control_port and has been entered")
        return self._control.url

    def hold(self) -> Hold:
        """Return a context manager that keeps back every answer of the fleet while it is open."""
        return Hold([server.holds for server in self], self.ledger)

    def hostfile(self, path: str | os.PathLike[str]) -> Path:
        """Write a line `host<TAB>port<TAB>key=value...` per server, all at once or not at all, and return the path.

        With TLS the URL stands for host and port. Raises OSError when the file cannot be written, FleetError before
        the fleet is entered, and for one on Unix sockets.
        """
        return write_hostfile(Path(path), self.endpoints)

    async def renew(self) -> None:
        """Make the fleet as it was when it was entered, on the same ports, for the next user of it.

        Connections are ended, holds released, settings put back, words and ids start again, the ledger is empty.
        Raises FleetError when that cannot be: a server serves no longer, or clients go on connecting. The fleet is
        then good only to be closed. Cancelling it leaves it half renewed. Not to be called twice at once.
        """
        self._armoury.start_anew()
        await self._armoury.settled()
        for _ in range(_RENEWALS):
            # What has connected by now is accepted within one turn of the loop, and handed over in the next.
            await turns(2)
            for server in self:
                await server.renew(self._make(server.index))
            await turns(2)
            if self._book.start_anew():
                self._arm_profile()
                await self._armoury.settled()
                return
        raise FleetError(f"after {_RENEWALS} rounds of ending connections clients still open new ones")

    async def __aenter__(self) -> Self:
        """Start every server in the running loop. Raises BindError with no server left listening, FleetError when
        entered before. Cancelling it leaves no server listening either."""
        self._enter_once()
        self._book.bind(asyncio.get_running_loop())
        check_open_files(len(self))
        raise_open_files(len(self))
        try:
            for server in self:
                await server.start()
            if self._control is not None:
                await self._control.start()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close()

    def _arm_profile(self) -> None:
        for rule in self.profile.faults:
            self._armoury.arm_any(rule)

    def _enter_once(self) -> None:
        if self._entered:
            raise FleetError("a fleet is entered once: make a new one")
        self._entered = True

    async def _close(self) -> None:
        for server in self:
            server.end_all()
        if self._control is not None:
            await self._control.close()
        stuck = [error for server in self if (error := await closed(server)) is not None]
        self._book.unbind()
        if stuck:
            raise stuck[0]


def authority_for(host: str, tls: bool | Authority) -> Authority | None:
    """Return the authority of a fleet at `host`, a new one unless one is given."""
    if isinstance(tls, Authority):
        return tls
    return Authority(as_reached(host)) if tls else None


def vouching(authority: Authority | None) -> Authority:
    """Return `authority`. Raises FleetError when there is none."""
    if authority is None:
        raise FleetError("this fleet speaks no TLS: make it with Fleet(..., tls=True)")
    return authority


async def closed(server: FakeVLLMServer) -> StuckRequestError | None:
    """Close `server`; return what would keep the others from being closed, for later."""
    try:
        await server.close()
    except StuckRequestError as error:
        return error
    return None


async def turns(number: int) -> None:
    """Let the loop go round `number` times."""
    for _ in range(number):
        await asyncio.sleep(0)
