"""Metrics in the text format of Prometheus, and what the operating system says of this process.

Whoever needs the page imports this when it is asked for: prometheus_client takes long to import,
and a start need not wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from .metrics import BOUNDS, Declared, Labels, Metrics, Timing


def render(metrics: Metrics) -> bytes:
    """The page, from a registry of its own: nothing that a library counts gets into it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(metrics))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Families(Collector):
    """What is counted, as families."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        for name, metric, series in self._metrics.series():
            yield _family(name, metric, series)


def _family(name: str, metric: Declared, series: Mapping[Labels, float | Timing]) -> Metric:
    if metric.kind == "histogram":
        timed = HistogramMetricFamily(name, metric.doc, labels=metric.labels)
        for labels, timing in series.items():
            assert isinstance(timing, Timing)
            buckets = list(zip(BOUNDS, map(float, accumulate(timing.counts)), strict=True))
            timed.add_metric(labels, buckets, timing.sum)
        return timed
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(name, metric.doc, labels=metric.labels)
    for labels, value in series.items():
        assert isinstance(value, float | int)
        family.add_metric(labels, value)
    return family
