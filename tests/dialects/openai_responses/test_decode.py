from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.chat import Citation, Opaque, Part, Reasoning, Refusal, Text, ToolCall
from engine.dialects.openai_responses.answer import reply
from engine.dialects.openai_responses.decode import StreamDecoder, WholeDecoder, decode_whole
from engine.dialects.openai_responses.encode import Encoder
from engine.events import (
    ArgsDelta,
    Close,
    End,
    ErrorEvent,
    Event,
    Finish,
    Open,
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
from tests.dialects.openai_chat.bodies import texts
from tests.grammar import check_events, named_payloads

NAME = "openai_responses"


def read(*values: dict[str, Any]) -> list[Event]:
    decoder = StreamDecoder(lambda: "made")
    events = [event for value in values for event in decoder.feed(Record("", b"-", value))]
    check_events(events, source=True)
    return events + decoder.finish()


def of(kind: str, index: Any = 0, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "output_index": index, "sequence_number": 1, **fields}


def added(index: Any = 0, **item: Any) -> dict[str, Any]:
    return of("output_item.added", index, item=item)


def done(index: Any = 0, **item: Any) -> dict[str, Any]:
    return of("output_item.done", index, item=item)


def response(status: str = "completed", **fields: Any) -> dict[str, Any]:
    found = {"id": "resp_1", "model": "up", "created_at": 7, "status": status, **fields}
    return {"type": f"response.{status}", "response": found}


CREATED = {**response("in_progress", output=[]), "type": "response.created"}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f"}
PART = {"type": "output_text", "text": "Hi!", "annotations": []}


def folded(*values: dict[str, Any]) -> Reply:
    return fold([event for event in read(*values) if not isinstance(event, End)])


def test_a_text_comes_as_it_is_said() -> None:
    counts = {
        "input_tokens": 9, "output_tokens": 4, "total_tokens": 13,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2},
        "output_tokens_details": {"reasoning_tokens": 1},
    }  # fmt: skip
    events = read(
        CREATED,
        {**CREATED, "type": "response.in_progress"},
        added(type="message", id="msg_1"),
        of("content_part.added", content_index=0, part={**PART, "text": ""}),
        of("output_text.delta", content_index=0, delta="Hi"),
        of("output_text.delta", content_index=0, delta="!"),
        of("output_text.done", content_index=0, text="Hi!"),
        of("content_part.done", content_index=0, part=PART),
        done(type="message", id="msg_1", content=[PART]),
        response(output=[{"type": "message", "content": [PART]}], usage=counts),
        of("output_text.delta", content_index=0, delta="late"),
    )
    usage = Usage(9, 4, 3, 2, 1, raw=counts)
    assert [
        Start("resp_1", "up", 7), Open(0, Text("")), TextDelta(0, "Hi"), TextDelta(0, "!"),
        Close(0), UsageEvent(usage), Finish("stop", "completed"), End(),
    ] == events  # fmt: skip


def test_row_4_what_only_the_end_tells_is_not_lost() -> None:
    whole = {**CALL, "arguments": '{"a":1}', "status": "completed"}
    only_done = of("function_call_arguments.done", arguments='{"a":1}')
    some = of("function_call_arguments.delta", delta='{"a"')
    for values in (
        [added(**CALL, arguments=""), only_done, done(**whole)],
        [added(**CALL, arguments=""), some, only_done, done(**whole)],
        [added(**CALL, arguments=""), some, done(**whole)],
        [done(**whole)],
        [response(output=[whole])],
    ):
        values = values if values[0]["type"] == "response.completed" else [*values, response()]
        answer = folded(*values)
        assert [ToolCall("c1", "f", '{"a":1}')] == answer.calls
        assert "tool_calls" == answer.finish


def test_text_that_only_the_end_tells_is_not_lost() -> None:
    item = {"type": "message", "content": [PART, {"type": "refusal", "refusal": "No."}]}
    for values in (
        [of("output_text.done", content_index=0, text="Hi!"), done(**item), response()],
        [of("output_text.delta", content_index=0, delta="H"), done(**item), response()],
        [done(**item), response()],
        [response(output=[item])],
    ):
        assert [Text("Hi!"), Refusal("No.")] == folded(*values).parts


def test_row_9_a_call_without_arguments_takes_none() -> None:
    assert "{}" == folded(done(**CALL, arguments=""), response()).calls[0].args
    cut = done(**CALL, arguments="", status="incomplete")
    last = response("incomplete", incomplete_details={"reason": "max_output_tokens"})
    assert "" == folded(cut, last).calls[0].args


def test_row_1_parallel_calls_stay_apart() -> None:
    second = {**CALL, "call_id": "c2", "name": "g"}
    answer = folded(
        added(0, **CALL), added(1, **second), of("function_call_arguments.delta", 0, delta='{"a":'),
        of("function_call_arguments.delta", 1, delta="{}"),
        of("function_call_arguments.delta", 0, delta="1}"),
        done(0, **CALL, arguments='{"a":1}'), done(1, **second, arguments="{}"), response(),
    )  # fmt: skip
    assert [ToolCall("c1", "f", '{"a":1}'), ToolCall("c2", "g", "{}")] == answer.calls


def test_items_that_all_have_one_index_are_told_apart_by_their_ids() -> None:
    text = {"type": "message", "id": "msg_1", "content": [PART]}
    answer = folded(
        added(0, type="message", id="msg_1"),
        of("output_text.delta", 0, content_index=0, delta="Hi"),
        done(0, **text), done(0, **text), added(0, **CALL),
        of("function_call_arguments.delta", 0, delta='{"a":'), done(0, **CALL, arguments='{"a":1}'),
        done(0, **{**CALL, "id": "fc_2", "call_id": "c2"}, arguments="{}"), response(output=[]),
    )  # fmt: skip
    expected = [Text("Hi!"), ToolCall("c1", "f", '{"a":1}'), ToolCall("c2", "f", "{}")]
    assert expected == answer.parts


def test_what_was_told_is_not_told_again_by_an_end_that_counts_otherwise() -> None:
    text, call = {"type": "message", "id": "msg_1", "content": [PART]}, {**CALL, "arguments": "{}"}
    thought = {"type": "reasoning", "id": "rs_1", "encrypted_content": "s"}
    answer = folded(done(1, **text), done(2, **call), response(output=[text, call]))
    assert [Text("Hi!"), ToolCall("c1", "f", "{}")] == answer.parts
    answer = folded(done(0, **text), response(output=[thought, text]))
    assert [Text("Hi!")] == answer.parts


def test_items_of_a_whole_answer_may_share_an_id() -> None:
    text = {"type": "message", "id": "msg_1", "content": [PART]}
    found = fold(decode_whole({"output": [text, {**CALL, "id": "msg_1"}]}, lambda: "made"))
    assert [Text("Hi!"), ToolCall("c1", "f", "{}")] == found.parts


def test_a_custom_call_and_one_of_a_namespace() -> None:
    custom = {"type": "custom_tool_call", "call_id": "c1", "name": "patch"}
    answer = folded(
        added(0, **custom, input=""), of("custom_tool_call_input.delta", delta="*** x"),
        of("custom_tool_call_input.done", input="*** xy"), done(0, **custom, input="*** xy"),
        done(1, **CALL, arguments="{}", namespace="files"), response(),
    )  # fmt: skip
    assert [
        ToolCall("c1", "patch", "*** xy", "custom"),
        ToolCall("c1", "files__f", "{}", extras={"namespace": "files"}),
    ] == answer.calls


def test_a_call_without_an_id_gets_one() -> None:
    assert "made" == folded(done(type="function_call", name="f"), response()).calls[0].id


def test_thinking_with_its_parts_its_id_and_its_secret() -> None:
    item = {"type": "reasoning", "id": "rs_1", "encrypted_content": "secret",
            "summary": [{"type": "summary_text", "text": "a"},
                        {"type": "summary_text", "text": "bc"}]}  # fmt: skip
    events = read(
        added(type="reasoning", id="rs_1", summary=[]),
        of("reasoning_summary_text.delta", summary_index=0, delta="a"),
        of("reasoning_summary_text.done", summary_index=0, text="a"),
        of("reasoning_summary_text.delta", summary_index=1, delta="b"),
        done(**item), response(),
    )  # fmt: skip
    assert [
        Open(0, Reasoning(id="rs_1", origin=NAME)), ReasoningDelta(0, "a", 0),
        ReasoningDelta(0, "\n\nb", 1), ReasoningDelta(0, "c", 1),
        SignatureDelta(0, encrypted="secret"), Close(0),
    ] == events[1:7]  # fmt: skip
    part = Reasoning("a\n\nbc", ["a", "bc"], encrypted="secret", id="rs_1", origin=NAME)
    assert [part] == folded(done(**item), response()).parts


def test_thinking_in_full_and_thinking_that_is_all_secret() -> None:
    raw = [{"type": "reasoning_text", "text": "ab"}]
    for name in ("reasoning_text", "reasoning"):
        answer = folded(
            added(type="reasoning", id="rs_1"), of(f"{name}.delta", content_index=0, delta="a"),
            of(f"{name}.done", content_index=0, text="ab"),
            done(type="reasoning", id="rs_1", summary=[], content=raw), response(),
        )  # fmt: skip
        assert [Reasoning("ab", id="rs_1", origin=NAME)] == answer.parts
    answer = folded(done(type="reasoning", id="r", encrypted_content="s"), response())
    assert [Reasoning(encrypted="s", id="r", origin=NAME)] == answer.parts
    assert [] == folded(done(type="reasoning", id="r", summary=[]), response()).parts


def test_what_only_this_api_knows_is_kept_whole() -> None:
    item = {"type": "web_search_call", "id": "ws", "status": "completed"}
    answer = folded(added(**item), of("web_search_call.searching", item_id="ws"), done(**item),
                    response())  # fmt: skip
    assert [Opaque(NAME, "web_search_call", item)] == answer.parts


def test_notes_and_log_probabilities() -> None:
    note = {"type": "url_citation", "url": "https://a", "title": "A", "start_index": 1,
            "end_index": 2}  # fmt: skip
    other = {**note, "url": "https://b"}
    token = {"token": "Hi!", "logprob": -0.5}
    item = {"type": "message", "content": [{**PART, "annotations": [note, other],
                                            "logprobs": [token]}]}  # fmt: skip
    stream = folded(
        added(type="message"), of("output_text.delta", content_index=0, delta="Hi!",
                                  logprobs=[token]),
        of("output_text.annotation.added", content_index=0, annotation=note), done(**item),
        response(),
    )  # fmt: skip
    whole = folded(done(**item), response())
    for answer in (stream, whole):
        (part,) = answer.parts
        assert isinstance(part, Text)
        assert ["https://a", "https://b"] == [cited.url for cited in part.citations]
        assert Citation("url_citation", "https://a", "A", None, 1, 2, note) == part.citations[0]
        assert [{"content": [token]}] == answer.logprobs


# ---- ends ----


@pytest.mark.parametrize(
    ("last", "finish"),
    [
        (response(), Finish("stop", "completed")),
        (
            response("incomplete", incomplete_details={"reason": "max_output_tokens"}),
            Finish("length", "max_output_tokens"),
        ),
        (
            response("incomplete", incomplete_details={"reason": "content_filter"}),
            Finish("content_filter", "content_filter"),
        ),
        (response("incomplete"), Finish("other", "")),
        (
            response("failed", error={"code": "rate_limit_exceeded", "message": "slow"}),
            ErrorEvent("rate_limited", "slow", 0, "rate_limit_exceeded"),
        ),
        (response("cancelled"), ErrorEvent("retryable", "the upstream's answer is cancelled")),
        (
            {"type": "error", "code": "server_error", "message": "m", "param": None},
            ErrorEvent("retryable", "m", 0, "server_error"),
        ),
        (
            {"type": "error", "error": {"type": "overloaded_error", "message": "m"}},
            ErrorEvent("overloaded", "m"),
        ),
        ({"error": {"code": "invalid_api_key", "message": "m"}},
         ErrorEvent("auth_expired", "m", 0, "invalid_api_key")),
    ],
)  # fmt: skip
def test_how_an_answer_ends(last: dict[str, Any], finish: Event) -> None:
    assert finish in read(CREATED, last)


def test_an_answer_that_breaks_off_has_no_end() -> None:
    events = read(CREATED, added(**CALL))
    assert not any(isinstance(event, Finish | ErrorEvent) for event in events)


def test_frames_that_are_no_events() -> None:
    decoder = StreamDecoder(str)
    assert [] == decoder.feed(Record("", b" "))
    (error,) = decoder.feed(Record("", b"<html>"))
    assert isinstance(error, ErrorEvent)
    assert [] == decoder.feed(Record("", b"-", CREATED))
    assert [] == read({"type": "codex.rate_limits", "x": 1}, {"type": "response.new", "error": 1})


def test_the_name_of_the_frame_will_do() -> None:
    decoder = StreamDecoder(str)
    value = {"output_index": 0, "content_index": 0, "delta": "a"}
    events = decoder.feed(Record("response.output_text.delta", b"-", value))
    assert TextDelta(0, "a") == events[-1]


# ---- whole answers ----


@pytest.mark.parametrize(
    ("value", "cls"),
    [
        ([], "retryable"),
        ({"error": {"code": "model_not_found", "message": "m"}}, "model_not_found"),
        ({"object": "response"}, "retryable"),
        (
            {"status": "failed", "output": [],
             "error": {"code": "context_length_exceeded", "message": "m"}},
            "context_length",
        ),
    ],
)  # fmt: skip
def test_whole_answers_that_are_none(value: object, cls: str) -> None:
    (error,) = decode_whole(value, str)
    assert isinstance(error, ErrorEvent)
    assert cls == error.cls


def test_a_whole_answer_that_is_no_json() -> None:
    (error,) = WholeDecoder(str).feed(Record("", b""))
    assert isinstance(error, ErrorEvent)
    assert "empty_response" == error.cls


TEXTS = texts.filter(bool)
PARTS: st.SearchStrategy[Part] = st.one_of(
    st.builds(Text, TEXTS),
    st.builds(Refusal, TEXTS),
    st.builds(Reasoning, TEXTS, encrypted=st.none() | TEXTS, id=st.just("rs_1"),
              origin=st.just(NAME)),
    st.builds(Reasoning, encrypted=TEXTS, id=st.just("rs_1"), origin=st.just(NAME)),
    st.builds(ToolCall, TEXTS, TEXTS, st.just('{"a":"好"}')),
    st.builds(ToolCall, TEXTS, TEXTS, TEXTS, st.just("custom")),
)  # fmt: skip


def said(parts: list[Part], size: int) -> list[Event]:
    out: list[Event] = [Start("req_1", "m", 7)]
    for block, part in enumerate(parts):
        whole = part.args if isinstance(part, ToolCall) else getattr(part, "text", "")
        kind: Any = {Text: TextDelta, Refusal: RefusalDelta, Reasoning: ReasoningDelta,
                     ToolCall: ArgsDelta}[type(part)]  # fmt: skip
        empty: Any = {
            Text: Text(""), Refusal: Refusal(""),
            Reasoning: Reasoning(id="rs_1", origin=NAME,
                                 encrypted=None if whole else getattr(part, "encrypted", None)),
            ToolCall: ToolCall(getattr(part, "id", ""), getattr(part, "name", ""), "",
                               getattr(part, "kind", "function")),
        }[type(part)]  # fmt: skip
        out.append(Open(block, empty))
        out += [kind(block, whole[at : at + size]) for at in range(0, len(whole), size)]
        if whole and isinstance(part, Reasoning) and part.encrypted:
            out.append(SignatureDelta(block, encrypted=part.encrypted))
        out.append(Close(block))
    called = any(isinstance(part, ToolCall) for part in parts)
    return [*out, Finish("tool_calls" if called else "stop")]


@given(st.lists(PARTS, max_size=5), st.integers(1, 5))
@settings(deadline=None)
def test_what_is_encoded_is_decoded_again(parts: list[Part], size: int) -> None:
    events = said(parts, size)
    data = Encoder("req_1", "m", 7).feed(events)
    answer = folded(*(value for _, value in named_payloads(data)))
    assert parts == answer.parts
    whole = loads(reply(fold(events), "req_1", "m", 7, None))
    assert parts == fold(decode_whole(whole, str)).parts
