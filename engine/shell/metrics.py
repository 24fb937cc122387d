"""What is counted, for Prometheus and for operators.

`METRICS` is the one table: docs/operations.md repeats it, and nothing is counted that is not in
it. Labels are names from configuration or closed sets, never what a client wrote; a metric that
reaches MAX_SERIES all the same counts the rest under "other". Numbers are per process. Counting is
an addition in a dict; `metrics_page` makes families of it when the page is asked for.
"""

from __future__ import annotations

import platform
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from engine import __version__
from engine.dialects.unsaid import PARTS
from engine.events import Usage

MAX_SERIES = 2000
SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
KINDS = ("input", "output", "cache_read", "cache_write", "reasoning")
BOUNDS = (*map(str, SECONDS), "+Inf")

Labels = tuple[str, ...]


class Declared(NamedTuple):
    kind: str
    labels: tuple[str, ...]
    doc: str


METRICS: dict[str, Declared] = {
    "penstock_requests_total": Declared(
        "counter",
        ("route", "model", "dialect", "outcome"),
        "Client requests that reached a route; outcome is `ok`, `gone` or an outcome class.",
    ),
    "penstock_request_seconds": Declared(
        "histogram", ("route",), "Client request to the end of its answer."
    ),
    "penstock_first_event_seconds": Declared(
        "histogram", ("route",), "Client request to the first content of its answer, streams only."
    ),
    "penstock_upstream_attempts_total": Declared(
        "counter", ("route", "outcome"), "Calls of upstreams, by how they ended."
    ),
    "penstock_tokens_total": Declared(
        "counter",
        ("route", "kind", "estimated"),
        "Tokens; kind is `input`, `output`, `cache_read`, `cache_write` or `reasoning`.",
    ),
    "penstock_refused_total": Declared(
        "counter",
        ("dialect", "kind"),
        "Client requests that reached no route: wrong key, unknown model, no JSON.",
    ),
    "penstock_open_requests": Declared("gauge", (), "Client requests under way."),
    "penstock_values_fetched_total": Declared(
        "counter", ("route", "value", "result"), "Fetches of a route's values, `ok` or `failed`."
    ),
    "penstock_cleanups_total": Declared(
        "counter",
        ("route", "value", "result"),
        "Clean-ups of a route's values and of jobs given up, `ok`, `failed` or `skipped`.",
    ),
    "penstock_job_questions_total": Declared(
        "counter",
        ("route", "outcome"),
        "Questions about jobs (`request.poll`); outcome is `ok` or an outcome class.",
    ),
    "penstock_tool_calls_total": Declared(
        "counter",
        ("route", "server", "outcome"),
        "Calls of tools; outcome is `ok`, `error`, `timeout`, `refused` or `down`; "
        "route is empty where an operator called, server where nobody offered the tool.",
    ),
    "penstock_media_fetched_total": Declared(
        "counter",
        ("route", "outcome"),
        "Requests whose media were fetched by URL; outcome is `ok` or the client's error code.",
    ),
    "penstock_tool_seconds": Declared("histogram", ("server",), "Call of a tool to its result."),
    "penstock_unmatched_records_total": Declared(
        "counter", ("route",), "Records of answers that no event rule matched."
    ),
    "penstock_answers_unsaid_total": Declared(
        "counter",
        ("route", "part"),
        "Answers of which the client's API has no place for a part: its kind, `citations`, "
        "`annotations` or `other`.",
    ),
    "penstock_invariant_violations_total": Declared(
        "counter",
        ("route", "rule"),
        "Answers whose events broke a rule of their order: a fault of the engine or a transform.",
    ),
    "penstock_config_last_reload_successful": Declared(
        "gauge", ("route",), "1 if the route's file, as it is now, is what is served."
    ),
    "penstock_config_last_reload_success_timestamp_seconds": Declared(
        "gauge", ("route",), "When the route was last loaded, epoch seconds."
    ),
    "penstock_config_reloads_total": Declared(
        "counter", ("route", "result"), "Changes of the route's file, `ok` or `failed`."
    ),
    "penstock_config_generations": Declared(
        "gauge", ("route",), "Versions of the route that requests still use."
    ),
    "penstock_accounts": Declared(
        "gauge", ("route", "state"), "Accounts of the route's pool; state is `free` or `parked`."
    ),
    "penstock_accounts_parked_total": Declared(
        "counter",
        ("route", "why"),
        "Accounts left out; why is an outcome class, or `login` for a login that was refused.",
    ),
    "penstock_retries_refused_total": Declared(
        "counter", ("route",), "Attempts that `retry.budget` did not allow."
    ),
    "penstock_breaker_open": Declared(
        "gauge", ("route",), "1 while the route's upstream is left alone (`breaker`)."
    ),
    "penstock_build_info": Declared("gauge", ("version", "python"), "Always 1."),
    "penstock_store_errors_total": Declared(
        "counter",
        ("store", "op"),
        "Reads and writes of a store that failed; "
        "store is what for: `sessions`, `values`, `cleanups` or `accounts`.",
    ),
    "penstock_store_up": Declared(
        "gauge", ("store",), "1 if the store (`sqlite`, `redis`) answers, 0 while it is left alone."
    ),
}


Row = tuple[float, float, float, float]
Totals = dict[str, Row]
NONE: Row = (0.0, 0.0, 0.0, 0.0)


class Timing:
    """One series of a histogram."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * len(BOUNDS)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.sum += seconds


class Metrics:
    """Counts what it is told. For one thread (the event loop's).

    settle  called before anything is read: what was seen and not told yet is told
    """

    def __init__(self) -> None:
        self._values: dict[str, dict[Labels, float]] = {name: {} for name in METRICS}
        self._timings: dict[str, dict[Labels, Timing]] = {
            name: {} for name, metric in METRICS.items() if metric.kind == "histogram"
        }
        self.settle: Callable[[], None] = lambda: None
        self._open: Callable[[], float] = lambda: 0.0
        self._pools: Callable[[], Mapping[str, tuple[int, int]]] = dict
        self._since: Totals = {}
        self._set("penstock_build_info", __version__, platform.python_version(), to=1)

    def series(self) -> Iterator[tuple[str, Declared, Mapping[Labels, float | Timing]]]:
        """All that is counted by now: name, what it is, and value or timing by labels."""
        self.settle()
        self._set("penstock_open_requests", to=self._open())
        self._values["penstock_accounts"].clear()
        for route, counts in self._pools().items():
            for state, count in zip(("free", "parked"), counts, strict=True):
                self._set("penstock_accounts", route, state, to=count)
        for name, metric in METRICS.items():
            found: Mapping[Labels, float | Timing] = self._values[name]
            yield name, metric, self._timings[name] if metric.kind == "histogram" else found

    # ---- what is told ----

    def request(
        self,
        route: str,
        model: str,
        dialect: str,
        outcome: str,
        seconds: float,
        first_event: float | None,
        usage: Usage | None,
    ) -> None:
        """A client's request is over; times in seconds, first_event None where none came."""
        self._add("penstock_requests_total", (route, model, dialect, outcome))
        self._observe("penstock_request_seconds", seconds, route)
        if first_event is not None:
            self._observe("penstock_first_event_seconds", first_event, route)
        if usage is not None:
            estimated = "true" if usage.estimated else "false"
            for kind, count in zip(KINDS, _counts(usage), strict=True):
                if count:
                    self._add("penstock_tokens_total", (route, kind, estimated), count)

    def attempt(
        self, route: str, outcome: str, unmatched: int, broken: Mapping[str, int] | None = None
    ) -> None:
        self._add("penstock_upstream_attempts_total", (route, outcome))
        if unmatched:
            self._add("penstock_unmatched_records_total", (route,), unmatched)
        if broken:
            for rule, count in broken.items():
                self._add("penstock_invariant_violations_total", (route, rule), count)

    def unsaid(self, route: str, names: Iterable[str]) -> None:
        for part in {name if name in PARTS else "other" for name in names}:
            self._add("penstock_answers_unsaid_total", (route, part))

    def value_fetched(self, route: str, value: str, result: str) -> None:
        self._add("penstock_values_fetched_total", (route, value, result))

    def value_cleaned(self, route: str, value: str, result: str) -> None:
        self._add("penstock_cleanups_total", (route, value, result))

    def job_asked(self, route: str, outcome: str) -> None:
        self._add("penstock_job_questions_total", (route, outcome))

    def tool_call(self, route: str, server: str, outcome: str, seconds: float) -> None:
        self._add("penstock_tool_calls_total", (route, server, outcome))
        self._observe("penstock_tool_seconds", seconds, server)

    def media_fetched(self, route: str, outcome: str) -> None:
        self._add("penstock_media_fetched_total", (route, outcome))

    def refused(self, dialect: str, kind: str) -> None:
        self._add("penstock_refused_total", (dialect, kind))

    def retry_refused(self, route: str) -> None:
        self._add("penstock_retries_refused_total", (route,))

    def breaker(self, route: str, is_open: bool) -> None:
        self._set("penstock_breaker_open", route, to=int(is_open))

    def store_error(self, store: str, op: str) -> None:
        self._add("penstock_store_errors_total", (store, op))

    def store_up(self, store: str, up: bool) -> None:
        self._set("penstock_store_up", store, to=int(up))

    def reload(self, route: str, result: str, at: float) -> None:
        """A route's file came in (`ok`) or was refused (`failed`), at epoch seconds."""
        good = result == "ok"
        self._add("penstock_config_reloads_total", (route, result))
        self._set("penstock_config_last_reload_successful", route, to=int(good))
        if good:
            self._set("penstock_config_last_reload_success_timestamp_seconds", route, to=at)

    def generations(self, route: str, count: int) -> None:
        self._set("penstock_config_generations", route, to=count)

    def open_requests(self, count: Callable[[], float]) -> None:
        """Asks for the number of requests under way when the page is made."""
        self._open = count

    def account_parked(self, route: str, why: str) -> None:
        self._add("penstock_accounts_parked_total", (route, why))

    def pools(self, count: Callable[[], Mapping[str, tuple[int, int]]]) -> None:
        """Asks for route -> (free, parked) when the page is made."""
        self._pools = count

    # ---- a summary, for operators ----

    def statistics(self) -> dict[str, dict[str, object]]:
        """By route: requests, how many went well, how long they took; since the last reset."""
        return {route: _summary(row) for route, row in self.counted().items()}

    def counted(self) -> Totals:
        """By route: requests, those that went well, seconds, answers whose time is in them."""
        now, before = self._totals(), self._since
        return {
            route: _difference(now.get(route, NONE), before.get(route, NONE))
            for route in {**now, **before}
        }

    def go_on_from(self, counted: Totals) -> None:
        """What an earlier process counted is counted, too; in the statistics alone."""
        self._since = {route: _difference(NONE, row) for route, row in counted.items()}

    def reset_statistics(self) -> None:
        """Count anew; the metrics themselves go on, as Prometheus wants it."""
        self._since = self._totals()

    def _totals(self) -> Totals:
        self.settle()
        found: Totals = {}
        for labels, value in self._values["penstock_requests_total"].items():
            all_, good, _, _ = found.get(labels[0], NONE)
            found[labels[0]] = (all_ + value, good + value * (labels[3] == "ok"), 0.0, 0)
        for (route,), timing in self._timings["penstock_request_seconds"].items():
            all_, good, _, _ = found.get(route, NONE)
            found[route] = (all_, good, timing.sum, sum(timing.counts))
        return found

    def forget(self, route: str) -> None:
        """A route is gone: its gauges would otherwise say for ever that it is well (or not)."""
        for name, metric in METRICS.items():
            if (metric.kind, metric.labels) == ("gauge", ("route",)):
                self._values[name].pop((route,), None)

    # ---- series ----

    def _add(self, name: str, labels: Labels, by: float = 1) -> None:
        series = self._values[name]
        if labels in series:
            series[labels] += by
            return
        if len(series) >= MAX_SERIES:
            labels = ("other",) * len(labels)
        series[labels] = series.get(labels, 0) + by

    def _set(self, name: str, *labels: str, to: float) -> None:
        series = self._values[name]
        if labels in series or len(series) < MAX_SERIES:
            series[labels] = to

    def _observe(self, name: str, seconds: float, *labels: str) -> None:
        series = self._timings[name]
        timing = series.get(labels)
        if timing is None:
            if len(series) >= MAX_SERIES:
                labels = ("other",) * len(labels)
            timing = series.setdefault(labels, Timing())
        timing.observe(seconds)


def _counts(usage: Usage) -> tuple[int | None, ...]:
    """The counts that KINDS names."""
    return usage.input, usage.output, usage.cache_read, usage.cache_write, usage.reasoning


def _difference(now: Row, before: Row) -> Row:
    return (now[0] - before[0], now[1] - before[1], now[2] - before[2], now[3] - before[3])


def _summary(row: Row) -> dict[str, object]:
    requests, good, seconds, timed = row
    return {
        "requests": int(requests),
        "ok": int(good),
        "success_rate": round(good / requests, 4) if requests else None,
        "average_seconds": round(seconds / timed, 3) if timed else None,
    }
