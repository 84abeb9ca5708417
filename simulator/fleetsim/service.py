"""What the commands that run a fleet until they are told to stop have in common: `fleetsim up`, `fleetsim serve`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from fleetsim.control.running import announced
from fleetsim.fleet import Fleet
from fleetsim.profile import Profile
from fleetsim.settings import Processes, described_profile, profile_options

if TYPE_CHECKING:
    from fleetsim.ledger import LedgerSnapshot
    from fleetsim.shards.fleet import ShardedFleet
    from fleetsim.shards.ledger import ShardedSnapshot

    AnyFleet = Fleet | ShardedFleet

__all__ = ["Service", "counted", "figures_of", "findable", "is_whole", "service_options"]

Command = Callable[..., Any]


def service_options(command: Command) -> Command:
    """Give a command the options of a profile, and those by which its fleet is spread, driven and trusted.

    `Service.read` reads them.
    """
    for option in reversed(_options()):
        command = option(command)
    return profile_options(command)


def _options() -> list[Callable[[Command], Command]]:
    option = click.option
    return [
        option("--tls", is_flag=True, help="Speak TLS, by a CA made at the start."),
        option(
            "--processes", type=Processes(), metavar="N[:restart]", help="Spread over N; 2:restart renews a killed one."
        ),
        option("--control", type=int, metavar="PORT", help="Drives it; 0: free port. Also --control-token."),
        # Told with --control, for help is to fit a screen. With it the port is on --host.
        option("--control-token", envvar="FLEETSIM_CONTROL_TOKEN", hidden=True),
    ]


@dataclass(frozen=True, slots=True)
class Service:
    """What a command line says of its fleet: the servers, the processes they are spread over, and its control port."""

    profile: Profile
    processes: tuple[int, bool] | None
    control: int | None
    token: str | None = field(repr=False)

    @classmethod
    def read(
        cls,
        ctx: click.Context,
        *,
        profile: str | None,
        jitter: dict[str, Any] | None,
        processes: tuple[int, bool] | None,
        control: int | None,
        control_token: str | None,
        **settings: Any,
    ) -> Service:
        """Return what the options of `service_options` say. Raises UsageError and ProfileError."""
        described = described_profile(ctx, profile, jitter, settings)
        if control is None and ctx.get_parameter_source("control_token") is ParameterSource.COMMANDLINE:
            raise click.UsageError("--control-token: expected --control with it", ctx)
        token = None if control is None else control_token  # which may be in the environment for other commands
        return cls(described, processes, control, token)

    def maker(self, command: str) -> Callable[..., AnyFleet]:
        """Return what makes the fleet, given its size and the options that are left; `command` tells of lost processes.

        It raises ValueError for options that cannot be.
        """
        options: dict[str, Any] = {"control_port": self.control, "control_token": self.token}
        if self.processes is None:
            return partial(Fleet, **options)
        from fleetsim.shards.fleet import ShardedFleet  # noqa: PLC0415 (a fleet in this process starts without it)

        def report(line: str) -> None:
            click.echo(f"{command}: {line}", err=True)

        number, restart = self.processes
        return partial(ShardedFleet, processes=number, restart_shards=restart, report=report, **options)


@contextlib.contextmanager
def findable(fleet: AnyFleet, service: Service, *, first: int = 0) -> Iterator[list[str]]:
    """Let `fleetsim fault` find the fleet while it runs, if it is driven; the lines to print are yielded.

    `first` is the index of its first server. Raises ControlError when it cannot be made known.
    """
    if service.control is None:
        yield []
        return
    with announced(fleet.control_url, size=len(fleet), token=service.token):
        yield [f"control   {fleet.control_url}   try  fleetsim fault reset --server {first} --for 10s"]


def is_whole(fleet: AnyFleet) -> bool:
    """Whether none of its processes has been lost for good."""
    return isinstance(fleet, Fleet) or fleet.is_whole


async def figures_of(fleet: AnyFleet) -> LedgerSnapshot | ShardedSnapshot:
    """Return the ledger's figures. Raises ControlError when a process goes while it is asked."""
    return fleet.ledger.snapshot() if isinstance(fleet, Fleet) else await fleet.ledger.snapshot()


def counted(number: int, thing: str) -> str:
    """Return `1 request`, `2,000 requests`."""
    return f"{number} {thing}" if number == 1 else f"{number:,} {thing}s"
