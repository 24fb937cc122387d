"""Requests as a route writes them: what is a template, what a variable, what stays as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from engine.draft.asking import Asking, prompt_of
from engine.draft.curl import BOUNDARY, multipart
from engine.draft.hiding import Hiding
from engine.draft.layout import bare
from engine.wire import HttpRequest

ASKED = "Why is the sky blue?"
ID, OTHER = "2c9c29b4-0000-4000-8000-1234567890ab", "2c9c29b4-0000-4000-8000-1234567890ac"
FORM = "application/x-www-form-urlencoded; charset=UTF-8"


def nowhere(name: str, text: str) -> str:
    return ""


def asking(origin: Callable[[str, str], str] = nowhere) -> Asking:
    return Asking(Hiding("x"), ASKED, origin)


def post(
    body: Any, kind: str = "application/json", url: str = "https://a.example/b"
) -> HttpRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpRequest("POST", url, (("Content-Type", kind),), body=raw)


def body(value: Any) -> Any:
    made = asking()
    request = post(value)
    made.count(request)
    return bare(made.tree(request)["json"])


@pytest.mark.parametrize(
    ("sent", "written"),
    [
        ({"text": ASKED}, {"text": "{{ req.prompt }}"}),
        ({"text": f"<q>{ASKED}</q>"}, {"text": "<q>{{ req.prompt }}</q>"}),
        ({"model": "owl-2", "n": None}, {"model": "{{ model.upstream }}", "n": None}),
        ({"model": "/", "model_id": "a/b-1"}, {"model": "/", "model_id": "{{ model.upstream }}"}),
        ({"id": ID, "at": 1767225600123, "t": "1767225600123"},
         {"id": "{{ uuid4() }}", "at": "{{ now_ms() }}", "t": "{{ '' ~ now_ms() }}"}),
        ({"a": [ID, {"b": ID}], "c": OTHER},
         {"a": ["{{ let.id }}", {"b": "{{ let.id }}"}], "c": "{{ uuid4() }}"}),
        ({"s": "session_1767225600123_x"}, {"s": "session_{{ now_ms() }}_x"}),
        ({"temperature": 0.5, "maxTokens": 9, "top_p": True},
         {"temperature": "{{ req.temperature | default(0.5) }}",
          "maxTokens": "{{ req.max_tokens | default(9) }}", "top_p": True}),
        ({"token": "long-enough"}, {"token": "${env:X_TOKEN}"}),
        ({"{{USER}}": "{{USER}} ${x}"}, {"{{USER}}": "{{ '{{USER}} $${x}' }}"}),
    ],
)  # fmt: skip
def test_values_of_a_body(sent: Any, written: Any) -> None:
    assert written == body(sent)


@pytest.mark.parametrize(
    ("sent", "written"),
    [
        ([{"role": "user", "content": ASKED}], "{{ req.messages | as_openai }}"),
        ([{"role": "system", "content": "x"},
          {"role": "user", "content": [{"type": "text", "text": ASKED}]}],
         "{{ req.messages | as_openai }}"),
        ([{"author": "user", "text": ASKED}],
         "{{ req.messages | as_messages(role='author', content='text') }}"),
        ([{"who": "human", "what": ASKED}],
         "{{ req.messages | as_messages(role='who', content='what', roles={'user': 'human'}) }}"),
        ([{"role": "assistant", "content": "Hi"}, {"id": ID, "role": "user", "content": ASKED}],
         [{"id": "{{ uuid4() }}", "role": "user", "content": "{{ req.prompt }}"}]),
        ([{"a": "1", "b": "2"}], [{"a": "1", "b": "2"}]),
    ],
)  # fmt: skip
def test_a_conversation_is_one_template_where_it_can_be(sent: Any, written: Any) -> None:
    assert {"messages": written} == body({"messages": sent})


def test_json_in_a_text_is_written_as_json() -> None:
    inner = json.dumps({"q": ASKED, "it's": [1, None, True], "say": f"a {ASKED}"})
    assert {
        "f": "{{ { 'q': req.prompt, 'it\\'s': [1, none, true], 'say': 'a ' ~ req.prompt } | json }}"
    } == body({"f": inner})


def test_a_secret_in_it_is_a_variable() -> None:
    made = asking()
    text = json.dumps({"q": ASKED, "token": "long-enough"})
    assert "{{ { 'q': req.prompt, 'token': vars.x_token } | json }}" == made.text("f", text)
    assert ({"x_token": "${env:X_TOKEN}"}, {"X_TOKEN": "long-enough"}) == (
        made.vars,
        made.hiding.env,
    )


def test_a_secret_among_words_is_hidden_alone() -> None:
    made = asking()
    assert "use ${env:X_NOTE} today" == made.text("note", "use Zx81Qp47hWc2Lm90Tt today")


def test_forms_queries_paths_and_texts() -> None:
    form = post(
        b"message=Why+is+the+sky+blue%3F&n=1&e=", FORM, f"https://a.example/c/{ID}/x?v=2&q="
    )
    assert {
        "path": "/c/{{ uuid4() | urlpath }}/x",
        "query": {"v": "2", "q": ""},
        "form": {"message": "{{ req.prompt }}", "n": "1", "e": ""},
    } == asking().tree(form)
    parts = post(multipart([("q", ASKED), ("n", "1")]), f"multipart/form-data; boundary={BOUNDARY}")
    assert {"q": "{{ req.prompt }}", "n": "1"} == asking().tree(parts)["multipart"]
    assert "{{ req.prompt }}" == asking().tree(post(ASKED.encode(), "text/plain"))["raw"]
    assert {"method": "GET", "path": "/"} == asking().tree(HttpRequest("GET", "https://a.example"))


def test_an_odd_content_type_is_kept() -> None:
    tree = asking().tree(post({"a": 1}, "application/vnd.x+json"))
    assert {"Content-Type": "application/vnd.x+json"} == tree["headers"]


def test_what_came_from_an_answer_is_a_value() -> None:
    made = asking(lambda name, text: "{{ values.nonce }}" if text == "n-1" else "")
    tree = made.tree(post({"nonce": "n-1"}, url="https://a.example/c/n-1"))
    assert ("/c/{{ values.nonce | urlpath }}", {"nonce": "{{ values.nonce }}"}) == (
        tree["path"],
        tree["json"],
    )


def test_a_secret_in_a_path_is_encoded_again() -> None:
    made = asking()
    request = HttpRequest("GET", "https://a.example/bot/qC7%2Fx9+Lm2Zt4Wv8Rb1/ask")
    assert {"method": "GET", "path": "/bot/{{ vars.x_key | urlpath }}/ask"} == made.tree(request)
    assert ({"x_key": "${env:X_KEY}"}, {"X_KEY": "qC7/x9+Lm2Zt4Wv8Rb1"}) == (
        made.vars,
        made.hiding.env,
    )


def test_it_is_one_inside_a_longer_text_too() -> None:
    made = Asking(Hiding("x"), ASKED, nowhere, {"9a8b7c6d50": "{{ values.nonce }}"})
    assert "a-{{ values.nonce }}/1-{{ values.nonce }}" == made.text(
        "x", "a-9a8b7c6d50/1-9a8b7c6d50"
    )


def test_what_stands_twice_is_known() -> None:
    made = asking()
    made.tree(post(b"a=1&b=2&a=3", FORM, "https://a.example/?c=1&c=2"))
    assert ["c", "a"] == made.several


def test_times_in_a_text_that_is_an_expression_stay() -> None:
    assert "{{ '{{X}} 1767225600123' }}" == asking().text("x", "{{X}} 1767225600123")


@pytest.mark.parametrize(
    ("referer", "sent"),
    [
        ("https://a.example/chat/", "https://a.example/chat/"),
        (f"https://a.example/c/{ID}", "https://a.example/"),
        ("https://a.example/c?id=65f1c0ffee65f1c0ffee65f1", "https://a.example/"),
    ],
)
def test_the_address_of_one_conversation_is_not_sent(referer: str, sent: str) -> None:
    request = HttpRequest("GET", "https://a.example", (("Referer", referer),))
    assert {"Referer": sent} == dict(asking().headers(request))


def test_headers_of_the_transport_and_the_browser_are_left_out() -> None:
    names = (
        "Host",
        "Content-Length",
        "Accept-Encoding",
        "Sec-Fetch-Mode",
        "Cookie",
        "Authorization",
    )
    headers = [(name, "x") for name in names]
    headers += [("X-Request-Id", ID), ("X-Api-Key", "long-enough"), ("Accept", "*/*")]
    headers += [("Referer", "https://a.example/c/Zx81Qp47hWc2Lm90Tt")]
    found = dict(asking().headers(HttpRequest("GET", "https://a.example", tuple(headers))))
    assert {
        "X-Request-Id": "{{ uuid4() }}",
        "X-Api-Key": "${env:X_X_API_KEY}",
        "Accept": "*/*",
        "Referer": "https://a.example/",
    } == found


@pytest.mark.parametrize(
    ("request_", "prompt"),
    [
        (post({"system": "You are a very helpful assistant, always.", "prompt": "Hi"}), "Hi"),
        (post({"messages": [{"role": "user", "content": "First of all questions"},
                            {"role": "assistant", "content": "Yes"},
                            {"role": "user", "content": "Why?"}]}), "Why?"),
        (post({"a": "one two three", "id": ID}), "one two three"),
        (post(b"action=wp_send&message=%E4%BD%A0%E5%A5%BD", FORM), "你好"),
        (post(b"Hello there", "text/plain"), "Hello there"),
        (HttpRequest("GET", "https://a.example/?q=Hello&v=2"), "Hello"),
        (post({"n": 1}), ""),
    ],
)  # fmt: skip
def test_what_was_typed_is_found_by_its_looks(request_: HttpRequest, prompt: str) -> None:
    assert prompt == prompt_of(request_)
