from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import pytest

from engine.errors import OUTCOMES, Problem
from engine.events import Usage
from engine.options import Secret
from engine.shell.log import Logger
from engine.shell.metrics import Metrics
from engine.shell.metrics_page import render
from engine.shell.report import BATCH, PAUSE, STORE_LINE_EVERY, Reporter

REQUEST: dict[str, Any] = {
    "id": "req_1",
    "route": "openai",
    "model": "gpt-4o",
    "dialect": "openai_chat",
    "stream": True,
    "status": 200,
    "outcome": "ok",
    "attempts": 1,
    "seconds": 2.5,
    "first_event": 0.25,
    "usage": Usage(input=10, output=5),
    "upstream_status": 200,
    "error": "",
}
ATTEMPT: dict[str, Any] = {
    "route": "openai",
    "outcome": "ok",
    "status": 200,
    "request": "req_1",
    "message": "",
    "cause": None,
    "unmatched": {},
}


class Bench:
    """A reporter, and what came of it."""

    def __init__(self, level: Any = "debug") -> None:
        self.out = io.BytesIO()
        self.at = 50.0
        self.log = Logger(lambda: 1000.0, level=level, stream=self.out)
        self.metrics = Metrics()
        self.reporter = Reporter(self.log, self.metrics, lambda: 1000.0, lambda: self.at)
        self.saw = self.reporter.saw

    def lines(self) -> list[dict[str, Any]]:
        self.log.close()
        lines = [json.loads(line) for line in self.out.getvalue().splitlines()]
        return [{k: v for k, v in line.items() if k != "time"} for line in lines]

    def page(self) -> str:
        return render(self.metrics).decode()


def test_a_request_is_one_line_and_one_count() -> None:
    bench = Bench()
    bench.saw("request", **REQUEST)
    assert bench.lines() == [
        {
            "level": "info",
            "event": "request",
            "id": "req_1",
            "route": "openai",
            "model": "gpt-4o",
            "dialect": "openai_chat",
            "stream": True,
            "status": 200,
            "outcome": "ok",
            "attempts": 1,
            "first_event_ms": 250.0,
            "total_ms": 2500.0,
            "upstream_status": 200,
            "input_tokens": 10,
            "output_tokens": 5,
            "estimated": False,
        }
    ]
    assert (
        'penstock_requests_total{dialect="openai_chat",model="gpt-4o",outcome="ok"' in bench.page()
    )


def test_a_request_that_failed_says_why() -> None:
    bench = Bench()
    failed = {**REQUEST, "outcome": "timeout", "first_event": None, "usage": None}
    bench.saw("request", **{**failed, "error": "no answer " * 100})
    line = bench.lines()[0]
    assert (line["level"], line["first_event_ms"]) == ("warning", None)
    assert line["error"].endswith("no …")
    assert 490 < len(line["error"]) <= 500
    assert "input_tokens" not in line


@pytest.mark.parametrize("field", ["route", "model", "client_id", "error"])
def test_no_text_of_a_request_brings_a_secret_into_the_log(field: str) -> None:
    bench = Bench()
    bench.log.redactor.add(Secret("0123456789abcdef", "env:K"))
    bench.saw("request", **{**REQUEST, field: "a-0123456789abcdef"})
    assert "a-«env:K»" == bench.lines()[0][field]


@pytest.mark.parametrize("outcome", ["ok", "gone", *OUTCOMES])
def test_the_level_of_a_request_goes_by_whose_fault_it_is(outcome: str) -> None:
    bench = Bench()
    bench.saw("request", **{**REQUEST, "outcome": outcome})
    faults = {"client": "info", "upstream": "warning", "account": "warning", "operator": "error"}
    expected = faults[OUTCOMES[outcome].fault] if outcome in OUTCOMES else "info"
    assert bench.lines()[0]["level"] == expected


def test_a_good_attempt_is_a_line_for_debugging_only() -> None:
    for level, count in (("info", 0), ("debug", 1)):
        bench = Bench(level)
        bench.saw("attempt", **ATTEMPT)
        assert len(bench.lines()) == count
        assert 'attempts_total{outcome="ok",route="openai"} 1.0' in bench.page()


def test_an_attempt_names_what_its_client_was_not_told() -> None:
    bench = Bench()
    bench.saw("attempt", **ATTEMPT, unsaid=["citations", "dream_call"])
    (line,) = bench.lines()
    assert ["citations", "dream_call"] == line["unsaid"]
    page = bench.page()
    assert 'answers_unsaid_total{part="citations",route="openai"} 1.0' in page
    assert 'answers_unsaid_total{part="other",route="openai"} 1.0' in page


def test_a_failed_attempt_names_the_cause_and_place_and_not_its_text() -> None:
    bench = Bench("info")
    try:
        raise KeyError("what the user said")
    except KeyError as error:
        failed = {"outcome": "fatal", "message": "transform `x` failed", "cause": error}
        bench.saw("attempt", **{**ATTEMPT, **failed, "unmatched": {"$.a": 2, "$.b": 1}})
    line = bench.lines()[0]
    assert line["level"] == "error"
    assert (line["error"], line["cause"], line["unmatched"]) == (
        "transform `x` failed",
        "KeyError",
        3,
    )
    assert "test_report.py:" in line["where"]
    assert b"what the user said" not in bench.out.getvalue()
    assert 'unmatched_records_total{route="openai"} 3.0' in bench.page()


def test_fetched_values_are_counted_and_failures_logged() -> None:
    bench = Bench("info")
    bench.saw("value_fetched", route="r", value="nonce", result="ok")
    bench.saw("value_fetched", route="r", value="nonce", result="failed")
    assert [line["result"] for line in bench.lines()] == ["failed"]
    assert 'values_fetched_total{result="ok",route="r",value="nonce"} 1.0' in bench.page()


def test_a_store_that_is_down_is_one_line_a_minute() -> None:
    bench = Bench()
    for _ in range(100):
        bench.saw("store_error", store="values", op="get")
    bench.saw("store_error", store="sessions", op="put")
    bench.at += STORE_LINE_EVERY
    bench.saw("store_error", store="values", op="get")
    assert [line["store"] for line in bench.lines()] == ["values", "sessions", "values"]
    assert 'store_errors_total{op="get",store="values"} 101.0' in bench.page()


def test_a_store_that_goes_and_comes_is_logged_and_measured() -> None:
    bench = Bench()
    bench.saw("store_state", store="redis", up=True)
    assert 'penstock_store_up{store="redis"} 1.0' in bench.page()
    bench.saw("store_state", store="redis", up=False, lasted=5.0, error="redis: no answer")
    assert 'penstock_store_up{store="redis"} 0.0' in bench.page()
    bench.saw("store_state", store="redis", up=True, lasted=2.5, error="")
    assert 'penstock_store_up{store="redis"} 1.0' in bench.page()
    assert [(line["level"], line["lasted"], line["error"]) for line in bench.lines()] == [
        ("error", 5.0, "redis: no answer"),
        ("info", 2.5, ""),
    ]


def test_values_that_no_key_opens_are_one_line_a_minute() -> None:
    bench = Bench()
    for _ in range(9):
        bench.saw("store_unreadable")
    assert [line["event"] for line in bench.lines()] == ["store_unreadable"]


def test_routes_that_come_fail_and_go() -> None:
    bench = Bench()
    problem = Problem("r.yaml", 3, 5, "E101", "unknown key `x`", excerpt="key: sk-literal-secret")
    bench.saw("route_loaded", route="r", file="r.yaml", generation=1)
    bench.saw("generations", route="r", count=2)
    bench.saw("route_failed", route="r", file="r.yaml", problems=(problem,), level="warning")
    bench.saw("route_clash", route="s", file="s.yaml", problems=())
    page = bench.page()
    bench.saw("route_removed", route="r", level="info")
    lines = bench.lines()
    assert [(line["event"], line["level"]) for line in lines] == [
        ("route_loaded", "info"),
        ("route_failed", "warning"),
        ("route_clash", "error"),
        ("route_removed", "info"),
    ]
    assert lines[1]["problems"] == ["r.yaml:3:5: error E101: unknown key `x`"]
    assert b"sk-literal-secret" not in bench.out.getvalue()
    assert 'last_reload_successful{route="r"} 0.0' in page
    assert 'success_timestamp_seconds{route="r"} 1000.0' in page
    assert 'config_generations{route="r"} 2.0' in page
    assert 'last_reload_successful{route="r"}' not in bench.page()


def test_a_crash_is_an_error_with_its_place() -> None:
    bench = Bench()
    try:
        raise RuntimeError("what the user said")
    except RuntimeError as error:
        bench.saw("crash", error=error, path="/v1/x")
    line = bench.lines()[0]
    assert (line["level"], line["cause"], line["path"]) == ("error", "RuntimeError", "/v1/x")
    assert b"what the user said" not in bench.out.getvalue()


@pytest.mark.parametrize(
    ("name", "fields", "level"),
    [
        ("anything", {"n": 1}, "debug"),
        ("anything", {"level": "error"}, "error"),
        ("watch_failed", {"error": "gone"}, "warning"),
    ],
)
def test_any_other_event_is_a_line(name: str, fields: dict[str, object], level: str) -> None:
    bench = Bench()
    bench.saw(name, **fields)
    assert [(line["event"], line["level"]) for line in bench.lines()] == [(name, level)]


def test_secrets_that_come_with_an_event_are_known_and_not_written() -> None:
    bench = Bench()
    secret = Secret("0123456789abcdef", "values.nonce")
    bench.saw("value_fetched", route="r", value="nonce", result="ok", secrets=[secret])
    bench.saw("anything", said="is 0123456789abcdef")
    lines = bench.lines()
    assert "secrets" not in lines[0]
    assert lines[1]["said"] == "is «values.nonce»"


def test_a_reporter_never_raises() -> None:
    bench = Bench()
    bench.saw("request", route="r")
    bench.saw("anything", level="loud")
    lines = bench.lines()
    assert [(line["event"], line["saw"], line["error"]) for line in lines] == [
        ("observer", "request", "KeyError"),
        ("observer", "anything", "KeyError"),
    ]


def test_what_was_fetched_for_clients_is_counted_and_what_was_refused_is_told() -> None:
    bench = Bench("info")
    for outcome in ("ok", "invalid_image_url"):
        bench.saw("media_fetched", route="r", count=2, outcome=outcome, seconds=0.5)
    (line,) = bench.lines()
    assert ("info", "media_fetched", "invalid_image_url") == (
        line["level"], line["event"], line["outcome"],
    )  # fmt: skip
    for outcome in ("ok", "invalid_image_url"):
        assert f'penstock_media_fetched_total{{outcome="{outcome}",route="r"}} 1.0' in bench.page()


def test_a_question_about_a_job_is_counted_and_logged_where_it_failed() -> None:
    bench = Bench("debug")
    for outcome, message in (("ok", ""), ("overloaded", "busy")):
        bench.saw("job_asked", route="r", outcome=outcome, request="req_1", message=message)
    (line,) = bench.lines()
    assert ("info", "job_asked", "req_1", "overloaded", "busy") == (
        line["level"], line["event"], line["request"], line["outcome"], line["message"],
    )  # fmt: skip
    for outcome in ("ok", "overloaded"):
        assert f'penstock_job_questions_total{{outcome="{outcome}",route="r"}} 1.0' in bench.page()


def test_a_request_that_reached_no_route_is_a_line_and_counted() -> None:
    bench = Bench("info")
    seen: dict[str, Any] = {
        "id": "req_1", "method": "POST", "path": "/v1/messages", "dialect": "anthropic_messages",
        "status": 401, "kind": "auth", "error": "no",
    }  # fmt: skip
    bench.saw("refused", **seen)
    counted = 'penstock_refused_total{dialect="anthropic_messages",kind="auth"} 1.0'
    assert counted in bench.page()
    assert [{"level": "info", "event": "refused", **seen}] == bench.lines()


async def test_requests_are_worked_off_in_batches_and_read_at_once() -> None:
    bench = Bench()
    for _ in range(BATCH - 1):
        bench.saw("request", **REQUEST)
    assert bench.log._queue.qsize() == 0
    counted = 'penstock_requests_total{dialect="openai_chat",model="gpt-4o",outcome="ok"'
    assert f'{counted},route="openai"}} {BATCH - 1}.0' in bench.page()
    for _ in range(BATCH):
        bench.saw("request", **REQUEST)
    assert bench.metrics._values["penstock_requests_total"].popitem()[1] == 2 * BATCH - 1


async def test_what_waits_is_worked_off_soon_and_keeps_time_and_order() -> None:
    bench = Bench()
    bench.saw("attempt", **ATTEMPT)
    await asyncio.sleep(2 * PAUSE)
    bench.saw("request", **REQUEST)
    bench.saw("crash", error=KeyError("a"))
    bench.saw("attempt", **ATTEMPT)
    bench.reporter.settle()
    assert ["attempt", "request", "crash", "attempt"] == [line["event"] for line in bench.lines()]
    assert b'"time":"1970-01-01T00:16:40.000Z"' in bench.out.getvalue()


async def test_a_secret_is_known_before_its_attempt_is_worked_off() -> None:
    bench = Bench()
    bench.saw("attempt", **ATTEMPT, secrets=[Secret("0123456789abcdef", "client key")])
    assert b"is \xc2\xabclient key\xc2\xbb" == bench.log.redactor.clean(b"is 0123456789abcdef")
