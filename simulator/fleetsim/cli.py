"""The commands, and the one rule for bad input: one line on stderr, exit code 2."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

import click

from fleetsim.errors import FleetError
from fleetsim.profile import ProfileError

__all__ = ["commands", "run"]

_COMMANDS = {
    "up": "fleetsim.up",
    "fault": "fleetsim.fault_command",
    "faults": "fleetsim.faults.command",
    "prove": "fleetsim.proofs.command",
    "lab": "fleetsim.lab.command",
    "presets": "fleetsim.presets_command",
    "explain": "fleetsim.explain.command",
    "doctor": "fleetsim.doctor.command",
    "serve": "fleetsim.cluster.serve_command",
    "hostfile": "fleetsim.cluster.hostfile_command",
}


class _Late(click.Group):
    """Commands are imported when they are asked for: `up` starts without the proofs, and the other way round."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 (click's signature)
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(import_module(_COMMANDS[cmd_name]), cmd_name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Late, no_args_is_help=False, invoke_without_command=True)
@click.version_option(package_name="swarmpool", prog_name="fleetsim")
@click.pass_context
def commands(ctx: click.Context) -> None:
    """Fake vLLM servers that keep a ledger of every connection.

    \b
    Example: fleetsim up 8      eight servers, until Ctrl-C
             fleetsim prove     what a client's promises are worth
             fleetsim lab all   what aiohttp does with its connections
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 1 for a claim that fails, 2 for bad input, 130 for Ctrl-C."""
    try:
        code = commands.main(arguments, prog_name="fleetsim", standalone_mode=False)
    except click.UsageError as error:
        return _refuse(error.ctx, error.format_message(), error.exit_code)
    except click.ClickException as error:
        return _refuse(None, error.format_message(), error.exit_code)
    except (FleetError, ProfileError) as error:
        return _refuse(None, str(error), 2)
    except click.Abort:
        return 130
    return code if isinstance(code, int) else 0


def _refuse(ctx: click.Context | None, message: str, code: int) -> int:
    where = ctx.command_path if ctx is not None else "fleetsim"
    click.echo(f"{where}: {' '.join(message.split())}", err=True)
    return code
