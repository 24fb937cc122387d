"""The admin's view of pools: health, parking, logins; and credentials that are added at run time.

Added credentials are kept in the durable store, one entry for each route, and join its pool as if
they stood in its file. They are never answered, only masked.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

from engine.accounts.keyring import Keyring
from engine.auth.accounts import Account, account
from engine.auth.health import Seat
from engine.auth.pool import Pool
from engine.errors import RequestError
from engine.options import Secret
from engine.ports import StoreError
from engine.route.book import RouteBook
from engine.route.route import Route
from engine.wire import JsonError, dumps, loads

PREFIX = "accounts/"
ENDS, LONG_ENOUGH = 4, 20  # characters shown at each end, of a secret of at least so many

Sent = dict[str, Any]


def masked(text: str) -> str:
    """The first and last four characters, if that leaves enough in the dark."""
    return f"{text[:ENDS]}…{text[-ENDS:]}" if len(text) >= LONG_ENOUGH else "…"


class AccountsAdmin:
    """book gives the routes that serve now."""

    def __init__(self, keyring: Keyring, book: Callable[[], RouteBook]) -> None:
        self._keyring = keyring
        self._pools = keyring.pools
        self._store = keyring.ports.durable
        self._clock = keyring.ports.clock
        self._observer = keyring.ports.observer
        self._book = book

    def work(self) -> dict[tuple[str, str], Callable[[Sent], Any]]:
        return {
            ("GET", "/admin/accounts"): self.accounts,
            ("POST", "/admin/accounts/park"): self.park,
            ("POST", "/admin/accounts/revive"): self.revive,
            ("POST", "/admin/accounts/refresh"): self.refresh,
            ("POST", "/admin/accounts/add"): self.add,
            ("POST", "/admin/accounts/remove"): self.remove,
            ("GET", "/admin/accounts/export"): self.export,
        }

    async def load(self) -> None:
        """Take in what was added before; a store that fails is told, and done without."""
        try:
            for key in await self._store.keys(PREFIX):
                kept = _read(await self._store.get(key))
                self._pools.extend(key.removeprefix(PREFIX), tuple(kept))
                self._tell(kept)
        except StoreError:
            self._observer.saw("store_error", store="accounts", op="get")

    # ---- what is there ----

    async def accounts(self, sent: Sent) -> object:
        routes = [self._route(sent)] if "route" in sent else self._book().routes.values()
        return {"pools": [self._shown(route) for route in routes if route.roster.accounts]}

    def _shown(self, route: Route) -> dict[str, object]:
        pool, now = self._pools.of(route), self._clock.monotonic()
        added = {each.digest for each in self._pools.added.get(route.name, ())}
        accounts = [_state(seat, now, seat.account.digest in added) for seat in pool.seats]
        parked = sum(1 for _ in pool.parked(now))
        return {
            "route": route.name,
            "pick": pool.rules.pick,
            "accounts": accounts,
            "free": len(accounts) - parked,
            "parked": parked,
            "failing_in_a_row": len(pool.bench.streak),
            "refresh_after": pool.rules.refresh,
            "min_pool": pool.rules.min_pool,
        }

    async def export(self, sent: Sent) -> object:
        route, form = self._route(sent), sent.get("format", "json")
        seats = self._pools.of(route).seats
        parts = [_masked(seat.account) for seat in seats]
        if form == "text":
            return {"text": "\n".join(" ".join(each.values()) for each in parts)}
        if form == "env":
            name = "".join(c if c.isalnum() else "_" for c in route.name).upper()
            return {"text": f"{name}_KEYS={','.join(':'.join(p.values()) for p in parts)}"}
        if form != "json":
            raise RequestError("bad_request", "`format` is json, text or env", param="format")
        listed = [
            {"account": seat.account.digest, **each}
            for seat, each in zip(seats, parts, strict=True)
        ]
        return {"text": dumps(listed).decode()}

    # ---- what may be done ----

    async def park(self, sent: Sent) -> object:
        route = self._route(sent)
        pool, digest = self._pools.of(route), sent["account"]
        self._seat(pool, digest)
        until = self._clock.monotonic() + float(sent.get("seconds", inf))
        pool.park(digest, until)
        return {"accounts": [digest]}

    async def revive(self, sent: Sent) -> object:
        route = self._route(sent)
        chosen = self._chosen(route, sent)
        for each in chosen:
            self._pools.revive(route, each)
        return {"accounts": [each.digest for each in chosen]}

    async def refresh(self, sent: Sent) -> object:
        route = self._route(sent)
        chosen = self._chosen(route, sent)
        if not self._keyring.logs_in(route, chosen):
            raise RequestError("bad_request", f"the accounts of {route.name} do not log in")
        self._keyring.log_in(route, chosen)
        return {"accounts": [each.digest for each in chosen]}

    async def add(self, sent: Sent) -> object:
        route = self._route(sent)
        known = {seat.account.digest for seat in self._pools.of(route).seats}
        sample = route.roster.accounts[0]
        added, skipped, failed = list[Account](), 0, list[dict[str, object]]()
        for at, item in enumerate(sent["accounts"]):
            made = _made(item, sample)
            if isinstance(made, str):
                failed.append({"at": at, "why": made})
            elif made.digest in known:
                skipped += 1
            else:
                known.add(made.digest)
                added.append(made)
        if added:
            await self._keep(route, (*self._pools.added.get(route.name, ()), *added))
        digests = [each.digest for each in added]
        return {"added": digests, "skipped": skipped, "failed": failed}

    async def remove(self, sent: Sent) -> object:
        route = self._route(sent)
        there = self._pools.added.get(route.name, ())
        wanted = set(sent.get("accounts") or [each.digest for each in there])
        strangers = wanted - {each.digest for each in there}
        if strangers:
            message = f"`{min(strangers, key=str)}` did not come by this API: edit where it stands"
            raise RequestError("bad_request", message, param="accounts")
        if wanted:
            await self._keep(route, tuple(each for each in there if each.digest not in wanted))
        return {"removed": sorted(wanted)}

    async def _keep(self, route: Route, accounts: tuple[Account, ...]) -> None:
        """First in the store, then in the pool: nothing is there that a restart would lose."""
        value = dumps([_written(each) for each in accounts])
        try:
            if accounts:
                await self._store.put(PREFIX + route.name, value)
            else:
                await self._store.delete(PREFIX + route.name)
        except StoreError:
            self._observer.saw("store_error", store="accounts", op="put")
            raise RequestError("unavailable", "the store cannot be written") from None
        self._tell(list(accounts))
        self._pools.extend(route.name, accounts)
        self._pools.adopt(route)

    def _tell(self, accounts: list[Account]) -> None:
        secrets = [secret for each in accounts for secret in each.secrets]
        self._observer.saw("accounts_added", count=len(accounts), secrets=secrets)

    # ---- who is meant ----

    def _route(self, sent: Sent) -> Route:
        route = self._book().routes.get(sent["route"])
        if route is None:
            raise RequestError("not_found", "there is no such route", param="route")
        if not route.roster.accounts:
            raise RequestError("bad_request", f"{route.name} has no accounts", param="route")
        return route

    def _chosen(self, route: Route, sent: Sent) -> tuple[Account, ...]:
        pool = self._pools.of(route)
        if "account" not in sent:
            return tuple(seat.account for seat in pool.seats)
        return (self._seat(pool, sent["account"]).account,)

    def _seat(self, pool: Pool, digest: str) -> Seat:
        seat = pool.seat(digest)
        if seat is None:
            raise RequestError("not_found", "there is no such account", param="account")
        return seat


def _state(seat: Seat, now: float, added: bool) -> dict[str, object]:
    health, left = seat.health, seat.health.until - now
    state = "parked" if left > 0 else "busy" if health.meter.in_use else "free"
    return {
        "account": seat.account.digest,
        "id": seat.account.id,
        "state": state,
        "why": health.why if left > 0 else "",
        "parked_for": None if left == inf else round(max(0.0, left), 1),
        "failures": health.failures,
        "calls": health.calls,
        "failed": health.failed,
        "in_use": health.meter.in_use,
        "last_error": health.last_error,
        "added": added,
        "parts": _masked(seat.account),
    }


def _masked(of: Account) -> dict[str, str]:
    return {
        name: part.reveal() if name in of.known else masked(part.reveal())
        for name, part in of.parts.items()
    }


def _made(item: object, sample: Account) -> Account | str:
    """An account like the sample, or why there is none; what was sent is not repeated."""
    parts = {"key": item} if isinstance(item, str) else item
    if not isinstance(parts, dict) or not all(isinstance(text, str) for text in parts.values()):
        return "neither text nor an object of texts"
    lacking = sorted(name for name in sample.parts if not parts.get(name))
    if lacking:
        return f"lacks `{lacking[0]}`"
    if not parts or not sample.parts:
        return "this route's accounts have no parts of their own"
    return _account(parts, sample.known)


def _account(parts: dict[str, str], known: frozenset[str]) -> Account:
    secrets = {name: Secret(text, f"added.{name}") for name, text in parts.items()}
    made = account("", secrets, known=known)
    names = [parts[name] for name in sorted(known) if name in parts and not parts[name].isdecimal()]
    return account(names[0] if names else f"added:{made.digest[:8]}", secrets, known=known)


def _written(each: Account) -> dict[str, object]:
    parts = {name: part.reveal() for name, part in each.parts.items()}
    return {"parts": parts, "known": sorted(each.known)}


def _read(raw: bytes | None) -> list[Account]:
    """What `_written` gave; what cannot be read is as if it were not there."""
    try:
        kept: Any = loads(raw) if raw is not None else []
        return [_account(each["parts"], frozenset(each["known"])) for each in kept]
    except (JsonError, KeyError, TypeError, AttributeError):
        return []
