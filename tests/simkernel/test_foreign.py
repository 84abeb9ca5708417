"""Other packages cannot leave the simulation either, also where the run itself imports them."""

from __future__ import annotations

import asyncio
import platform
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import simkernel
from simkernel import Net

FOREIGN = pytest.mark.parametrize(
    ("name", "attribute"), [("aiodns", "DNSResolver"), ("pycares", "Channel"), ("uvloop", "new_event_loop")]
)


@FOREIGN
def test_what_brings_sockets_or_a_loop_of_its_own_is_an_escape(
    name: str, attribute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = types.ModuleType(name)
    setattr(foreign, attribute, object)
    monkeypatch.setitem(sys.modules, name, foreign)

    async def main(net: Net) -> None:
        assert not isinstance(asyncio.get_running_loop(), foreign.__dict__[attribute])
        getattr(foreign, attribute)()

    with pytest.raises(simkernel.SimEscape, match=rf"{name}\.{attribute}\(\)"):
        simkernel.run(main)
    assert getattr(foreign, attribute) is object


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages of these names that nobody has imported yet."""
    for name, attribute in (("aiodns", "DNSResolver"), ("pycares", "Channel"), ("uvloop", "new_event_loop")):
        monkeypatch.delitem(sys.modules, name, raising=False)
        (tmp_path / f"{name}.py").write_text(f"class {attribute}:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("packages")
@FOREIGN
def test_it_is_one_too_where_the_run_imports_it(name: str, attribute: str, monkeypatch: pytest.MonkeyPatch) -> None:
    finders = list(sys.meta_path)
    kept: list[type] = []

    async def main(net: Net) -> None:
        made: dict[str, type] = {}
        exec(f"from {name} import {attribute} as it", made)
        kept.append(made["it"])
        made["it"]()

    with pytest.raises(simkernel.SimEscape, match=rf"{name}\.{attribute}\(\)"):
        simkernel.run(main)
    module = sys.modules[name]
    assert type(kept[0]()) is getattr(module, attribute)  # a copy made in the run is as good as the real one after it
    assert sys.meta_path == finders
    assert "exec_module" not in vars(module.__loader__)
    monkeypatch.delitem(sys.modules, name)


@pytest.mark.usefixtures("packages")
def test_an_import_outside_of_a_run_is_none_of_our_business(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(net: Net) -> None:
        pass

    simkernel.run(main)
    made: dict[str, Any] = {}
    exec("import uvloop\nfound = uvloop.new_event_loop()", made)
    assert isinstance(made["found"], made["uvloop"].new_event_loop)
    monkeypatch.delitem(sys.modules, "uvloop")


IMPORTED_LATE = """
import asyncio
import simkernel

async def main(net):
    import aiohttp
    from aiohttp import web

    async def answer(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(await socket.receive_str())
        await socket.close()
        return socket

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, net.host("a").address, 80).start()
    async with aiohttp.ClientSession() as session, session.ws_connect("http://a/") as socket:
        assert type(session.connector._resolver).__name__ == "ThreadedResolver"
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello"
        await socket.receive()
    await runner.cleanup()
    await asyncio.sleep(1)

print(simkernel.run(main).digest)
"""


def test_aiohttp_imported_by_the_run_is_guarded_as_any_other(tmp_path: Path) -> None:
    """With aiodns installed, and with the masks of its websockets from the seed: two processes have one trace."""
    (tmp_path / "aiodns.py").write_text(
        "class DNSResolver:\n    def __init__(self, *args, **options):\n        raise SystemExit('real sockets')\n"
        "    def gethostbyname(self): pass\n    getaddrinfo = gethostbyname\n"
    )
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{IMPORTED_LATE}"
    told = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False) for _ in range(2)]
    assert [each.stderr for each in told] == ["", ""]
    assert told[0].stdout == told[1].stdout


def test_what_machine_this_is_can_be_asked_without_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """openai does so with its first request of a process, and was refused."""
    known = platform.processor()
    monkeypatch.setattr(platform, "_uname_cache", None)
    monkeypatch.setattr(platform, "_platform_cache", {})

    async def main(net: Net) -> tuple[str, str]:
        return platform.platform(), platform.processor()

    name, processor = simkernel.run(main).value or ("", "")
    assert name.startswith(platform.system())
    assert processor == ""
    assert platform.processor() == known
