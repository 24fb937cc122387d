"""One client request through a real route to its real upstream, kept as a fixture.

The exchange is the engine's own, in a world that begins empty, as that of a replay does. Its clock
stands but for the engine's own waits, and its random numbers have a seed, so that a replay renders
the same requests. What a replay with another clock and seed renders otherwise is not stable: there
the fixture has a matcher, or nothing.

Nothing is written that holds a secret. Known are those of the route, of its accounts and logins,
what the keyring fetched, and what stands where credentials stand.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

from engine.masks import SHORTEST
from engine.options import Secret
from engine.ports import PassingTokens, Ports, Tokens, Upstream
from engine.replay.composing import bearers, bears
from engine.replay.fixtures import ClientSpec
from engine.replay.play import Seen, ask
from engine.replay.taping import Taken, Tape, TapedWeb
from engine.route.route import Route

from .aws import BotocoreAws
from .clock import SystemClock
from .login import desk
from .redact import Redactor
from .settings import Settings
from .shelf import Shelf
from .store_memory import MemoryStore
from .upstream import AiohttpUpstream
from .web import PublicWeb


class NotRecorded(Exception):
    """Nothing was written; the message says why, and where."""


class NotedEnv(dict[str, str]):
    """The environment, and what of it was read."""

    def __init__(self, env: Mapping[str, str], read: dict[str, str]) -> None:
        super().__init__(env)
        self._read = read

    def get(self, name: str, default: Any = None) -> Any:
        found = super().get(name, default)
        if found is not None:
            self._read[name] = found
        return found


@dataclass(slots=True)
class Notes:
    """What a route took from outside: variables, and files by the name it gives them."""

    env: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def shelf(self, folders: list[Path], *, env: Mapping[str, str], **options: Any) -> Shelf:
        """A shelf that tells these notes what its routes take."""
        return _Noticing(self, folders, env=NotedEnv(env, self.env), **options)

    def read(self, route: str) -> None:
        """Keep the texts of the files. route: the file that names them."""
        for name in self.files:
            path = os.path.join(os.path.dirname(route), os.path.expanduser(name))
            self.files[name] = Path(path).read_text("utf-8-sig")


def relative(route: str, fixture: Path) -> str:
    """A route's file as a fixture names it."""
    return os.path.relpath(route, fixture.parent)


class _Noticing(Shelf):
    def __init__(self, notes: Notes, folders: list[Path], **options: Any) -> None:
        super().__init__(folders, **options)
        self._notes = notes

    def given(self, name: str) -> str | None:
        self._notes.files[name] = ""
        return None


class HeldClock(SystemClock):
    """Stands at the second in which it was made, but for waits on purpose. Its timers are real."""

    def __init__(self) -> None:
        super().__init__()
        self._now = float(int(super().now()))

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        self._now += max(0.0, seconds)


class Listening:
    """An Observer that keeps the secrets it is told, and which records no rule knew."""

    def __init__(self) -> None:
        self.secrets: list[Secret] = []
        self.unmatched: Counter[str] = Counter()

    def saw(self, name: str, **fields: Any) -> None:
        told = fields.get("secrets")
        self.know(*(told if isinstance(told, list) else ()))
        self.unmatched.update(fields.get("unmatched") or {})

    def know(self, *secrets: Secret) -> None:
        self.secrets += secrets


class NotedTokens:
    """The Tokens port; keeps what was there at first, and what is secret in all it sees."""

    def __init__(self, tokens: Tokens, listening: Listening) -> None:
        self._tokens = tokens
        self._listening = listening
        self.first: dict[str, Mapping[str, object]] = {}

    async def load(self, place: str) -> Mapping[str, object] | None:
        found = await self._tokens.load(place)
        if found is not None:
            self.first.setdefault(place, dict(found))
            self._know(found)
        return found

    async def save(self, place: str, tokens: Mapping[str, object]) -> None:
        self._know(tokens)
        await self._tokens.save(place, tokens)

    def alone(self, place: str) -> AbstractAsyncContextManager[None]:
        return self._tokens.alone(place)

    def _know(self, tokens: Mapping[str, object]) -> None:
        for name, value in tokens.items():
            if isinstance(value, str) and (name.endswith("_token") or len(value) >= 16):
                self._listening.know(Secret(value, f"tokens.{name}"))
            elif isinstance(value, dict):
                self._know(value)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be recorded.

    named      how the fixture names the route
    allow      as of Disguise
    synthetic  texts of prompts and answers are made up
    """

    route: Route
    named: str
    client: ClientSpec
    out: Path
    notes: Notes
    folders: list[Path]
    settings: Settings
    note: str | None = None
    allow: frozenset[str] = frozenset()
    synthetic: bool = False


@dataclass(slots=True)
class Recording:
    """What happened, before anything is hidden. unanswered: requests that got no answer at all."""

    clock: float
    seed: int
    seen: Seen
    taken: list[Taken]
    tokens: dict[str, Any]
    secrets: list[Secret]
    unanswered: int

    def told(self, text: str) -> str:
        """A text without its secrets."""
        return told(text, self.secrets)


def told(text: str, secrets: list[Secret]) -> str:
    """A text without secrets."""
    redactor = Redactor()
    redactor.add(*secrets)
    return redactor.text(text)


async def run(order: Order, reach: Callable[[Upstream], Upstream] = lambda it: it) -> Recording:
    """Ask as the client does. Raises NotRecorded where nothing can be replayed.

    reach: what stands between the engine and the network, if something does
    """
    listening, clock, seed = Listening(), HeldClock(), SystemRandom().getrandbits(31)
    async with world(order, listening, clock, seed, reach) as (ports, tape, tokens):
        begun = clock.now()
        (seen,) = await ask(order.route, order.client, ports)
    taken = [each for each in tape.taken if each.head is not None]
    if not taken:
        what = seen.error.message if seen.error else "no request was sent"
        what = told(what, [*outside(order), *listening.secrets])
        raise NotRecorded(f"nothing came from the upstream: {what}")
    places = {login.place: login.account for login in order.route.logins}
    kept = {places[place]: found for place, found in tokens.first.items() if place in places}
    met = (each for each in (*listening.secrets, *bearers(taken)) if long_enough(each))
    secrets = [*outside(order), *met]
    return Recording(begun, seed, seen, taken, kept, secrets, len(tape.taken) - len(taken))


@asynccontextmanager
async def world(
    order: Order,
    listening: Listening,
    clock: HeldClock,
    seed: int,
    reach: Callable[[Upstream], Upstream] = lambda it: it,
) -> AsyncIterator[tuple[Ports, Tape, NotedTokens]]:
    """The network, and nothing kept from before but the logins; all calls are noted."""
    async with AsyncExitStack() as stack:
        upstream = AiohttpUpstream()
        stack.push_async_callback(upstream.close)
        kept: Tokens = PassingTokens()
        if order.route.logins:
            kept = (await stack.enter_async_context(desk(order.settings, _unheard))).tokens
        tape = Tape(reach(upstream), SystemClock().monotonic)
        store, tokens = MemoryStore(clock.monotonic), NotedTokens(kept, listening)
        ports = Ports(
            tape,
            clock,
            store,
            MemoryStore(clock.monotonic),
            listening,
            Random(seed),
            BotocoreAws(listening.know),
            tokens=tokens,
            web=TapedWeb(PublicWeb(), tape),
        )
        yield ports, tape, tokens


def _unheard(text: str) -> None:
    """Tokens that cannot be read are missing from the recording; the exchange says so."""


def long_enough(secret: Secret) -> bool:
    """What is shorter is a number or a word; of what the operator keeps secret nobody knows."""
    return len(secret.reveal().strip().encode()) >= SHORTEST


def outside(order: Order) -> Iterator[Secret]:
    """What the route took from outside, its accounts', and the client's own."""
    for name, value in order.client.headers.items():
        if bears(name):
            yield Secret(value.removeprefix("Bearer "), "client key")
    for name, value in order.notes.env.items():
        yield Secret(value, f"env:{name}")
    accounts = [secret for each in order.route.roster.accounts for secret in each.secrets]
    yield from accounts
    for found in order.route.references.values():
        if isinstance(found, Secret):
            yield found
    for name, text in order.notes.files.items():
        if not any(secret.reveal() in text for secret in accounts if secret.reveal()):
            yield Secret(text, f"file:{name}")
