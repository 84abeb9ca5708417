"""`python -m swarmpool ask`: one prompt, many times, to the agents of a hostfile, and how they answered."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TextIO

from swarmpool.ask_report import AskReport, as_json, as_text, ask_report
from swarmpool.dialects import ITEM_DIALECTS, LINE_DIALECTS
from swarmpool.endpoints import AgentEndpoint
from swarmpool.hostfile import parse_hostfile
from swarmpool.options import count, count_or_none
from swarmpool.patterns.scatter_gather import scatter_gather
from swarmpool.progress import Progress
from swarmpool.vllm import VLLMPool

__all__ = ["ProgressBar", "add_ask"]

_CELLS = 30  # of the bar


def add_ask(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command to those of a parser."""
    about = "Send a prompt to the agents in turn, and tell how they answered."
    ask = add_parser("ask", help=about, description=about, allow_abbrev=False)
    ask.add_argument("prompt", metavar="PROMPT", help="what to ask; - reads it from stdin")
    ask.add_argument("--hostfile", metavar="FILE", required=True, help="names the agents, in any dialect")
    ask.add_argument(
        "--dialect", choices=[*LINE_DIALECTS, *ITEM_DIALECTS], help="of the hostfile, if it is to be no other"
    )
    ask.add_argument("--tag", metavar="KEY=VALUE", action="append", default=[], help="only agents with this tag")
    ask.add_argument("-n", type=int, metavar="N", dest="requests", default=1, help="requests, in turn (default 1)")
    ask.add_argument("--model", metavar="NAME", help="default: the first that the servers list")
    ask.add_argument("--max-tokens", type=int, metavar="N", help="tokens of an answer, at most")
    ask.add_argument("--concurrency", type=int, metavar="N", default=512, help="requests in flight (default 512)")
    ask.add_argument("--per-agent", type=int, metavar="N", help="of them to one agent (default: no limit)")
    ask.add_argument("--timeout", type=float, metavar="SECONDS", default=300.0, help="for each (default 300)")
    ask.add_argument("--api-key-from", metavar="VARIABLE", help="the environment variable with the servers' API key")
    ask.add_argument("--json", action="store_true", help="tell it as one JSON object")
    ask.set_defaults(prepare=_prepare)


def _prepare(options: argparse.Namespace) -> Callable[[], int]:
    """What is to be run, all of it checked. Raises ValueError and HostfileError."""
    prompt = sys.stdin.read() if options.prompt == "-" else options.prompt
    prompts = [prompt] * count("-n", options.requests)
    max_tokens = count_or_none("--max-tokens", options.max_tokens, at_least=0)
    endpoints = _chosen(parse_hostfile(options.hostfile, options.dialect), options.tag)
    pool = VLLMPool(
        endpoints,
        options.model,
        concurrency=options.concurrency,
        timeout=options.timeout,
        concurrency_per_agent=options.per_agent,
        api_key=_api_key(options.api_key_from),
    )
    return partial(_run, pool, prompts, max_tokens, options.json)


def _run(pool: VLLMPool, prompts: Sequence[str], max_tokens: int | None, to_json: bool) -> int:
    report, answer = asyncio.run(_ask(pool, prompts, max_tokens))
    alone = answer if len(prompts) == 1 else None
    sys.stdout.write(json.dumps(as_json(report, alone)) + "\n" if to_json else as_text(report, alone))
    return 1 if report.failed else 0


async def _ask(pool: VLLMPool, prompts: Sequence[str], max_tokens: int | None) -> tuple[AskReport, str]:
    loop = asyncio.get_running_loop()
    bar = ProgressBar(sys.stderr, shown=sys.stderr.isatty())
    async with pool:
        started = loop.time()
        try:
            responses = await scatter_gather(pool, prompts, progress=bar, max_tokens=max_tokens)
        finally:
            bar.end()
        seconds = loop.time() - started
        return ask_report(pool.endpoints, responses, pool.statistics(), seconds), responses[0].text


def _chosen(endpoints: Sequence[AgentEndpoint], tags: Sequence[str]) -> list[AgentEndpoint]:
    wanted = [tag.partition("=") for tag in tags]
    if any(not equals for _, equals, _ in wanted):
        raise ValueError(f"--tag must be KEY=VALUE, not {next(tag for tag in tags if '=' not in tag)!r}")
    chosen = [one for one in endpoints if all(one.tags.get(key) == value for key, _, value in wanted)]
    if not chosen:
        raise ValueError(f"none of {len(endpoints)} agents has the tags {', '.join(tags)}")
    return chosen


def _api_key(variable: str | None) -> str | None:
    if variable is None:
        return None
    if not (key := os.environ.get(variable)):
        raise ValueError(f"--api-key-from: the environment variable {variable} must be set")
    return key


class ProgressBar:
    """A bar on one line of a terminal, drawn anew when another cell of it is full; nothing unless `shown`."""

    def __init__(self, out: TextIO, *, shown: bool) -> None:
        self._out = out
        self._shown = shown
        self._drawn: Any = None

    def __call__(self, moment: Progress) -> None:
        """Show how far it is."""
        cells = _CELLS * moment.done // moment.total
        if self._shown and (cells, moment.failed) != self._drawn:
            self._drawn = (cells, moment.failed)
            failed = f", {moment.failed} failed" if moment.failed else ""
            bar = "#" * cells + "." * (_CELLS - cells)
            self._write(f"\r[{bar}] {moment.done} of {moment.total}{failed}")

    def end(self) -> None:
        """Go on to the next line."""
        if self._drawn is not None:
            self._write("\n")

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
