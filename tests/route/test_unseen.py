"""What a route that takes text only leaves out is named, unless it goes some other way."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import RequestError
from engine.replay.explain import explain
from engine.wire import dumps
from tests.kit import route_of

ROUTE = """
version: 1
base_url: https://chat.example.com
models: [m]
HEAD
request: { path: /x, json: { q: Q, tools: "{{ req.tools | as_openai }}" } }
response: { events: [ { text: $.text, finish: stop } ] }
"""
UPLOAD = """
values:
  files:
    scope: account
    each: image
    request: { path: /f, multipart: { f: "{{ media.content }}" } }
    extract: [ { json: $.id } ]
    when: vars.up
"""
PNG = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
PDF = {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0="}}
TEXT = {"type": "text", "text": "Hi"}


def named(question: str, head: str = "", *parts: dict[str, Any]) -> list[str]:
    """The names of what is dropped, as `explain` notes them."""
    route = route_of(ROUTE.replace("HEAD", head).replace("Q,", f'"{question}",'))
    body = {"model": "m", "messages": [{"role": "user", "content": [TEXT, *(parts or (PNG, PNG))]}]}
    notes = explain(route, dumps(body), now=0.0).notes
    return [note.removeprefix("dropped: ") for note in notes if note.startswith("dropped")]


LOST = "image (the upstream cannot do it)"


@pytest.mark.parametrize(
    "question",
    [
        "{{ req.messages | as_text_messages }}",
        "{{ req.messages | as_messages(role='who') }}",
        "{{ req.prompt }}",
        "{% for m in req.messages %}{{ m.text }}{% endfor %}",
        "no question",
    ],
)
def test_media_that_no_template_writes_are_named(question: str) -> None:
    assert [LOST] == named(question)


def test_each_kind_is_named_once() -> None:
    lost = named("{{ req.messages | as_text_messages }}", "", PDF, PNG, PDF)
    assert ["file (the upstream cannot do it)", LOST] == lost


@pytest.mark.parametrize("form", ["openai", "anthropic", "gemini", "ollama", "bedrock"])
def test_a_dialects_filter_writes_them(form: str) -> None:
    assert [] == named(f"{{{{ req.messages | as_{form} }}}}")


def test_what_is_computed_first_may_write_them() -> None:
    assert [] == named("{{ let.m }}", 'let: { m: "{{ req.messages | as_openai }}" }')


def test_what_was_uploaded_is_not_lost_and_what_was_not_is() -> None:
    question = "{{ req.prompt }}{{ values.files | default('') }}"
    question = "{{ [req.prompt, values.files | default(omit)] }}"
    assert [] == named(question, "vars: { up: true }" + UPLOAD)
    assert [LOST] == named(question, "vars: { up: false }" + UPLOAD)


@pytest.mark.parametrize("transform", ["drop_media", "{ drop_media: { instead: '' } }"])
def test_what_a_transform_takes_out_is_no_loss(transform: str) -> None:
    assert [] == named("{{ req.prompt }}", f"transforms: [ {transform} ]")


def test_a_history_made_flat_names_what_it_leaves_out() -> None:
    lost = "image (the upstream has no field for it)"
    assert [lost] == named("{{ req.prompt }}", "transforms: [ flatten_history ]")
    head = "vars: { up: true }\ntransforms: [ flatten_history ]" + UPLOAD
    assert [] == named("{{ [req.prompt, values.files] }}", head)


def test_a_route_may_refuse_or_be_silent() -> None:
    with pytest.raises(RequestError, match="image: the upstream cannot do it"):
        named("{{ req.prompt }}", "on_unsupported: refuse")
    assert [] == named("{{ req.prompt }}", "on_unsupported: silent")
    assert [LOST] == named("{{ req.prompt }}", "on_unsupported: warn")


def test_a_dialect_that_writes_the_body_is_asked_itself() -> None:
    route = route_of("version: 1\nbase_url: https://a.example\nmodels: [m]\ndialect: openai_chat\n")
    assert not route.media.text_only


def left(options: dict[str, Any], head: str = "") -> list[str]:
    """The names of the fields that are dropped of a request with these."""
    route = route_of(ROUTE.replace("HEAD", head).replace("Q,", '"{{ req.prompt }}",'))
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **options}
    notes = explain(route, dumps(body), now=0.0).notes
    return [note.split()[1] for note in notes if note.startswith("dropped")]


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def test_fields_that_nothing_reads_are_named() -> None:
    sent = {"temperature": 0.5, "seed": 3, "tools": [TOOL], "tool_choice": "required", "user": "u"}
    assert ["tool_choice", "temperature", "seed"] == left(sent)
    assert [] == left({})


def test_what_a_condition_or_an_option_reads_is_not_unread() -> None:
    head = 'let: { heat: "{{ req.temperature }}" }'
    assert ["seed"] == left({"temperature": 0.5, "seed": 3}, head)


def test_a_route_may_want_no_field_to_be_lost() -> None:
    with pytest.raises(RequestError) as caught:
        left({"seed": 3}, "profile: { on_unsupported: refuse }")
    assert ("unsupported", "seed") == (caught.value.kind, caught.value.param)
    assert [] == left({"seed": 3}, "profile: { on_unsupported: silent }")


def test_a_system_text_that_nothing_reads_is_named() -> None:
    def lost(question: str, head: str = "") -> list[str]:
        route = route_of(ROUTE.replace("HEAD", head).replace("Q,", f'"{question}",'))
        turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
        notes = explain(route, dumps({"model": "m", "messages": turns}), now=0.0).notes
        return [note for note in notes if note.startswith("dropped")]

    assert ["dropped: system (the upstream has no field for it)"] == lost("{{ req.prompt }}")
    assert [] == lost("{{ req.system_text }}{{ req.prompt }}")
    assert [] == lost("{{ req.messages | as_text_messages }}")
    assert [] == lost("{{ req.prompt }}", "transforms: [ flatten_history ]")


CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ROUND = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "One moment.", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "42"},
]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    ("question", "head", "lost"),
    [
        (
            "{{ req.messages | as_text_messages }}",
            "",
            ["tool_calls (the upstream has no field for it)"],
        ),
        ("{{ req.messages | as_openai }}", "", []),
        ("{{ req.prompt }}", "", []),  # a conversation that the upstream keeps
        ("{{ req.messages | as_text_messages }}", "transforms: [ prompted_tools ]", []),
    ],
)
def test_calls_of_earlier_turns_that_are_told_without_them_are_named(
    question: str, head: str, lost: list[str]
) -> None:
    route = route_of(ROUTE.replace("HEAD", head).replace("Q,", f'"{question}",'))
    body = dumps({"model": "m", "messages": ROUND, "tools": [TOOL]})
    notes = explain(route, body, now=0.0).notes
    assert lost == [n.removeprefix("dropped: ") for n in notes if n.startswith("dropped")]


def test_a_route_that_refuses_losses_refuses_calls_that_it_cannot_tell() -> None:
    text = ROUTE.replace("HEAD", "on_unsupported: refuse")
    route = route_of(text.replace("Q,", '"{{ req.messages | as_text_messages }}",'))
    with pytest.raises(RequestError, match="tool_calls"):
        explain(route, dumps({"model": "m", "messages": ROUND, "tools": [TOOL]}), now=0.0)
