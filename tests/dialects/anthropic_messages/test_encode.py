from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types import Message as SdkMessage
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.chat import (
    ChatRequest,
    Citation,
    Media,
    Message,
    Opaque,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from engine.dialects.anthropic_messages.decode import StreamDecoder, decode_whole
from engine.dialects.anthropic_messages.encode import (
    Encoder,
    failure,
    reply,
    stream_failure,
    usage,
)
from engine.dialects.outcomes import ANSWERS
from engine.dialects.tokens import estimate
from engine.errors import ExchangeError, RequestError
from engine.events import (
    Annotation,
    ArgsDelta,
    CitationDelta,
    Close,
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
    TextDelta,
    Usage,
    UsageEvent,
    fold,
)
from engine.wire import Record, loads
from tests.grammar import check_events, check_messages_stream

NAME = "anthropic_messages"
STOP = Finish("stop")
PING = b'event: ping\ndata: {"type":"ping"}\n\n'


def stream(*events: Event, request: ChatRequest | None = None) -> list[dict[str, Any]]:
    """The events of one answer, held against the grammar and the SDK's types."""
    check_events([Start(), *events])
    made = Encoder("req_1", "m", request)
    return check_messages_stream(made.feed([Start("up", "up-model", 1), *events]) + made.finish())


def blocks(*events: Event) -> list[dict[str, Any]]:
    """The events between message_start and the end, without their types."""
    found = stream(*events)
    assert found[0]["type"] == "message_start"
    assert ["message_delta", "message_stop"] == [event["type"] for event in found[-2:]]
    return [
        {name: value for name, value in event.items() if name not in ("type", "index")}
        for event in found[1:-2]
    ]


def ending(*events: Event) -> dict[str, Any]:
    return dict(stream(*events)[-2]["delta"])


def text(*pieces: str, block: int = 0) -> list[Event]:
    deltas = [TextDelta(block, piece) for piece in pieces]
    return [Open(block, Text("")), *deltas, Close(block)]


def call(block: int, *pieces: str) -> list[Event]:
    part = ToolCall(f"id_{block}", "f", "")
    return [Open(block, part), *(ArgsDelta(block, piece) for piece in pieces), Close(block)]


def start(kind: str, **more: object) -> dict[str, Any]:
    return {"content_block": {"type": kind, **more}}


def delta(kind: str, **more: object) -> dict[str, Any]:
    return {"delta": {"type": kind, **more}}


USED = start("tool_use", id="id_0", name="f", input={})
END: dict[str, Any] = {}


def test_a_plain_answer_byte_for_byte() -> None:
    made = Encoder("req_1", "m")
    data = made.feed([Start(), *text("Hé\n", '"lo'), UsageEvent(Usage(9, 2, 4)), STOP])
    cached = '"cache_creation_input_tokens":0,"cache_read_input_tokens":%d'
    usage = f'"usage":{{"input_tokens":%d,{cached},"output_tokens":%d}}'
    message = '"id":"msg_1","type":"message","role":"assistant","model":"m","content":[]'
    open_end = f'"stop_reason":null,"stop_sequence":null,{usage % (0, 0, 1)}'
    told = '"delta":{"stop_reason":"end_turn","stop_sequence":null},'
    frames = [
        ("message_start", f'"message":{{{message},{open_end}}}'),
        ("content_block_start", '"index":0,"content_block":{"type":"text","text":""}'),
        ("content_block_delta", '"index":0,"delta":{"type":"text_delta","text":"Hé\\n"}'),
        ("content_block_delta", '"index":0,"delta":{"type":"text_delta","text":"\\"lo"}'),
        ("content_block_stop", '"index":0'),
        ("message_delta", told + usage % (5, 4, 2)),
    ]  # fmt: skip
    lines = [f'event: {name}\ndata: {{"type":"{name}",{rest}}}\n\n' for name, rest in frames]
    assert data.decode() == "".join(lines) + (
        'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )


def test_row_47_the_start_has_an_estimate_and_the_end_the_truth() -> None:
    request = ChatRequest("x", "m", [Message("user", [Text("word " * 100)])])
    events = stream(*text("a"), UsageEvent(Usage(77, 5)), STOP, request=request)
    assert estimate(request) == events[0]["message"]["usage"]["input_tokens"] > 100
    assert (77, 5) == (
        events[-2]["usage"]["input_tokens"], events[-2]["usage"]["output_tokens"],
    )  # fmt: skip


def test_row_48_usage_is_the_last_of_each_count_and_never_a_sum() -> None:
    counts = [UsageEvent(Usage(10, 1)), UsageEvent(Usage(None, 5))]
    assert usage(Usage(10, 5)) == stream(*text("a"), *counts, STOP)[-2]["usage"]


def test_usage_that_nobody_told_is_marked() -> None:
    assert stream(*text("a"), STOP)[-2]["usage"]["penstock_estimated"]


def test_row_49_cached_input_is_counted_apart() -> None:
    counts = Usage(123, 7, cache_read=100, cache_write=20, reasoning=4, cache_write_1h=5)
    assert usage(counts) == {
        "input_tokens": 3, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 100,
        "output_tokens": 7, "output_tokens_details": {"thinking_tokens": 4},
        "cache_creation": {"ephemeral_5m_input_tokens": 15, "ephemeral_1h_input_tokens": 5},
    }  # fmt: skip
    assert usage(Usage(5, cache_read=9))["input_tokens"] == 0


# ---- blocks ----


def test_row_13_thinking_ends_with_its_signature() -> None:
    thought: list[Event] = [Open(0, Reasoning()), ReasoningDelta(0, "hm")]
    begun = [start("thinking", thinking="", signature=""), delta("thinking_delta", thinking="hm")]
    for signature in ("", "s"):
        signed: list[Event] = [SignatureDelta(0, signature)] if signature else []
        found = blocks(*thought, *signed, Close(0), *text("a", block=1), STOP)
        assert [*begun, delta("signature_delta", signature=signature), END] == found[:4]


def test_row_14_a_signature_alone_makes_a_block() -> None:
    assert blocks(Open(0, Reasoning()), SignatureDelta(0, "s"), Close(0), STOP) == [
        start("thinking", thinking="", signature=""), delta("signature_delta", signature="s"), END,
    ]  # fmt: skip


def test_thinking_that_came_with_its_block() -> None:
    assert blocks(Open(0, Reasoning("hm", signature="s")), Close(0), STOP) == [
        start("thinking", thinking="", signature=""), delta("thinking_delta", thinking="hm"),
        delta("signature_delta", signature="s"), END,
    ]  # fmt: skip


def test_row_45_redacted_thinking_is_whole_in_its_start() -> None:
    found = blocks(Open(0, Reasoning(encrypted="e")), Close(0), STOP)
    assert [start("redacted_thinking", data="e"), END] == found


def test_row_6_a_text_begins_with_its_first_piece() -> None:
    assert [USED | start("tool_use", id="id_1", name="f", input={}),
            delta("input_json_delta", partial_json="{}"), END] == blocks(
        Open(0, Text("")), Close(0), *call(1, "{}"), Finish("tool_calls")
    )  # fmt: skip


def test_text_that_came_with_its_block() -> None:
    assert blocks(Open(0, Text("a")), TextDelta(0, "b"), Close(0), STOP) == [
        start("text", text=""), delta("text_delta", text="a"), delta("text_delta", text="b"), END,
    ]  # fmt: skip


def test_row_2_calls_that_interleave_come_one_after_the_other() -> None:
    events: list[Event] = [
        Open(0, ToolCall("a", "f", "")), ArgsDelta(0, '{"x"'),
        Open(1, ToolCall("b", "g", "")), ArgsDelta(1, '{"y":'), ArgsDelta(0, ":1}"),
        Open(2, ToolCall("c", "h", "{}")), ArgsDelta(1, "2}"), Close(0), Close(2), Close(1),
        Finish("tool_calls"),
    ]  # fmt: skip
    pieces: list[str] = []
    for event in blocks(*events):
        pieces.append(event.get("content_block", event.get("delta", {})).get("id", ""))
        pieces[-1] += event.get("delta", {}).get("partial_json", "")
    assert ["a", '{"x"', ":1}", "", "b", '{"y":', "2}", "", "c", "{}", ""] == pieces


def test_a_second_call_goes_out_as_soon_as_the_first_is_closed() -> None:
    made = Encoder("req_1", "m")
    made.feed([Start(), Open(0, ToolCall("a", "f", "")), Open(1, ToolCall("b", "g", ""))])
    assert made.feed([ArgsDelta(1, "{")]) == b""
    assert b'"b"' in made.feed([ArgsDelta(0, "{}"), Close(0)])
    assert b'"partial_json":"}"' in made.feed([ArgsDelta(1, "}")])


@pytest.mark.parametrize(
    ("pieces", "told"),
    [
        (("", "\n", " {", '"x":1}'), ["\n {", '"x":1}']),
        (("nu", "ll"), []),
        ((" ",), []),
        (("n", "othing"), ["nothing"]),
    ],
)
def test_arguments_begin_with_an_object(pieces: tuple[str, ...], told: list[str]) -> None:
    """The SDK parses what there is with every piece; blanks alone, and null, break it."""
    opened = Open(0, ToolCall("a", "look", ""))
    deltas = [ArgsDelta(0, piece) for piece in pieces]
    made = Encoder("req_1", "m").feed([Start(), opened, *deltas, Close(0), Finish("tool_calls")])
    said: list[Any] = [loads(line[6:]) for line in made.splitlines() if b"partial_json" in line]
    assert told == [event["delta"]["partial_json"] for event in said]


def test_row_10_blocks_are_numbered_without_gaps() -> None:
    events = stream(
        Open(0, Text("")), Close(0), Open(1, Media("image", url="https://a")), Close(1),
        *text("a", block=2), Open(3, Opaque("openai_responses", "web_search_call", {})), Close(3),
        *call(4, "{}"), Finish("tool_calls"),
    )  # fmt: skip
    assert [0, 1, 2] == [e["index"] for e in events if e["type"] == "content_block_start"]


def test_blocks_of_the_providers_tools_go_out_as_they_came() -> None:
    result = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
    used = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": 1}}
    assert blocks(
        Open(0, Opaque(NAME, "server_tool_use", used)), Close(0),
        Open(1, Opaque(NAME, "web_search_tool_result", result)), Close(1), STOP,
    ) == [
        {"content_block": {**used, "input": {}}},
        delta("input_json_delta", partial_json='{"q":1}'), END,
        {"content_block": result}, END,
    ]  # fmt: skip


def test_citations() -> None:
    page = {"type": "page_location", "cited_text": "c", "document_index": 0,
            "start_page_number": 1, "end_page_number": 2}  # fmt: skip
    link = Citation("url_citation", "https://a", "A", "c", raw={"type": "url_citation"})
    found = blocks(
        Open(0, Text("")), TextDelta(0, "a"), CitationDelta(0, Citation("page_location", raw=page)),
        CitationDelta(0, link), CitationDelta(0, Citation("note")), Close(0), STOP,
    )  # fmt: skip
    made = {"type": "web_search_result_location", "url": "https://a", "title": "A",
            "cited_text": "c", "encrypted_index": ""}  # fmt: skip
    assert [page, made] == [event["delta"]["citation"] for event in found[2:-1]]


def test_a_text_that_is_over_cites_no_more_and_nothing_waits_for_it() -> None:
    late = CitationDelta(0, Citation("url", "https://a"))
    call: list[Event] = [Open(1, ToolCall("x", "f", "{}")), Close(1)]
    end = Finish("tool_calls")
    assert blocks(*text("a"), *call, end) == blocks(*text("a"), late, *call, late, end)


SEARCHED = {"web_search_requests": 1, "web_fetch_requests": 0}


def test_what_this_api_alone_counts_is_told_again() -> None:
    raw = {"input_tokens": 1, "service_tier": "priority", "server_tool_use": SEARCHED}
    counts = Usage(input=1, output=2, raw=raw)
    body = loads(reply(Reply(parts=[Text("a")], finish="stop", usage=counts), "req_1", "m"))
    assert raw.items() <= body["usage"].items()  # type: ignore[index]
    *_, end, _ = stream(*text("a"), UsageEvent(counts), STOP)
    assert (SEARCHED, False) == (end["usage"]["server_tool_use"], "service_tier" in end["usage"])


def test_annotations_of_the_engine_have_no_place() -> None:
    assert blocks(*text("a"), STOP) == blocks(*text("a"), Annotation({"x": 1}), STOP)


# ---- ends ----


@pytest.mark.parametrize(
    ("finish", "reason", "sequence"),
    [
        (Finish("stop", "stop"), "end_turn", None),
        (Finish("stop", "end_turn"), "end_turn", None),
        (Finish("stop", "stop_sequence", "X"), "stop_sequence", "X"),
        (Finish("stop", "stop_sequence"), "end_turn", None),
        (Finish("length", "length"), "max_tokens", None),
        (Finish("length", "model_context_window_exceeded"), "model_context_window_exceeded", None),
        (Finish("content_filter", "content_filter"), "refusal", None),
        (Finish("other", "pause_turn"), "pause_turn", None),
        (Finish("other", "abort"), "end_turn", None),
    ],
)
def test_why_an_answer_ended(finish: Finish, reason: str, sequence: str | None) -> None:
    told = {"stop_reason": reason, "stop_sequence": sequence}
    assert told == ending(*text("a"), finish)
    answer = Reply(parts=[Text("a")], finish=finish.reason, raw_finish=finish.raw, stop=finish.stop)
    body = json.loads(reply(answer, "req_1", "m"))
    assert told == {name: body[name] for name in told}


def test_row_11_calls_end_with_tool_use() -> None:
    told = ending(*call(0, "{}"), Finish("tool_calls", "stop"))
    assert told["stop_reason"] == "tool_use"


def test_a_refusal_is_text_and_a_reason() -> None:
    refusal: list[Event] = [Open(0, Refusal("")), RefusalDelta(0, "no"), Close(0)]
    assert blocks(*refusal, STOP)[1] == delta("text_delta", text="no")
    assert ending(*refusal, STOP)["stop_reason"] == "refusal"


def test_the_details_of_a_refusal_go_out() -> None:
    details = {"type": "refusal", "category": "bio", "explanation": None}
    told = ending(Finish("content_filter", "refusal", None, details))
    assert told["stop_details"] == details


def test_f8_an_error_ends_the_answer_inside_its_block() -> None:
    events = stream(
        Open(0, ToolCall("a", "f", "")), ArgsDelta(0, '{"x'), ErrorEvent("timeout", "m")
    )
    assert {"type": "error", "error": {"type": "timeout_error", "message": "m"}} == events[-1]
    assert "content_block_stop" not in {event["type"] for event in events}


def test_nothing_follows_the_end() -> None:
    made = Encoder("req_1", "m")
    assert made.ping() == PING == made.feed([Ping()])
    made.feed([Start(), STOP, *text("a")])
    assert (b"", None) == (made.feed(text("a")), made.ping())


def test_events_of_one_read_are_one_string_and_pieces_give_the_same() -> None:
    events = [Start(), *text("a", "b"), *call(1, "{}"), Finish("tool_calls")]
    whole = Encoder("req_1", "m").feed(events)
    piece = Encoder("req_1", "m")
    assert whole == b"".join(piece.feed([event]) for event in events)


# ---- whole answers ----


def body(*parts: Any, finish: str = "stop", **more: Any) -> dict[str, Any]:
    raw = reply(Reply(parts=list(parts), finish=finish, **more), "req_1", "m")
    SdkMessage.model_validate_json(raw)
    found: dict[str, Any] = json.loads(raw)
    return found


def test_a_whole_answer_has_every_key() -> None:
    assert body(Text("a"), usage=Usage(9, 2, cache_read=4)) == {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
        "content": [{"type": "text", "text": "a"}], "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 5, "cache_creation_input_tokens": 0,
                  "cache_read_input_tokens": 4, "output_tokens": 2},
    }  # fmt: skip


def test_a_whole_answer_of_every_kind_of_block() -> None:
    raw = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    found = body(
        Reasoning("hm"), Reasoning(encrypted="e"), Text(""), Text("a", [Citation("x", "https://a")]),
        Opaque(NAME, "server_tool_use", raw), Opaque("gemini", "toolCall", {}), Refusal("no"),
        ToolCall("i", "f", '{"x":1}'), ToolCall("j", "g", ""), finish="tool_calls",
    )  # fmt: skip
    link = {"type": "web_search_result_location", "url": "https://a", "title": None,
            "cited_text": "", "encrypted_index": ""}  # fmt: skip
    assert found["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "redacted_thinking", "data": "e"},
        {"type": "text", "text": "a", "citations": [link]},
        raw,
        {"type": "text", "text": "no"},
        {"type": "tool_use", "id": "i", "name": "f", "input": {"x": 1}},
        {"type": "tool_use", "id": "j", "name": "g", "input": {}},
    ]
    assert found["stop_reason"] == "tool_use"


@pytest.mark.parametrize("args", ["{broken", "[1]", '"text"'])
def test_f16_arguments_that_are_no_object_cannot_be_said(args: str) -> None:
    with pytest.raises(ExchangeError) as caught:
        body(ToolCall("i", "f", args), finish="tool_calls")
    assert caught.value.cls == "retryable"


def test_row_63_a_call_that_was_cut_off_by_the_length_is_left_out() -> None:
    found = body(Text("a"), ToolCall("i", "f", '{"x'), finish="length")
    assert [{"type": "text", "text": "a"}] == found["content"]
    assert found["stop_reason"] == "max_tokens"


# ---- failures ----


@pytest.mark.parametrize("kind", ANSWERS)
def test_every_failure_has_its_status_and_body(kind: str) -> None:
    status, raw = failure(kind, "m", "req_1")
    found = json.loads(raw)
    assert {"type", "error", "request_id"} == set(found)
    assert ("error", "req_1") == (found["type"], found["request_id"])
    shown = ANSWERS[kind].anthropic
    assert (shown.status, shown.type) == (status, found["error"]["type"])
    assert found["error"]["message"]


@pytest.mark.parametrize(
    ("error", "status", "type"),
    [
        (ExchangeError("overloaded", "m", status=529), 529, "overloaded_error"),
        (ExchangeError("rate_limited", "m", status=429), 429, "rate_limit_error"),
        (ExchangeError("invalid_request", "m", status=413), 413, "request_too_large"),
        (ExchangeError("invalid_request", "m", status=400), 400, "invalid_request_error"),
        (ExchangeError("auth_invalid", "m", status=401), 502, "api_error"),
        (RequestError("model_not_found", "m"), 404, "not_found_error"),
    ],
)
def test_failures_as_clients_know_them(
    error: ExchangeError | RequestError, status: int, type: str
) -> None:
    kind = error.cls if isinstance(error, ExchangeError) else error.kind
    found, raw = failure(kind, "m", "", error)
    body = json.loads(raw)
    assert (status, type, None) == (found, body["error"]["type"], body["request_id"])


def test_a_conversation_that_is_too_long_is_told_in_the_words_claude_code_knows() -> None:
    ours = "prompt is too long: 215000 tokens > 200000 maximum"
    for words, shown in ((ours, ours), ("too big", "prompt is too long: too big")):
        _, raw = failure("context_length", words)
        assert shown == json.loads(raw)["error"]["message"]


def test_f7_the_error_of_a_stream_keeps_the_upstreams_type() -> None:
    event = ErrorEvent("retryable", "m", 0, "")
    assert b'"type":"api_error"' in stream_failure(event)
    assert b'"type":"strange_error"' in stream_failure(event, type="strange_error")
    own = ErrorEvent("auth_invalid", "your key sk-1 is wrong", 401)
    told = stream_failure(own, type="authentication_error")
    assert b"sk-1" not in told
    assert b'"type":"api_error"' in told


# ---- there and back ----

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
objects = st.dictionaries(words, st.integers(-5, 5) | words, max_size=2)
parts = st.one_of(
    st.builds(Text, words),
    st.builds(lambda t, s: Reasoning(t, signature=s, origin=NAME), words, words),
    st.builds(lambda data: Reasoning(encrypted=data, origin=NAME), words),
    st.builds(lambda value: ToolCall("", "f", json.dumps(value)), objects),
)


def as_events(found: list[Any]) -> list[Event]:
    out: list[Event] = []
    for block, part in enumerate(found):
        if isinstance(part, Text):
            out += text(*part.text, block=block)
        elif isinstance(part, ToolCall):
            out += [Open(block, ToolCall(f"id_{block}", "f", "")), ArgsDelta(block, part.args),
                    Close(block)]  # fmt: skip
        elif part.encrypted is not None:
            out += [Open(block, part), Close(block)]
        else:
            out += [Open(block, Reasoning()), ReasoningDelta(block, part.text),
                    SignatureDelta(block, part.signature), Close(block)]  # fmt: skip
    return out


def same(found: list[Any]) -> list[Any]:
    """Parts with what only numbers or spells them left out."""
    return [
        (part.name, loads(part.args)) if isinstance(part, ToolCall)
        else (part.text, getattr(part, "signature", None), getattr(part, "encrypted", None))
        for part in found
    ]  # fmt: skip


@given(st.lists(parts, max_size=5))
@settings(max_examples=200, deadline=None)
def test_what_is_encoded_decodes_to_the_same(given: list[Any]) -> None:
    called = any(isinstance(part, ToolCall) for part in given)
    finish = Finish("tool_calls") if called else STOP
    events = [*as_events(given), UsageEvent(Usage(9, 5, cache_read=3)), finish]
    decoder = StreamDecoder(str)
    back: list[Event] = []
    for value in stream(*events):
        back += decoder.feed(Record(value["type"], b"", value))
    check_events(back, source=True)
    answer = fold(back)
    assert same(given) == same(answer.parts)
    assert (9, 5, 3) == (answer.usage.input, answer.usage.output, answer.usage.cache_read)  # type: ignore[union-attr]
    whole = fold(decode_whole(loads(reply(answer, "req_1", "m")), str))
    assert same(given) == same(whole.parts)
    assert answer.finish == whole.finish == finish.reason
