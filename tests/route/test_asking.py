"""A value that a model answers: one question, one answer."""

from __future__ import annotations

import pytest

from engine.errors import ExchangeError
from engine.route.asking import Question
from tests.kit import route_of

ROUTE = """
version: 1
base_url: https://a.example
models: [m]
request: { path: /x, json: { q: "{{ req.prompt }}", a: "{{ values.v }}" } }
response: { events: [ { text: $.text, finish: stop } ] }
values: { v: { scope: request, ask: { model: other/m, ASK } } }
"""


def asked(ask: str, **env: object) -> tuple[Question, object]:
    """The question, and the flow that waits for its answer."""
    flow = route_of(ROUTE.replace("ASK", ask)).values["v"].flow(env)
    return next(flow), flow


def test_a_text_is_one_message_of_a_user() -> None:
    question, _ = asked('messages: "{{ req.prompt }}"', req={"prompt": "Hi"})
    assert "other/m" == question.chat.model
    assert [("user", "Hi")] == [(m.role, m.text) for m in question.chat.messages]
    assert (0.0, 60.0) == (question.keep, question.patience)


def test_a_conversation_is_one_in_the_form_of_chat_completions() -> None:
    question, _ = asked(
        "messages: [{ role: user, content: Hi }], system: Be brief., max_tokens: 7, "
        "keep: 1h, timeout: 5s"
    )
    told = [(m.role, m.text) for m in question.chat.messages]
    assert [("system", "Be brief."), ("user", "Hi")] == told
    assert 7 == question.chat.out.max_tokens
    assert (3600.0, 5.0) == (question.keep, question.patience)


def test_questions_that_differ_in_their_system_text_alone_differ() -> None:
    one, _ = asked("messages: Hi, system: A")
    other, _ = asked("messages: Hi, system: B")
    assert one.source != other.source


def test_the_answer_is_the_value_and_no_secret() -> None:
    route = route_of(ROUTE.replace("ASK", "messages: Hi"))
    flow = route.values["v"].flow({})
    next(flow)
    with pytest.raises(StopIteration) as stop:
        flow.send(" yes \n")
    assert "yes" == stop.value.value.content
    assert "yes" == route.values["v"].masked("yes")


def test_an_empty_answer_is_none() -> None:
    flow = route_of(ROUTE.replace("ASK", "messages: Hi")).values["v"].flow({})
    next(flow)
    with pytest.raises(ExchangeError, match="the model said nothing") as told:
        flow.send(" ")
    assert "unavailable" == told.value.cls


def test_what_is_no_conversation_is_the_routes_mistake() -> None:
    with pytest.raises(ExchangeError, match=r"`ask\.messages`") as told:
        asked("messages: [{ role: nobody, content: Hi }]")
    assert "fatal" == told.value.cls
