"""The rows of known translation bugs that answers show: calls, reasoning, ends, errors.

Each test runs between all the clients and upstreams that can show its row; test_row_usage.py and
test_row_requests.py have the other rows.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.chat import Reasoning, ToolCall
from engine.events import ErrorEvent, Event, Open
from engine.wire import dumps
from tests.kit import Say

from .crossing import RULES, Answered, answered, custom, exchanged, said, sent
from .pairs import row
from .wire import (
    BEGUN,
    COUNTS,
    EMPTY,
    LETTER,
    STOP,
    TOOLS,
    A,
    C,
    G,
    L,
    R,
    added,
    block,
    call,
    called,
    chat,
    chunk,
    done,
    ended,
    function,
    gemini,
    line,
    lines,
    message,
    named,
    part,
    piece,
    records,
    responses,
    stop,
    text,
    thought,
    use,
    whole_args,
)


def again(args: str) -> str:
    """JSON text as one writer writes it."""
    return dumps(json.loads(args)).decode()


def calls(found: Answered) -> list[tuple[str, str]]:
    return [(made.name, again(made.args)) for made in found.reply.calls]


def blocks(client: str, found: Answered) -> list[str]:
    """The kinds of what a client sees, in their order."""
    if client == A:
        starts = [f for f in found.frames if f["type"] == "content_block_start"]
        return [frame["content_block"]["type"] for frame in starts]
    if client == R:
        return [item["type"] for item in found.frames[-1]["response"]["output"]]
    return [type(made).__name__ for made in found.reply.parts]


# ---- calls ----


@row("TR-01")
def test_row_01_parallel_calls_keep_apart(client: str, upstream: str) -> None:
    events = [*text(0, "so"), *called(1, "a", '{"x":1}'), *called(2, "b", '{"y":2}'), COUNTS, TOOLS]
    found = answered(upstream, said(upstream, events), client)
    assert [("look", '{"x":1}'), ("look", '{"y":2}')] == calls(found)
    if client == C:
        choices = [choice for frame in found.frames for choice in frame["choices"]]
        told = [made for choice in choices for made in choice["delta"].get("tool_calls", [])]
        assert [0, 1] == sorted({made["index"] for made in told})


FIRST, SECOND = function(ident="a"), function('{"y":2}', "b")
INTERLEAVED = {
    C: chat(
        chunk(tool_calls=[call(0, "a", "look", '{"x"')]),
        chunk(tool_calls=[call(1, "b", "look", '{"y"')]),
        chunk(tool_calls=[call(0, args=":1}")]),
        chunk(tool_calls=[call(1, args=":2}")]),
        chunk("tool_calls"),
    ),
    R: responses(
        added(0, FIRST), piece(0, FIRST, '{"x"'), added(1, SECOND), piece(1, SECOND, '{"y"'),
        piece(0, FIRST, ":1}"), piece(1, SECOND, ":2}"), done(0, FIRST), done(1, SECOND),
        ended(FIRST, SECOND),
    ),
    RULES: records(
        {"calls": [{"at": 0, "id": "a", "name": "look", "args": '{"x"'},
                   {"at": 1, "id": "b", "name": "look", "args": '{"y"'}]},
        {"calls": [{"at": 0, "args": ":1}"}, {"at": 1, "args": ":2}"}]},
        {"end": "tool_calls"},
    ),
}  # fmt: skip


@row("TR-02")
def test_row_02_interleaved_calls_stay_whole(client: str, upstream: str) -> None:
    one_by_one = [*called(0, "a", '{"x"', ":1}"), *called(1, "b", '{"y"', ":2}"), TOOLS]
    data = INTERLEAVED.get(upstream) or said(upstream, one_by_one)
    assert [("look", '{"x":1}'), ("look", '{"y":2}')] == calls(answered(upstream, data, client))


@row("TR-03")
def test_row_03_a_call_that_comes_whole(client: str, upstream: str) -> None:
    data = said(upstream, [*called(0, "a", '{"x":1}'), TOOLS])
    if upstream == C:
        data = chat(chunk(tool_calls=[call(0, "a", "look", '{"x":1}')]), chunk("tool_calls"))
    if upstream == RULES:
        whole = {"at": 0, "id": "a", "name": "look", "args": '{"x":1}'}
        data = records({"calls": [whole]}, {"end": "tool_calls"})
    assert [("look", '{"x":1}')] == calls(answered(upstream, data, client))


ENDS = [
    (added(0, FIRST), whole_args(0, FIRST), done(0, FIRST)),
    (added(0, FIRST), done(0, FIRST)),
    (done(0, FIRST),),
    (added(0, FIRST), piece(0, FIRST, '{"x"'), whole_args(0, FIRST)),
    (added(0, FIRST), piece(0, FIRST, '{"x"')),
]


@row("TR-04")
@pytest.mark.parametrize("events", ENDS)
def test_row_04_arguments_that_only_the_end_tells(
    client: str, upstream: str, events: tuple[Any, ...]
) -> None:
    found = answered(upstream, responses(*events, ended(FIRST)), client)
    assert ([("look", '{"x":1}')], "tool_calls") == (calls(found), found.reply.finish)


NO_DELTA = chunk()
NO_DELTA["choices"][0]["delta"] = None
NOTHING: dict[str, tuple[bytes, bytes, bytes]] = {
    C: (chat(chunk(content="a"), done=0), chat(chunk(), {**chunk(), "choices": []}, NO_DELTA,
                                               {"x_new": 1}, done=0),
        chat(chunk(content="b"), chunk("stop"))),
    R: (b"", responses({"type": "response.x_new", "value": 1}, {"type": "response.in_progress",
                                                                "response": BEGUN}), b""),
    A: (message(*block(0, EMPTY, LETTER)[:2]),
        named(("ping", {}), ("x_new", {"value": 1}),
              ("content_block_delta", {"index": 0, "delta": {"type": "x_new"}})),
        named(("content_block_delta", {"index": 0, "delta": {**LETTER, "text": "b"}}),
              ("content_block_stop", {"index": 0}), *stop())),
    G: (gemini(part({"text": "a"})),
        gemini({}, {"candidates": []}, {"candidates": [{"index": 0}]}, part(), {"xNew": 1},
               {"candidates": [{"index": 0, "content": {"role": "model"}}]}),
        gemini(part({"text": "b"}, finish="STOP"))),
    L: (lines(line(content="a")), lines(line(), {"model": "m", "done": False}, {"xNew": 1}),
        lines(line(content="b"), line("stop"))),
    RULES: (records({"text": "a"}), records({"x_new": 1}, {"text": None}, {"calls": []}),
            records({"text": "b"}, {"end": "stop"})),
}  # fmt: skip


@row("TR-05")
def test_row_05_chunks_that_say_nothing_in_the_middle(client: str, upstream: str) -> None:
    before, nothing, after = NOTHING[upstream]
    if upstream == R:
        data = said(R, [*text(0, "a", "b"), STOP])
        at = data.index(b"event: response.output_text.done")
        before, after = data[:at], data[at:]
    found = answered(upstream, before + nothing + after, client)
    assert ("ab", "stop") == (found.reply.text, found.reply.finish)


BARE = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": "", "annotations": []}]}  # fmt: skip
BEFORE_CALLS = {
    C: chat(chunk(role="assistant", content=""), chunk(content=""),
            chunk(tool_calls=[call(0, "a", "look", "{}")]), chunk("tool_calls")),
    R: responses(added(0, {**BARE, "content": []}), done(0, BARE), added(1, function("{}")),
                 done(1, function("{}")), ended(BARE, function("{}"))),
    A: message(*block(0, EMPTY), *use(1, "a", "{}"), *stop("tool_use")),
    G: gemini(part({"text": ""}), part({"functionCall": {"name": "look"}}, finish="STOP")),
    L: lines(line(), line(tool_calls=[{"function": {"name": "look", "arguments": {}}}]),
             line("stop")),
    RULES: records({"text": ""}, {"calls": [{"at": 0, "id": "a", "name": "look", "args": "{}"}]},
                   {"end": "tool_calls"}),
}  # fmt: skip


@row("TR-06")
def test_row_06_no_empty_text_before_a_call(client: str, upstream: str) -> None:
    found = answered(upstream, BEFORE_CALLS[upstream], client)
    assert [("look", "{}")] == calls(found)
    only = {A: "tool_use", R: "function_call"}.get(client, "ToolCall")
    assert [only] == blocks(client, found)


@row("TR-07")
@pytest.mark.parametrize(
    "beside", [{"tool_calls": []}, {"tool_calls": None}, {"function_call": None}]
)
def test_row_07_text_beside_no_call(client: str, upstream: str, beside: dict[str, Any]) -> None:
    data = chat(chunk(content="hi", **beside), chunk("stop"))
    assert "hi" == answered(upstream, data, client).reply.text


@row("TR-08")
def test_row_08_an_empty_input_is_no_beginning(client: str, upstream: str) -> None:
    data = message(*use(0, "t", "", '{"a"', ":1}"), *stop("tool_use"))
    assert [("look", '{"a":1}')] == calls(answered(upstream, data, client))


BARE_CALLS = {
    C: chat(chunk(tool_calls=[call(0, "a", "look", "")]), chunk("tool_calls")),
    R: responses(added(0, function("")), done(0, function("")), ended(function(""))),
    A: message(*use(0, "a"), *stop("tool_use")),
    G: gemini(part({"functionCall": {"name": "look"}}, finish="STOP")),
    L: lines(line(tool_calls=[{"function": {"name": "look"}}]), line("stop")),
    RULES: records({"calls": [{"at": 0, "id": "a", "name": "look"}]}, {"end": "tool_calls"}),
}


@row("TR-09")
def test_row_09_a_call_without_arguments_has_none(client: str, upstream: str) -> None:
    found = answered(upstream, BARE_CALLS[upstream], client)
    assert ["{}"] == [made.args for made in found.reply.calls]


BARE_HISTORY: dict[str, dict[str, Any]] = {
    C: {"messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "look", "arguments": ""}}]},
        {"role": "tool", "tool_call_id": "a", "content": "seen"}]},
    R: {"input": [
        {"role": "user", "content": "go"},
        {"type": "function_call", "call_id": "a", "name": "look", "arguments": ""},
        {"type": "function_call_output", "call_id": "a", "output": "seen"}]},
    A: {"messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [
            {"type": "tool_use", "id": "a", "name": "look", "input": {}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "a", "content": "seen"}]}]},
    G: {"contents": [
        {"role": "user", "parts": [{"text": "go"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "look"}}]},
        {"role": "user", "parts": [
            {"functionResponse": {"name": "look", "response": {"result": "seen"}}}]}]},
    L: {"messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "look"}}]},
        {"role": "tool", "tool_name": "look", "content": "seen"}]},
}  # fmt: skip


def arguments_in(upstream: str, body: dict[str, Any]) -> Any:
    """The arguments of the one call in a body, as they stand there."""
    if upstream == R:
        return body["input"][1]["arguments"]
    if upstream == G:
        return body["contents"][1]["parts"][0]["functionCall"]["args"]
    turn = body["messages"][1]
    if upstream == A:
        return turn["content"][0]["input"]
    return turn["tool_calls"][0]["function"]["arguments"]


@row("TR-09", upstreams=(C, R, A, G, L))
def test_row_09_nor_has_it_in_the_history(client: str, upstream: str) -> None:
    body = sent(client, BARE_HISTORY[client], upstream)
    assert ("{}" if upstream in (C, R) else {}) == arguments_in(upstream, body)


@row("TR-10")
def test_row_10_blocks_are_contiguous_and_closed(client: str, upstream: str) -> None:
    events: list[Event] = [
        *thought(0, "hm"), *text(1, "first"), *called(2, "a", "{}"), *text(3, "then"), TOOLS,
    ]  # fmt: skip
    found = answered(upstream, said(upstream, events), client)
    assert ("hm", "firstthen", ["look"]) == (
        found.reply.reasoning, found.reply.text, [made.name for made in found.reply.calls]
    )  # fmt: skip
    if upstream in (A, R, G) and client in (A, R):  # Chat and Ollama have no order of the two
        texts = {A: "text", R: "message"}[client]
        first, *kinds = blocks(client, found)
        assert ({A: "thinking", R: "reasoning"}[client], texts, 3) == (first, kinds[0], len(kinds))


SAID_STOP = {
    C: chat(chunk(tool_calls=[call(0, "a", "look", "{}")]), chunk("stop")),
    R: responses(added(0, FIRST), done(0, FIRST), ended(FIRST)),
    A: message(*use(0, "t", "{}"), *stop("end_turn")),
    G: gemini(part({"functionCall": {"name": "look", "args": {}}}), part(finish="STOP")),
    L: lines(line(tool_calls=[{"function": {"name": "look", "arguments": {}}}]), line("stop")),
    RULES: records({"calls": [{"at": 0, "id": "a", "name": "look", "args": "{}"}]},
                   {"end": "stop"}),
}  # fmt: skip


@row("TR-11")
def test_row_11_who_calls_has_not_stopped(client: str, upstream: str) -> None:
    found = answered(upstream, SAID_STOP[upstream], client)
    assert ("tool_calls", ["look"]) == (found.reply.finish, [c.name for c in found.reply.calls])


GEMINI_CALL = {"functionCall": {"name": "look", "args": {"x": 1}}}
OLLAMA_CALL = {"function": {"name": "look", "arguments": {"x": 1}}}
WITHOUT_IDS = {
    C: chat(
        chunk(tool_calls=[call(0, None, "look", "")]),
        chunk(tool_calls=[call(0, "", args='{"x":1}')]),
        chunk(tool_calls=[call(1, "", "look", '{"x":1}')]),
        chunk(tool_calls=[call(1, "")]),
        chunk("tool_calls"),
    ),
    G: gemini(part(GEMINI_CALL), part(GEMINI_CALL, finish="STOP")),
    L: lines(line(tool_calls=[OLLAMA_CALL]), line(tool_calls=[OLLAMA_CALL]), line("stop")),
    RULES: records({"calls": [{"at": 0, "name": "look", "args": '{"x":1}'}]},
                   {"calls": [{"at": 1, "id": "", "name": "look", "args": '{"x":1}'}]},
                   {"end": "tool_calls"}),
}  # fmt: skip


@row("TR-12")
def test_row_12_calls_without_ids_get_some(client: str, upstream: str) -> None:
    found = answered(upstream, WITHOUT_IDS[upstream], client)
    ids = [event.part.id for event in found.events
           if isinstance(event, Open) and isinstance(event.part, ToolCall)]  # fmt: skip
    assert 2 == len({*ids} - {""})
    assert [("look", '{"x":1}')] * 2 == calls(found)
    if client != L:
        assert ids == [made.id for made in found.reply.calls]


@row("TR-12", upstreams=(C,))
def test_row_12_the_first_id_is_kept(client: str, upstream: str) -> None:
    data = chat(
        chunk(tool_calls=[call(0, "b", "look", "{}")]), chunk(tool_calls=[call(0, "")]),
        chunk("tool_calls"),
    )  # fmt: skip
    opened = [e.part for e in answered(upstream, data, client).events if isinstance(e, Open)]
    assert ["b"] == [made.id for made in opened if isinstance(made, ToolCall)]


# ---- reasoning ----

UNSIGNED = {A: message(*block(0, {"type": "thinking", "thinking": "", "signature": ""},
                              {"type": "thinking_delta", "thinking": "hm"}),
                       *block(1, EMPTY, LETTER), *stop())}  # fmt: skip


@row("TR-13")
def test_row_13_thinking_without_signature_is_closed_with_an_empty_one(
    client: str, upstream: str
) -> None:
    data = UNSIGNED.get(upstream) or said(upstream, [*thought(0, "hm"), *text(1, "a"), STOP])
    found = answered(upstream, data, client)  # the grammar wants the signature before the stop
    assert ["thinking", "text"] == blocks(client, found)
    assert "hm" == found.reply.reasoning
    thinking = {"type": "thinking", "thinking": "hm", "signature": ""}
    turn = {"role": "assistant", "content": [thinking, {"type": "text", "text": "a"}]}
    if upstream in (C, L):
        field = {C: "reasoning_content", L: "thinking"}[upstream]
        back = {"messages": [{"role": "user", "content": "go"}, turn,
                             {"role": "user", "content": "on"}]}  # fmt: skip
        assert "hm" == sent(client, back, upstream)["messages"][1][field]


SIGNED_ONLY: dict[str, bytes] = {
    A: message(*block(0, {"type": "thinking", "thinking": "", "signature": ""},
                      {"type": "signature_delta", "signature": "EqQB"}),
               *block(1, EMPTY, LETTER), *stop()),
    R: responses(done(0, {"type": "reasoning", "id": "rs_1", "summary": [],
                          "encrypted_content": "EqQB"}),
                 ended({"type": "reasoning", "id": "rs_1", "summary": [],
                        "encrypted_content": "EqQB"})),
    G: gemini(part({"text": "", "thoughtSignature": "EqQB"}), part({"text": "a"}, finish="STOP")),
}  # fmt: skip


@row("TR-14", clients=(A, R, G))
def test_row_14_a_signature_without_thinking_is_kept(client: str, upstream: str) -> None:
    found = answered(upstream, SIGNED_ONLY[upstream], client)
    thoughts = [made for made in found.reply.parts if isinstance(made, Reasoning)]
    (kept,) = [made.signature or made.encrypted for made in thoughts]
    assert "" == found.reply.reasoning
    assert kept is not None
    assert kept.endswith("EqQB")


@row("TR-14", clients=(C,))
def test_row_14_chat_clients_have_no_place_for_it_but_beside_a_call(
    client: str, upstream: str
) -> None:
    """The engine's memory (engine/kept/recall.py) puts back what they cannot carry."""
    found = answered(upstream, SIGNED_ONLY[upstream], client)
    assert "" == found.reply.reasoning
    assert b"EqQB" not in found.data


@row("TR-15")
def test_row_15_tags_in_text_stay_text(client: str, upstream: str) -> None:
    data = said(upstream, [*text(0, "say <think>", "x</think>"), STOP])
    reply = answered(upstream, data, client).reply
    assert ("say <think>x</think>", "") == (reply.text, reply.reasoning)


@row("TR-16")
@pytest.mark.parametrize(
    "fields",
    [{"reasoning": "hm"}, {"reasoning_content": "hm"},
     {"reasoning": "hm", "reasoning_content": "hm"},
     {"reasoning": None, "reasoning_content": "hm"}],
)  # fmt: skip
def test_row_16_reasoning_under_any_name_comes_once(
    client: str, upstream: str, fields: dict[str, Any]
) -> None:
    data = chat(chunk(**fields), chunk(content="a"), chunk("stop"))
    found = answered(upstream, data, client)
    assert ("hm", "a") == (found.reply.reasoning, found.reply.text)


PATCHED = """\
stream: { format: sse, reduce: path_patch, events: [
  { match: { $.p: "/message/parts/0" }, text: $.v },
  { match: { $.p: "/message/parts" }, text: "$.v[0]" },
  { match: { $.p: "/message/status" }, finish: { path: $.v, map: { FINISHED: stop } } },
  { ignore: true }] }
"""


@row("TR-17")
def test_row_17_the_words_a_place_is_made_with_are_said(client: str, upstream: str) -> None:
    """tests/route/test_patches.py has the patches."""
    data = records(
        {"p": "/message", "o": "add", "v": {"parts": []}},
        {"p": "/message/parts", "o": "set", "v": ["Hel"]},
        {"p": "/message/parts/0", "o": "append", "v": "lo"}, {"v": " you"},
        {"p": "/message/status", "o": "set", "v": "FINISHED"},
    )  # fmt: skip
    found = answered(upstream, data, client, route=custom(PATCHED))
    assert ("Hello you", "stop") == (found.reply.text, found.reply.finish)


# ---- ends and errors ----


@row("TR-18")
@pytest.mark.parametrize("done", [0, 1, 2])
def test_row_18_one_end_whatever_the_upstream_sends(client: str, upstream: str, done: int) -> None:
    """The grammar of each dialect wants one end, and nothing after it."""
    data = said(upstream, [*text(0, "a"), COUNTS, STOP])
    end = b"" if upstream == L else b"data: [DONE]\n\n"
    data = data.removesuffix(end) + end * done
    found = answered(upstream, data, client)
    assert ("a", "stop") == (found.reply.text, found.reply.finish)
    assert (1 if client == C else 0) == found.data.count(b"[DONE]")


BUSY = {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}
OVERLOADED = {"code": "server_is_overloaded", "message": "x"}
GEMINI_ERROR = {"error": {"code": 503, "message": "x", "status": "UNAVAILABLE"}}
FAILURES: dict[str, tuple[bytes, list[bytes]]] = {
    C: (chat(chunk(content="a"), done=0),
        [b'data: {"error":{"message":"x","type":"server_error","code":503}}\n\n']),
    R: (responses(),
        [responses(ended(status="failed", error=OVERLOADED)).split(b"\n\n", 1)[1],
         b'event: error\ndata: {"type":"error","code":"server_error","message":"x"}\n\n',
         b'data: {"error":{"message":"x","code":"server_error"}}\n\n']),
    A: (message(*block(0, EMPTY, LETTER)[:2]), [b"event: error\ndata: " + dumps(BUSY) + b"\n\n"]),
    G: (gemini(part({"text": "a"})), [gemini(GEMINI_ERROR)]),
    L: (lines(line(content="a")), [b'{"error":"x"}\n']),
    RULES: (records({"text": "a"}), [records({"error": "x"})]),
}  # fmt: skip


@row("TR-19")
@pytest.mark.parametrize("begun", [False, True])
def test_row_19_an_error_in_a_200_is_an_error(client: str, upstream: str, begun: bool) -> None:
    before, failures = FAILURES[upstream]
    for failure in failures:
        found = answered(upstream, before + failure if begun else failure, client)
        assert isinstance(found.verdict, ErrorEvent)
        assert "x" == found.verdict.message
        assert found.reply.error is not None
        assert b'"x"' in found.data


@row("TR-19")
def test_row_19_so_it_is_in_place_of_a_whole_answer(client: str, upstream: str) -> None:
    bodies = {A: BUSY, G: GEMINI_ERROR, L: {"error": "x"}, RULES: {"error": "x"}}
    body = bodies.get(upstream, {"error": {"message": "x", "code": "server_error"}})
    found = answered(upstream, dumps(body), client, stream=False)
    assert isinstance(found.verdict, ErrorEvent)
    assert b'x"' in found.data


@row("TR-20")
async def test_row_20_nothing_is_tried_again_once_text_was_sent(client: str, upstream: str) -> None:
    data = said(upstream, [*text(0, "a", "b"), STOP])
    begun = data[: data.index(b'"b"')]
    sink, requests = await exchanged(upstream, Say(begun, end="reset"), client)
    assert 1 == len(requests)
    assert ("a", "truncated") == (sink.text, sink.error and sink.error.cls)


@row("TR-21")
def test_row_21_the_end_of_a_response_holds_all_of_it(client: str, upstream: str) -> None:
    events = [*text(0, "so"), *called(1, "a", '{"x":1}'), COUNTS, TOOLS]
    frames = answered(upstream, said(upstream, events), client).frames
    items = [frame["item"] for frame in frames if frame["type"] == "response.output_item.done"]
    last = frames[-1]
    assert "response.completed" == last["type"]
    assert ["message", "function_call"] == [item["type"] for item in items]
    assert items == last["response"]["output"]
    counts = last["response"]["usage"]
    assert (10, 5, 15) == tuple(counts[f"{n}_tokens"] for n in ("input", "output", "total"))
