"""What a server knows when a request comes in: the model it serves, and which server of the fleet it is.

All servers of one profile share one `Served` (tokenizer, corpus); a `Server` adds only what differs, its engine among
it, so that a fleet of thousands costs a few hundred bytes for each.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b

import msgspec
from multidict import istr

from fleetsim.api.refusals import bad_parameter, prompt_too_long, unknown_model
from fleetsim.engine import AbortedError, Engine, EngineDeadError, EngineHaltedError, Halt, HaltedEngine, LatencyEngine
from fleetsim.exchange import ApiRequest
from fleetsim.profile import Profile
from fleetsim.text import snapshot
from fleetsim.tokenizer import Tokenizer, UnknownTokenError

__all__ = ["VLLM_VERSION", "Served", "Server", "now", "served"]

VLLM_VERSION = "0.33.0"

# What becomes of the requests under way.
_ENDS_WITH: dict[Halt, type[EngineHaltedError]] = {
    Halt.DEAD: EngineDeadError,
    Halt.ABORTING: AbortedError,
    Halt.ASLEEP: AbortedError,
}
_ID_STEP = 0x9E3779B97F4A7C15F39CC0605CEDC835  # odd, so that all 2**128 ids come before one comes again
_ID_MASK = (1 << 128) - 1
_REQUEST_ID = istr("x-request-id")  # looked up faster than a `str`


class Served:
    """One profile, with everything that requests to it share. Immutable once made."""

    __slots__ = ("api_key", "corpus", "fingerprint", "max_model_len", "model", "profile", "tokenizer")

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.max_model_len = profile.max_model_len
        self.corpus = snapshot()
        self.tokenizer = _tokenizer(profile.model)
        self.model = msgspec.json.encode(profile.model)
        self.fingerprint = b'"vllm-%b-%b"' % (VLLM_VERSION.encode(), _digest(self.model, 4))
        self.api_key = None if profile.api_key is None else profile.api_key.encode()

    def require(self, model: str | None) -> None:
        """Raise RefusalError unless `model` is served, or none was asked for."""
        if model and model != self.profile.model:
            raise unknown_model(model, self.profile.model)

    def room(self, tokens: int, output: int | None, *, name: str = "max_tokens", exact: bool = False) -> int:
        """Return how many tokens may follow a prompt of `tokens`, `output` being the number asked for in field `name`.

        Raises RefusalError when both together do not fit the context. `exact`: the prompt came as token ids.
        """
        limit = self.max_model_len
        wanted = output or 0
        if wanted > limit:
            message = (
                f"{name}={wanted} cannot be greater than max_model_len={limit}. Please request fewer output tokens."
            )
            raise bad_parameter(message, param=name, value=wanted)
        if tokens > limit - wanted:
            raise prompt_too_long(tokens=tokens, output=wanted, limit=limit, exact=exact)
        return limit - tokens if output is None else output

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`. Raises RefusalError naming an id that is out of the vocabulary."""
        try:
            return self.tokenizer.decode(ids)
        except UnknownTokenError as error:
            raise bad_parameter(f"Token id {max(ids)} is out of vocabulary") from error


@lru_cache(maxsize=256)
def served(profile: Profile) -> Served:
    """Return the one `Served` of `profile`."""
    return Served(profile)


@lru_cache(maxsize=32)
def _tokenizer(model: str) -> Tokenizer:
    return Tokenizer(snapshot().vocabulary, seed=int(_digest(model.encode(), 8), 16))


def _digest(data: bytes, size: int) -> bytes:
    return blake2b(data, digest_size=size).hexdigest().encode()


class Server:
    """One server of a fleet, as its routes see it. `seed` chooses words and jitter, `index` tells it from the others.

    `in_flight` counts the requests it has not answered to the end, the one that asks included. `engine` is what
    generates now, and `halt` what keeps its own engine from it, if anything does.
    """

    __slots__ = (
        "_halt_from_without",
        "_last_id",
        "_own_engine",
        "_sleeps",
        "engine",
        "halt",
        "in_flight",
        "index",
        "seed",
        "served",
    )

    def __init__(self, profile: Profile, *, seed: int, index: int, in_flight: Callable[[], int]) -> None:
        self.served = served(profile)
        self.seed = seed
        self.index = index
        self.in_flight = in_flight
        self._last_id = int(_digest(b"%d/%d" % (seed, index), 16), 16)
        chance = None if profile.jitter == "none" else random.Random(f"{seed}/{index}")
        self._own_engine = LatencyEngine(profile, chance=chance)
        self.engine: Engine = self._own_engine
        self.halt: Halt | None = None
        self._halt_from_without: Halt | None = None
        self._sleeps = False

    def steer(self, pace: float, halt: Halt | None) -> None:
        """See `Steered.steer`."""
        self._halt_from_without = halt
        self._own_engine.slow_down(pace)
        self._settle()

    @property
    def is_sleeping(self) -> bool:
        """Whether the engine sleeps, whoever put it to sleep."""
        return self._sleeps or self._halt_from_without is Halt.ASLEEP

    def sleep(self) -> None:
        """Put the engine to sleep: what runs ends with `abort`."""
        self._sleeps = True
        self._settle()

    def wake_up(self) -> None:
        """Take `sleep` back. What halts it from without goes on doing so."""
        self._sleeps = False
        self._settle()

    def _settle(self) -> None:
        halt = self._halt_from_without or (Halt.ASLEEP if self._sleeps else None)
        self.halt = halt
        self.engine = self._own_engine if halt is None else HaltedEngine(halt)
        reason = None if halt is None else _ENDS_WITH.get(halt)
        if reason is not None:
            self._own_engine.stop(reason)

    def request_id(self, request: ApiRequest, given: str | None = None) -> str:
        """Return what follows the prefix of an answer's id: the header `X-Request-Id`, else `given`, else a new one."""
        sent = request.headers.get(_REQUEST_ID)
        if sent and not sent.isascii():
            # Servers under ASGI see header bytes as Latin-1; the parser before us may have read them as UTF-8.
            sent = sent.encode(errors="surrogateescape").decode("latin-1")
        return sent or given or self.new_id()

    def new_id(self) -> str:
        """Return 32 hexadecimal digits: unlike all others of the fleet, and the same in every run of a seed."""
        self._last_id = (self._last_id + _ID_STEP) & _ID_MASK
        return f"{self._last_id:032x}"


def now() -> int:
    """Return the time of day that answers show to people, in whole seconds."""
    return int(time.time())
