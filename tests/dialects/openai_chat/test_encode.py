from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from engine.chat import Citation, Media, Opaque, Reasoning, Refusal, Text, ToolCall
from engine.dialects.openai_chat.decode import StreamDecoder, decode_whole
from engine.dialects.openai_chat.encode import Encoder, failure, reply, stream_failure
from engine.dialects.outcomes import ANSWERS
from engine.errors import ExchangeError, RequestError
from engine.events import (
    Annotation,
    ArgsDelta,
    CitationDelta,
    Close,
    End,
    ErrorEvent,
    Event,
    Finish,
    Open,
    Ping,
    ReasoningDelta,
    RefusalDelta,
    Reply,
    SignatureDelta,
    Start,
    StateSet,
    TextDelta,
    Usage,
    UsageEvent,
    fold,
)
from engine.wire import Record, loads
from tests.grammar import check_chat_stream, check_events, sse_payloads

USAGE = Usage(10, 5, cache_read=4, reasoning=3)
COUNTS = {
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "total_tokens": 15,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 3},
}


def encoder(include_usage: bool = False, **more: Any) -> Encoder:
    return Encoder("req_1", "m", 7, include_usage, **more)


def stream(*events: Event, usage: bool = False, **more: Any) -> list[dict[str, Any]]:
    """The chunks of one answer, held against the grammar and the SDK's types."""
    check_events([Start(), *events])
    made = encoder(usage, **more)
    data = made.feed([Start("up_1", "upstream-model", 1), *events]) + made.finish()
    chunks = check_chat_stream(data, usage=usage)
    for item in chunks:
        if "error" not in item:
            ChatCompletionChunk.model_validate(item)
    return chunks


def deltas(*events: Event, **more: Any) -> list[dict[str, Any]]:
    """The deltas between the role and the finish."""
    found = [item["choices"][0]["delta"] for item in stream(*events, **more)]
    assert found[0] == {"role": "assistant", "content": "", "refusal": None}
    assert found[-1] == {}
    return found[1:-1]


def text(*pieces: str) -> list[Event]:
    return [Open(0, Text("")), *(TextDelta(0, piece) for piece in pieces), Close(0)]


def call(block: int, *pieces: str, name: str = "f", kind: Any = "function") -> list[Event]:
    part = ToolCall(f"id_{block}", name, "", kind)
    return [Open(block, part), *(ArgsDelta(block, piece) for piece in pieces), Close(block)]


def test_a_plain_answer_byte_for_byte() -> None:
    made = encoder(True)
    data = made.feed([Start(), *text("Hé\n", '"lo'), UsageEvent(Usage(1, 2)), Finish("stop")])
    head = (
        'data: {"id":"req_1","object":"chat.completion.chunk","created":7,"model":"m","choices":['
    )
    body = '{"index":0,"delta":%s,"logprobs":null,"finish_reason":%s}],"usage":null}\n\n'
    assert data.decode() == "".join(
        [
            head + body % ('{"role":"assistant","content":"","refusal":null}', "null"),
            head + body % ('{"content":"Hé\\n"}', "null"),
            head + body % ('{"content":"\\"lo"}', "null"),
            head + body % ("{}", '"stop"'),
            head + '],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}\n\n',
            "data: [DONE]\n\n",
        ]
    )


def test_row_50_usage_goes_out_only_if_it_was_asked_for() -> None:
    events = [*text("a"), UsageEvent(USAGE), Finish("stop")]
    assert [item.get("usage") for item in stream(*events)] == [None] * 3
    chunks = stream(*events, usage=True)
    assert (chunks[-1]["usage"], chunks[-1]["choices"]) == (COUNTS, [])
    assert all(item["usage"] is None for item in chunks[:-1])


def test_usage_that_nobody_told_is_marked() -> None:
    chunks = stream(*text("a"), Finish("stop"), usage=True)
    zero = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    assert chunks[-1]["usage"] == {**zero, "penstock_estimated": True}


def test_row_48_usage_is_the_last_of_each_count_and_never_a_sum() -> None:
    usage = [UsageEvent(Usage(10, 1)), UsageEvent(Usage(None, 5))]
    last = stream(*text("a"), *usage, Finish("stop"), usage=True)[-1]["usage"]
    assert (last["prompt_tokens"], last["completion_tokens"]) == (10, 5)


def test_all_kinds_of_prose() -> None:
    citation = Citation("url", "https://a", "A", None, 1, 2)
    assert deltas(
        Open(0, Reasoning("")), ReasoningDelta(0, "hm"), SignatureDelta(0, "sig"), Close(0),
        Open(1, Text("")), TextDelta(1, "a"), CitationDelta(1, citation), Close(1),
        Open(2, Refusal("")), RefusalDelta(2, "no"), Close(2), Finish("stop"),
    ) == [
        {"reasoning_content": "hm"},
        {"content": "a"},
        {
            "annotations": [
                {
                    "type": "url_citation",
                    "url_citation": {
                        "url": "https://a",
                        "title": "A",
                        "start_index": 1,
                        "end_index": 2,
                    },
                }
            ]
        },
        {"refusal": "no"},
    ]  # fmt: skip


def test_an_upstreams_own_citation_is_not_rewritten() -> None:
    raw = {"type": "url_citation", "url_citation": {"url": "u", "extra": 1}}
    events = [*text("a")[:-1], CitationDelta(0, Citation("url_citation", raw=raw)), Close(0)]
    assert {"annotations": [raw]} in deltas(*events, Finish("stop"))
    other = {"type": "document_citation", "document_citation": {"document_id": "d"}}
    late = CitationDelta(0, Citation("document_citation", raw=other))
    assert {"annotations": [other]} in deltas(*text("a"), late, Finish("stop"))


def test_what_served_the_answer_stands_at_its_end() -> None:
    *_, last = stream(*text("a"), Finish("stop", tier="flex", fingerprint="fp"))
    assert ("flex", "fp") == (last["service_tier"], last["system_fingerprint"])
    body = answered(Reply(parts=[Text("a")], tier="flex", fingerprint="fp"))
    assert ("flex", "fp") == (body["service_tier"], body["system_fingerprint"])
    assert "service_tier" not in answered(Reply(parts=[Text("a")]))


def test_what_vendors_of_the_api_add_goes_back_as_it_came() -> None:
    ran = Opaque("openai_chat", "executed_tools", {"index": 0, "type": "search"})
    assert {"executed_tools": [ran.raw]} in deltas(Open(0, ran), Close(0), Finish("stop"))
    found = message(ran, Text("a"), replace(ran, raw=2))
    assert ("a", [ran.raw, 2]) == (found["content"], found["executed_tools"])


def test_blocks_that_open_with_content_lose_none_of_it() -> None:
    assert deltas(
        Open(0, Text("a")), Close(0), Open(1, Reasoning("b")), Close(1),
        Open(2, Refusal("c")), Close(2), Open(3, Media("image", file_id="f")), Close(3),
        Open(4, Opaque("x", "fallback", {})), Close(4), Finish("stop"),
    ) == [{"content": "a"}, {"reasoning_content": "b"}, {"refusal": "c"},
          {"content": "[image left out: only its id is known]"}]  # fmt: skip


def test_log_probabilities_go_with_their_text() -> None:
    probable: dict[str, Any] = {"content": [], "refusal": None}
    chunks = stream(Open(0, Text("")), TextDelta(0, "a", probable), Close(0), Finish("stop"))
    assert [None, probable, None] == [item["choices"][0]["logprobs"] for item in chunks]


def test_row_1_calls_are_numbered_among_themselves() -> None:
    opened: list[Event] = [*text("a"), *call(1)[:1], *call(2)[:1]]
    pieces: list[Event] = [ArgsDelta(2, "{"), ArgsDelta(1, "{}"), ArgsDelta(2, "}")]
    found = deltas(*opened, *pieces, Close(1), Close(2), Finish("tool_calls"))
    first = {"type": "function", "function": {"name": "f", "arguments": ""}}
    assert [item["tool_calls"][0] for item in found[1:]] == [
        {"index": 0, "id": "id_1", **first},
        {"index": 1, "id": "id_2", **first},
        {"index": 1, "function": {"arguments": "{"}},
        {"index": 0, "function": {"arguments": "{}"}},
        {"index": 1, "function": {"arguments": "}"}},
    ]


def test_row_9_a_call_without_arguments_ends_as_an_empty_object() -> None:
    made = encoder()
    data = made.feed([Start(), *call(0), Finish("tool_calls")])
    found = [loads(payload) for payload in sse_payloads(data)[:-1]]
    assert (
        found[2]["choices"][0]["delta"]  # type: ignore[index]
    ) == {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}


def test_arguments_that_an_opening_brings_are_kept() -> None:
    (delta,) = deltas(Open(0, ToolCall("a", "f", '{"x":1}')), Close(0), Finish("tool_calls"))
    assert delta["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"x":1}'}


def test_a_custom_call_carries_its_input() -> None:
    made = encoder()
    data = made.feed([Start(), *call(0, "x", kind="custom"), Finish("tool_calls")])
    chunks = check_chat_stream(data)
    assert [item["choices"][0]["delta"].get("tool_calls") for item in chunks[1:3]] == [
        [{"index": 0, "id": "id_0", "type": "custom", "custom": {"name": "f", "input": ""}}],
        [{"index": 0, "custom": {"input": "x"}}],
    ]


def test_a_legacy_client_gets_one_function_call() -> None:
    chunks = stream(*call(0, "{}"), *call(1, '{"b":1}'), Finish("tool_calls"), legacy=True)
    assert [item["choices"][0]["delta"].get("function_call") for item in chunks] == [
        None,
        {"name": "f", "arguments": ""},
        {"arguments": "{}"},
        None,
    ]
    assert chunks[-1]["choices"][0]["finish_reason"] == "function_call"


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("other", "stop"),
    ],
)
def test_finishes_as_clients_know_them(reason: str, shown: str) -> None:
    chunks = stream(*text("a"), Finish(reason, "raw"))
    assert [None, None, shown] == [item["choices"][0]["finish_reason"] for item in chunks]


def test_an_annotation_stands_beside_an_empty_delta() -> None:
    chunks = stream(*text("a"), Annotation({"source": 1}), Finish("stop"))
    assert (chunks[2]["annotations"], chunks[2]["choices"][0]["delta"]) == ([{"source": 1}], {})


def test_events_of_the_engine_do_not_leave_it() -> None:
    assert encoder().feed([StateSet({"a": 1}), End()]) == b""


def test_a_ping_is_a_comment_until_the_answer_is_over() -> None:
    made = encoder()
    assert b": keepalive\n\n" == made.ping() == made.feed([Ping()])
    made.feed([Start(), Finish("stop")])
    assert None is made.ping()


def test_f7_an_error_ends_the_stream_without_a_finish() -> None:
    chunks = stream(*text("a"), ErrorEvent("overloaded", "busy"))
    error = {"message": "busy", "type": "server_error", "param": None, "code": "overloaded"}
    assert {"error": error} == chunks[-1]


@pytest.mark.parametrize("end", [Finish("stop"), ErrorEvent("truncated", "cut")])
def test_f9_nothing_follows_the_end(end: Event) -> None:
    made = encoder()
    whole = made.feed([Start(), *text("a"), end, *text("b"), Finish("stop")])
    assert whole.count(b"[DONE]") == 1
    assert b'"b"' not in whole
    assert b"" == made.feed(text("c")) == made.finish()


def test_f14_lone_surrogates_become_visible() -> None:
    (delta,) = deltas(*text("a\ud83d"), Finish("stop"))
    assert delta == {"content": "a\ufffd"}


# ---- whole answers ----


def answered(answer: Reply, **more: Any) -> dict[str, Any]:
    body = json.loads(reply(answer, "req_1", "m", 7, **more))
    ChatCompletion.model_validate(body)
    return body  # type: ignore[no-any-return]


def test_a_whole_answer_has_every_key() -> None:
    assert answered(Reply(parts=[Text("a"), Text("b")], finish="stop", usage=USAGE)) == {
        "id": "req_1",
        "object": "chat.completion",
        "created": 7,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "ab", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": COUNTS,
    }


def message(*parts: Any, finish: str = "stop", **more: Any) -> dict[str, Any]:
    body = answered(Reply(parts=list(parts), finish=finish), **more)
    return body["choices"][0]["message"]  # type: ignore[no-any-return]


def test_a_whole_answer_with_calls() -> None:
    found = message(
        Reasoning("hm"), ToolCall("a", "f", ""), ToolCall("b", "g", "{broken"), finish="tool_calls"
    )
    assert found == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "reasoning_content": "hm",
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{broken"}},
        ],
    }


def test_row_52_text_and_calls_are_both_kept() -> None:
    found = message(Text("a"), ToolCall("b", "g", "in", "custom"), finish="tool_calls")
    custom = {"id": "b", "type": "custom", "custom": {"name": "g", "input": "in"}}
    assert ("a", [custom]) == (found["content"], found["tool_calls"])


def test_a_whole_answer_for_a_legacy_client() -> None:
    body = answered(Reply(parts=[ToolCall("a", "f", "")], finish="tool_calls"), legacy=True)
    choice = body["choices"][0]
    assert choice["finish_reason"] == "function_call"
    assert choice["message"]["function_call"] == {"name": "f", "arguments": "{}"}
    assert "tool_calls" not in choice["message"]


def test_a_refusal_an_empty_answer_and_citations() -> None:
    refusal = message(Refusal("no"), finish="content_filter")
    assert (refusal["content"], refusal["refusal"]) == (None, "no")
    assert message()["content"] == ""
    cited = message(Text("a", [Citation("url", "https://a")]))
    assert cited["annotations"][0]["url_citation"]["url"] == "https://a"


def test_annotations_and_log_probabilities_of_a_whole_answer() -> None:
    token = {"token": "a", "logprob": -1.0, "bytes": None, "top_logprobs": []}
    found = [{"content": [token], "refusal": None}, {"content": [token]}, None]
    body = answered(Reply(parts=[Text("a")], annotations=[{"s": 1}], logprobs=found))
    assert body["annotations"] == [{"s": 1}]
    assert {"content": [token, token], "refusal": None} == body["choices"][0]["logprobs"]


def test_usage_of_a_whole_answer_is_always_there() -> None:
    assert True is answered(Reply())["usage"]["penstock_estimated"]
    assert "penstock_estimated" not in answered(Reply(usage=Usage(1, 2)))["usage"]
    written = answered(Reply(usage=Usage(1, 2, cache_write=3)))["usage"]
    assert written["prompt_tokens_details"] == {"cache_write_tokens": 3}


# ---- failures ----


@pytest.mark.parametrize("kind", ANSWERS)
def test_every_failure_has_the_form_of_the_dialect(kind: str) -> None:
    status, body = failure(kind, "why", "req_1")
    assert status == ANSWERS[kind].openai.status
    error = json.loads(body)["error"]
    assert {"message", "type", "param", "code"} == set(error)
    assert isinstance(error["type"], str)


def test_a_refused_request_names_its_parameter() -> None:
    error = RequestError("bad_request", "n: must be at least 1", param="n")
    status, body = failure(error.kind, error.message, "req_1", error)
    assert status == 400
    assert json.loads(body)["error"] == {
        "message": "n: must be at least 1",
        "type": "invalid_request_error",
        "param": "n",
        "code": None,
    }


def test_a_refusal_of_the_upstream_keeps_its_code() -> None:
    error = ExchangeError("invalid_request", "bad tool", status=422, code="bad_tool")
    status, body = failure(error.cls, error.message, "req_1", error)
    assert (status, json.loads(body)["error"]["code"]) == (422, "bad_tool")


def test_f23_a_refused_credential_is_never_the_clients() -> None:
    error = ExchangeError("auth_invalid", "Incorrect API key provided: sk-123", status=401)
    status, body = failure(error.cls, error.message, "req_1", error)
    assert status == 502
    assert json.loads(body)["error"]["message"] == "upstream credential rejected"


def test_a_failure_in_a_stream_may_keep_the_upstreams_type() -> None:
    event = ErrorEvent("overloaded", "busy")
    assert b'"type":"overloaded_error"' in stream_failure(event, type="overloaded_error")
    assert b'"type":"server_error"' in stream_failure(event)
    credential = stream_failure(ErrorEvent("auth_expired", "bad sk-1"), type="authentication_error")
    assert b"authentication_error" not in credential
    assert b"sk-1" not in credential


# ---- properties ----

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
Builder = Callable[[int], list[Event]]


def prose(part: Any, delta: Any) -> st.SearchStrategy[Builder]:
    def build(pieces: list[str]) -> Builder:
        return lambda at: [Open(at, part("")), *(delta(at, text) for text in pieces), Close(at)]

    return st.lists(words, min_size=1, max_size=3).map(build)


blocks: st.SearchStrategy[Builder] = st.one_of(
    prose(Text, TextDelta),
    prose(Reasoning, ReasoningDelta),
    prose(Refusal, RefusalDelta),
    st.lists(words, min_size=1, max_size=2).map(lambda pieces: lambda at: call(at, *pieces)),
)
usages = st.builds(
    Usage,
    st.integers(0, 9),
    st.integers(0, 9),
    st.none() | st.integers(0, 9),
    st.none() | st.integers(0, 9),
    st.none() | st.integers(0, 9),
    st.booleans(),
)


def answers(made: list[Builder], usage: Usage, reason: str) -> list[Event]:
    events: list[Event] = [Start("req_1", "m", 7)]
    for at, build in enumerate(made):
        events += build(at)
    called = any(isinstance(e, Open) and isinstance(e.part, ToolCall) for e in events)
    if called and reason == "stop":
        reason = "tool_calls"
    return [*events, UsageEvent(usage), Finish(reason, reason)]


def shape(answer: Reply) -> tuple[object, ...]:
    """What a Chat answer can say of a reply: kinds joined, calls in order."""
    refusal = "".join(part.text for part in answer.parts if isinstance(part, Refusal))
    usage = answer.usage
    assert usage is not None
    usage.raw = None
    calls = [(c.id, c.name, c.args) for c in answer.calls]
    return answer.id, answer.text, answer.reasoning, refusal, calls, answer.finish, usage


@given(st.lists(blocks, max_size=4), usages, st.sampled_from(["stop", "length", "content_filter"]))
@settings(max_examples=300, deadline=None)
def test_what_was_encoded_is_decoded_again(made: list[Builder], usage: Usage, reason: str) -> None:
    events = answers(made, usage, reason)
    sent = encoder(True)
    data = b"".join(sent.feed([event]) for event in events)
    assert data == encoder(True).feed(answers(made, usage, reason)), "batches differ"
    check_chat_stream(data, usage=True)
    decoder = StreamDecoder(lambda: "made")
    back: list[Event] = []
    for payload in sse_payloads(data):
        value = None if payload == b"[DONE]" else loads(payload)
        back += decoder.feed(Record("", payload, value))
    check_events(back, source=True)
    expected = fold(events)
    assert shape(expected) == shape(fold(back))
    again = decode_whole(loads(reply(expected, "req_1", "m", 7)), lambda: "made")
    assert shape(expected) == shape(fold(again))


def test_a_citation_of_a_place_in_a_document_has_no_annotation() -> None:
    page = Citation("page_location", title="A", raw={"type": "page_location"})
    assert deltas(*text("a")[:-1], CitationDelta(0, page), Close(0), Finish("stop")) == [
        {"content": "a"}
    ]
    answer = Reply(parts=[Text("a", [page])], finish="stop")
    assert b"annotations" not in reply(answer, "req_1", "m", 7)
