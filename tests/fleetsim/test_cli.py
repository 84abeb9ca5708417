from __future__ import annotations

import click
import pytest

from fleetsim.cli import commands, run

COMMANDS = commands.list_commands(click.Context(commands))


@pytest.mark.parametrize("command", [[], ["--help"], *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_each_help_fits_one_screen_and_has_an_example(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert any("Example: fleetsim " in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("nope", "fleetsim: No such command 'nope'."),
        ("up", "fleetsim up: Missing argument 'SIZE'."),
        ("up 0", "fleetsim up: Invalid value for 'SIZE': 0 is not in the range x>=1."),
        ("up 1 --nope", "fleetsim up: No such option '--nope'"),
        ("prove --client nobody", "fleetsim prove: Invalid value for --client: "),
    ],
)
def test_bad_input_is_one_line_on_stderr_and_exit_code_2(
    arguments: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments.split()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(complaint)
    assert len(said.err.splitlines()) == 1


def test_a_command_that_fails_says_so_by_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    @click.pass_context
    def failing(ctx: click.Context) -> None:
        ctx.exit(1)

    @click.command()
    def interrupted() -> None:
        raise click.Abort

    monkeypatch.setattr(
        commands, "get_command", lambda ctx, name: {"failing": failing, "interrupted": interrupted}[name]
    )
    assert run(["failing"]) == 1
    assert run(["interrupted"]) == 130
