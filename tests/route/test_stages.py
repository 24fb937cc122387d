"""Transforms at work: what they see, in which order, and what happens when they go wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from engine.chat import ChatRequest, Message, Text
from engine.errors import ExchangeError, Refuse
from engine.events import ErrorEvent, TextDelta
from engine.options import Secret
from engine.route.stages import (
    classify,
    context_of,
    event_steps,
    patch,
    record_steps,
    shape,
    sign,
)
from engine.transform import Model
from engine.wire import HttpRequest, HttpResponse, Record
from tests.kit import route_of

ROUTE = """
version: 1
base_url: https://a.example
models: [m]
vars: { word: hi }
request: { path: /x, json: {} }
response: { events: [ { text: $.a, finish: stop } ] }
transforms:
"""
ENV: dict[str, Any] = {
    "_route": "sample", "_now": 5.0, "_random": Random(1), "_ref": {}, "req": {"user": "u"},
    "model": {"id": "m", "upstream": "up", "max_output": 9}, "account": {"key": Secret("k")},
    "values": {"nonce": Secret("n"), "login": {"token": Secret("t")}, "open": "o"},
    "session": {"id": "s"}, "vars": {"word": "hi"}, "let": {"a": 1},
}  # fmt: skip
REQUEST = HttpRequest("POST", "https://a.example/x", (("A", "1"),), (("q", "1"),), b"body")
CHAT = ChatRequest("openai_chat", "m", [Message("user", [Text("hi")])])


def source(*lines: str, head: str = "") -> str:
    body = "".join(f"    {line}\n" for text in lines for line in text.splitlines())
    return (
        '"""A transform of a test."""\nfrom dataclasses import dataclass, replace\n'
        "from engine.transform import *\nAPI = 1\n"
        f"{head}\nclass Transform:\n{body}"
    ).replace(
        "import *", "import Context, HttpRequest, Record, Refuse, Template, TextDelta, option"
    )


def working(items: str, **own: str) -> list[Any]:
    """The stages of a route with these items, at work."""
    return route_of(ROUTE + items, env=None, **own).transforms(
        ENV, context_of(ENV, CHAT, 2, "stale")
    )


def one(*lines: str, head: str = "") -> list[Any]:
    return working("  - mine\n", mine=source(*lines, head=head))


def test_a_context_holds_what_the_attempt_knows() -> None:
    context = context_of(ENV, CHAT, 2, "stale")
    assert (context.route, context.attempt, context.previous, context.now) == (
        "sample",
        2,
        "stale",
        5.0,
    )
    assert context.request is CHAT
    assert context.model == Model("m", "up", 9)
    assert context.account["key"].reveal() == "k"
    assert {name: value.reveal() for name, value in context.values.items()} == {
        "nonce": "n",
        "login.token": "t",
        "open": "o",
    }
    assert (context.session, context.vars, context.let) == ({"id": "s"}, {"word": "hi"}, {"a": 1})


def test_a_context_needs_nothing_but_a_generator() -> None:
    context = context_of({"_random": Random(1)})
    assert (context.model, context.request, dict(context.account)) == (None, None, {})


def test_shaping_goes_from_top_to_bottom() -> None:
    mark = (
        "def __init__(self, options: Options, context: Context) -> None: self.word = options.word\n"
        "def shape(self, request):\n"
        "    return replace(request, model=request.model + self.word)"
    )
    head = (
        "@dataclass(frozen=True, slots=True, kw_only=True)\n"
        'class Options:\n    word: str = option("x", "a word")\n'
    )
    own = source(mark, head=head)
    made = working("  - mark: { word: a }\n  - mark: { word: b }\n", mark=own)
    assert shape(made, CHAT).model == "mab"
    assert CHAT.model == "m"


def test_what_is_dropped_stays_in_the_requests_own_list() -> None:
    method = "def shape(self, request): return replace(request, dropped=['a', 'b'])"
    chat = replace(CHAT, dropped=["b", "c"])
    shaped = shape(one(method), chat)
    assert shaped.dropped is chat.dropped
    assert ["b", "c", "a"] == chat.dropped


def test_options_arrive_bound_to_the_attempt_however_deep_they_lie() -> None:
    head = (
        "@dataclass(frozen=True, slots=True, kw_only=True)\n"
        "class Inner:\n    say: Template = option(doc='what')\n\n"
        "@dataclass(frozen=True, slots=True, kw_only=True)\n"
        "class Options:\n"
        "    plain: Template = option(doc='what')\n"
        "    many: list[Inner] = option([], 'what')\n"
        "    named: dict[str, Template] = option({}, 'what')\n"
        "    only: Template = option(doc='with a root', roots=('extra',))\n"
    )
    body = (
        "def __init__(self, options: Options, context: Context) -> None:\n"
        "    self.o, self.c = options, context\n"
        "def shape(self, request):\n"
        "    o = self.o\n"
        "    said = [o.plain(), o.many[0].say(), o.named['a'](), o.only(extra='e')]\n"
        "    return replace(request, model=' '.join(said))"
    )
    items = (
        "  - mine:\n"
        "      plain: '{{ req.user }}'\n"
        "      many: [ { say: '{{ vars.word }}' } ]\n"
        "      named: { a: '{{ model.upstream }}' }\n"
        "      only: '{{ extra }}'\n"
    )
    assert shape(working(items, mine=source(body, head=head)), CHAT).model == "u hi up e"


def test_a_stage_whose_condition_fails_does_not_work() -> None:
    own = source("def shape(self, request): return replace(request, model='x')")
    for options in ("", " {}"):
        assert working(f"  - mine:{options}\n    when: req.user == 'other'\n", mine=own) == []
    made = working("  - mine: {}\n    when: req.user == 'u'\n", mine=own)
    assert shape(made, CHAT).model == "x"


def test_each_attempt_has_its_own_instances() -> None:
    route = route_of(ROUTE + "  - mine\n", mine=source("def shape(self, request): return request"))
    context = context_of(ENV)
    (_, first), (_, second) = (route.transforms(ENV, context)[0] for _ in range(2))
    assert first is not second


# ---- patch and sign ----


def test_a_patch_may_change_everything_but_the_host() -> None:
    made = one(
        "def patch(self, request):",
        "    return replace(request, method='PUT', url='https://a.example/y?z', body=b'new',"
        " headers=(*request.headers, ('B', '2')), query=())",
    )
    assert patch(made, REQUEST) == HttpRequest(
        "PUT", "https://a.example/y?z", (("A", "1"), ("B", "2")), (), b"new"
    )


@pytest.mark.parametrize("method", ["patch", "sign"])
@pytest.mark.parametrize(
    "url",
    [
        "https://b.example/x",
        "http://a.example/x",
        "https://a.example:444/x",
        "https://a.example@b.example/x",
        "/x",
        "//b.example/x",
        "",
    ],
)
def test_no_transform_leads_a_request_elsewhere(method: str, url: str) -> None:
    made = one(f"def {method}(self, request): return replace(request, url={url!r})")
    with pytest.raises(ExchangeError, match="another host") as told:
        {"patch": patch, "sign": sign}[method](made, REQUEST)
    assert told.value.cls == "fatal"


@pytest.mark.parametrize("method", ["patch", "sign"])
@pytest.mark.parametrize(
    "change",
    [
        "headers=(('A', 'x\\r\\nEvil: 1'),)",
        "headers=(('A\\n', 'x'),)",
        "query=(('q', 'a\\0'),)",
        "url='https://a.example/x\\ny'",
    ],
)
def test_no_transform_breaks_a_line_of_the_protocol(method: str, change: str) -> None:
    made = one(f"def {method}(self, request): return replace(request, {change})")
    with pytest.raises(ExchangeError, match="control character") as told:
        {"patch": patch, "sign": sign}[method](made, REQUEST)
    assert told.value.cls == "invalid_request"


def test_a_signature_adds_headers_and_query_parameters() -> None:
    made = one(
        "def sign(self, request): return request.with_headers({'Sig': str(len(request.body))})"
    )
    assert sign(made, REQUEST).header("sig") == "4"


@pytest.mark.parametrize("change", ["body=b'other'", "method='GET'"])
def test_a_signature_changes_nothing_of_what_it_signs(change: str) -> None:
    made = one(f"def sign(self, request): return replace(request, {change})")
    with pytest.raises(ExchangeError, match="changed what it was to sign"):
        sign(made, REQUEST)


def test_the_signature_sees_the_placed_credentials() -> None:
    text = ROUTE.replace("transforms:", "auth: { bearer: k }\ntransforms:") + "  - mine\n"
    own = source(
        "def patch(self, request):",
        "    return request.with_headers({'Seen': str(request.header('authorization'))})",
        "def sign(self, request):",
        "    return request.with_headers({'Signed': str(request.header('authorization'))})",
    )
    route = route_of(text, mine=own)
    request = route.render(ENV, CHAT, route.transforms(ENV, context_of(ENV)), None)
    assert (request.header("seen"), request.header("signed")) == ("None", "Bearer k")


# ---- classify ----


def test_the_first_transform_with_something_to_say_classes_an_answer() -> None:
    own = {
        "quiet": source("def classify(self, response): return None"),
        "busy": source(
            "def classify(self, response): return 'overloaded' if b'!' in response.body else None"
        ),
    }
    made = working("  - quiet\n  - busy\n", **own)
    assert classify(made, HttpResponse(200, (), b"!")) == ErrorEvent(
        "overloaded", "the upstream refused the request", 200
    )
    assert classify(made, HttpResponse(200, (), b"fine")) is None


@pytest.mark.parametrize("answer", ["'no_such_class'", "5", "['fatal']"])
def test_an_unknown_class_is_fatal(answer: str) -> None:
    with pytest.raises(ExchangeError) as told:
        classify(one(f"def classify(self, response): return {answer}"), HttpResponse(200))
    assert told.value.cls == "fatal"


# ---- going wrong ----

FAILING: dict[str, Callable[[list[Any]], object]] = {
    "shape": lambda made: shape(made, CHAT),
    "patch": lambda made: patch(made, REQUEST),
    "sign": lambda made: sign(made, REQUEST),
    "classify": lambda made: classify(made, HttpResponse(200)),
    "feed_record": lambda made: record_steps(made)[0](Record("", b"")),
    "feed": lambda made: event_steps(made)[0][0](TextDelta(0, "x")),  # type: ignore[misc]
    "finish": lambda made: event_steps(made)[0][1](),  # type: ignore[misc]
}
NAMES = {"shape": "request", "patch": "request", "sign": "request", "classify": "response",
         "feed_record": "record", "feed": "event", "finish": ""}  # fmt: skip


def method(name: str, body: str) -> str:
    parameters = ", ".join(filter(None, ["self", NAMES[name]]))
    return f"def {name}({parameters}): {body}"


@pytest.mark.parametrize("name", FAILING)
def test_what_a_transform_raises_by_mistake_is_fatal_and_keeps_its_cause(name: str) -> None:
    with pytest.raises(ExchangeError, match=f"transform `mine` failed in `{name}`") as told:
        FAILING[name](one(method(name, "raise KeyError('the conversation')")))
    assert told.value.cls == "fatal"
    assert "conversation" not in told.value.message
    assert isinstance(told.value.__cause__, KeyError)


@pytest.mark.parametrize("name", FAILING)
def test_an_answer_against_the_contract_is_fatal(name: str) -> None:
    with pytest.raises(ExchangeError, match=f"transform `mine` broke the contract of `{name}`"):
        FAILING[name](one(method(name, "return 5")))


@pytest.mark.parametrize("name", FAILING)
def test_a_refusal_keeps_its_class(name: str) -> None:
    with pytest.raises(Refuse, match="too long") as told:
        FAILING[name](one(method(name, "raise Refuse('too long', cls='context_length')")))
    assert told.value.cls == "context_length"


def test_an_instance_that_cannot_be_made_is_fatal() -> None:
    with pytest.raises(ExchangeError, match="failed in `__init__`"):
        one(
            "def __init__(self, options: object, context: Context) -> None: raise ValueError",
            "def feed(self, event): return [event]",
        )


def test_a_finish_goes_through_the_feeds_below_it() -> None:
    own = source(
        "def __init__(self, options: object, context: Context) -> None: self.held = []",
        "def feed(self, event):",
        "    self.held.append(event); return []",
        "def finish(self): return [TextDelta(0, 'end'), *self.held]",
    )
    ((feed, finish),) = event_steps(working("  - mine\n", mine=own))
    assert feed is not None
    assert finish is not None
    assert feed(TextDelta(0, "a")) == []
    assert finish() == [TextDelta(0, "end"), TextDelta(0, "a")]
