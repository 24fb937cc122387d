"""Metrics in the text format of Prometheus, in a registry of our own.

`METRICS` is the one table: docs/operations.md repeats it, and nothing is counted that is not in
it. Labels are names from configuration or closed sets, never what a client wrote; a metric that
reaches MAX_SERIES all the same counts the rest under "other". Numbers are per process.
"""

from __future__ import annotations

import platform
from collections import Counter as Tally
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from engine import __version__
from engine.events import Usage

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_SERIES = 2000
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_KINDS: dict[str, Callable[..., Any]] = {
    "counter": Counter,
    "gauge": Gauge,
    "histogram": partial(Histogram, buckets=_SECONDS),
}
_ROUTE_GAUGE = ("gauge", ("route",))


class Metric(NamedTuple):
    kind: str
    labels: tuple[str, ...]
    doc: str


METRICS: dict[str, Metric] = {
    "penstock_requests_total": Metric(
        "counter",
        ("route", "model", "dialect", "outcome"),
        "Client requests that reached a route; outcome is `ok`, `gone` or an outcome class.",
    ),
    "penstock_request_seconds": Metric(
        "histogram", ("route",), "Client request to the end of its answer."
    ),
    "penstock_first_event_seconds": Metric(
        "histogram", ("route",), "Client request to the first content of its answer, streams only."
    ),
    "penstock_upstream_attempts_total": Metric(
        "counter", ("route", "outcome"), "Calls of upstreams, by how they ended."
    ),
    "penstock_tokens_total": Metric(
        "counter",
        ("route", "kind", "estimated"),
        "Tokens; kind is `input`, `output`, `cache_read`, `cache_write` or `reasoning`.",
    ),
    "penstock_open_requests": Metric("gauge", (), "Client requests under way."),
    "penstock_values_fetched_total": Metric(
        "counter", ("route", "value", "result"), "Fetches of a route's values, `ok` or `failed`."
    ),
    "penstock_unmatched_records_total": Metric(
        "counter", ("route",), "Records of answers that no event rule matched."
    ),
    "penstock_config_last_reload_successful": Metric(
        "gauge", ("route",), "1 if the route's file, as it is now, is what is served."
    ),
    "penstock_config_last_reload_success_timestamp_seconds": Metric(
        "gauge", ("route",), "When the route was last loaded, epoch seconds."
    ),
    "penstock_config_reloads_total": Metric(
        "counter", ("route", "result"), "Changes of the route's file, `ok` or `failed`."
    ),
    "penstock_config_generations": Metric(
        "gauge", ("route",), "Versions of the route that requests still use."
    ),
    "penstock_build_info": Metric("gauge", ("version", "python"), "Always 1."),
    "penstock_store_errors_total": Metric(
        "counter", ("store",), "Reads and writes of a store that failed."
    ),
}


class Metrics:
    """Counts what it is told; `render()` gives the page. For one thread (the event loop's)."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._made = {
            name: _KINDS[metric.kind](name, metric.doc, metric.labels, registry=self.registry)
            for name, metric in METRICS.items()
        }
        self._series: dict[tuple[str, ...], Any] = {}
        self._sizes: Tally[str] = Tally()
        ProcessCollector(registry=self.registry)
        self.series("penstock_build_info", __version__, platform.python_version()).set(1)

    def series(self, name: str, *labels: str) -> Any:
        """The series of a metric with these label values, resolved once."""
        key = (name, *labels)
        found = self._series.get(key)
        return self._new(name, labels) if found is None else found

    def _new(self, name: str, labels: tuple[str, ...]) -> Any:
        if self._sizes[name] >= MAX_SERIES:
            labels = ("other",) * len(labels)
        key = (name, *labels)
        if key not in self._series:
            made = self._made[name]
            self._series[key] = made.labels(*labels) if labels else made
            self._sizes[name] += 1
        return self._series[key]

    def render(self) -> bytes:
        return generate_latest(self.registry)

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
        series = self.series
        series("penstock_requests_total", route, model, dialect, outcome).inc()
        series("penstock_request_seconds", route).observe(seconds)
        if first_event is not None:
            series("penstock_first_event_seconds", route).observe(first_event)
        if usage is not None:
            self._tokens(route, usage)

    def _tokens(self, route: str, usage: Usage) -> None:
        estimated = "true" if usage.estimated else "false"
        for kind in ("input", "output", "cache_read", "cache_write", "reasoning"):
            count = getattr(usage, kind)
            if count:
                self.series("penstock_tokens_total", route, kind, estimated).inc(count)

    def attempt(self, route: str, outcome: str, unmatched: int) -> None:
        self.series("penstock_upstream_attempts_total", route, outcome).inc()
        if unmatched:
            self.series("penstock_unmatched_records_total", route).inc(unmatched)

    def value_fetched(self, route: str, value: str, result: str) -> None:
        self.series("penstock_values_fetched_total", route, value, result).inc()

    def store_error(self, store: str) -> None:
        self.series("penstock_store_errors_total", store).inc()

    def reload(self, route: str, result: str, at: float) -> None:
        """A route's file came in (`ok`) or was refused (`failed`), at epoch seconds."""
        good = result == "ok"
        self.series("penstock_config_reloads_total", route, result).inc()
        self.series("penstock_config_last_reload_successful", route).set(int(good))
        if good:
            self.series("penstock_config_last_reload_success_timestamp_seconds", route).set(at)

    def generations(self, route: str, count: int) -> None:
        self.series("penstock_config_generations", route).set(count)

    def open_requests(self, count: Callable[[], float]) -> None:
        """Asks for the number of requests under way when the page is made."""
        self.series("penstock_open_requests").set_function(count)

    def forget(self, route: str) -> None:
        """A route is gone: its gauges would otherwise say for ever that it is well (or not)."""
        gauges = [name for name, of in METRICS.items() if (of.kind, of.labels) == _ROUTE_GAUGE]
        for name in gauges:
            if self._series.pop((name, route), None) is not None:
                self._made[name].remove(route)
                self._sizes[name] -= 1
