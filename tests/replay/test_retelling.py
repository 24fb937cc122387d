"""What was noted of a served request, in the order in which a replay asks for it."""

from __future__ import annotations

import pytest

from engine.errors import ExchangeError
from engine.replay.fixtures import read_fixture
from engine.replay.retelling import Retold
from engine.replay.taping import Taken
from engine.wire import HttpRequest, HttpResponse

NONE = read_fixture(b"fixture: 1\nroute: r\nexchanges: []\n", "f.yaml", lambda name: b"")


def asked(path: str) -> HttpRequest:
    return HttpRequest("GET", f"https://example.com{path}")


def taken(path: str, body: bytes = b"", *, fetched: bool = False, status: int = 200) -> Taken:
    head = HttpResponse(status, (("X-A", "b"), ("Date", "now")))
    return Taken(asked(path), 0.0, head, [(0, body)], fetched=fetched)


def test_answers_come_by_the_request_that_they_were_given_to() -> None:
    retold = Retold(NONE, [taken("/b", b"2"), taken("/a", b"1"), taken("/a", b"3")], {})
    bodies = [retold.take(asked(path))[1] for path in ("/a", "/b", "/a")]
    assert [b"1", b"2", b"3"] == bodies
    assert bodies == [each.body for each in retold.told]
    assert [] == retold.unasked


def test_its_status_and_the_headers_that_a_route_may_read_come_along() -> None:
    spec, _ = Retold(NONE, [taken("/a", status=404)], {}).take(asked("/a"))
    assert (404, {"X-A": "b"}) == (spec.reply.status, dict(spec.reply.headers))


def test_a_value_from_before_is_taken_from_what_is_remembered() -> None:
    retold = Retold(NONE, [taken("/chat")], {"GET /login": taken("/login", b"old")})
    assert b"old" == retold.take(asked("/login"))[1]
    assert b"old" == retold.take(asked("/login"))[1]


def test_what_nobody_knows_any_more_is_named() -> None:
    retold = Retold(NONE, [], {})
    with pytest.raises(ExchangeError):
        retold.take(asked("/login"))
    assert "GET /login" == retold.missing


def test_calls_that_the_replay_does_not_make_are_named_and_values_are_not() -> None:
    retold = Retold(NONE, [taken("/a"), taken("/v", fetched=True), Taken(asked("/c"), 0.0)], {})
    assert ["GET /a"] == retold.unasked
