"""The Observer port: what the exchange and the shell saw goes to the log and to the metrics.

    request        id route model dialect stream status outcome attempts seconds first_event usage
                   upstream_status error          one line per client request
    attempt        request route outcome status message cause unmatched unsaid
    value_fetched  route value result
    value_cleaned  route value result              result: ok, failed, or skipped: no account
                   left, or nothing to undo
    job_asked      request route outcome message   one question about a job; ok ones are not logged
    tool_call      request client route server tool outcome seconds sent received
                   one line per call of a tool; sizes in characters, nothing of its content
    media_fetched  route count outcome seconds    outcome: ok, or the code that the client gets
    retry_refused  route                          counted, not logged
    breaker        route open                     an upstream is left alone, or asked again
    store_error    store op                        store: whose values they are
    store_state    store up lasted error           lasted: seconds in the state before
    route_loaded   route and more                 what was read of a route file serves now
    route_failed   route problems and more        it cannot serve (route_clash: not beside others)
    route_removed  route
    generations    route count                    counted, not logged
    crash          error and more                 a mistake of the engine itself

What each request brings is noted and worked off in batches, which saves a chat a fortieth of its
instructions. Whoever reads the metrics sees all of it, and lines keep their order.

Any other name is a line of its own. A field `level` decides the level of such a line; secrets in a
field `secrets` are made known to the redactor and not logged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from engine.dialects.outcomes import shorten
from engine.errors import OUTCOMES
from engine.events import Usage

from .log import LONGEST, Logger, where
from .metrics import Metrics

PAUSE = 0.05  # seconds that what is often seen may wait
BATCH = 64  # of it that are worked off in one go
OFTEN = frozenset(("request", "attempt"))
STORE_LINE_EVERY = 60.0  # seconds: a store that is down is one line, not one per request
_OTHERS = dict.fromkeys(
    ("watch_failed", "route_mounted_alone", "transform_slow", "tools_down", "tools_failed"),
    "warning",
)
_BY_FAULT = {"client": "info", "upstream": "warning", "account": "warning", "operator": "error"}
_LEVELS = {"ok": "info", **{name: _BY_FAULT[known.fault] for name, known in OUTCOMES.items()}}

Fields = dict[str, Any]


class Reporter:
    """An Observer. now and monotonic are the Clock's."""

    def __init__(
        self,
        logger: Logger,
        metrics: Metrics,
        now: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self.logger = logger
        self.metrics = metrics
        self._now = now
        self._monotonic = monotonic
        self._quiet: dict[str, float] = {}
        self._waiting: list[tuple[str, Fields]] = []
        metrics.settle = self.settle
        self._seen: dict[str, Callable[[Fields], None]] = {
            "request": self._request,
            "refused": self._refused,
            "attempt": self._attempt,
            "value_fetched": self._value_fetched,
            "value_cleaned": self._value_cleaned,
            "account_parked": self._account_parked,
            "job_asked": self._job_asked,
            "tool_call": self._tool_call,
            "media_fetched": self._media_fetched,
            "retry_refused": lambda seen: self.metrics.retry_refused(seen["route"]),
            "breaker": self._breaker,
            "store_error": self._store_error,
            "store_state": self._store_state,
            "store_unreadable": self._store_unreadable,
            "route_loaded": self._route_loaded,
            "route_failed": partial(self._route_failed, "route_failed"),
            "route_clash": partial(self._route_failed, "route_clash"),
            "route_removed": self._route_removed,
            "generations": self._generations,
            "crash": self._crash,
        }

    def saw(self, name: str, **fields: Any) -> None:
        secrets = fields.pop("secrets", None)
        if secrets:
            self.logger.redactor.add(*secrets)
        waiting = self._waiting
        if name in OFTEN:
            fields["at"] = self._now()
            waiting.append((name, fields))
            if len(waiting) == 1:
                self._settle_soon()
            elif len(waiting) >= BATCH:
                self.settle()
            return
        if waiting:
            self.settle()
        self._note(name, fields)

    def _settle_soon(self) -> None:
        try:
            asyncio.get_running_loop().call_later(PAUSE, self.settle)
        except RuntimeError:  # nobody would call it
            self.settle()

    def settle(self) -> None:
        """Work off what waits."""
        waiting, self._waiting = self._waiting, []
        for name, fields in waiting:
            self._note(name, fields)

    def _note(self, name: str, fields: Fields) -> None:
        try:
            note = self._seen.get(name)
            if note is not None:
                note(fields)
            else:
                self._line(name, fields, _OTHERS.get(name, "debug"))
        except Exception as error:  # an observer never raises, whatever it is told
            self.logger.error("observer", saw=name, error=error, where=where(error))

    def _request(self, seen: Fields) -> None:
        outcome, usage = seen["outcome"], seen["usage"]
        seconds, first = seen["seconds"], seen["first_event"]
        self.metrics.request(
            seen["route"], seen["model"], seen["dialect"], outcome, seconds, first, usage
        )
        level = _LEVELS.get(outcome, "info")
        if self.logger.wants(level):
            line = self._request_line(seen, seconds, first, usage)
            own = not (seen.get("client_id") or seen["error"])  # names and numbers
            self.logger.write(level, "request", line, own=own, at=seen["at"])

    def _request_line(
        self, seen: Fields, seconds: float, first: float | None, usage: Usage | None
    ) -> Fields:
        name = self.logger.redactor.name
        line: Fields = {
            "id": seen["id"],
            "route": name(seen["route"]),
            "model": name(seen["model"]),
            "dialect": seen["dialect"],
            "stream": seen["stream"],
            "status": seen["status"],
            "outcome": seen["outcome"],
            "attempts": seen["attempts"],
            "first_event_ms": None if first is None else _ms(first),
            "total_ms": _ms(seconds),
            "upstream_status": seen["upstream_status"],
        }
        if seen.get("client_id"):
            line["client_id"] = seen["client_id"]
        if usage is not None:
            line["input_tokens"] = usage.input
            line["output_tokens"] = usage.output
            line["estimated"] = usage.estimated
        if seen["error"]:
            line["error"] = _short(seen["error"])
        return line

    def _refused(self, seen: Fields) -> None:
        self.metrics.refused(seen["dialect"], seen["kind"])
        self._line("refused", seen, "info")

    def _attempt(self, seen: Fields) -> None:
        counts = seen.get("unmatched")
        unmatched = sum(counts.values()) if counts else 0
        self.metrics.attempt(seen["route"], seen["outcome"], unmatched, seen.get("broken"))
        if seen.get("unsaid"):
            self.metrics.unsaid(seen["route"], seen["unsaid"])
        good = seen["outcome"] == "ok"
        level = "debug" if good else _LEVELS.get(seen["outcome"], "warning")
        if not self.logger.wants(level):
            return
        line = {name: seen.get(name) for name in ("request", "route", "outcome", "status")}
        if not good:
            line["error"] = _short(seen.get("message"))
        if seen.get("unsaid"):
            line["unsaid"] = [_short(name) for name in seen["unsaid"]]
        if unmatched:
            line["unmatched"] = unmatched
        self.logger.write(level, "attempt", line | _cause(seen.get("cause")), at=seen["at"])

    def _value_fetched(self, seen: Fields) -> None:
        self.metrics.value_fetched(seen["route"], seen["value"], seen["result"])
        self.logger.write("debug" if seen["result"] == "ok" else "warning", "value_fetched", seen)

    def _value_cleaned(self, seen: Fields) -> None:
        self.metrics.value_cleaned(seen["route"], seen["value"], seen["result"])
        self.logger.write("debug" if seen["result"] == "ok" else "warning", "value_cleaned", seen)

    def _account_parked(self, seen: Fields) -> None:
        self.metrics.account_parked(seen["route"], seen["why"])
        self._line("account_parked", seen, "warning")

    def _job_asked(self, seen: Fields) -> None:
        self.metrics.job_asked(seen["route"], seen["outcome"])
        if seen["outcome"] != "ok":
            self._line("job_asked", {**seen, "message": _short(seen["message"])}, "info")

    def _tool_call(self, seen: Fields) -> None:
        self.metrics.tool_call(seen["route"], seen["server"], seen["outcome"], seen["seconds"])
        self._line("tool_call", seen, "info" if seen["outcome"] == "ok" else "warning")

    def _media_fetched(self, seen: Fields) -> None:
        self.metrics.media_fetched(seen["route"], seen["outcome"])
        self._line("media_fetched", seen, "debug" if seen["outcome"] == "ok" else "info")

    def _breaker(self, seen: Fields) -> None:
        self.metrics.breaker(seen["route"], seen["open"])
        self._line("breaker", seen, "warning" if seen["open"] else "info")

    def _store_error(self, seen: Fields) -> None:
        store = seen["store"]
        self.metrics.store_error(store, seen.get("op", ""))
        if self._is_news(store):
            self.logger.write("error", "store_error", seen)

    def _store_state(self, seen: Fields) -> None:
        self.metrics.store_up(seen["store"], seen["up"])
        if "lasted" in seen:
            self.logger.write("info" if seen["up"] else "error", "store_state", seen)

    def _store_unreadable(self, seen: Fields) -> None:
        if self._is_news("unreadable"):
            why = "values of the store were not written with `state_key`: they count as absent"
            self.logger.write("error", "store_unreadable", {"error": why})

    def _is_news(self, what: str) -> bool:
        """True once in STORE_LINE_EVERY seconds."""
        now = self._monotonic()
        fresh = now >= self._quiet.get(what, now)
        if fresh:
            self._quiet[what] = now + STORE_LINE_EVERY
        return fresh

    def _route_loaded(self, seen: Fields) -> None:
        self.metrics.reload(seen["route"], "ok", self._now())
        self._line("route_loaded", seen, "info")

    def _route_failed(self, name: str, seen: Fields) -> None:
        self.metrics.reload(seen["route"], "failed", self._now())
        # The first line of a problem only: the others show the file, which may hold a secret.
        problems = [str(problem).partition("\n")[0] for problem in seen.get("problems", ())]
        self._line(name, {**seen, "problems": problems}, "error")

    def _route_removed(self, seen: Fields) -> None:
        self.metrics.forget(seen["route"])
        self._line("route_removed", seen, "info")

    def _generations(self, seen: Fields) -> None:
        self.metrics.generations(seen["route"], seen["count"])

    def _crash(self, seen: Fields) -> None:
        self.logger.write("error", "crash", {**seen, **_cause(seen["error"])})

    def _line(self, name: str, seen: Fields, level: str) -> None:
        level = seen.pop("level", level)
        self.logger.write(level, name, seen)


def _ms(seconds: float) -> float:
    """Tenths of milliseconds; `round` would take twenty times as long."""
    return int(seconds * 10_000 + 0.5) / 10


def _cause(error: BaseException | None) -> Fields:
    """Of an exception only its type and place: its text may quote the conversation."""
    return {} if error is None else {"cause": type(error).__name__, "where": where(error)}


def _short(text: object) -> str:
    return shorten(str(text or ""), LONGEST)
