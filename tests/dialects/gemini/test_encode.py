from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from google.genai.types import GenerateContentResponse
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.chat import (
    ChatRequest,
    Citation,
    Media,
    Opaque,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from engine.dialects.gemini.decode import StreamDecoder, decode_whole
from engine.dialects.gemini.encode import Encoder, failure, reply, stream_failure, usage
from engine.dialects.gemini.parse import THINKING
from engine.dialects.gemini.signatures import carried
from engine.dialects.outcomes import ANSWERS
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
from tests.grammar import check_events, check_gemini_stream

NAME = "gemini"
STOP = Finish("stop")
CALLED = Finish("tool_calls")
SHOWN = ChatRequest(NAME, "m", [], extras={THINKING: {"includeThoughts": True}})
HIDDEN = ChatRequest(NAME, "m", [])
LAST = {"text": ""}


def stream(*events: Event, request: ChatRequest | None = None) -> list[dict[str, Any]]:
    """The chunks of one answer, held against the grammar and the SDK's types."""
    check_events([Start(), *events])
    made = Encoder("req_1", "m", request)
    return check_gemini_stream(made.feed([Start("up", "up-model", 1), *events]) + made.finish())


def parts(*events: Event, request: ChatRequest | None = None) -> list[dict[str, Any]]:
    """All parts but the empty one of the end."""
    found = [part for value in stream(*events, request=request)
             for part in value["candidates"][0]["content"]["parts"]]  # fmt: skip
    assert found.pop()["text"] == ""
    return found


def text(*pieces: str, block: int = 0) -> list[Event]:
    deltas = [TextDelta(block, piece) for piece in pieces]
    return [Open(block, Text("")), *deltas, Close(block)]


def call(block: int, *pieces: str) -> list[Event]:
    part = ToolCall(f"id_{block}", "f", "")
    return [Open(block, part), *(ArgsDelta(block, piece) for piece in pieces), Close(block)]


def sealed(block: int, signature: str, origin: str = NAME) -> list[Event]:
    return [Open(block, Reasoning(signature=signature, origin=origin)), Close(block)]


def used(block: int, **args: object) -> dict[str, Any]:
    return {"functionCall": {"id": f"id_{block}", "name": "f", "args": args}}


def test_a_plain_answer_byte_for_byte() -> None:
    made = Encoder("req_1", "m")
    data = made.feed([Start(), *text("Hé\n", '"lo'), UsageEvent(Usage(9, 2, 4)), STOP])
    head = '"modelVersion":"m","responseId":"1"'
    piece = '{"candidates":[{"content":{"parts":[{"text":%s}],"role":"model"},"index":0}],' + head
    counts = (
        '"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":2,"totalTokenCount":11,'
        '"cachedContentTokenCount":4}'
    )
    end = (
        '{"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"finishReason":"STOP",'
        f'"index":0}}],{counts},{head}'
    )
    assert data.decode() == "".join(
        f"data: {line}}}\n\n" for line in (piece % '"Hé\\n"', piece % '"\\"lo"', end)
    )


def test_row_57_there_is_no_sign_of_life() -> None:
    made = Encoder("req_1", "m")
    assert (None, b"") == (made.ping(), made.feed([Ping(), Start()]))


def test_a_call_goes_out_whole_in_one_part() -> None:
    assert [used(0, city="é")] == parts(*call(0, '{"ci', 'ty":"é"}'), CALLED)
    made = Encoder("req_1", "m")
    begun: list[Event] = [Start(), Open(0, ToolCall("id_0", "f", "")), ArgsDelta(0, "{}")]
    assert made.feed(begun) == b""
    assert b'"functionCall"' in made.feed([Close(0)])


def test_row_9_a_call_without_arguments() -> None:
    assert [used(0), used(1)] == parts(*call(0, "{}"), *call(1, "", "{", "}"), CALLED)


def test_row_2_blocks_do_not_interleave() -> None:
    found = parts(
        Open(0, ToolCall("id_0", "f", "")), ArgsDelta(0, '{"a":'),
        Open(1, ToolCall("id_1", "f", "")), ArgsDelta(1, '{"b":'), ArgsDelta(0, "1}"),
        ArgsDelta(1, "2}"), Open(2, Text("")), TextDelta(2, "x"), Close(2), Close(1), Close(0),
        CALLED,
    )  # fmt: skip
    assert [used(0, a=1), used(1, b=2), {"text": "x"}] == found


# ---- thoughts and signatures ----

THOUGHT: list[Event] = [Open(0, Reasoning("")), ReasoningDelta(0, "hm"), Close(0)]


@pytest.mark.parametrize(("request_", "shown"), [(None, 1), (SHOWN, 1), (HIDDEN, 0)])
def test_thoughts_are_shown_to_those_who_asked(request_: ChatRequest | None, shown: int) -> None:
    found = parts(*THOUGHT, *text("a", block=1), STOP, request=request_)
    assert [{"text": "hm", "thought": True}][:shown] == found[:-1]
    answer = Reply(parts=[Reasoning("hm"), Text("a")], finish="stop")
    whole = json.loads(reply(answer, "req_1", "m", request_))
    assert found == whole["candidates"][0]["content"]["parts"]


@pytest.mark.parametrize("request_", [SHOWN, HIDDEN])
def test_row_27_a_signature_stands_on_the_part_after_it(request_: ChatRequest) -> None:
    found = parts(
        *sealed(0, "czA="), *call(1, "{}"), *call(2, "{}"), *sealed(3, "czE="),
        *text("a", "b", block=4), CALLED, request=request_,
    )  # fmt: skip
    signed = [{**used(1), "thoughtSignature": "czA="}, used(2),
              {"text": "a", "thoughtSignature": "czE="}, {"text": "b"}]  # fmt: skip
    assert signed == found


def test_a_last_signature_stands_on_the_last_part() -> None:
    (_, end) = stream(*text("a"), *sealed(1, "cw=="), STOP)
    assert [{"text": "", "thoughtSignature": "cw=="}] == end["candidates"][0]["content"]["parts"]
    answer = Reply(parts=[Text("a"), Reasoning(signature="cw==", origin=NAME)], finish="stop")
    whole = json.loads(reply(answer, "req_1", "m"))["candidates"][0]["content"]["parts"]
    assert [{"text": "a"}, {"text": "", "thoughtSignature": "cw=="}] == whole


def test_a_foreign_signature_goes_on_with_its_mark() -> None:
    origin = "anthropic_messages"
    thought: list[Event] = [Open(0, Reasoning(origin=origin)), ReasoningDelta(0, "hm"),
                            SignatureDelta(0, "EqQB"), Close(0)]  # fmt: skip
    sent = carried(Reasoning(signature="EqQB", origin=origin))
    found = parts(*thought, *call(1, "{}"), CALLED, request=SHOWN)
    signed = {**used(1), "thoughtSignature": sent}
    assert [{"text": "hm", "thought": True}, signed] == found
    assert [signed] == parts(*thought, *call(1, "{}"), CALLED, request=HIDDEN)


def test_no_signature_is_lost_to_the_next_one() -> None:
    found = parts(*sealed(0, "czA="), *sealed(1, "czE="), *text("a", block=2), STOP)
    wanted = [{"text": "", "thoughtSignature": "czA="}, {"text": "a", "thoughtSignature": "czE="}]
    assert wanted == found
    seals: list[Any] = [Reasoning(signature=sign, origin=NAME) for sign in ("czA=", "czE=")]
    raw = reply(Reply(parts=[*seals, Text("a")], finish="stop"), "req_1", "m")
    assert wanted == json.loads(raw)["candidates"][0]["content"]["parts"]


# ---- other parts ----


def test_pictures_and_parts_of_the_api() -> None:
    raw = {"executableCode": {"language": "PYTHON", "code": "1"}}
    found = parts(
        Open(0, Media("image", "image/png", "AA==")), Close(0),
        Open(1, Opaque(NAME, "executableCode", raw)), Close(1),
        Open(2, Opaque("openai_responses", "web_search_call", {})), Close(2),
        Open(3, Media("file", "text/plain", url="https://a")), Close(3), STOP,
    )  # fmt: skip
    assert [
        {"inlineData": {"mimeType": "image/png", "data": "AA=="}}, raw,
        {"fileData": {"mimeType": "text/plain", "fileUri": "https://a"}},
    ] == found  # fmt: skip


def test_citations_come_with_the_end() -> None:
    notes = [Citation("web", "https://a", "A", "x"), Citation("page"), Citation("url", "https://b")]
    end = stream(
        Open(0, Text("")), TextDelta(0, "a"), *(CitationDelta(0, note) for note in notes),
        Close(0), STOP,
    )[-1]["candidates"][0]  # fmt: skip
    wanted = {
        "groundingChunks": [{"web": {"uri": "https://a", "title": "A"}},
                            {"web": {"uri": "https://b", "title": ""}}],
        "groundingSupports": [{"segment": {"text": "x"}, "groundingChunkIndices": [0]}],
    }  # fmt: skip
    assert wanted == end["groundingMetadata"]
    late = [CitationDelta(0, note) for note in notes]
    end = stream(Open(0, Text("")), TextDelta(0, "a"), Close(0), *late, STOP)[-1]["candidates"][0]
    assert wanted == end["groundingMetadata"]
    whole = json.loads(reply(Reply(parts=[Text("a", notes)], finish="stop"), "req_1", "m"))
    assert wanted == whole["candidates"][0]["groundingMetadata"]


def test_annotations_of_the_engine_have_no_place() -> None:
    assert parts(*text("a"), STOP) == parts(*text("a"), Annotation({"x": 1}), STOP)


# ---- ends ----


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        (Finish("stop", "end_turn"), "STOP"),
        (Finish("stop", "stop_sequence", "X"), "STOP"),
        (Finish("length", "length"), "MAX_TOKENS"),
        (Finish("content_filter", "refusal"), "SAFETY"),
        (Finish("content_filter", "RECITATION"), "RECITATION"),
        (Finish("other", "pause_turn"), "CONTINUATION"),
        (Finish("other", "IMAGE_OTHER"), "IMAGE_OTHER"),
        (Finish("other", "abort"), "OTHER"),
        (Finish("other"), "OTHER"),
    ],
)
def test_why_an_answer_ended(finish: Finish, reason: str) -> None:
    assert reason == stream(*text("a"), finish)[-1]["candidates"][0]["finishReason"]
    answer = Reply(parts=[Text("a")], finish=finish.reason, raw_finish=finish.raw)
    assert reason == json.loads(reply(answer, "req_1", "m"))["candidates"][0]["finishReason"]


def test_calls_end_with_stop() -> None:
    end = stream(*call(0, "{}"), Finish("tool_calls", "tool_use"))[-1]
    assert end["candidates"][0]["finishReason"] == "STOP"


def test_a_refusal_is_text_and_a_reason() -> None:
    refusal: list[Event] = [Open(0, Refusal("")), RefusalDelta(0, "no"), Close(0)]
    (said, end) = stream(*refusal, STOP)
    assert [{"text": "no"}] == said["candidates"][0]["content"]["parts"]
    assert end["candidates"][0]["finishReason"] == "SAFETY"


def test_an_error_ends_the_answer() -> None:
    found = stream(Open(0, Text("")), TextDelta(0, "a"), ErrorEvent("timeout", "m"))
    error = {"code": 504, "message": "m", "status": "DEADLINE_EXCEEDED", "details": []}
    assert {"error": error} == found[-1]


def test_nothing_follows_the_end() -> None:
    made = Encoder("req_1", "m")
    made.feed([Start(), STOP, *text("a")])
    assert (b"", b"") == (made.feed(text("a")), made.finish())


def test_events_of_one_read_are_one_string_and_pieces_give_the_same() -> None:
    events = [Start(), *text("a", "b"), *call(1, "{}"), CALLED]
    whole = Encoder("req_1", "m").feed(events)
    piece = Encoder("req_1", "m")
    assert whole == b"".join(piece.feed([event]) for event in events)


# ---- calls that cannot be said ----


@pytest.mark.parametrize("args", ["{broken", "[1]", '"text"'])
def test_f16_arguments_that_are_no_object_are_an_error(args: str) -> None:
    made = Encoder("req_1", "m")
    values = check_gemini_stream(made.feed([Start(), *text("a"), *call(1, args), CALLED]))
    assert "arguments of a call of `f`" in values[-1]["error"]["message"]
    with pytest.raises(ExchangeError, match="no JSON object"):
        reply(Reply(parts=[ToolCall("i", "f", args)], finish="tool_calls"), "req_1", "m")


def test_row_63_a_call_that_was_cut_off_by_the_length_is_left_out() -> None:
    cut = Finish("length")
    assert [{"text": "a"}] == parts(*text("a"), *call(1, '{"x'), cut)
    raw = reply(Reply(parts=[Text("a"), ToolCall("i", "f", '{"x')], finish="length"), "r", "m")
    candidate = json.loads(raw)["candidates"][0]
    assert ([{"text": "a"}], "MAX_TOKENS") == (
        candidate["content"]["parts"], candidate["finishReason"],
    )  # fmt: skip


# ---- usage, failures ----


def test_counts() -> None:
    assert usage(Usage(20, 9, cache_read=3, reasoning=2)) == {
        "promptTokenCount": 20, "candidatesTokenCount": 7, "totalTokenCount": 29,
        "thoughtsTokenCount": 2, "cachedContentTokenCount": 3,
    }  # fmt: skip
    assert usage(None)["penstockEstimated"]


def test_what_the_api_itself_counted_is_kept() -> None:
    raw = {"promptTokenCount": 10, "toolUsePromptTokenCount": 5, "candidatesTokenCount": 7,
           "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 10}]}  # fmt: skip
    assert {**raw, "totalTokenCount": 22} == usage(Usage(15, 7, raw=raw))


@pytest.mark.parametrize("kind", ANSWERS)
def test_every_failure_has_its_status_and_body(kind: str) -> None:
    status, raw = failure(kind, "m", "req_1")
    error = json.loads(raw)["error"]
    assert {"code", "message", "status", "details"} == set(error)
    assert status == error["code"] == ANSWERS[kind].gemini.status
    assert error["status"].isupper()


@pytest.mark.parametrize(
    ("error", "status", "word"),
    [
        (ExchangeError("overloaded", "m", status=529), 503, "UNAVAILABLE"),
        (ExchangeError("rate_limited", "m", status=429), 429, "RESOURCE_EXHAUSTED"),
        (ExchangeError("invalid_request", "m", status=413), 413, "INVALID_ARGUMENT"),
        (ExchangeError("auth_invalid", "m", status=401), 502, "UNAVAILABLE"),
        (RequestError("auth", "m"), 401, "UNAUTHENTICATED"),
        (RequestError("forbidden", "m"), 403, "PERMISSION_DENIED"),
        (RequestError("model_not_found", "m"), 404, "NOT_FOUND"),
        (RequestError("internal", "m"), 500, "INTERNAL"),
    ],
)
def test_failures_as_clients_know_them(
    error: ExchangeError | RequestError, status: int, word: str
) -> None:
    kind = error.cls if isinstance(error, ExchangeError) else error.kind
    found, raw = failure(kind, "m", "", error)
    assert (status, word) == (found, json.loads(raw)["error"]["status"])


def test_when_to_come_back_stands_in_the_body() -> None:
    error = ExchangeError("rate_limited", "m", status=429, retry_after=33.2)
    _, raw = failure("rate_limited", "m", "", error)
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}
    assert [info] == json.loads(raw)["error"]["details"]


def test_f7_the_error_of_a_stream_keeps_the_upstreams_status() -> None:
    event = ErrorEvent("retryable", "m")
    assert b'"status":"UNAVAILABLE"' in stream_failure(event)
    assert b'"status":"INTERNAL"' in stream_failure(event, type="INTERNAL")
    own = ErrorEvent("auth_invalid", "your key sk-1 is wrong", 401)
    told = stream_failure(own, type="UNAUTHENTICATED")
    assert b"sk-1" not in told
    assert b'"status":"UNAVAILABLE"' in told


# ---- there and back ----

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
objects = st.dictionaries(words, st.integers(-5, 5) | words, max_size=2)
pieces = st.one_of(
    st.builds(Text, words),
    st.builds(lambda t: Reasoning(t, origin=NAME), words),
    st.builds(lambda s, value: [s, value], words, objects),
    st.builds(lambda value: ToolCall("", "f", json.dumps(value)), objects),
)


def as_events(found: list[Any]) -> list[Event]:
    """A pair is a signature and the arguments of the call it stands on."""
    out: list[Event] = []
    block = 0
    for part in found:
        if isinstance(part, list):
            out += sealed(block, b64encode(part[0].encode()).decode())
            block += 1
            out += call(block, json.dumps(part[1]))
        elif isinstance(part, ToolCall):
            out += call(block, part.args)
        elif isinstance(part, Text):
            out += text(*part.text, block=block)
        else:
            out += [Open(block, Reasoning()), ReasoningDelta(block, part.text), Close(block)]
        block += 1
    return out


def same(found: list[Any]) -> list[Any]:
    """Parts with neighbours of a kind joined, as the API has no blocks."""
    out: list[list[Any]] = []
    for part in found:
        if isinstance(part, ToolCall):
            out.append(["call", part.name, loads(part.args)])
        elif isinstance(part, Reasoning) and part.signature:
            out.append(["signature", part.signature])
        elif out and out[-1][0] == type(part).__name__:
            out[-1][1] += part.text
        else:
            out.append([type(part).__name__, part.text])
    return out


@given(st.lists(pieces, max_size=5))
@settings(max_examples=200, deadline=None)
def test_what_is_encoded_decodes_to_the_same(given: list[Any]) -> None:
    called = any(isinstance(part, ToolCall | list) for part in given)
    finish = CALLED if called else STOP
    events = [*as_events(given), UsageEvent(Usage(9, 5, cache_read=3, reasoning=1)), finish]
    wanted = fold([Start(), *events])
    decoder = StreamDecoder(str)
    back = [event for value in stream(*events) for event in decoder.feed(Record("", b"", value))]
    check_events(back, source=True)
    answer = fold(back)
    assert same(wanted.parts) == same(answer.parts)
    assert (9, 5, 3, 1) == (
        answer.usage.input, answer.usage.output, answer.usage.cache_read, answer.usage.reasoning,  # type: ignore[union-attr]
    )  # fmt: skip
    raw = reply(answer, "req_1", "m")
    GenerateContentResponse.model_validate_json(raw)
    whole = fold(decode_whole(loads(raw), str))
    assert same(wanted.parts) == same(whole.parts)
    assert answer.finish == whole.finish == finish.reason
