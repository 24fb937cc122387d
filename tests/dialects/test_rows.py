"""The rows of known translation bugs, each a test that carries its number.

Requests go from a client to an upstream, answers the other way; see crossing.py. A row that only
one pair of dialects can show names it, all others hold for every dialect in the table.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from engine.chat import Reasoning, Text, ToolCall
from engine.dialects import DIALECTS
from engine.dialects.profile import ImageProfile, Profile, ToolProfile
from engine.dialects.written import write
from engine.errors import RequestError
from engine.events import (
    ArgsDelta,
    Close,
    ErrorEvent,
    Event,
    Finish,
    Open,
    ReasoningDelta,
    Start,
    TextDelta,
    Usage,
    UsageEvent,
    fold,
)
from engine.wire import dumps
from tests.grammar import check_messages_stream

from .crossing import Answered, answered, parsed, said, sent

C, A, G, L = "openai_chat", "anthropic_messages", "gemini", "ollama"
ALL = sorted(DIALECTS)
EVERY_PAIR = pytest.mark.parametrize(("upstream", "client"), [(u, c) for u in ALL for c in ALL])
TO_ALL = pytest.mark.parametrize("client", ALL)

ELSEWHERE = {
    17: "tests/route/test_patches.py", 20: "tests/test_exchange.py",
    54: "tests/dialects/test_tokens.py",
    30: "tests/transforms/test_repair_reasoning.py", 55: "tests/parsers/test_sse.py",
    58: "tests/dialects/test_embedding.py", 61: "tests/transforms/test_prompted_tools.py",
    62: "tests/transforms/test_prompted_tools.py", 64: "tests/policies/test_continuation.py",
}  # fmt: skip


def test_no_row_is_forgotten() -> None:
    files = (Path(__file__), Path(__file__).with_name("test_row_pairs.py"))
    source = "".join(path.read_text("utf-8") for path in files)
    here = {int(number) for number in re.findall(r"def test_row_(\d\d)_", source)}
    assert set(range(1, 65)) == here | set(ELSEWHERE)
    for place in ELSEWHERE.values():
        assert (Path(__file__).parents[2] / place).exists(), place


# ---- what upstreams say ----


def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "up",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}  # fmt: skip


def call(index: int | None = 0, ident: str | None = None, name: str | None = None,
         args: str | None = None) -> dict[str, Any]:  # fmt: skip
    inner = {k: v for k, v in (("name", name), ("arguments", args)) if v is not None}
    found: dict[str, Any] = {"function": inner}
    if index is not None:
        found["index"] = index
    if ident is not None:
        found["id"] = ident
    return found


def chat(*chunks: Any, done: int = 1) -> bytes:
    frames = [item if isinstance(item, bytes) else dumps(item) for item in chunks]
    return b"".join(b"data: %b\n\n" % frame for frame in frames) + b"data: [DONE]\n\n" * done


def message(*events: tuple[str, Any]) -> bytes:
    begin = {
        "message": {
            "id": "msg",
            "type": "message",
            "role": "assistant",
            "content": [],
            "model": "up",
            "usage": {"input_tokens": 7, "output_tokens": 1},
        }
    }
    named = [("message_start", begin), *events]
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (name.encode(), dumps({"type": name, **value}))
        for name, value in named
    )


def block(index: int, opened: dict[str, Any], *deltas: dict[str, Any]) -> list[tuple[str, Any]]:
    return [
        ("content_block_start", {"index": index, "content_block": opened}),
        *(("content_block_delta", {"index": index, "delta": delta}) for delta in deltas),
        ("content_block_stop", {"index": index}),
    ]


def stop(reason: str = "end_turn", **usage: Any) -> list[tuple[str, Any]]:
    counts: dict[str, Any] = {"output_tokens": 5, **usage}
    return [("message_delta", {"delta": {"stop_reason": reason}, "usage": counts}),
            ("message_stop", {})]  # fmt: skip


def use(index: int, ident: str, *pieces: str) -> list[tuple[str, Any]]:
    opened = {"type": "tool_use", "id": ident, "name": "look", "input": {}}
    return block(index, opened, *({"type": "input_json_delta", "partial_json": p} for p in pieces))


def text(at: int, *pieces: str) -> list[Event]:
    return [Open(at, Text("")), *(TextDelta(at, piece) for piece in pieces), Close(at)]


def called(at: int, ident: str, args: str, name: str = "look") -> list[Event]:
    return [Open(at, ToolCall(ident, name, "")), ArgsDelta(at, args), Close(at)]


EMPTY, LETTER = {"type": "text", "text": ""}, {"type": "text_delta", "text": "a"}
STOP, TOOLS = Finish("stop"), Finish("tool_calls")
COUNTS = UsageEvent(Usage(input=10, output=5))


def chat_calls(found: Answered) -> dict[int, str]:
    """Index -> joined arguments, as a Chat client adds them up."""
    joined: dict[int, str] = {}
    for frame in found.frames:
        for choice in frame["choices"]:
            for part in choice["delta"].get("tool_calls", []):
                more = part["function"].get("arguments", "")
                joined[part["index"]] = joined.get(part["index"], "") + more
    return joined


def kinds(found: Answered) -> list[str]:
    """Types of the blocks a Messages client sees, after holding the stream against its grammar."""
    events = check_messages_stream(found.data)
    return [e["content_block"]["type"] for e in events if e["type"] == "content_block_start"]


# ---- streams, tool calls ----


@pytest.mark.parametrize("upstream", ALL)
def test_row_01_parallel_calls_have_an_index_each(upstream: str) -> None:
    events = [*text(0, "so"), *called(1, "a", '{"x":1}'), *called(2, "b", '{"y":2}'), COUNTS, TOOLS]
    found = answered(upstream, said(upstream, events), C)
    assert ['{"x":1}', '{"y":2}'] == [json_again(chat_calls(found)[at]) for at in (0, 1)]


def json_again(args: str) -> str:
    return dumps(json.loads(args)).decode()


@EVERY_PAIR
def test_row_02_interleaved_calls_stay_whole(upstream: str, client: str) -> None:
    data = chat(
        chunk(tool_calls=[call(0, "a", "look", '{"x"')]),
        chunk(tool_calls=[call(1, "b", "look", '{"y"')]),
        chunk(tool_calls=[call(0, args=":1}")]), chunk(tool_calls=[call(1, args=":2}")]),
        chunk("tool_calls"),
    )  # fmt: skip
    if upstream != C:
        data = said(upstream, [*called(0, "a", '{"x":1}'), *called(1, "b", '{"y":2}'), TOOLS])
    found = answered(upstream, data, client)
    assert ['{"x":1}', '{"y":2}'] == [json_again(item.args) for item in found.reply.calls]
    if client == A:
        assert ["tool_use", "tool_use"] == kinds(found)


@TO_ALL
def test_row_03_a_call_that_comes_whole(client: str) -> None:
    found = answered(C, chat(chunk(tool_calls=[call(0, "a", "look", '{"x":1}')]),
                             chunk("tool_calls")), client)  # fmt: skip
    assert [("look", '{"x":1}')] == [(i.name, json_again(i.args)) for i in found.reply.calls]


@TO_ALL
def test_row_05_empty_chunks_in_the_middle(client: str) -> None:
    empty = [chunk(), {**chunk(), "choices": []}, chunk()]
    empty[2]["choices"][0]["delta"] = None
    found = answered(C, chat(chunk(content="a"), *empty, chunk(content="b"), chunk("stop")), client)
    assert ("ab", "stop") == (found.reply.text, found.reply.finish)


def test_row_06_no_empty_block_before_a_call() -> None:
    calls = chunk(tool_calls=[call(0, "a", "look", "{}")])
    data = chat(chunk(role="assistant", content=""), calls, chunk("tool_calls"))
    assert ["tool_use"] == kinds(answered(C, data, A))


@TO_ALL
@pytest.mark.parametrize("beside", [{"tool_calls": []}, {"tool_calls": None},
                                    {"function_call": None}])  # fmt: skip
def test_row_07_text_beside_no_call(client: str, beside: dict[str, Any]) -> None:
    data = chat(chunk(content="hi", **beside), chunk("stop"))
    assert "hi" == answered(C, data, client).reply.text


@TO_ALL
def test_row_08_an_empty_input_is_no_beginning(client: str) -> None:
    found = answered(A, message(*use(0, "t", "", '{"a"', ":1}"), *stop("tool_use")), client)
    assert ['{"a":1}'] == [json_again(item.args) for item in found.reply.calls]


@EVERY_PAIR
def test_row_09_a_call_without_arguments_takes_none(upstream: str, client: str) -> None:
    events: list[Event] = [Open(0, ToolCall("a", "look", "")), ArgsDelta(0, "{}"), Close(0), TOOLS]
    data = said(upstream, events)
    if upstream == C:
        data = chat(chunk(tool_calls=[call(0, "a", "look", "")]), chunk("tool_calls"))
    assert ["{}"] == [item.args for item in answered(upstream, data, client).reply.calls]
    history = {"messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "look", "arguments": ""}}]},
        {"role": "tool", "tool_call_id": "a", "content": "seen"}]}  # fmt: skip
    assert {} == sent(C, history, A)["messages"][1]["content"][0]["input"]


@pytest.mark.parametrize("upstream", ALL)
def test_row_10_blocks_are_contiguous_and_closed(upstream: str) -> None:
    events: list[Event] = [
        Open(0, Reasoning()), ReasoningDelta(0, "hm"), Close(0), *text(1, "first"),
        *called(2, "a", "{}"), *text(3, "then"), TOOLS,
    ]  # fmt: skip
    found = answered(upstream, said(upstream, events), A)
    kinds(found)
    assert ("hm", "firstthen", ["look"]) == (
        found.reply.reasoning, found.reply.text, [item.name for item in found.reply.calls]
    )  # fmt: skip


@TO_ALL
@pytest.mark.parametrize(
    "data",
    [
        chat(chunk(tool_calls=[call(0, "a", "look", "{}")]), chunk("stop")),
        message(*use(0, "t", "{}"), *stop("end_turn")),
    ],
)
def test_row_11_who_calls_has_not_stopped(client: str, data: bytes) -> None:
    upstream = A if data.startswith(b"event") else C
    assert "tool_calls" == answered(upstream, data, client).reply.finish


@TO_ALL
def test_row_12_a_call_without_id_gets_one_and_keeps_it(client: str) -> None:
    data = chat(
        chunk(tool_calls=[call(0, None, "look", "")]), chunk(tool_calls=[call(0, "", args="{}")]),
        chunk(tool_calls=[call(1, "b", "look", "{}")]), chunk(tool_calls=[call(1, "")]),
        chunk("tool_calls"),
    )  # fmt: skip
    found = answered(C, data, client)
    first, second = (event.part.id for event in found.events
                     if isinstance(event, Open) and isinstance(event.part, ToolCall))  # fmt: skip
    assert (True, "b") == (bool(first), second)
    assert 2 == len(found.reply.calls)


# ---- streams, reasoning ----


def test_row_13_thinking_without_signature_is_closed_with_an_empty_one() -> None:
    found = answered(C, chat(chunk(reasoning_content="hm"), chunk(content="a"), chunk("stop")), A)
    assert ["thinking", "text"] == kinds(found)  # the grammar wants the signature before the stop
    back = {"messages": [{"role": "user", "content": "go"}, {"role": "assistant", "content": [
        {"type": "thinking", "thinking": "hm", "signature": ""}, {"type": "text", "text": "a"}]},
        {"role": "user", "content": "on"}]}  # fmt: skip
    assert "hm" == sent(A, back, C)["messages"][1]["reasoning_content"]


def test_row_14_a_signature_without_thinking_is_kept() -> None:
    signed = {"type": "signature_delta", "signature": "EqQB"}
    opened = {"type": "thinking", "thinking": "", "signature": ""}
    said_ = {"type": "text_delta", "text": "a"}
    data = message(
        *block(0, opened, signed), *block(1, {"type": "text", "text": ""}, said_), *stop()
    )
    found = answered(A, data, A)
    assert ["thinking", "text"] == kinds(found)
    first = found.reply.parts[0]
    assert isinstance(first, Reasoning)
    assert ("", "EqQB") == (first.text, first.signature)
    turn = [
        {"type": "thinking", "thinking": "", "signature": "EqQB"},
        {"type": "text", "text": "a"},
    ]
    back = {"messages": [{"role": "user", "content": "go"}, {"role": "assistant", "content": turn}]}
    assert turn == sent(A, back, A)["messages"][1]["content"]


@EVERY_PAIR
def test_row_15_tags_in_text_stay_text(upstream: str, client: str) -> None:
    data = said(upstream, [*text(0, "say <think>", "x</think>"), STOP])
    reply = answered(upstream, data, client).reply
    assert ("say <think>x</think>", "") == (reply.text, reply.reasoning)


@TO_ALL
@pytest.mark.parametrize(
    "fields",
    [{"reasoning": "hm"}, {"reasoning_content": "hm"},
     {"reasoning": "hm", "reasoning_content": "hm"},
     {"reasoning": None, "reasoning_content": "hm"}],
)  # fmt: skip
def test_row_16_reasoning_under_any_name_comes_once(client: str, fields: dict[str, Any]) -> None:
    found = answered(C, chat(chunk(**fields), chunk(content="a"), chunk("stop")), client)
    assert ("hm", "a") == (found.reply.reasoning, found.reply.text)


# ---- ends and errors ----


@TO_ALL
@pytest.mark.parametrize("done", [0, 1, 2])
def test_row_18_one_terminator_whatever_the_upstream_sends(client: str, done: int) -> None:
    found = answered(C, chat(chunk(content="a"), chunk("stop"), done=done), client)
    assert ("a", "stop") == (found.reply.text, found.reply.finish)
    assert (1 if client == C else 0) == found.data.count(b"[DONE]")
    data = message(*block(0, EMPTY, LETTER), *stop())
    found = answered(A, data + b"data: [DONE]\n\n" * done, client)
    assert (1 if client == C else 0) == found.data.count(b"[DONE]")


BUSY = {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}
FAILURES = [
    (C, b'data: {"error":{"message":"x","type":"server_error","code":503}}\n\n'),
    (A, b"event: error\ndata: " + dumps(BUSY) + b"\n\n"),
]  # fmt: skip


@TO_ALL
@pytest.mark.parametrize(("upstream", "failure"), FAILURES)
@pytest.mark.parametrize("begun", [False, True])
def test_row_19_an_error_in_a_200_is_an_error(
    client: str, upstream: str, failure: bytes, begun: bool
) -> None:
    before = b""
    if begun and upstream == C:
        before = b"data: %b\n\n" % dumps(chunk(content="a"))
    elif begun:
        before = message(*block(0, EMPTY, LETTER)[:2])  # fmt: skip
    found = answered(upstream, before + failure, client)
    assert isinstance(found.verdict, ErrorEvent)
    assert ("overloaded", "x") == (found.verdict.cls, found.verdict.message)
    assert found.reply.error is not None
    assert b'"x"' in found.data


# ---- requests ----

LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def chat_turns(*results: dict[str, Any], ids: tuple[str, ...] = ("a", "b")) -> dict[str, Any]:
    calls = [{"id": i, "type": "function", "function": {"name": "look", "arguments": "{}"}}
             for i in ids]  # fmt: skip
    return {"tools": [LOOK], "messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": None, "tool_calls": calls}, *results]}  # fmt: skip


def test_row_22_custom_tools_are_functions_and_come_back() -> None:
    tool = {"type": "custom", "custom": {"name": "apply"}}
    written = write(DIALECTS[A], parsed(C, {"tools": [tool]}), "up", Profile())
    tools: Any = written.body["tools"]
    assert {"input"} == set(tools[0]["input_schema"]["properties"])
    opened = {"type": "tool_use", "id": "t", "name": "apply", "input": {}}
    pieces = [
        {"type": "input_json_delta", "partial_json": p} for p in ('{"inp', 'ut":"a\\', 'nb"}')
    ]
    data = message(*block(0, opened, *pieces), *stop("tool_use"))
    found = answered(A, data, C, written=written)
    assert [("custom", "a\nb")] == [(item.kind, item.args) for item in found.reply.calls]


IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png",
                                     "data": "iVBORw0KGgo="}}  # fmt: skip


def messages_turns(*content: Any) -> dict[str, Any]:
    uses: list[Any] = [
        {"type": "tool_use", "id": i, "name": "look", "input": {}} for i in ("a", "b")
    ]
    return {"tools": [{"name": "look", "input_schema": {"type": "object"}}], "messages": [
        {"role": "user", "content": "go"}, {"role": "assistant", "content": uses},
        {"role": "user", "content": list(content)}]}  # fmt: skip


def test_row_23_a_picture_of_a_result_follows_all_results() -> None:
    body = messages_turns(
        {"type": "tool_result", "tool_use_id": "a", "content": [IMAGE]},
        {"type": "tool_result", "tool_use_id": "b", "content": "plain"},
    )
    turns = sent(A, body, C)["messages"][2:]
    assert ["tool", "tool", "user"] == [turn["role"] for turn in turns]
    assert "[image attached]" == turns[0]["content"]
    assert "data:image/png;base64,iVBORw0KGgo=" == turns[2]["content"][0]["image_url"]["url"]


def test_row_24_results_stand_first_in_the_order_of_the_calls() -> None:
    body = chat_turns(
        {"role": "tool", "tool_call_id": "b", "content": "2"},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "user", "content": "and?"},
    )
    (last,) = sent(C, body, A)["messages"][2:]
    assert "user" == last["role"]
    told = [(part["type"], part.get("tool_use_id")) for part in last["content"]]
    assert [("tool_result", "a"), ("tool_result", "b"), ("text", None)] == told


def test_row_27_a_foreign_signature_goes_home_only() -> None:
    tagged = {"type": "thinking", "thinking": "hm", "signature": "penstock/gemini/AbC="}
    turn = [tagged, {"type": "text", "text": "a"}]
    back = {"messages": [{"role": "user", "content": "go"}, {"role": "assistant", "content": turn},
                         {"role": "user", "content": "on"}]}  # fmt: skip
    assert [turn[1]] == sent(A, back, A)["messages"][1]["content"]
    assert "AbC=" in dumps(sent(A, back, G)).decode()
    assert "AbC=" not in dumps(sent(A, back, C)).decode()


def test_row_28_a_schema_by_a_forced_tool_is_answered_in_text() -> None:
    spec = {"name": "place", "schema": {"type": "object"}}
    form = {"response_format": {"type": "json_schema", "json_schema": spec}}
    profile = Profile(json_schema="tool")
    written = write(DIALECTS[A], parsed(C, form), "up", profile)
    assert {"type": "tool", "name": "place"} == written.body["tool_choice"]
    opened = {"type": "tool_use", "id": "t", "name": "place", "input": {}}
    delta = {"type": "input_json_delta", "partial_json": '{"city":"Rom"}'}
    data = message(*block(0, opened, delta), *stop("tool_use"))
    reply = answered(A, data, C, written=written).reply
    assert ('{"city":"Rom"}', "stop", []) == (reply.text, reply.finish, reply.calls)
    thinking = sent(C, {**form, "reasoning_effort": "high"}, A, profile)
    assert "tool_choice" not in thinking
    with_tools = sent(C, {**form, "tools": [LOOK]}, A, profile)
    assert ["look"] == [tool["name"] for tool in with_tools["tools"]]


def test_row_29_order_stays_and_a_lost_thought_ends_thinking() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "EqQB"}
    body = messages_turns({"type": "tool_result", "tool_use_id": "a", "content": "1"},
                          {"type": "tool_result", "tool_use_id": "b", "content": "2"})  # fmt: skip
    body["messages"][1]["content"].insert(0, thought)
    body |= {"thinking": {"type": "enabled", "budget_tokens": 2048}, "max_tokens": 4000}
    same = sent(A, body, A, Profile(null_content="omit"))
    assert body["messages"][1]["content"] == same["messages"][1]["content"]
    assert "thinking" in same
    body["messages"][1]["content"][0] = {**thought, "signature": "penstock/gemini/AbC="}
    lost = sent(A, body, A, Profile(null_content="omit"))
    assert "tool_use" == lost["messages"][1]["content"][0]["type"]
    assert "thinking" not in lost


@pytest.mark.parametrize(
    ("later", "target", "roles"),
    [("as_sent", C, ["user", "system", "user"]), ("user", C, ["user", "user", "user"]),
     ("lift", C, ["system", "user", "user"]), ("user", A, ["user", "user", "user"])],
)  # fmt: skip
def test_row_31_system_messages_in_the_middle(later: Any, target: str, roles: list[str]) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "system", "content": "be brief"},
             {"role": "user", "content": "b"}]  # fmt: skip
    found = sent(A, {"messages": turns}, target, Profile(later_system=later))["messages"]
    told = [turn["role"] for turn in found]
    if target == A:  # neighbours of one role may be joined
        told = [turn["role"] for turn in found for _ in range(3 // len(found))]
        assert b"be brief" in dumps(found)
    assert roles == told


@pytest.mark.parametrize("target", ALL)
def test_row_32_sampling_that_a_model_refuses(target: str) -> None:
    request: list[Any] = []
    profile = Profile(sampling_refused=["temperature", "top_p"])
    body = sent(C, {"temperature": 0.5, "top_p": 0.9}, target, profile, request=request)
    assert b"0.5" not in dumps(body)
    assert b"0.9" not in dumps(body)
    assert ["temperature", "top_p"] == request[0].dropped


def test_row_33_betas_go_by_the_allow_list_and_their_fields_with_them() -> None:
    body = {"context_management": {"edits": []}, "messages": [{"role": "user", "content": "a"}]}
    every = sent(A, body, A)
    assert "context_management" in every
    none = sent(A, body, A, Profile(betas=[]))
    assert "context_management" not in none
    allowed = sent(A, body, A, Profile(betas=["context-management-*"]))
    assert "context_management" in allowed


def test_row_34_no_empty_text_reaches_messages() -> None:
    content = [EMPTY, {"type": "text", "text": "a"}]
    turns = [{"role": "user", "content": content},
             {"role": "assistant", "content": ""},
             {"role": "user", "content": "b"},
             {"role": "assistant", "content": "c \n"}]  # fmt: skip
    found = sent(C, {"messages": turns}, A)["messages"]
    assert b'"text":""' not in dumps(found)
    assert b"null" not in dumps(found)
    last = found[-1]["content"]
    assert "c" == (last if isinstance(last, str) else last[-1]["text"])


def test_row_35_cache_marks_are_carried_and_no_user_becomes_a_cache_key() -> None:
    part = {"type": "text", "text": "long", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    body = {"messages": [{"role": "user", "content": [part]}], "metadata": {"user_id": "u"}}
    plain = sent(A, body, C)
    assert not {"prompt_cache_key", "user", "safety_identifier", "metadata"} & set(plain)
    assert "long" == plain["messages"][0]["content"]
    marked = sent(A, body, C, Profile(cache_marks="send"))["messages"][0]["content"][0]
    assert {"mode": "explicit", "ttl": "12h"} == marked["prompt_cache_breakpoint"]
    again = {"type": "text", "text": "long", "prompt_cache_breakpoint": {"mode": "explicit"}}
    back = sent(C, {"messages": [{"role": "user", "content": [again]}]}, A,
                Profile(cache_marks="send"))  # fmt: skip
    assert {"type": "ephemeral"} == back["messages"][0]["content"][0]["cache_control"]


@pytest.mark.parametrize("target", [name for name in ALL if name != A])
def test_row_36_the_billing_line_goes_to_its_own_upstream_only(target: str) -> None:
    lines = [{"type": "text", "text": "x-anthropic-billing-header: cc_version=1; cch=abc"},
             {"type": "text", "text": "You are brief."}]  # fmt: skip
    body = {"system": lines, "messages": [{"role": "user", "content": "a"}]}
    told = dumps(sent(A, body, target))
    assert b"billing" not in told
    assert b"You are brief." in told
    assert b"prompt_cache_key" not in told
    assert lines == sent(A, body, A)["system"]


@pytest.mark.parametrize("ident", ["call_abc|fc_1", "functions.look:0", "x" * 80])
def test_row_37_ids_are_the_same_in_call_and_result(ident: str) -> None:
    body = chat_turns({"role": "tool", "tool_call_id": ident, "content": "1"}, ids=(ident,))
    turns = sent(C, body, A)["messages"]
    one, two = turns[1]["content"][0]["id"], turns[2]["content"][0]["tool_use_id"]
    assert one == two
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", one)
    nine = Profile(tools=ToolProfile(id_pattern=re.compile("[a-zA-Z0-9]{9}"), id_max=9))
    turns = sent(C, body, C, nine)["messages"]
    assert turns[1]["tool_calls"][0]["id"] == turns[2]["tool_call_id"]
    assert re.fullmatch("[a-zA-Z0-9]{9}", turns[2]["tool_call_id"])


def test_row_38_long_and_dotted_names_come_back() -> None:
    name = "mcp.server/look." + "x" * 70
    tool = {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    choice = {"type": "function", "function": {"name": name}}
    written = write(
        DIALECTS[A], parsed(C, {"tools": [tool], "tool_choice": choice}), "up", Profile()
    )
    tools: Any = written.body["tools"]
    told = tools[0]["name"]
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,55}_[0-9a-f]{8}", told)
    assert {"type": "tool", "name": told} == written.body["tool_choice"]
    opened = {"type": "tool_use", "id": "t", "name": told, "input": {}}
    data = message(*block(0, opened), *stop("tool_use"))
    assert [name] == [item.name for item in answered(A, data, C, written=written).reply.calls]


def test_row_39_schemas_as_the_target_takes_them() -> None:
    top = {"anyOf": [{"properties": {"a": {"const": 1}}}, {"$ref": "#/$defs/p"}],
           "$defs": {"p": {"type": "object"}}}  # fmt: skip
    tool = {"type": "function", "function": {"name": "look", "parameters": top}}
    schema = sent(C, {"tools": [tool]}, A)["tools"][0]["input_schema"]
    assert "object" == schema["type"]
    assert not {"anyOf", "$ref"} & set(schema)
    bare = {"type": "function", "function": {"name": "look"}}
    schema = sent(C, {"tools": [bare]}, A)["tools"][0]["input_schema"]
    assert {"type": "object", "properties": {}} == schema
    strict = {"type": "function", "function": {"name": "look", "strict": True,
                                               "parameters": {"type": "object"}}}  # fmt: skip
    closed = sent(C, {"tools": [strict]}, C, Profile(tool_schemas="openai_strict"))["tools"][0]
    assert closed["function"]["parameters"]["additionalProperties"] is False


def test_row_40_images_have_the_type_their_bytes_show() -> None:
    url = {"type": "image_url", "image_url": {"url": "data:image/jpg;base64,/9j/4AAQ"}}
    wrong = {"type": "image_url", "image_url": {"url": "data:image/gif;base64,iVBORw0KGgo="}}
    found = sent(C, {"messages": [{"role": "user", "content": [url, wrong]}]}, A)
    types = [part["source"]["media_type"] for part in found["messages"][0]["content"]]
    assert ["image/jpeg", "image/png"] == types
    linked = {"type": "image_url", "image_url": {"url": "https://a.example/x.png"}}
    body = {"messages": [{"role": "user", "content": [linked]}]}
    with pytest.raises(RequestError, match="by URL"):
        sent(C, body, A, Profile(images=ImageProfile(url=False)))


@pytest.mark.parametrize("target", ALL)
def test_row_41_no_choice_without_tools_and_no_history_without_them(target: str) -> None:
    for body in ({"tools": [], "tool_choice": "auto"}, {"tool_choice": "required"}):
        assert "tool_choice" not in sent(C, body, target)
        assert not sent(C, body, target).get("tools")
    history = chat_turns({"role": "tool", "tool_call_id": "a", "content": "1"}, ids=("a",))
    del history["tools"]
    if target == A:
        assert ["look"] == [tool["name"] for tool in sent(C, history, A)["tools"]]


def test_row_42_thinking_beside_a_forced_call_and_its_budget() -> None:
    forced = {"tools": [LOOK], "tool_choice": "required", "reasoning_effort": "high"}
    assert "thinking" not in sent(C, forced, A)
    assert "thinking" in sent(C, {**forced, "tool_choice": "auto"}, A)
    body = sent(C, {"reasoning_effort": "high", "max_tokens": 2000}, A, Profile(thinking="budget"))
    assert 1024 <= body["thinking"]["budget_tokens"] < body["max_tokens"]


def test_row_43_the_output_limit_by_name_default_and_bound() -> None:
    assert 8192 == sent(C, {}, A)["max_tokens"]
    assert 64000 == sent(C, {}, A, Profile(max_output=64000))["max_tokens"]
    field = Profile(max_tokens_field="max_completion_tokens", max_output=500)
    body = sent(C, {"max_tokens": 900}, C, field)
    assert 500 == body["max_completion_tokens"]
    assert "max_tokens" not in body
    assert 500 == sent(A, {"max_tokens": 900}, C, field)["max_completion_tokens"]


def test_row_44_turns_alternate_where_they_must_and_keep_their_thinking() -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"},
             {"role": "assistant", "content": "c", "reasoning_content": "hm"},
             {"role": "assistant", "content": "d"}, {"role": "user", "content": "e"}]  # fmt: skip
    found = sent(C, {"messages": turns}, C, Profile(alternate=True))["messages"]
    assert ["user", "assistant", "user"] == [turn["role"] for turn in found]
    assert ("hm", "c\n\nd") == (found[1]["reasoning_content"], found[1]["content"])
    empties: list[Any] = [None, []]
    for empty in empties:
        call_ = chat_turns({"role": "tool", "tool_call_id": "a", "content": "1"}, ids=("a",))
        call_["messages"][1]["content"] = empty
        assert "tool_use" == sent(C, call_, A)["messages"][1]["content"][0]["type"]


def test_row_45_redacted_thinking_goes_round() -> None:
    hidden = {"type": "redacted_thinking", "data": "EmwK"}
    turn = [hidden, {"type": "text", "text": "a"}]
    back = {"messages": [{"role": "user", "content": "go"}, {"role": "assistant", "content": turn},
                         {"role": "user", "content": "on"}]}  # fmt: skip
    assert turn == sent(A, back, A)["messages"][1]["content"]
    assert b"EmwK" not in dumps(sent(A, back, C))
    data = message(*block(0, hidden), *block(1, EMPTY, LETTER), *stop())  # fmt: skip
    assert ["redacted_thinking", "text"] == kinds(answered(A, data, A))


# ---- usage and answers ----


@pytest.mark.parametrize("upstream", [name for name in ALL if name != A])
def test_row_47_messages_clients_get_input_early_and_true_in_the_end(upstream: str) -> None:
    data = said(upstream, [*text(0, "a"), COUNTS, STOP])
    events = check_messages_stream(answered(upstream, data, A).data)
    assert events[0]["message"]["usage"]["input_tokens"] > 0
    assert 10 == events[-2]["usage"]["input_tokens"]


@TO_ALL
def test_row_48_cumulative_usage_is_not_summed(client: str) -> None:
    chunks = [{**chunk(content="a"), "usage": {"prompt_tokens": 10, "completion_tokens": n}}
              for n in (1, 2, 3)]  # fmt: skip
    usage = answered(C, chat(*chunks, chunk("stop")), client).reply.usage
    assert usage is not None
    assert (10, 3) == (usage.input, usage.output)


@TO_ALL
@pytest.mark.parametrize("stream", [False, True])
def test_row_49_cached_tokens_are_counted_once(client: str, stream: bool) -> None:
    counts: dict[str, Any] = {
        "input_tokens": 7,
        "cache_read_input_tokens": 20,
        "cache_creation_input_tokens": 3,
    }
    if stream:
        data = message(*block(0, EMPTY, LETTER),
                       *stop(**counts))  # fmt: skip
    else:
        data = dumps({"type": "message", "role": "assistant", "stop_reason": "end_turn",
                      "content": [{"type": "text", "text": "a"}],
                      "usage": counts | {"output_tokens": 5}})  # fmt: skip
    usage = answered(A, data, client, stream=stream).reply.usage
    assert usage is not None
    assert (30, 5) == (usage.input, usage.output)


def test_row_50_usage_is_always_asked_for_and_told_to_who_asked() -> None:
    for client in ALL:
        body = sent(client, {"stream": True}, C)
        assert {"include_usage": True} == body["stream_options"]
    data = said(C, [*text(0, "a"), COUNTS, STOP])
    assert [] == [f for f in answered(C, data, C, usage=False).frames if not f["choices"]]
    assert 1 == len([f for f in answered(C, data, C, usage=True).frames if not f["choices"]])


@TO_ALL
def test_row_51_usage_beside_the_finish(client: str) -> None:
    last = {**chunk("stop"), "usage": {"prompt_tokens": 10, "completion_tokens": 5}}
    usage = answered(C, chat(chunk(content="a"), last), client).reply.usage
    assert usage is not None
    assert (10, 5) == (usage.input, usage.output)


@EVERY_PAIR
def test_row_52_text_and_call_of_a_whole_answer_are_both_there(upstream: str, client: str) -> None:
    events: list[Event] = [Start("i", "m", 1), *text(0, "so"), *called(1, "a", '{"x":1}'), COUNTS,
                           TOOLS]  # fmt: skip
    data = DIALECTS[upstream].reply(fold(events), "i", "m", 1, parsed(upstream, {}))
    reply = answered(upstream, data, client, stream=False).reply
    assert ("so", ['{"x":1}'], "tool_calls") == (
        reply.text, [json_again(item.args) for item in reply.calls], reply.finish
    )  # fmt: skip


@pytest.mark.parametrize("client", [name for name in ALL if name != A])
def test_row_53_what_the_provider_ran_is_no_call(client: str) -> None:
    used = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    result = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
    data = message(*block(0, used, {"type": "input_json_delta", "partial_json": '{"query":"x"}'}),
                   *block(1, result), *block(2, EMPTY, LETTER), *stop())  # fmt: skip
    reply = answered(A, data, client).reply
    assert ("a", [], "stop") == (reply.text, reply.calls, reply.finish)


def test_row_56_every_event_has_its_name() -> None:
    data = said(C, [*text(0, "a"), COUNTS, STOP])
    frames = answered(C, data, A).data.split(b"\n\n")[:-1]
    assert all(frame.startswith(b"event: ") for frame in frames)


@TO_ALL
def test_row_59_halves_of_a_character_are_joined(client: str) -> None:
    one, two = chunk(content="HALF"), chunk(content="REST")
    pieces = [dumps(one).replace(b"HALF", b"\\ud83d"), dumps(two).replace(b"REST", b"\\ude00")]
    assert "\U0001f600" == answered(C, chat(*pieces, chunk("stop")), client).reply.text
    alone = answered(C, chat(pieces[0], chunk(content="x"), chunk("stop")), client).reply.text
    assert "\ufffdx" == alone


@TO_ALL
def test_row_60_empty_pieces_say_nothing(client: str) -> None:
    first = chunk("", role="assistant", content="")
    again = chunk("", role="assistant", content="a")
    found = answered(C, chat(first, again, chunk("", content=""), chunk("stop")), client)
    assert ("a", "stop") == (found.reply.text, found.reply.finish)
    if client == C:
        roles = [f for f in found.frames if f["choices"] and "role" in f["choices"][0]["delta"]]
        assert 1 == len(roles)


@TO_ALL
def test_row_63_a_call_cut_off_for_length_is_not_run(client: str) -> None:
    data = chat(chunk(tool_calls=[call(0, "a", "look", '{"x": "long')]), chunk("length"))
    found = answered(C, data, client)
    assert "length" == found.reply.finish
    if client == C:
        assert '{"x": "long' == chat_calls(found)[0]
    whole = dumps({"id": "x", "choices": [{"index": 0, "finish_reason": "length", "message": {
        "role": "assistant", "content": None,
        "tool_calls": [call(0, "a", "look", '{"x": "long')]}}]})  # fmt: skip
    found = answered(C, whole, client, stream=False)
    assert "length" == found.reply.finish
    if client in (A, G, L):
        assert all(isinstance(json.loads(item.args), dict) for item in found.reply.calls)


@pytest.mark.parametrize("client", [A, C])
def test_row_27_thinking_signed_by_gemini_comes_back_as_gemini_s(client: str) -> None:
    signed: list[Event] = [
        Open(0, Reasoning(signature="AbC=", origin=G)), ReasoningDelta(0, "hm"), Close(0),
        *called(1, "a", "{}"), TOOLS,
    ]  # fmt: skip
    kind = DIALECTS[client]
    encoder = kind.encoder("i", "m", 1, True, parsed(client, {"stream": True}))
    data = encoder.feed([Start("i", "m", 1), *signed])
    if client == A:
        assert b"penstock/gemini/AbC=" in data
    assert b"AbC=" in data
