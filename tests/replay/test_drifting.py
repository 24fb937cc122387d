"""Differences of two runs, and how much they weigh. On sockets: tests/cli/test_drift.py."""

from __future__ import annotations

from typing import Any

from engine.events import Reply, Usage
from engine.replay.anatomy import anatomy
from engine.replay.coverage import Hit
from engine.replay.drifting import Comparison, Run, sometimes
from engine.replay.play import Seen
from engine.replay.readings import Readings
from engine.route.compile import Sources, compile_route
from tests.replay.test_anatomy import answered, events

ROUTE = """\
version: 1
base_url: https://example.com
models: [m]
request: { json: { q: "{{ req.prompt }}" } }
stream:
  events:
    - { match: { kind: word }, text: $.word }
    - { match: { kind: idea }, reasoning: $.idea }
    - { match: { kind: end }, finish: stop }
"""
WORD, IDEA, END = {"kind": "word", "word": "a"}, {"kind": "idea", "idea": "b"}, {"kind": "end"}
COMPILED = compile_route(ROUTE.encode(), "r.yaml", Sources())


def seen(**more: Any) -> Seen:
    usage = more.pop("usage", None)
    return Seen(200, Reply(finish=more.pop("finish", "stop"), usage=usage), **more)


def made(*frames: Any, hits: set[Hit] | None = None, **more: Any) -> Run:
    assert COMPILED.route is not None
    calls = anatomy(COMPILED.route, [answered(events(*frames), status=more.pop("status", 200))])
    return Run(calls, hits or set(), more.pop("unmatched", {}), [more.pop("seen", seen())])


def differences(old: Run, new: Run, *others: Run) -> list[tuple[str, str, str, str]]:
    assert COMPILED.route is not None
    assert COMPILED.tree is not None
    rare = sometimes([old, *others])
    found = Comparison(COMPILED.route, Readings(COMPILED.tree), rare).differences(old, new)
    return [(each.severity, each.what, each.kind, each.path) for each in found]


def test_the_same_has_no_difference() -> None:
    assert [] == differences(made(WORD, IDEA, END), made(WORD, IDEA, END))


def test_a_rule_for_text_is_missed_and_one_for_thinking_is_noted() -> None:
    hits: set[Hit] = {("stream.events", 0), ("stream.events", 1), ("stream.events", 2)}
    found = differences(made(WORD, hits=hits), made(WORD, hits={("stream.events", 2)}))
    assert [("error", "rule", "", ""), ("note", "rule", "", "")] == found


def test_what_another_fixture_lacks_is_not_missed() -> None:
    old, new = made(WORD, {"kind": "end", "why": 1}), made(WORD, END)
    assert [("note", "vanished", "end", "$.why")] == differences(old, new)
    long, short = made({**WORD, "word": "x"}, END), made({"kind": "word"}, END)
    assert [("error", "vanished", "word", "$.word")] == differences(long, short)
    assert [("note", "vanished", "word", "$.word")] == differences(long, short, short)


def test_with_another_status_bodies_are_not_compared() -> None:
    found = differences(made(WORD), made({"other": 1}, status=404))
    assert [("error", "status", "", "")] == found


def test_an_end_before_the_text_is_an_error_and_thinking_before_it_a_note() -> None:
    assert [("error", "order", "", "")] == differences(made(WORD, END), made(END, WORD))
    assert [("note", "order", "", "")] == differences(made(WORD, IDEA), made(IDEA, WORD))
    assert [] == differences(made(WORD, IDEA, WORD), made(IDEA, WORD, WORD))


def test_another_finish_and_counts_that_are_no_longer_told_are_errors() -> None:
    old = made(WORD, seen=seen(usage=Usage(1, 2)))
    assert [("error", "finish", "", ""), ("error", "usage", "", "")] == differences(
        old, made(WORD, seen=seen(finish="length", usage=Usage(1, 2, estimated=True)))
    )
    assert [] == differences(old, made(WORD, seen=seen(usage=Usage(7, 9))))


def test_records_that_no_rule_knew_before_either_are_none() -> None:
    old, new = made(WORD, unmatched={"x": 1}), made(WORD, unmatched={"x": 9, "y": 1})
    assert [("error", "unmatched", "y", "")] == differences(old, new)
