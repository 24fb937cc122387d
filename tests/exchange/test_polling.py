"""A job that is asked for until it is done: one attempt, one job, whatever asking meets."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from engine.errors import ExchangeError
from engine.exchange.loop import Exchange
from engine.route.route import Route
from engine.wire import HttpRequest, dumps, loads
from tests.kit import FakeSink, Say, World, call_of, route_of, sse

JOBS = """
version: 1
name: jobs
base_url: https://a.example/v1
models: [ m ]
auth: { bearer: "${env:KEY}" }
upstream: { headers: { X-App: ours } }
request:
  path: /jobs
  json: { q: "{{ req.prompt }}" }
  poll:
    extract: { id: $.id }
    path: "/jobs/{{ poll.id | urlpath }}"
    until: { match: { state: done } }
    cancel: { method: DELETE, path: "/jobs/{{ poll.id | urlpath }}" }
response: { events: [ { text: $.text, finish: stop } ] }
errors:
  message: [ $.why ]
  rules:
    - { match: { state: failed }, as: fatal }
    - { match: { state: lost }, as: retryable }
retry: { attempts: 2, backoff: { initial: 9s, jitter: none } }
"""
MADE = Say(b'{"id":"j/1","state":"new"}', 202)
RUNNING = Say(b'{"state":"running"}')
DONE = Say(b'{"state":"done","text":"Good day."}')


def jobs(*edits: tuple[str, str]) -> Route:
    """The route above with some of its text replaced."""
    text = JOBS
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    return route_of(text, env={"KEY": "a-key"})


def sent(world: World) -> list[str]:
    """What was asked, in short."""
    return [f"{each.method} {each.url}" for each in world.upstream.requests]


POST = "POST https://a.example/v1/jobs"
GET = "GET https://a.example/v1/jobs/j%2F1"
DELETE = "DELETE https://a.example/v1/jobs/j%2F1"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_job_is_asked_for_until_it_is_done(stream: bool) -> None:
    async with World([MADE, RUNNING, RUNNING, DONE]) as world:
        sink = await world.ask(jobs(), stream=stream)
        assert (sink.text, sink.error) == ("Good day.", None)
        assert [POST, GET, GET, GET] == sent(world)
        assert world.clock.sleeps == [1.0, 1.0, 1.0]
        assert ["ok"] == [each["outcome"] for each in world.notes.of("attempt")]
        assert (world.report.attempts, world.report.outcome.status) == (1, 200)
    assert [] == world.notes.of("value_cleaned")


async def test_each_question_carries_what_the_request_carries() -> None:
    async with World([MADE, RUNNING, DONE]) as world:
        await world.ask(jobs())
    for request in world.upstream.requests:
        assert (request.header("Authorization"), request.header("X-App")) == (
            "Bearer a-key",
            "ours",
        )
    assert [b"", b""] == [request.body for request in world.upstream.requests[1:]]


async def test_a_first_answer_that_is_done_needs_no_question() -> None:
    async with World([DONE]) as world:
        sink = await world.ask(jobs())
    assert (sink.text, sent(world)) == ("Good day.", [POST])


async def test_questions_grow_rarer_up_to_a_longest_wait() -> None:
    grows = "until: { match: { state: done } }\n    every: { initial: 500ms, factor: 2, max: 3s }"
    async with World([MADE, *[RUNNING] * 5, DONE]) as world:
        await world.ask(jobs(("until: { match: { state: done } }", grows)))
    assert [0.5, 1.0, 2.0, 3.0, 3.0, 3.0] == world.clock.sleeps


async def test_what_an_answer_asks_to_wait_is_waited() -> None:
    made = Say(MADE.body, 202, {"Retry-After": "7"})
    busy = Say(b"", 429, {"Retry-After": "20"})
    soon = Say(RUNNING.body, headers={"Retry-After": "0"})
    async with World([made, busy, soon, DONE]) as world:
        sink = await world.ask(jobs())
    assert (sink.text, world.clock.sleeps) == ("Good day.", [7.0, 20.0, 1.0])


# ---- asking fails ----

GONE = Say(error=ExchangeError("connect", "no connection"))


@pytest.mark.parametrize(
    "bad",
    [
        Say(b"", 503),
        Say(b"", 429),
        Say(b"<html>", 502),
        GONE,
        Say(b'{"state":', end="reset"),
        Say(b"<html>a page</html>"),
    ],
)
async def test_a_question_that_fails_is_put_again(bad: Say) -> None:
    async with World([MADE, *[bad] * 5, RUNNING, *[bad] * 5, DONE]) as world:
        sink = await world.ask(jobs())
    assert (sink.text, sent(world)) == ("Good day.", [POST, *[GET] * 12])
    assert ["ok"] == [each["outcome"] for each in world.notes.of("attempt")]


async def test_what_asking_met_is_told() -> None:
    async with World([MADE, RUNNING, Say(b'{"why":"busy"}', 503), GONE, DONE]) as world:
        await world.ask(jobs())
    told = [(each["outcome"], each["message"]) for each in world.notes.of("job_asked")]
    wanted = [("ok", ""), ("overloaded", "busy"), ("connect", "no connection"), ("ok", "")]
    assert wanted == told
    assert {each["request"] for each in world.notes.of("job_asked")} == {
        each["request"] for each in world.notes.of("attempt")
    }


async def test_a_key_of_the_client_is_made_known_before_an_upstream_repeats_it() -> None:
    own = 'auth: { from: { client_key: true }, bearer: "{{ account.key }}" }'
    text = JOBS.replace('auth: { bearer: "${env:KEY}" }', own)
    busy = Say(b'{"why":"sk-own-key is busy"}', 503)
    async with World([MADE, busy, DONE]) as world:
        sink = await world.ask(route_of(text), key="sk-own-key")
    told = [each["secrets"] for each in world.notes.of("job_asked")]
    assert (sink.text, told[1]) == ("Good day.", None)
    assert ["sk-own-key"] == [secret.reveal() for secret in told[0]]


async def test_a_question_that_is_not_answered_in_time_is_put_again() -> None:
    silent = Say(b"", end="stall")
    async with World([MADE, silent, silent, DONE]) as world:
        begun = world.clock.monotonic()
        sink = await world.ask(
            jobs(("retry:", "timeouts: { connect: 1s, first_byte: 5s }\nretry:"))
        )
        assert (sink.text, world.clock.monotonic() - begun) == ("Good day.", 3 * 1.0 + 2 * 5.0)


async def test_when_asking_keeps_failing_the_job_is_given_up_and_made_again() -> None:
    say = [MADE, *[Say(b"", 503)] * 3, Say(b"", 204), Say(b'{"id":"j2"}'), DONE]

    async with World(by_kind(say)) as world:
        sink = await world.ask(jobs(("until:", "tolerate: 2\n    until:")))
    assert (sink.text, sink.restarts) == ("Good day.", 1)
    assert [POST, GET, GET, GET] == sent(world)[:4]
    assert {DELETE, POST, "GET https://a.example/v1/jobs/j2"} == set(sent(world)[4:])
    assert ["overloaded", "ok"] == [each["outcome"] for each in world.notes.of("attempt")]
    assert [("request.poll", "ok")] == cleaned(world)


def by_kind(say: list[Say]) -> Any:
    """A script in which clean-ups have answers of their own: they come at any time."""
    left = [each for each in say if each.status != 204]
    return lambda request: Say(b"", 204) if request.method == "DELETE" else left.pop(0)


def cleaned(world: World) -> list[tuple[str, str]]:
    return [(each["value"], each["result"]) for each in world.notes.of("value_cleaned")]


@pytest.mark.parametrize(("status", "cls"), [(404, "fatal"), (401, "auth_invalid")])
async def test_a_question_that_is_refused_for_good_ends_the_attempt(status: int, cls: str) -> None:
    async with World(by_kind([MADE, Say(b'{"why":"no such job"}', status)])) as world:
        sink = await world.ask(jobs())
    assert sink.error is not None
    assert (sink.error.cls, sink.error.message, sink.error.status) == (cls, "no such job", status)
    assert [POST, GET, DELETE] == sent(world)
    assert world.report.outcome.status == status


async def test_a_token_that_expires_is_renewed_and_the_job_is_the_same() -> None:
    route = route_of(
        JOBS.replace('"${env:KEY}"', '"{{ values.token }}"')
        .replace("{ q:", '{ t: "{{ values.thread }}", q:')
        .replace("rules:\n", "rules:\n    - { status: 401, as: auth_expired }\n")
        + VALUES
    )
    tokens, threads = iter("ab"), iter("12")
    left = [MADE, Say(b"", 401), DONE]

    def script(request: HttpRequest) -> Say:
        if request.url.endswith("/login"):
            return Say(dumps({"token": next(tokens)}))
        if request.url.endswith("/threads"):
            return Say(dumps({"id": next(threads)}))
        return left.pop(0)

    async with World(script) as world:
        sink = await world.ask(route)
    asked = [each for each in world.upstream.requests if "/jobs" in each.url]
    assert sink.text == "Good day."
    assert ["Bearer a", "Bearer a", "Bearer b"] == [each.header("Authorization") for each in asked]
    assert [next(threads)] == ["2"]
    assert ["ok"] == [each["outcome"] for each in world.notes.of("attempt")]


VALUES = """
values:
  token:
    scope: account
    request: { method: POST, path: /login }
    extract: [ { json: $.token } ]
    refresh_for: [ auth_expired ]
  thread:
    scope: request
    request: { method: POST, path: /threads }
    extract: [ { json: $.id } ]
    refresh_for: [ auth_expired ]
"""


# ---- the job fails ----


async def test_a_job_that_failed_is_an_error_of_its_class_and_is_not_cancelled() -> None:
    async with World([MADE, RUNNING, Say(b'{"state":"failed","why":"out of memory"}')]) as world:
        sink = await world.ask(jobs())
    assert sink.error is not None
    assert (sink.error.cls, sink.error.message) == ("fatal", "out of memory")
    assert ([POST, GET, GET], "", []) == (sent(world), sink.text, cleaned(world))


async def test_a_job_that_failed_in_a_way_that_may_pass_is_made_again() -> None:
    lost = Say(b'{"state":"lost"}')
    async with World([MADE, lost, MADE, DONE]) as world:
        sink = await world.ask(jobs())
    assert (sink.text, sent(world)) == ("Good day.", [POST, GET, POST, GET])
    assert ["retryable", "ok"] == [each["outcome"] for each in world.notes.of("attempt")]
    assert [] == cleaned(world)


@pytest.mark.parametrize("made", [Say(b'{"state":"failed","why":"no"}'), Say(b'{"why":"no"}', 418)])
async def test_a_job_that_is_refused_is_an_error(made: Say) -> None:
    async with World([made]) as world:
        sink = await world.ask(
            jobs(
                (
                    "- { match: { state: lost",
                    "- { status: 418, as: fatal }\n    - { match: { state: lost",
                )
            )
        )
    assert sink.error is not None
    assert (sink.error.cls, sink.error.message, sink.error.status) == ("fatal", "no", made.status)
    assert ([POST], []) == (sent(world), cleaned(world))


async def test_an_answer_that_names_no_job_is_an_error() -> None:
    async with World([Say(b'{"ok":true}'), Say(b"Created", 201)]) as world:
        sink = await world.ask(jobs())
    assert sink.error is not None
    assert sink.error.cls == "retryable"
    assert sink.error.message == "`poll.id` was not found in the upstream's answer"


# ---- it is given up ----


@pytest.mark.parametrize("stream", [False, True])
async def test_a_job_that_is_never_done_is_given_up_when_time_is_up(stream: bool) -> None:
    def script(request: HttpRequest) -> Say:
        return MADE if request.method == "POST" else RUNNING

    async with World(script) as world:
        sink = await world.ask(jobs(("retry:", "timeouts: { total: 20s }\nretry:")), stream=stream)
        assert sink.error is not None
        assert (sink.error.cls, sink.error.message) == ("timeout", "no whole answer within 20 s")
    assert (sent(world)[-1], sent(world).count(POST)) == (DELETE, 1)
    assert [("request.poll", "ok")] == cleaned(world)


async def test_a_client_that_leaves_takes_its_job_along() -> None:
    route, waits = jobs(), asyncio.Event()

    def script(request: HttpRequest) -> Say:
        if request.method == "GET":
            asyncio.get_running_loop().call_soon(waits.set)
            return Say(b"", gate=asyncio.Event())
        return MADE if request.method == "POST" else Say(b"", 204)

    async with World(script) as world:
        call = call_of(route, {"messages": [{"role": "user", "content": "hi"}]})
        sink = FakeSink(stream=False)
        exchange = Exchange(route, call, world.ports, world.keyring, world.sessions, sink)
        task = asyncio.create_task(exchange.run())
        await waits.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    assert ([POST, GET, DELETE], 0) == (sent(world), sink.ends)
    last = world.upstream.requests[-1]
    assert last.header("Authorization") == "Bearer a-key"


@pytest.mark.parametrize(
    ("made", "told", "result"),
    [
        (MADE, [POST, DELETE], "ok"),
        (DONE, [POST], "skipped"),
        (Say(b"", 503), [POST], "skipped"),
        (Say(b'{"state":"failed"}'), [POST], "skipped"),
        (Say(b'{"state":"new"}'), [POST], "failed"),
        (GONE, [POST], "skipped"),
    ],
)
async def test_a_job_that_is_made_while_its_client_leaves_is_cancelled(
    made: Say, told: list[str], result: str
) -> None:
    gate, asked = asyncio.Event(), asyncio.Event()
    slow = dataclasses.replace(made, gate=gate)

    def script(request: HttpRequest) -> Say:
        asked.set()
        return slow if request.method == "POST" else Say(b"", 204)

    async with World(script) as world:
        call = call_of(jobs(), {"messages": [{"role": "user", "content": "hi"}]})
        sink = FakeSink(stream=False)
        exchange = Exchange(jobs(), call, world.ports, world.keyring, world.sessions, sink)
        task = asyncio.create_task(exchange.run())
        await asked.wait()
        task.cancel()
        await asyncio.wait([task])
        assert (task.cancelled(), sent(world)) == (True, [POST])
        gate.set()
    assert (told, [("request.poll", result)]) == (sent(world), cleaned(world))
    assert ({}, 0) == (sink.told, sink.ends)


async def test_without_a_way_to_cancel_nothing_is_told() -> None:
    text = "\n".join(line for line in JOBS.splitlines() if "cancel:" not in line)
    async with World([MADE, Say(b"", 404)]) as world:
        sink = await world.ask(route_of(text, env={"KEY": "a-key"}))
    assert sink.error is not None
    assert [POST, GET] == sent(world)


# ---- how the answer is read ----

THEN = (
    "cancel: {",
    'then: { extract: { file: $.file }, path: "/files/{{ poll.file | urlpath }}" }\n    cancel: {',
)


async def test_the_answer_may_be_asked_for_when_the_job_is_done() -> None:
    done, text = Say(b'{"state":"done","file":"f 1"}'), Say(b'{"text":"Good day."}')
    async with World([MADE, RUNNING, done, Say(b"", 503), text]) as world:
        sink = await world.ask(jobs(THEN))
    read = "GET https://a.example/v1/files/f%201"
    assert (sink.text, sent(world)) == ("Good day.", [POST, GET, GET, read, read])
    assert (world.clock.sleeps, cleaned(world)) == ([1.0, 1.0, 0.0, 1.0], [])


async def test_a_first_answer_that_is_done_leads_to_the_answer_as_well() -> None:
    done, text = Say(b'{"id":1,"state":"done","file":2}'), Say(b'{"text":"Good day."}')
    async with World([done, text]) as world:
        sink = await world.ask(jobs(THEN))
    assert (sink.text, sent(world)) == ("Good day.", [POST, "GET https://a.example/v1/files/2"])


async def test_a_redirect_may_say_that_the_job_is_done_and_where_its_answer_is() -> None:
    route = jobs(
        ("until: { match: { state: done } }", "until: { status: 303 }"),
        (
            "cancel: {",
            'then: { extract: { at: { header: location } }, url: "{{ poll.at }}" }\n    cancel: {',
        ),
    )
    done = Say(b"", 303, {"Location": "/v1/results/1"})
    async with World([MADE, RUNNING, done, Say(b'{"text":"Good day."}')]) as world:
        sink = await world.ask(route)
    assert (sink.text, sent(world)[-1]) == ("Good day.", "GET https://a.example/v1/results/1")


async def test_an_answer_that_cannot_be_had_gives_the_job_up() -> None:
    done = Say(b'{"state":"done","file":"f"}')
    async with World(by_kind([MADE, done, Say(b'{"why":"expired"}', 410)])) as world:
        sink = await world.ask(jobs(THEN))
    assert sink.error is not None
    assert (sink.error.message, sent(world)[-1]) == ("expired", DELETE)


STREAM = """stream:
  format: sse
  done: "[DONE]"
  events: [ { text: $.t } ]
errors:"""


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_is_a_stream_is_read_as_it_comes(stream: bool) -> None:
    events = Say([sse({"t": "Good "}, done=False), sse({"t": "day."})],
                 headers={"Content-Type": "text/event-stream"})  # fmt: skip
    route = jobs(
        ("until: { match: { state: done } }", "until: { content_type: text/event-stream }"),
        ("errors:", STREAM),
    )
    async with World([MADE, RUNNING, events]) as world:
        sink = await world.ask(route, stream=stream)
    assert (sink.text, sink.error) == ("Good day.", None)
    assert len(sink.events) > 3  # in two pieces


async def test_a_stream_that_breaks_off_gives_the_job_up() -> None:
    events = Say(sse({"t": "Good "}, done=False), end="reset")
    done = Say(b'{"state":"done"}')
    route = jobs(("errors:", STREAM), ("cancel: {", "then: { path: /stream }\n    cancel: {"))
    async with World(by_kind([MADE, done, events])) as world:
        sink = await world.ask(route, stream=True)
    assert sink.error is not None
    assert (sink.error.cls, sink.text, sent(world)[-1]) == ("truncated", "Good ", DELETE)


async def test_statuses_alone_may_say_that_a_job_is_done() -> None:
    route = jobs(("until: { match: { state: done } }", "until: { status: 200 }"))
    async with World([MADE, Say(b"", 204), Say(b"", 202), Say(b'{"text":"Hi"}')]) as world:
        sink = await world.ask(route)
    assert sink.text == "Hi"


async def test_an_answer_larger_than_allowed_is_an_error() -> None:
    route = jobs(("retry: { attempts: 2", "limits: { answer: 64B }\nretry: { attempts: 1"))
    large = Say(dumps({"state": "done", "text": "x" * 100}))
    async with World(by_kind([MADE, large])) as world:
        sink = await world.ask(route)
    assert sink.error is not None
    assert "larger than" in sink.error.message


# ---- around it ----


async def test_an_account_that_is_refused_while_it_asks_leaves_the_job_to_the_next() -> None:
    pool = 'auth: { from: { env: KEY, split: "," }, bearer: "{{ account.key }}" }'
    text = JOBS.replace('auth: { bearer: "${env:KEY}" }', pool)
    refused = Say(b'{"why":"who are you?"}', 403)
    async with World(by_kind([MADE, refused, Say(b'{"id":"j2"}'), DONE])) as world:
        sink = await world.ask(route_of(text, env={"KEY": "one,two"}))
    keys = [
        each.header("Authorization") for each in world.upstream.requests if each.method != "DELETE"
    ]
    assert (sink.text, len(set(keys))) == ("Good day.", 2)
    assert (keys[0], keys[2]) == (keys[1], keys[3])
    given_up = next(each for each in world.upstream.requests if each.method == "DELETE")
    assert given_up.header("Authorization") == keys[0]


async def test_a_failing_question_feeds_neither_breaker_nor_budget() -> None:
    guarded = "breaker: { after: 1 }\nretry: { budget: { share: 0.0, least: 0.0 }, attempts: 2"
    route = jobs(("retry: { attempts: 2", guarded))
    async with World([MADE, *[Say(b"", 503)] * 4, DONE, DONE]) as world:
        first, second = await world.ask(route), await world.ask(route)
    assert ("Good day.", "Good day.") == (first.text, second.text)
    assert [] == [*world.notes.of("breaker"), *world.notes.of("retry_refused")]


async def test_an_answer_that_goes_on_is_a_job_for_each_piece() -> None:
    goes_on = ("retry:", "continuation: { max: 2 }\nretry:")
    finish = ("finish: stop", 'finish: { path: $.end, map: { more: length, "*": stop } }')
    pieces = [
        Say(dumps({"state": "done", "text": text, "end": end}))
        for text, end in (("It was a dark ", "more"), ("and stormy night.", "done"))
    ]
    async with World([MADE, RUNNING, pieces[0], MADE, pieces[1]]) as world:
        sink = await world.ask(jobs(goes_on, finish))
    assert (sink.text, sent(world)) == (
        "It was a dark and stormy night.",
        [POST, GET, GET, POST, GET],
    )


# ---- where it leads ----

LED = (
    'path: "/jobs/{{ poll.id | urlpath }}"\n    until',
    'url: "{{ poll.id }}"\n    hosts: files.example.com\n    until',
)


async def test_an_answer_leads_to_the_routes_own_host_with_its_credentials() -> None:
    made = Say(b'{"id":"/v2/jobs/1?x=%20y#top"}')
    async with World([made, DONE]) as world:
        await world.ask(jobs(LED))
    asked = world.upstream.requests[1]
    assert asked.url == "https://a.example/v2/jobs/1?x=%20y"
    assert asked.header("Authorization") == "Bearer a-key"


async def test_other_hosts_that_are_named_get_no_credentials() -> None:
    made = Say(b'{"id":"https://files.example.com/1?sig=abc"}')
    async with World([made, DONE]) as world:
        sink = await world.ask(jobs(LED))
    asked = world.upstream.requests[1]
    assert (sink.text, asked.url) == ("Good day.", "https://files.example.com/1?sig=abc")
    assert (asked.header("Authorization"), asked.header("X-App")) == (None, None)


async def test_no_other_host_is_asked() -> None:
    async with World(by_kind([Say(b'{"id":"https://evil.example/1"}')])) as world:
        sink = await world.ask(jobs(LED))
    assert sink.error is not None
    assert sink.error.cls == "fatal"
    assert "https://evil.example:443" in sink.error.message
    assert [POST, "DELETE https://a.example/v1/jobs/https%3A%2F%2Fevil.example%2F1"] == sent(world)


# ---- what goes with it ----


async def test_transforms_see_the_request_and_the_answer_of_a_job() -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    call = '```json\n{"tool_calls":[{"name":"look","arguments":{"at":"it"}}]}\n```'
    route = jobs(
        ('{ q: "{{ req.prompt }}" }', '{ q: "{{ req.messages | as_openai }}" }'),
        ("request:", "transforms: [ prompted_tools ]\nrequest:"),
    )
    async with World([MADE, RUNNING, Say(dumps({"state": "done", "text": call}))]) as world:
        sink = await world.ask(route, tools=[tool], stream=True)
    assert "look" in dumps(loads(world.upstream.requests[0].body)).decode()
    assert [("look", '{"at":"it"}')] == [(c.name, c.args) for c in sink.reply.calls]


CLASSIFY = '''"""Refuses a job of its own kind."""

from engine.transform import HttpResponse

API = 1


class Transform:
    def classify(self, response: HttpResponse) -> str | None:
        return "content_filter" if b"blocked" in response.body else None
'''


async def test_a_transform_may_say_what_an_answer_means() -> None:
    text = JOBS.replace("request:", "transforms: [ mine ]\nrequest:", 1)
    route = route_of(text, env={"KEY": "a-key"}, mine=CLASSIFY)
    async with World([MADE, RUNNING, Say(b'{"state":"blocked"}')]) as world:
        sink = await world.ask(route)
    assert sink.error is not None
    assert (sink.error.cls, cleaned(world)) == ("content_filter", [])


async def test_each_question_is_signed_anew() -> None:
    sign = """auth:
  from: { inline: { secret: "${env:KEY}" } }
  sign:
    hmac:
      algorithm: sha256
      key: "{{ account.secret }}"
      payload: "{{ sig.method }} {{ sig.path_query }} {{ sig.timestamp }}"
      headers: { X-Time: "{{ sig.timestamp }}", X-Signature: "{{ sig.value }}" }
"""
    async with World([MADE, RUNNING, DONE]) as world:
        await world.ask(jobs(('auth: { bearer: "${env:KEY}" }\n', sign)))
    times = [float(each.header("X-Time") or 0) for each in world.upstream.requests]
    assert [0.0, 1.0, 2.0] == [at - times[0] for at in times]
    assert len({each.header("X-Signature") for each in world.upstream.requests}) == 3


async def test_a_question_may_go_through_a_proxy_of_its_own() -> None:
    own = ("extract: {", "proxy: http://proxy.example:3128\n    extract: {")
    async with World([MADE, DONE]) as world:
        await world.ask(jobs(own))
    assert [None, "http://proxy.example:3128"] == [line.proxy for line in world.upstream.lines]


async def test_a_route_with_a_dialect_has_its_jobs_read_by_it() -> None:
    route = route_of("""
version: 1
dialect: openai_chat
base_url: https://a.example/v1
models: [ m ]
request:
  patch: [ { set: { background: true } } ]
  poll:
    extract: { id: $.id }
    path: "/chat/completions/{{ poll.id | urlpath }}"
    until: { has: "$.choices[0]" }
errors: { rules: [ { match: { status: failed }, as: fatal } ] }
""")
    whole = {"choices": [{"message": {"content": "Good day."}, "finish_reason": "stop"}]}
    async with World([MADE, Say(dumps(whole))]) as world:
        sink = await world.ask(route, stream=True)
    assert (sink.text, sink.bytes) == ("Good day.", b"")
    body = loads(world.upstream.requests[0].body)
    assert isinstance(body, dict)
    assert (body["background"], body.get("stream", False)) == (True, False)
