from __future__ import annotations

import inspect

from prometheus_client.parser import text_string_to_metric_families

from engine.events import Usage
from engine.shell import metrics as module
from engine.shell.metrics import MAX_SERIES, METRICS, Metrics
from engine.shell.metrics_page import render


def page(metrics: Metrics) -> dict[str, float]:
    """Every sample, as `name{label=value,…}` -> value."""
    found = {}
    for family in text_string_to_metric_families(render(metrics).decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_a_request_is_counted_and_timed() -> None:
    metrics = Metrics()
    usage = Usage(input=100, output=50, cache_read=0, reasoning=None, estimated=True)
    metrics.request("openai", "gpt-4o", "anthropic_messages", "ok", 1.5, 0.3, usage)
    metrics.request("openai", "gpt-4o", "anthropic_messages", "timeout", 700.0, None, None)
    found = page(metrics)
    labels = "dialect=anthropic_messages,model=gpt-4o,outcome={},route=openai"
    assert found[f"penstock_requests_total{{{labels.format('ok')}}}"] == 1
    assert found[f"penstock_requests_total{{{labels.format('timeout')}}}"] == 1
    assert found["penstock_request_seconds_count{route=openai}"] == 2
    assert found["penstock_request_seconds_sum{route=openai}"] == 701.5
    assert found["penstock_request_seconds_bucket{le=1.0,route=openai}"] == 0
    assert found["penstock_request_seconds_bucket{le=2.5,route=openai}"] == 1
    assert found["penstock_request_seconds_bucket{le=600.0,route=openai}"] == 1
    assert found["penstock_request_seconds_bucket{le=+Inf,route=openai}"] == 2
    assert found["penstock_first_event_seconds_count{route=openai}"] == 1
    tokens = {name: value for name, value in found.items() if "tokens" in name}
    assert tokens == {
        "penstock_tokens_total{estimated=true,kind=input,route=openai}": 100,
        "penstock_tokens_total{estimated=true,kind=output,route=openai}": 50,
    }


def test_a_time_on_a_bucket_s_bound_is_in_that_bucket() -> None:
    metrics = Metrics()
    metrics.request("r", "m", "d", "ok", 0.5, None, None)
    found = page(metrics)
    assert found["penstock_request_seconds_bucket{le=0.25,route=r}"] == 0
    assert found["penstock_request_seconds_bucket{le=0.5,route=r}"] == 1


def test_attempts_values_and_store_errors_are_counted() -> None:
    metrics = Metrics()
    metrics.attempt("r", "ok", 0)
    metrics.attempt("r", "connect", 3)
    metrics.value_fetched("r", "nonce", "failed")
    metrics.store_error("values", "get")
    metrics.store_error("values", "get")
    found = page(metrics)
    assert found["penstock_upstream_attempts_total{outcome=connect,route=r}"] == 1
    assert found["penstock_unmatched_records_total{route=r}"] == 3
    assert found["penstock_values_fetched_total{result=failed,route=r,value=nonce}"] == 1
    assert found["penstock_store_errors_total{op=get,store=values}"] == 2


def test_a_failed_reload_keeps_the_time_of_the_last_good_one() -> None:
    metrics = Metrics()
    metrics.reload("r", "ok", 1000.0)
    metrics.reload("r", "failed", 2000.0)
    found = page(metrics)
    assert found["penstock_config_last_reload_successful{route=r}"] == 0
    assert found["penstock_config_last_reload_success_timestamp_seconds{route=r}"] == 1000
    assert found["penstock_config_reloads_total{result=failed,route=r}"] == 1


def test_the_gauges_of_a_route_go_with_it_and_its_counts_stay() -> None:
    metrics = Metrics()
    for route in ("kept", "gone"):
        metrics.reload(route, "ok", 1000.0)
        metrics.generations(route, 2)
    metrics.forget("gone")
    found = page(metrics)
    assert {name for name in found if "route=gone" in name} == {
        "penstock_config_reloads_total{result=ok,route=gone}"
    }
    assert found["penstock_config_generations{route=kept}"] == 2


def test_requests_under_way_are_asked_for_when_the_page_is_made() -> None:
    metrics, under_way = Metrics(), [1, 2]
    assert page(metrics)["penstock_open_requests"] == 0
    metrics.open_requests(lambda: len(under_way))
    assert page(metrics)["penstock_open_requests"] == 2
    under_way.clear()
    assert page(metrics)["penstock_open_requests"] == 0


def test_too_many_series_are_counted_together() -> None:
    metrics = Metrics()
    for at in range(MAX_SERIES + 5):
        metrics.request(f"r{at}", "m", "d", "ok", 0.1, None, None)
        metrics.generations(f"r{at}", 1)
    metrics.request("r0", "m", "d", "ok", 0.1, None, None)
    found = page(metrics)
    other = "penstock_requests_total{dialect=other,model=other,outcome=other,route=other}"
    assert found[other] == 5
    assert found["penstock_requests_total{dialect=d,model=m,outcome=ok,route=r0}"] == 2
    assert found["penstock_request_seconds_count{route=other}"] == 5
    assert len(found) < 25 * MAX_SERIES


def test_every_metric_is_counted_somewhere() -> None:
    source = inspect.getsource(module.Metrics)
    assert [name for name in METRICS if f'"{name}"' not in source] == []
