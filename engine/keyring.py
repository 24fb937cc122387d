"""Live secrets: what routes fetched, kept outside the routes so that a reload does not lose it.

One flight per value and scope: whoever comes while it is under way waits for the same result, and
a client that leaves does not cancel it. Compare-and-refresh: a failed request drops a value only
if it is still the one it used. A failed fetch is remembered for a moment, so that an upstream that
is down is not stormed.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from .errors import ExchangeError
from .options import Secret
from .ports import Line, Ports, StoreError
from .route.route import Route
from .route.values import MAX_BODY, Found, ValuePlan
from .wire import HttpRequest, dumps, loads

FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0  # seconds between fetches that fail
NO_ANSWER = ("connect", "timeout", "retryable", "truncated")


@dataclass(slots=True)
class Slot:
    """One value in one scope. expires is monotonic; failures count in a row."""

    found: Found | None = None
    expires: float | None = None
    flight: asyncio.Future[None] | None = None
    error: ExchangeError | None = None
    wait_until: float = 0.0
    failures: int = 0
    misses: int = 0
    loaded: bool = False


@dataclass(slots=True)
class Keyring:
    """Use it as an async context manager: it owns the tasks that fetch."""

    ports: Ports
    slots: dict[str, Slot] = field(default_factory=dict)
    tasks: asyncio.TaskGroup = field(default_factory=asyncio.TaskGroup)
    flights: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        await self.tasks.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> None:
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
            got = await self._value(route, plan, env, line, scopes[plan.scope])
            found[name] = _masked(got, plan)
        return found

    async def _value(
        self, route: Route, plan: ValuePlan, env: dict[str, object], line: Line, scope: str
    ) -> Found:
        if plan.scope == "request":
            return await self._fetch(route, plan, env, line)
        key = _key(route, plan, scope)
        slot = self.slots.setdefault(key, Slot())
        if plan.persist and not slot.loaded:
            await self._load(slot, key, route, plan)
        now = self.ports.clock.monotonic()
        if slot.found is not None and (slot.expires is None or now < slot.expires):
            if slot.expires is not None and now > slot.expires - plan.refresh_before:
                self._start(slot, key, route, plan, env, line)
            return slot.found
        slot.found = None
        if slot.flight is None and slot.error is not None and now < slot.wait_until:
            raise slot.error
        flight = self._start(slot, key, route, plan, env, line)
        await asyncio.shield(flight)
        if slot.found is None:
            raise slot.error or ExchangeError("unavailable", f"value `{plan.name}` is not there")
        return slot.found

    def ahead(self, route: Route, names: list[str], env: dict[str, object], line: Line) -> None:
        """Fetch values of scope `route` before they are asked for, unless they are there."""
        for name in names:
            plan = route.values[name]
            if plan.scope == "route":
                key = _key(route, plan, "")
                slot = self.slots.setdefault(key, Slot())
                if slot.found is None:
                    self._start(slot, key, route, plan, env, line)

    def _start(
        self,
        slot: Slot,
        key: str,
        route: Route,
        plan: ValuePlan,
        env: dict[str, object],
        line: Line,
    ) -> asyncio.Future[None]:
        if slot.flight is None:
            slot.flight = asyncio.get_running_loop().create_future()
            self.flights.add(
                task := self.tasks.create_task(self._fly(slot, key, route, plan, {**env}, line))
            )
            task.add_done_callback(self.flights.discard)
        return slot.flight

    async def _fly(
        self,
        slot: Slot,
        key: str,
        route: Route,
        plan: ValuePlan,
        env: dict[str, object],
        line: Line,
    ) -> None:
        clock = self.ports.clock
        try:
            found = await self._fetch(route, plan, env, line)
            slot.found, slot.error, slot.failures, slot.misses = found, None, 0, 0
            slot.expires = (
                None if found.expires_in is None else clock.monotonic() + found.expires_in
            )
            if plan.persist:
                await self._save(key, found)
        except ExchangeError as error:
            slot.error = error
            wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0**slot.failures)
            slot.failures += 1
            slot.wait_until = clock.monotonic() + wait
        finally:
            flight, slot.flight = slot.flight, None
            if flight is not None and not flight.done():
                flight.set_result(None)

    async def _fetch(
        self, route: Route, plan: ValuePlan, env: dict[str, object], line: Line
    ) -> Found:
        result, secrets = "failed", []
        try:
            found = await self._converse(route, plan, env, line)
            result, secrets = "ok", _secrets(found, plan)
            return found
        except ExchangeError as error:
            cls = "unavailable" if error.cls in NO_ANSWER else error.cls
            raise ExchangeError(cls, error.message, status=error.status) from error
        finally:
            self.ports.observer.saw(
                "value_fetched", route=route.name, value=plan.name, result=result, secrets=secrets
            )

    async def _converse(
        self, route: Route, plan: ValuePlan, env: dict[str, object], line: Line
    ) -> Found:
        """Drive the flow: send what it yields, hand back the answers."""
        env = {**env, "_now": self.ports.clock.now(), "_route": route.name}
        flow = plan.flow(env)
        try:
            request = next(flow)
            while True:
                request = _absolute(route, request)
                limit = request.timeout or float(route.spec.timeouts.first_byte)
                try:
                    async with self.ports.clock.deadline(limit):
                        answer = await self.ports.upstream.fetch(request, line, MAX_BODY)
                except TimeoutError:
                    message = f"value `{plan.name}`: no answer within {limit:g} s"
                    raise ExchangeError("timeout", message) from None
                request = flow.send(answer)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

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
            if plan.refresh_after is None or plan.scope == "request":
                continue
            slot = self.slots.get(_key(route, plan, scopes[plan.scope]))
            if slot is None:
                continue
            slot.misses = slot.misses + 1 if failed else 0
            if slot.misses >= plan.refresh_after:
                self._drop(route, plan, used.get(name), scopes)

    def _drop(self, route: Route, plan: ValuePlan, used: object, scopes: Mapping[str, str]) -> None:
        slot = self.slots.get(_key(route, plan, scopes[plan.scope]))
        if slot is None or slot.found is None or _masked(slot.found, plan) != used:
            return
        slot.found, slot.misses = None, 0
        if slot.flight is None:
            slot.error, slot.wait_until = None, 0.0

    # ---- persistence ----

    async def _load(self, slot: Slot, key: str, route: Route, plan: ValuePlan) -> None:
        slot.loaded = True
        try:
            raw = await self.ports.durable.get(f"value/{key}")
        except StoreError:
            self.ports.observer.saw("store_error", store="durable")
            return
        if raw is None or slot.found is not None:
            return
        kept = loads(raw)
        assert isinstance(kept, dict)
        until = kept.get("until")
        left = None if until is None else until - self.ports.clock.now()
        if left is None or left > 0:
            slot.found = Found(kept["content"], left)
            slot.expires = None if left is None else self.ports.clock.monotonic() + left
            secrets = _secrets(slot.found, plan)
            self.ports.observer.saw(
                "value_kept", route=route.name, value=plan.name, secrets=secrets
            )

    async def _save(self, key: str, found: Found) -> None:
        lasts = found.expires_in
        until = None if lasts is None else self.ports.clock.now() + lasts
        try:
            value = dumps({"content": found.content, "until": until})
            await self.ports.durable.put(f"value/{key}", value, lasts)
        except StoreError:
            self.ports.observer.saw("store_error", store="durable")


def _key(route: Route, plan: ValuePlan, scope: str) -> str:
    scoped = hashlib.sha256(scope.encode()).hexdigest()[:16] if scope else ""
    return f"{route.name}/{plan.name}/{plan.fingerprint}/{scoped}"


def _secrets(found: Found, plan: ValuePlan) -> list[Secret]:
    """What of a value must be known to the redactor."""
    masked = _masked(found, plan)
    parts = masked.values() if isinstance(masked, dict) else [masked]
    return [part for part in parts if isinstance(part, Secret)]


def _masked(found: Found, plan: ValuePlan) -> object:
    content, name = found.content, f"values.{plan.name}"
    if not plan.secret:
        return content
    if isinstance(content, str):
        return Secret(content, name)
    return {key: Secret(text, f"{name}.{key}") for key, text in content.items()}


def _absolute(route: Route, request: HttpRequest) -> HttpRequest:
    """The request with a whole URL; other hosts than the route's own must be declared."""
    base = (route.spec.base_url or "").rstrip("/")
    if "://" not in request.url:
        return HttpRequest(
            request.method,
            base + "/" + request.url.lstrip("/"),
            request.headers,
            request.query,
            request.body,
            request.timeout,
        )
    return request
