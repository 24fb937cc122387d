"""What is undone upstream when the scope of a value ends: its `cleanup:`, say deleting a chat.

Scope request: after the answer was delivered or failed, or its client left. Scope session: when the
value is replaced, and when the session is no more, however that came: expired, evicted, deleted, or
begun anew. Nobody is told of a session's end, and its end may come after a restart or in another
replica; so each value of a session has an entry beside the session, in the same store, and a sweep
looks for entries whose session is gone. Who takes the entry away cleans up: exactly one.

Cleaning up delays no answer and fails none: it runs in tasks of the keyring, within LONGEST
seconds, once. What goes wrong is counted.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from engine.auth.accounts import NOBODY, Account
from engine.errors import ExchangeError
from engine.lines import line_of
from engine.options import Secret
from engine.ports import Line, Ports, Store, StoreError
from engine.route.route import Route
from engine.route.template import RenderError
from engine.route.values import MAX_BODY, ValuePlan
from engine.wire import HttpRequest, JsonError, dumps, loads

PREFIX = "bound/"  # of the entries beside sessions
SWEEP = 30.0  # seconds between two sweeps
LONGEST = 10.0  # seconds one clean-up may take
LAST = 3.0  # seconds for those under way when the engine stops
GONE = (404, 410)  # what was to be deleted is not there: as good
MOST_ACCOUNTS = 4096  # clients' own keys that are remembered for the end of their sessions

T = TypeVar("T")
Told = tuple[HttpRequest, Line]  # what an upstream is told, and how it is reached


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt of a request: what its templates saw, for whom."""

    env: Mapping[str, object] = field(repr=False)
    scopes: Mapping[str, str]
    account: Account


@dataclass(frozen=True, slots=True)
class Job:
    """One clean-up. env has session, and the values that ended."""

    route: Route
    plan: ValuePlan
    env: dict[str, object] = field(repr=False)
    scopes: Mapping[str, str]
    account: Account


class Cleanups:
    """Starts clean-ups. go: makes an owned task; fill: adds shared values and fetched parts of the
    account to a job's env, as they are now."""

    def __init__(
        self,
        ports: Ports,
        go: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        fill: Callable[[Job], Awaitable[None]],
    ) -> None:
        self.ports = ports
        self._go = go
        self._fill = fill
        self._running: set[asyncio.Task[None]] = set()
        self._using: Counter[str] = Counter()
        self._accounts: OrderedDict[str, Account] = OrderedDict()

    # ---- what requests tell ----

    def enter(self, attempt: Try) -> Try:
        """An attempt begins: its session is in use, whatever a sweep finds."""
        self._using[attempt.scopes["session"]] += 1
        if attempt.account.digest:
            self._accounts[attempt.account.digest] = attempt.account
            self._accounts.move_to_end(attempt.account.digest)
            while len(self._accounts) > MOST_ACCOUNTS:
                self._accounts.popitem(last=False)
        return attempt

    def leave(self, route: Route, attempts: list[Try]) -> None:
        """A request is over: what it alone had is cleaned up."""
        done: set[tuple[str, bytes]] = set()
        for attempt in attempts:
            session = attempt.scopes["session"]
            self._using[session] -= 1
            if not self._using[session]:
                del self._using[session]
            for plan in _ending(route, attempt):
                own = (plan.name, dumps(_plain(_values(attempt.env)[plan.name])))
                if own not in done:
                    done.add(own)
                    self._begin(_job(route, plan, attempt, _values(attempt.env)))

    def replaced(self, route: Route, plan: ValuePlan, attempt: Try, old: object) -> None:
        """A value of a session has a successor."""
        self._begin(_job(route, plan, attempt, {**_values(attempt.env), plan.name: old}))

    def undo(self, route: Route, name: str, make: Callable[[], Awaitable[Told | None]]) -> None:
        """Something is given up; make: what the upstream is told, None where there was nothing."""
        self._start(self._clean(route, name, make))

    def outlasting(self, work: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
        """The outcome of work that goes on when whoever waits for it is gone.

        Wait for it by `asyncio.shield`; to cancel it ends the work.
        """
        outcome: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        async def run() -> None:
            try:
                result = await work
            except Exception as error:
                if not outcome.done():
                    outcome.set_exception(error)
            else:
                if not outcome.done():
                    outcome.set_result(result)
            finally:
                outcome.cancel()

        task = self._go(run())
        outcome.add_done_callback(lambda done: task.cancel() if done.cancelled() else None)
        return outcome

    async def settle(self, seconds: float = LAST) -> None:
        """Wait for those under way, at most so long."""
        if self._running:
            await asyncio.wait(tuple(self._running), timeout=seconds)

    # ---- entries beside sessions ----

    def extras(self, route: Route, plan: ValuePlan, attempt: Try) -> dict[str, object]:
        """What an entry says beside the value, so that it can be cleaned up by whoever comes."""
        said: dict[str, object] = {
            "route": route.name,
            "value": plan.name,
            "scope": attempt.scopes["session"],
            "account": attempt.scopes["account"],
        }
        if plan.cleanup is not None:
            values = _values(attempt.env)
            said["session"] = attempt.env.get("session", {})
            said["values"] = {
                name: _plain(values[name])
                for name in plan.undone_with
                if name in values and route.values[name].scope == "session" and name != plan.name
            }
        return said

    async def tend(self, find: Callable[[str], Route | None]) -> None:
        """Sweep now and then, for ever. find: the route of a name, as it serves now."""
        while True:
            await self.ports.clock.sleep(SWEEP)
            await self.sweep(find)

    async def sweep(self, find: Callable[[str], Route | None]) -> None:
        """Clean up what belongs to sessions that are no more."""
        for store in {id(s): s for s in (self.ports.store, self.ports.durable)}.values():
            try:
                for key in await store.keys(PREFIX):
                    await self._look(store, key, find)
            except StoreError:
                self.ports.observer.saw("store_error", store="cleanups", op="sweep")

    async def _look(self, store: Store, key: str, find: Callable[[str], Route | None]) -> None:
        raw = await store.get(key)
        said = _read(raw)
        scope = said.get("scope")
        if not isinstance(scope, str) or scope in self._using or await _lives(store, scope):
            return
        if await store.swap(key, raw, None):
            self._end(said, scope, find(str(said.get("route"))))

    def _end(self, said: dict[str, Any], scope: str, route: Route | None) -> None:
        plan = route.values.get(str(said.get("value"))) if route is not None else None
        if route is None or plan is None or plan.cleanup is None:
            return
        account = self._account(route, str(said.get("account", "")))
        if account is None:
            self._tell(route, plan.name, "skipped")
            return
        values: dict[str, object] = {}
        for name, content in {**said.get("values", {}), plan.name: said.get("content")}.items():
            values[name] = route.values[name].masked(content) if name in route.values else content
        scopes = {"route": "", "account": account.digest, "session": scope, "request": ""}
        attempt = Try({"session": said.get("session", {})}, scopes, account)
        self._begin(_job(route, plan, attempt, values))

    def _account(self, route: Route, digest: str) -> Account | None:
        """The account of a session that ended. A client's own key is known only to the process
        that got it: it is never stored."""
        if not digest:
            return NOBODY
        own = (each for each in route.roster.accounts if each.digest == digest)
        return next(own, None) or self._accounts.get(digest)

    # ---- cleaning up ----

    def _begin(self, job: Job) -> None:
        self._start(self._clean(job.route, job.plan.name, partial(self._request, job)))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._go(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _clean(
        self, route: Route, name: str, make: Callable[[], Awaitable[Told | None]]
    ) -> None:
        """Never raises: it would take what else the keyring does down with it."""
        result = "failed"
        try:
            async with self.ports.clock.deadline(LONGEST):
                told = await make()
                result = "skipped" if told is None else await self._send(*told)
        except (TimeoutError, ExchangeError, RenderError):
            result = "failed"
        finally:
            self._tell(route, name, result)

    async def _send(self, request: HttpRequest, line: Line) -> str:
        answer = await self.ports.upstream.fetch(request, line, MAX_BODY)
        return "ok" if answer.status < 400 or answer.status in GONE else "failed"

    async def _request(self, job: Job) -> Told:
        await self._fill(job)
        assert job.plan.cleanup is not None
        request = job.plan.cleanup.render({**job.env, "_now": self.ports.clock.now()})
        return request, line_of(job.route, job.scopes)

    def _tell(self, route: Route, name: str, result: str) -> None:
        self.ports.observer.saw("value_cleaned", route=route.name, value=name, result=result)


def _ending(route: Route, attempt: Try) -> Iterator[ValuePlan]:
    """The values that end with a request: its own, and those of a session that is not kept."""
    values = _values(attempt.env)
    kept = is_kept(attempt.scopes["session"])
    for name, plan in route.values.items():
        if plan.cleanup is not None and name in values and (plan.scope == "request" or not kept):
            yield plan


def _job(route: Route, plan: ValuePlan, attempt: Try, values: Mapping[str, object]) -> Job:
    env = {
        "vars": route.spec.vars,
        "_ref": route.references,
        "_route": route.name,
        "session": attempt.env.get("session", {}),
        "account": attempt.env.get("account", attempt.account.parts),
        "values": dict(values),
    }
    return Job(route, plan, env, attempt.scopes, attempt.account)


def is_kept(scope: str) -> bool:
    """Whether a session scope is that of a session in a store."""
    return scope.startswith("session/")


async def _lives(store: Store, scope: str) -> bool:
    """Whether the session of a scope (`key#birth`, perhaps `|account`) is still that one."""
    key, _, rest = scope.partition("#")
    birth = _read(await store.get(key)).get("birth")
    return isinstance(birth, str) and birth == rest.partition("|")[0]


def _read(raw: bytes | None) -> dict[str, Any]:
    try:
        found = loads(raw) if raw is not None else None
    except JsonError:
        return {}
    return found if isinstance(found, dict) else {}


def _values(env: Mapping[str, object]) -> Mapping[str, object]:
    values = env.get("values")
    return values if isinstance(values, dict) else {}


def _plain(value: object) -> Any:
    """A value of templates as it is stored."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return value.reveal() if isinstance(value, Secret) else value
