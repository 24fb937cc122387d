"""Rows of test_rows.py that only Responses, Gemini or Ollama can show, with every other dialect."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.chat import ToolCall
from engine.dialects import DIALECTS
from engine.dialects.profile import PROFILE
from engine.dialects.written import write
from engine.errors import RequestError
from engine.events import ErrorEvent, Event, Open, Usage, UsageEvent
from engine.wire import dumps

from .crossing import answered, parsed, said, sent
from .test_rows import ALL, COUNTS, STOP, TOOLS, A, C, G, L, called, chat_turns, text

R = "openai_responses"
TO_ALL = pytest.mark.parametrize("client", ALL)
FROM_ALL = pytest.mark.parametrize("upstream", ALL)


def responses(*events: dict[str, Any]) -> bytes:
    made = [{"sequence_number": at, **event} for at, event in enumerate(events)]
    return b"".join(b"event: %b\ndata: %b\n\n" % (e["type"].encode(), dumps(e)) for e in made)


BEGUN = {"id": "resp_1", "object": "response", "created_at": 1, "model": "up", "output": [],
         "status": "in_progress"}  # fmt: skip
CALL = {"type": "function_call", "id": "fc_1", "call_id": "a", "name": "look",
        "arguments": '{"x":1}', "status": "completed"}  # fmt: skip
CREATED = {"type": "response.created", "response": BEGUN}
ADDED = {"type": "response.output_item.added", "output_index": 0, "item": {**CALL, "arguments": ""}}
PIECE = {"type": "response.function_call_arguments.delta", "output_index": 0, "item_id": "fc_1",
         "delta": '{"x"'}  # fmt: skip
ARGS = {"type": "response.function_call_arguments.done", "output_index": 0, "item_id": "fc_1",
        "name": "look", "arguments": '{"x":1}'}  # fmt: skip
ENDED = {"type": "response.output_item.done", "output_index": 0, "item": CALL}
OVER = {"type": "response.completed", "response": {**BEGUN, "status": "completed",
                                                   "output": [CALL]}}  # fmt: skip


@TO_ALL
@pytest.mark.parametrize(
    "events", [(ADDED, ARGS, ENDED), (ADDED, ENDED), (ENDED,), (ADDED, PIECE, ARGS), (ADDED, PIECE)]
)
def test_row_04_arguments_that_only_the_end_tells(client: str, events: tuple[Any, ...]) -> None:
    found = answered(R, responses(CREATED, *events, OVER), client)
    assert [("look", {"x": 1})] == [(c.name, json.loads(c.args)) for c in found.reply.calls]
    assert "tool_calls" == found.reply.finish


GEMINI_CALL = {"functionCall": {"name": "look", "args": {"x": 1}}}


def gemini(*parts: Any, finish: str = "STOP") -> bytes:
    frames = [{"candidates": [{"index": 0, "content": {"role": "model", "parts": [part]}}]}
              for part in parts]  # fmt: skip
    frames[-1]["candidates"][0]["finishReason"] = finish
    return b"".join(b"data: %b\r\n\r\n" % dumps(frame) for frame in frames)


def lines(*messages: Any) -> bytes:
    made: list[Any] = [{"model": "m", "message": {"role": "assistant", "content": "", **message},
                        "done": False} for message in messages]  # fmt: skip
    last = {"model": "m", "message": {"content": ""}, "done": True, "done_reason": "stop"}
    return b"".join(dumps(line) + b"\n" for line in [*made, last])


OLLAMA_CALL = {"tool_calls": [{"function": {"name": "look", "arguments": {"x": 1}}}]}


@TO_ALL
@pytest.mark.parametrize(
    ("upstream", "data"),
    [(G, gemini(GEMINI_CALL, GEMINI_CALL)), (L, lines(OLLAMA_CALL, OLLAMA_CALL))],
)
def test_row_12_calls_that_never_have_ids(client: str, upstream: str, data: bytes) -> None:
    found = answered(upstream, data, client)
    ids = [event.part.id for event in found.events
           if isinstance(event, Open) and isinstance(event.part, ToolCall)]  # fmt: skip
    assert 2 == len({*ids} - {""})
    assert [{"x": 1}, {"x": 1}] == [json.loads(call.args) for call in found.reply.calls]
    assert "tool_calls" == found.reply.finish  # row 11: they said STOP


GEMINI_ERROR = {"error": {"code": 503, "message": "x", "status": "UNAVAILABLE"}}
OVERLOADED = {"code": "server_is_overloaded", "message": "x"}
FAILED = {
    "type": "response.failed",
    "response": {**BEGUN, "status": "failed", "error": OVERLOADED},
}
FAILURES = [
    (R, responses(CREATED), responses(FAILED)),
    (R, responses(CREATED), responses({"type": "error", "code": "server_error", "message": "x"})),
    (R, responses(CREATED), b'data: {"error":{"message":"x","code":"server_error"}}\n\n'),
    (G, gemini({"text": "a"}, finish=""), b"data: %b\r\n\r\n" % dumps(GEMINI_ERROR)),
    (L, lines({"content": "a"}).splitlines(keepends=True)[0], b'{"error":"x"}\n'),
]


@TO_ALL
@pytest.mark.parametrize(("upstream", "before", "failure"), FAILURES)
@pytest.mark.parametrize("begun", [False, True])
def test_row_19_an_error_in_a_200_is_an_error(
    client: str, upstream: str, before: bytes, failure: bytes, begun: bool
) -> None:
    found = answered(upstream, before + failure if begun else failure, client)
    assert isinstance(found.verdict, ErrorEvent)
    assert "x" == found.verdict.message
    assert found.reply.error is not None
    assert b'"x"' in found.data


@FROM_ALL
def test_row_21_the_end_of_a_response_holds_all_of_it(upstream: str) -> None:
    events = [*text(0, "so"), *called(1, "a", '{"x":1}'), COUNTS, TOOLS]
    frames = answered(upstream, said(upstream, events), R).frames
    items = [frame["item"] for frame in frames if frame["type"] == "response.output_item.done"]
    last = frames[-1]
    assert "response.completed" == last["type"]
    assert ["message", "function_call"] == [item["type"] for item in items]
    assert items == last["response"]["output"]
    counts = last["response"]["usage"]
    assert (10, 5, 15) == tuple(counts[f"{n}_tokens"] for n in ("input", "output", "total"))


HISTORY: dict[str, dict[str, Any]] = {
    C: chat_turns({"role": "tool", "tool_call_id": "b", "content": "2"},
                  {"role": "tool", "tool_call_id": "a", "content": "1"}),
    R: {"input": [{"role": "user", "content": "go"},
                  {"type": "function_call", "call_id": "a", "name": "look", "arguments": "{}"},
                  {"type": "function_call", "call_id": "b", "name": "look", "arguments": "{}"},
                  {"type": "function_call_output", "call_id": "b", "output": "2"},
                  {"type": "function_call_output", "call_id": "a", "output": "1"}]},
    A: {"messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [
            {"type": "tool_use", "id": i, "name": "look", "input": {}} for i in ("a", "b")]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": i, "content": t}
            for i, t in (("b", "2"), ("a", "1"))]}]},
    L: {"messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": "", "tool_calls": [
            {"id": i, "function": {"name": "look", "arguments": {}}} for i in ("a", "b")]},
        *({"role": "tool", "tool_name": "look", "tool_call_id": i, "content": t}
          for i, t in (("b", "2"), ("a", "1")))]},
}  # fmt: skip


@pytest.mark.parametrize("client", HISTORY)
def test_row_25_results_of_one_step_are_one_content(client: str) -> None:
    *_, calls, results = sent(client, HISTORY[client], G)["contents"]
    assert ("model", "user") == (calls["role"], results["role"])
    told = [part["functionResponse"] for part in results["parts"]]
    assert [("look", {"result": "1"}), ("look", {"result": "2"})] == [
        (result["name"], result["response"]) for result in told
    ]


@pytest.mark.parametrize("client", [name for name in HISTORY if name != A])
def test_row_24_results_stand_first_whoever_the_client_is(client: str) -> None:
    last = sent(client, HISTORY[client], A)["messages"][-1]
    assert ["1", "2"] == [part["content"] for part in last["content"]]


@pytest.mark.parametrize("upstream", [name for name in ALL if name != R])
def test_row_26_an_answer_that_nobody_kept_is_not_ignored(upstream: str) -> None:
    """With a store the engine expands it: tests/shell has that."""
    with pytest.raises(RequestError, match="previous_response_id") as caught:
        sent(R, {"previous_response_id": "resp_1"}, upstream)
    assert "unsupported" == caught.value.kind


@FROM_ALL
def test_row_46_what_only_a_store_knows_stays_behind(upstream: str) -> None:
    bare = {"type": "reasoning", "id": "rs_1", "summary": []}
    sealed = {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gAAA"}
    said_ = {"type": "message", "role": "assistant", "id": "msg_1",
             "content": [{"type": "output_text", "text": "a"}]}  # fmt: skip
    items = [{"role": "user", "content": "go"}, bare, {"type": "item_reference", "id": "rs_1"},
             sealed, said_, {"role": "user", "content": "on"}]  # fmt: skip
    told = dumps(sent(R, {"input": items}, upstream))
    assert b"rs_1" not in told
    assert b"msg_1" not in told
    assert (b"gAAA" in told) is (upstream == R)


@FROM_ALL
def test_row_57_gemini_clients_get_data_and_nothing_else(upstream: str) -> None:
    found = answered(upstream, said(upstream, [*text(0, "a"), COUNTS, STOP]), G)
    frames = [frame for frame in found.data.replace(b"\r\n", b"\n").split(b"\n\n") if frame]
    assert all(frame.startswith(b"data: {") for frame in frames)
    for client in (G, L):
        assert DIALECTS[client].encoder("i", "m", 1, True, parsed(client, {})).ping() is None


@pytest.mark.parametrize("client", [C, R])
@pytest.mark.parametrize("upstream", [A, G, L])
def test_row_22_free_text_is_told_in_a_function(client: str, upstream: str) -> None:
    tool: dict[str, Any] = {"name": "apply"}
    tool = {"type": "custom", **(tool if client == R else {"custom": tool})}
    written = write(DIALECTS[upstream], parsed(client, {"tools": [tool]}), "up", PROFILE)
    assert b'"input"' in dumps(written.body)
    data = said(upstream, [*called(0, "a", '{"input":"a\\nb"}', "apply"), TOOLS])
    found = answered(upstream, data, client, written=written)
    assert [("custom", "a\nb")] == [(call.kind, call.args) for call in found.reply.calls]


PNG = "iVBORw0KGgo="
SHOWN: dict[str, dict[str, Any]] = {
    A: {"tools": [{"name": "look", "input_schema": {"type": "object"}}], "messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [
            {"type": "tool_use", "id": "a", "name": "look", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png",
                                         "data": PNG}}]}]}]},
    R: {"input": [
        {"role": "user", "content": "go"},
        {"type": "function_call", "call_id": "a", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": [
            {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}]}]},
    G: {"contents": [
        {"role": "user", "parts": [{"text": "go"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "look", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": {
            "name": "look", "response": {"result": "see"}, "parts": [
                {"inlineData": {"mimeType": "image/png", "data": PNG}}]}}]}]},
}  # fmt: skip


@pytest.mark.parametrize("client", SHOWN)
@FROM_ALL
def test_row_23_pictures_of_results_arrive_as_pictures(client: str, upstream: str) -> None:
    held: list[Any] = []
    told = dumps(sent(client, SHOWN[client], upstream, request=held)).decode()
    assert 1 == told.count(PNG)
    assert not [name for name in held[0].dropped if "image" in name]
    if upstream == C:
        assert ["tool", "user"] == [turn["role"] for turn in json.loads(told)["messages"][-2:]]


@TO_ALL
@FROM_ALL
def test_row_49_thinking_and_cached_tokens_are_told_by_all(upstream: str, client: str) -> None:
    usage = Usage(input=30, output=9, cache_read=20, cache_write=0, reasoning=4)
    events: list[Event] = [*text(0, "a"), UsageEvent(usage), STOP]
    found = answered(upstream, said(upstream, events), client).reply.usage
    assert found is not None
    assert (30, 9) == (found.input, found.output)
    if not {upstream, client} & {L}:  # Ollama has no words for either
        assert (20, 4) == (found.cache_read, found.reasoning)
