"""Live secrets: what routes fetched, kept outside the routes so that a reload does not lose it.

One flight per value and scope: whoever comes while it is under way waits for the same result, and
a client that leaves does not cancel it. Compare-and-refresh: a failed request drops a value only
if it is still the one it used. A failed fetch is remembered for a moment, so that an upstream that
is down is not stormed. What is kept in a store, and shared there: engine/kept/values.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Self

from engine.auth.accounts import Account
from engine.errors import ExchangeError
from engine.kept.cleanups import PREFIX, Cleanups, Job, is_kept
from engine.kept.counting import Factors
from engine.kept.uploads import Listed, each_part
from engine.kept.values import Place, obtain
from engine.kept.wishes import Slot, Slots, Wish, again, key_of
from engine.lines import line_of, proxy_of
from engine.options import Secret
from engine.ports import Line, Ports
from engine.route.route import Route
from engine.route.template import RenderError
from engine.route.values import MAX_BODY, Found, ValuePlan

from .conversing import Driver, no_answer
from .gates import Gates
from .limits import Clients
from .pools import Pools
from .skew import Skews
from .storms import Storms

SPREAD, MOST_SPREAD = 0.1, 600.0  # of an account's time, at most seconds: not all end at once
NO_SCOPES = {"route": "", "account": "", "session": "", "request": ""}
NO_ANSWER = ("connect", "timeout", "retryable", "truncated", "overloaded", "rate_limited")


@dataclass(slots=True)
class Keyring:
    """Use it as an async context manager: it owns the tasks that fetch."""

    ports: Ports
    slots: Slots = field(default_factory=Slots)
    uploads: Slots = field(default_factory=Slots)
    tasks: asyncio.TaskGroup = field(default_factory=asyncio.TaskGroup)
    flights: set[asyncio.Task[None]] = field(default_factory=set)
    skews: Skews = field(default_factory=Skews)
    factors: Factors = field(default_factory=Factors)
    storms: Storms = field(init=False)
    logging_in: set[str] = field(default_factory=set)
    answer: Callable[..., Awaitable[str]] = no_answer
    pools: Pools = field(init=False)
    clients: Clients = field(init=False)
    gates: Gates = field(init=False)
    cleanups: Cleanups = field(init=False)

    def __post_init__(self) -> None:
        self.pools = Pools(self.ports, self.log_in)
        self.clients = Clients(self.ports)
        self.gates = Gates(self.ports.clock)
        self.storms = Storms(self.ports.clock, self.ports.observer)
        self.cleanups = Cleanups(self.ports, self._go, self._fill)

    async def __aenter__(self) -> Self:
        await self.tasks.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self.cleanups.settle()
        for task in tuple(self.flights):
            task.cancel()
        await self.tasks.__aexit__(None, None, None)

    async def values(
        self, route: Route, env: dict[str, object], line: Line, scopes: Mapping[str, str]
    ) -> dict[str, object]:
        """The values the route's templates mention, as Secrets (or plain, if `secret: false`).

        scopes gives the key of each scope: who shares one value. Raises ExchangeError
        (`unavailable` and the like) when one cannot be had.
        """
        found: dict[str, object] = {}
        env["values"] = found
        for name in route.wanted:
            plan = route.values[name]
            if plan.when is not None and not plan.when.test(env):
                continue
            if plan.asks and getattr(env.get("_asker"), "aside", False):
                continue
            wish = Wish(route, plan, env, line, scopes)
            try:
                found[name] = await self._wanted(wish)
            except ExchangeError as error:
                if not plan.skips or error.cls == "fatal":
                    raise
        return found

    async def _wanted(self, wish: Wish) -> object:
        if wish.plan.each:
            return await each_part(wish, self._value)
        return _masked(await self._one(wish), wish.plan)

    async def _one(self, wish: Wish) -> Found:
        plan = wish.plan
        if plan.scope != "request":
            return await self._value(wish)
        return await (self._answered(wish) if plan.asks else self._fetch(wish))

    async def _answered(self, wish: Wish) -> Found:
        """What a model said: once for all attempts of a request, as far as they go on without."""
        answers, name = wish.env["_answers"], wish.plan.name
        assert isinstance(answers, dict)
        if name not in answers:
            try:
                answers[name] = await self._fetch(wish)
            except ExchangeError as error:
                if not wish.plan.skips:
                    raise
                answers[name] = error
        told: Found | ExchangeError = answers[name]
        if isinstance(told, ExchangeError):
            raise again(told)
        return told

    async def value(
        self,
        route: Route,
        name: str,
        env: dict[str, object],
        line: Line,
        scopes: Mapping[str, str],
    ) -> object:
        """One value of the route, masked like those of `values`."""
        plan = route.values[name]
        wish = Wish(route, plan, env, line, scopes)
        return _masked(await self._value(wish), plan)

    async def _value(self, wish: Wish) -> Found:
        slot = self._slot(wish)
        now = self.ports.clock.monotonic()
        found = slot.good(now)
        resting = now < slot.wait_until  # after a fetch that failed
        if found is not None:
            due = slot.due is not None and now > slot.due
            if due and not resting:
                self._start(slot, wish)
            return found
        if slot.flight is None and slot.error is not None and resting:
            raise again(slot.error)
        return await self._flown(wish)

    async def _flown(self, wish: Wish) -> Found:
        """The result of a flight, the one under way or a new one."""
        slot = self._slot(wish)
        flight = self._start(slot, wish)
        slot.waiting += 1
        try:
            outcome = await asyncio.shield(flight)
        finally:
            slot.waiting -= 1
            if wish.plan.each and not slot.waiting and not flight.done():
                slot.abandon()
        if isinstance(outcome, ExchangeError):
            raise again(outcome)
        return outcome

    def ahead(self, route: Route, names: list[str], env: dict[str, object], line: Line) -> None:
        """Fetch values of scope `route` before they are asked for, unless they are there."""
        for name in names:
            plan = route.values[name]
            if plan.scope == "route":
                wish = Wish(route, plan, env, line, NO_SCOPES)
                slot = self._slot(wish)
                if slot.good(self.ports.clock.monotonic()) is None:
                    self._start(slot, wish)

    def log_in(self, route: Route, accounts: tuple[Account, ...], *, missing: bool = False) -> None:
        """Fetch anew what these accounts have fetched; who is in is back in the pool.

        missing: fetch only what is not there.
        """
        for account in accounts:
            name = f"{route.name}|{account.digest}"
            if name not in self.logging_in and _logins(route, account):
                self.logging_in.add(name)
                self._go(self._log_in(route, account, name, missing=missing))

    def logs_in(self, route: Route, accounts: tuple[Account, ...]) -> bool:
        """Whether any of them has something to fetch."""
        return any(_logins(route, account) for account in accounts)

    async def _log_in(self, route: Route, account: Account, name: str, *, missing: bool) -> None:
        """What is there stays until all that is new is there. Never raises."""
        try:
            fetched = await self._anew(route, account, missing=missing)
            if fetched and not missing:
                self.pools.revive(route, account)
        except ExchangeError as error:
            self.pools.refused(route, account, error.cls)
        except RenderError:
            pass  # a proxy that cannot be rendered: who asks is told
        finally:
            self.logging_in.discard(name)

    async def _anew(self, route: Route, account: Account, *, missing: bool) -> bool:
        """Whether the account has anything of its own to fetch."""
        env = route.unasked(account.parts, self.ports.clock.now(), self.ports.random)
        scopes = {"route": "", "account": account.digest, "session": "", "request": ""}
        line, values = line_of(route, scopes, env), dict[str, object]()
        env["values"] = values
        for name in _logins(route, account):
            plan = route.values[name]
            if plan.when is not None and not plan.when.test(env):
                continue
            wish = Wish(route, plan, env, line, scopes)
            slot = self._slot(wish)
            if plan.place and slot.found is not None and not missing:
                slot.refused = slot.found.content
            have = self._value if missing or plan.scope == "route" else self._flown
            values[name] = _masked(await have(wish), plan)
            if name == account.fetched:
                env["account"] = {**account.parts, **parts_of(values[name])}
        return any(route.values[name].scope == "account" for name in values)

    def given_up(self, route: Route, account: Account) -> Mapping[str, object] | None:
        """The tokens with which an account could not be logged in."""
        plan = route.values[account.fetched]
        slot = self.slots.get(key_of(route, plan, account.digest))
        return slot.dead if slot is not None else None

    def _slot(self, wish: Wish) -> Slot:
        """Uploads are many, and never take the place of a login."""
        return (self.uploads if wish.part else self.slots).of(wish.key)

    # ---- flights ----

    def _start(self, slot: Slot, wish: Wish) -> asyncio.Future[Found | ExchangeError]:
        if slot.flight is None:
            slot.flight = asyncio.get_running_loop().create_future()
            slot.task = self._go(self._fly(slot, wish, slot.flight))
        return slot.flight

    def _go(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self.tasks.create_task(self._alone(work))
        self.flights.add(task)
        task.add_done_callback(self.flights.discard)
        return task

    async def _alone(self, work: Coroutine[Any, Any, None]) -> None:
        """A mistake of ours in one task takes no other down, nor the gateway."""
        try:
            await work
        except Exception as error:
            self.ports.observer.saw("crash", error=error, path="the keyring")

    async def _fly(
        self, slot: Slot, wish: Wish, flight: asyncio.Future[Found | ExchangeError]
    ) -> None:
        """Fetch once, for all who wait. Never raises: it would take every other flight down."""
        outcome: Found | ExchangeError = ExchangeError("unavailable", "the engine is stopping")
        try:
            outcome = await self._had(slot, wish)
        except ExchangeError as error:
            outcome = error
            if not wish.plan.each:  # whether a file may be sent again the next attempt decides
                slot.failed(error, self.ports.clock.monotonic())
        finally:
            if slot.flight is flight:
                slot.flight = None
            if not flight.done():
                flight.set_result(outcome)

    async def _had(self, slot: Slot, wish: Wish) -> Found:
        """The value, out of the store if it is kept there and still good, else fetched."""
        place = self._place(wish)
        if place is None:
            found = await self._through(wish, slot.kept, slot)
        else:
            fits, renew = partial(self._fits, slot, wish), partial(self._renewed, slot, wish)
            found = await obtain(self.ports, place, fits, renew)
        lasts = found.expires_in
        if lasts is not None and wish.plan.scope == "account":
            lasts -= min(SPREAD * lasts, MOST_SPREAD) * self.ports.random.random()
        slot.found, slot.error, slot.wait_until = found, None, 0.0
        slot.kept = found.content
        slot.failures, slot.misses, slot.refused, slot.dead = 0, 0, None, None
        now = self.ports.clock.monotonic()
        slot.expires = None if lasts is None else now + lasts
        slot.due = None if slot.expires is None else slot.expires - wish.plan.refresh_before
        slot.due = slot.due if found.renew_in is None else now + found.renew_in
        return found

    def _place(self, wish: Wish) -> Place | None:
        """Where the value is kept: with its session, by its own wish, or because others need it.

        A flow with a place of its own sees to that itself.
        """
        route, plan = wish.route, wish.plan
        if plan.place:
            return None
        if plan.scope == "session":
            if route.session is None or not is_kept(wish.scopes["session"]):
                return None
            store = self.ports.durable if route.session.persist else self.ports.store
            said = self.cleanups.extras(route, plan, wish.attempt)
            return Place(store, f"{PREFIX}{wish.key}", said)
        if plan.persist:
            return Place(self.ports.durable, f"value/{wish.key}")
        if self.ports.shared and plan.scope in ("route", "account"):
            return Place(self.ports.store, f"value/{wish.key}")
        return None

    def _fits(self, slot: Slot, wish: Wish, kept: Found) -> bool:
        """Whether what the store has may be used. What is good here is only fetched to be new."""
        left, good = kept.expires_in, slot.good(self.ports.clock.monotonic())
        due = wish.plan.refresh_before if good is not None else 0.0
        if kept.content == slot.refused or (left is not None and left <= due):
            return False
        if good is not None and good.content == kept.content:
            return False
        self._tell_kept(wish, kept)
        return True

    async def _renewed(self, slot: Slot, wish: Wish, stored: Found | None) -> Found:
        """Fetched anew; what the store has may tell how, though it is no longer good."""
        if stored is None:
            return await self._through(wish, slot.kept, slot)
        self._tell_kept(wish, stored)
        found = await self._through(wish, stored.content, slot)
        if wish.plan.cleanup is not None and found.content != stored.content:
            old = wish.plan.masked(stored.content)
            self.cleanups.replaced(wish.route, wish.plan, wish.attempt, old)
        return found

    async def _fill(self, job: Job) -> None:
        """Add to a clean-up what other requests share too: it may have been renewed meanwhile."""
        route, env, scopes = job.route, job.env, job.scopes
        line, values = line_of(route, scopes), env["values"]
        assert isinstance(values, dict)
        if job.account.fetched:
            parts = await self.value(route, job.account.fetched, env, line, scopes)
            env["account"] = {**job.account.parts, **parts_of(parts)}
        for name in sorted(job.plan.undone_with):
            if name in route.values and route.values[name].scope in ("route", "account"):
                values[name] = await self.value(route, name, env, line, scopes)

    def _tell_kept(self, wish: Wish, kept: Found) -> None:
        name, secrets = wish.plan.name, _secrets(kept, wish.plan)
        self.ports.observer.saw("value_kept", route=wish.route.name, value=name, secrets=secrets)

    async def _through(self, wish: Wish, kept: str | dict[str, str] | None, slot: Slot) -> Found:
        """Fetch; logins of many accounts go through a gate."""
        if wish.plan.scope != "account" or wish.plan.each:
            return await self._fetch(wish, kept, slot)
        gate = f"{wish.route.name}/{wish.plan.name}/{wish.plan.fingerprint}"
        async with self.gates.through(gate, wish.plan.parallel):
            return await self._fetch(wish, kept, slot)

    async def _fetch(
        self, wish: Wish, kept: str | dict[str, str] | None = None, slot: Slot | None = None
    ) -> Found:
        route, plan = wish.route, wish.plan
        result, secrets, said = "failed", list[Secret](), dict[str, str]()
        try:
            found = await self._converse(wish, kept, slot or Slot())
            result, secrets = "ok", _secrets(found, plan)
            return found
        except ExchangeError as error:
            said = {"said": error.said} if error.said else {}
            hides = error.cls in NO_ANSWER and not plan.each
            cls = "unavailable" if hides else error.cls
            raise ExchangeError(
                cls, error.message, status=error.status, retry_after=error.retry_after
            ) from error
        except RenderError as error:
            message = f"value `{plan.name}` cannot be rendered: {error}"
            raise ExchangeError("fatal", message) from error
        except Exception as error:  # a transform's mistake, or ours
            raise ExchangeError("fatal", f"value `{plan.name}` could not be made") from error
        finally:
            self.ports.observer.saw(
                "value_fetched",
                route=route.name,
                value=plan.name,
                result=result,
                secrets=secrets,
                **said,
            )

    async def _converse(self, wish: Wish, kept: str | dict[str, str] | None, slot: Slot) -> Found:
        """Drive the flow. Tokens that were dead are not tried again until they are others."""
        plan, route, clock = wish.plan, wish.route, self.ports.clock
        limit = float(route.spec.timeouts.first_byte)
        own = {"_now": clock.now(), "_route": route.name, "_kept": kept}
        env, line = {**wish.env, **own, "_refused": slot.refused}, wish.line
        if plan.proxy is not None:
            line = replace(line, proxy=proxy_of(plan.proxy, env))
        tell = partial(self._tell, wish)
        driver = Driver(
            self.ports, line, limit, MAX_BODY, plan.place, tell, name=f"value `{plan.name}`"
        )
        driver.answer = partial(self.answer, env=wish.env)
        flow = plan.flow(env)
        if slot.dead is not None and slot.error is not None:
            if await self.ports.tokens.load(plan.place) == slot.dead:
                raise again(slot.error)
            slot.dead = None
        try:
            found: Found = await driver.run(flow)
        except ExchangeError as error:
            slot.dead = driver.recalled if error.cls == "auth_invalid" else None
            raise
        return found

    def _tell(self, wish: Wish, secrets: list[Secret]) -> None:
        route, name = wish.route.name, wish.plan.name
        self.ports.observer.saw("value_kept", route=route, value=name, secrets=secrets)

    # ---- what requests tell ----

    def renew(
        self, route: Route, cls: str, used: Mapping[str, object], scopes: Mapping[str, str]
    ) -> None:
        """Drop the values of an outcome class, if they are still the ones the request used."""
        for name, plan in route.values.items():
            if cls in plan.refresh_for:
                self._drop(route, plan, used.get(name), scopes)

    def report(
        self, route: Route, failed: bool, used: Mapping[str, object], scopes: Mapping[str, str]
    ) -> None:
        """Count failures in a row; `refresh_after` of them drop a value."""
        for name, plan in route.values.items():
            if plan.refresh_after is None or plan.scope == "request" or name not in used:
                continue
            slot = self.slots.get(key_of(route, plan, scopes[plan.scope]))
            if slot is None:
                continue
            slot.misses = slot.misses + 1 if failed else 0
            if slot.misses >= plan.refresh_after:
                self._drop(route, plan, used[name], scopes)

    def _drop(self, route: Route, plan: ValuePlan, used: object, scopes: Mapping[str, str]) -> None:
        parts = used.parts if isinstance(used, Listed) else {"": used}
        for part, had in parts.items():
            slots, key = self.slots, key_of(route, plan, scopes[plan.scope], part)
            slot = (self.uploads if part else slots).get(key)
            if slot is not None and slot.found is not None and _masked(slot.found, plan) == had:
                slot.drop()


def _logins(route: Route, account: Account) -> list[str]:
    """The values that an account's logins fetch, with what they need; [] if it has none."""
    names = [account.fetched] if account.fetched else []
    names += [name for name in route.wanted if name not in names and not route.values[name].each]
    kinds = {name: route.values[name].scope for name in names}
    wanted = [name for name in names if kinds[name] in ("route", "account")]
    return wanted if "account" in kinds.values() else []


def parts_of(value: object) -> Mapping[str, Secret]:
    """A fetched value as parts of an account: its outputs, or its text as `key`."""
    if isinstance(value, Secret):
        return {"key": value}
    return value if isinstance(value, dict) else {}


def _secrets(found: Found, plan: ValuePlan) -> list[Secret]:
    """What of a value must be known to the redactor."""
    masked = _masked(found, plan)
    parts = masked.values() if isinstance(masked, dict) else [masked]
    return [part for part in parts if isinstance(part, Secret)]


def _masked(found: Found, plan: ValuePlan) -> object:
    return plan.masked(found.content)
