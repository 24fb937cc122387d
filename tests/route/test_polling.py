"""What a job's requests are, where they may lead, and when the job is done."""

from __future__ import annotations

from itertools import islice

import pytest

from engine.errors import ExchangeError
from engine.route.classify import Answer
from engine.route.polling import Pace, PollPlan
from engine.route.route import Route
from engine.wire import HttpResponse
from tests.kit import problems_of, route_of

ROUTE = """
version: 1
base_url: https://a.example:8443/api
models: [ m ]
request:
  json: { q: "{{ req.prompt }}" }
  poll:
    extract: { next: $.next }
    url: "{{ poll.next }}"
    until: { match: { state: done } }
    hosts: [ files.example, "odd.example:99" ]
response: { events: [ { text: $.text, finish: stop } ] }
errors: { rules: [ { match: { state: failed }, as: fatal } ] }
"""
OWN = "https://a.example:8443"


def plan_of(text: str = ROUTE, *edits: tuple[str, str]) -> tuple[PollPlan, Route]:
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    route = route_of(text)
    assert route.poll is not None
    return route.poll, route


def led(found: object, *edits: tuple[str, str]) -> tuple[str, bool]:
    """Where a URL of an answer leads, and whether that is a host of the route."""
    poll, route = plan_of(ROUTE, *edits)
    env = {"poll": {"next": found}}
    plan, own = poll.ask.plan(env, route.plan)
    return plan.url(env), own


@pytest.mark.parametrize(
    ("found", "url"),
    [
        (f"{OWN}/jobs/1", f"{OWN}/jobs/1"),
        (f"{OWN.upper().replace('HTTPS', 'https')}/x", "https://A.EXAMPLE:8443/x"),
        ("/jobs/1", f"{OWN}/jobs/1"),
        ("//a.example:8443/jobs/1", f"{OWN}/jobs/1"),
        ("?at=1", f"{OWN}/api?at=1"),
        ("  /jobs/1?x=%2F%20&y#end  ", f"{OWN}/jobs/1?x=%2F%20&y"),
        ("/\\evil.example/x", f"{OWN}/\\evil.example/x"),
    ],
)
def test_a_url_of_an_answer_may_lead_to_the_routes_own_host(found: str, url: str) -> None:
    assert (url, True) == led(found)


@pytest.mark.parametrize(
    "url", ["https://files.example/1", "https://files.example:443/1", "https://odd.example:99/1"]
)
def test_it_may_lead_to_a_host_that_is_named(url: str) -> None:
    assert (url, False) == led(url)


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        ("https://evil.example/1", "https://evil.example:443"),
        ("//evil.example/1", "https://evil.example:443"),
        ("https://a.example/1", "https://a.example:443"),
        ("http://a.example:8443/1", "http://a.example:8443"),
        ("http://files.example/1", "http://files.example:80"),
        ("https://files.example:8443/1", "https://files.example:8443"),
        ("https://odd.example/1", "https://odd.example:443"),
        ("https://sub.files.example/1", "https://sub.files.example:443"),
        ("https://files.example.evil.example/1", "https://files.example.evil.example:443"),
        ("https://a.example:8443@evil.example/1", "what is no URL"),
        ("https://user:word@a.example:8443/1", "what is no URL"),
        ("https://a.example:8443\\@evil.example/", "what is no URL"),
        ("file:///etc/passwd", "what is no URL"),
        ("ftp://a.example:8443/1", "what is no URL"),
        ("https://a.example:99999/1", "what is no URL"),
        ("https://[::1/1", "what is no URL"),
        ("/jobs/1 HTTP/1.1", "what is no URL"),
        ("/jobs/1\r\nX: y", "what is no URL"),
        ("https://ａ.example/1", "what is no URL"),
        ("", "what is no URL"),
        (None, "what is no URL"),
    ],
)
def test_it_may_not_lead_anywhere_else(found: object, shown: str) -> None:
    with pytest.raises(ExchangeError) as caught:
        led(found)
    assert caught.value.cls == "fatal"
    assert caught.value.message.startswith(f"the upstream's answer leads to {shown}")


def test_a_host_that_stands_in_the_url_is_one_of_the_route() -> None:
    literal = ('"{{ poll.next }}"', '"https://jobs.example/of/{{ poll.next | urlpath }}"')
    assert ("https://jobs.example/of/a%2Fb", True) == led("a/b", literal)


def test_a_literal_host_cannot_be_left_by_what_follows_it() -> None:
    text = ROUTE.replace('"{{ poll.next }}"', '"https://jobs.example{{ poll.next }}"')
    assert ["9:E506"] == problems_of(text)


def test_the_host_of_the_jobs_own_request_is_one_of_the_route() -> None:
    other = ("request:\n", "request:\n  url: https://queue.example/submit\n")
    assert ("https://queue.example/jobs/1", True) == led("/jobs/1", other)
    assert (f"{OWN}/jobs/1", True) == led(f"{OWN}/jobs/1", other)


def test_from_a_route_without_tls_an_answer_may_lead_to_a_named_host_without() -> None:
    plain = ("https://a.example:8443", "http://a.example")
    assert ("http://files.example/1", False) == led("http://files.example/1", plain)


def test_only_what_stands_in_the_block_goes_to_another_host() -> None:
    text = ROUTE.replace(
        "models:", "auth: { bearer: key }\nupstream: { headers: { A: b } }\nmodels:"
    )
    poll, route = plan_of(text.replace("    url:", "    headers: { Accept: any }\n    url:"))
    requests = {}
    for url in (f"{OWN}/1", "https://files.example/1"):
        env = {"poll": {"next": url}, "_now": 0.0}
        requests[url] = route.follow(env, poll.ask, []).headers
    own, other = requests.values()
    assert {"Authorization": "Bearer key", "A": "b", "Accept": "any"} == dict(own)
    assert {"Accept": "any"} == dict(other)


def test_what_is_only_shown_is_not_followed() -> None:
    poll, route = plan_of()
    env = {"poll": {"next": "«poll.next»"}, "_mask": True}
    plan, own = poll.ask.plan(env, route.plan)
    assert ("«poll.next»", True) == (plan.url(env), own)


def test_a_route_passes_no_bytes_through_and_asks_for_documents_unless_it_says_so() -> None:
    text = """
version: 1
dialect: openai_chat
base_url: https://a.example
models: [ m ]
request: { poll: { path: /x, until: { status: 200 } } }
"""
    route = route_of(text)
    assert (route.passthrough, route.streams(True)) == (False, False)
    assert not route_of(text + "stream: { format: sse }\n").streams(True)
    assert route_of(text + "stream: { use: always }\n").streams(False)


# ---- when it is done ----


def ready(until: str, body: str, status: int = 200, **headers: str) -> bool:
    poll, _ = plan_of(ROUTE, ("{ match: { state: done } }", until))
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return poll.ready.fits(Answer(HttpResponse(status, pairs, body.encode()), 0.0), {})


@pytest.mark.parametrize(
    ("until", "body", "wanted"),
    [
        ("{ match: { state: done } }", '{"state":"done"}', True),
        ("{ match: { state: [done, over] } }", '{"state":"over"}', True),
        ("{ match: { state: done } }", '{"state":"doing"}', False),
        ("{ match: { state: done } }", "done", False),
        ("{ not: { state: [new, running] } }", '{"state":"done"}', True),
        ("{ not: { state: [new, running] } }", '{"state":"new"}', False),
        ("{ not: { state: [new, running] } }", "<html>", False),
        ("{ has: $.text }", '{"text":"x"}', True),
        ("{ has: $.text }", '{"text":""}', False),
        ("{ has: $.text }", "", False),
        ("{ has: $.text, match: { state: done } }", '{"text":"x"}', False),
        ("{ when: data.left == 0 }", '{"left":0}', True),
        ("{ when: data.left == 0 }", '{"left":1}', False),
        ("{ body: /^ready/ }", "ready: yes", True),
        ("{ body: /^ready/ }", "not ready", False),
    ],
)
def test_an_answer_says_that_the_job_is_done(until: str, body: str, wanted: bool) -> None:
    assert ready(until, body) is wanted


def test_only_a_good_answer_does_unless_a_status_is_named() -> None:
    done = '{"state":"done"}'
    assert not ready("{ match: { state: done } }", done, 500)
    assert ready("{ match: { state: done }, status: 5xx }", done, 500)
    assert ready("{ status: 303 }", "", 303)
    assert not ready("{ status: 200 }", "", 202)


def test_headers_say_it_without_a_body() -> None:
    poll, _ = plan_of(ROUTE, ("{ match: { state: done } }", "{ content_type: text/event-stream }"))
    assert not poll.ready.needs_body
    assert ready("{ content_type: text/event-stream }", "", Content_Type="text/event-stream; x=y")
    assert ready('{ header: { x-state: "/^done/" } }', "", X_State="done!")
    assert not ready('{ header: { x-state: "/^done/" } }', "")


@pytest.mark.parametrize(
    ("until", "body", "wanted"),
    [
        ("{ match: { state: done } }", "<html>", True),
        ("{ match: { state: done } }", '{"state":', True),
        ("{ match: { state: done } }", '{"state":"new"}', False),
        ("{ match: { state: done } }", " \n", False),
        ("{ when: data.x }", "<html>", True),
        ("{ when: status == 200 }", "<html>", False),
        ("{ body: /x/ }", "<html>", False),
    ],
)
def test_what_is_no_json_says_nothing_where_json_is_due(
    until: str, body: str, wanted: bool
) -> None:
    poll, _ = plan_of(ROUTE, ("{ match: { state: done } }", until))
    assert poll.ready.unreadable(Answer(HttpResponse(200, (), body.encode()), 0.0)) is wanted


# ---- how often ----


@pytest.mark.parametrize(
    ("pace", "waits"),
    [
        (Pace(1.0, 1.0, 1.0), [1.0, 1.0, 1.0, 1.0]),
        (Pace(0.5, 2.0, 1.5), [0.5, 1.0, 1.5, 1.5]),
        (Pace(5.0, 2.0, 1.0), [5.0, 5.0, 5.0, 5.0]),
    ],
)
def test_waits_grow_up_to_the_longest(pace: Pace, waits: list[float]) -> None:
    assert waits == list(islice(pace.waits(), 4))


def test_a_pace_is_a_time_or_says_how_it_grows() -> None:
    every, _ = plan_of(ROUTE, ("until:", "every: 5s\n    until:"))
    grows, _ = plan_of(ROUTE, ("until:", "every: { initial: 1s, factor: 3, max: 9s }\n    until:"))
    assert (Pace(5.0, 1.0, 5.0), Pace(1.0, 3.0, 9.0)) == (every.pace, grows.pace)
    assert Pace(1.0, 1.0, 1.0) == plan_of()[0].pace
