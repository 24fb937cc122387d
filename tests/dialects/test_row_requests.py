"""The rows of known translation bugs that requests show, from every client to every upstream.

What an upstream got is looked at as it stands there, or as the upstream's own API reads it
(`told`).
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from engine.chat import (
    ChatRequest,
    Media,
    Message,
    Output,
    Reasoning,
    Sampling,
    Text,
    Think,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    text_of,
)
from engine.dialects import DIALECTS
from engine.dialects.gemini.turns import SENTINEL
from engine.dialects.profile import PROFILE, Profile, ToolProfile
from engine.dialects.written import write
from engine.errors import RequestError
from engine.events import ArgsDelta, Close, Event, Open, SignatureDelta
from engine.wire import dumps, loads
from tests.kit import Say

from .crossing import answered, asks, exchanged, parsed, route_to, said, sent, whole
from .pairs import row
from .turns import goes_on, one_call, told
from .wire import STOP, TOOLS, A, C, G, L, R, called, part, text, thought

LOOK = Tool("look", schema={"type": "object", "properties": {}})
HI, GO, ON = (Message("user", [Text(words)]) for words in ("hi", "go", "on"))


def parts_of(request: ChatRequest, kind: type[Any]) -> list[Any]:
    """The parts of a kind, those within results after the others of their turn."""
    outer = [held for message in request.messages for held in message.parts]
    inner = [held for result in outer if isinstance(result, ToolResult) for held in result.parts]
    return [held for held in outer + inner if isinstance(held, kind)]


# ---- tools of free text ----


def custom(client: str) -> dict[str, Any]:
    tool = {"name": "apply"}
    return {"type": "custom", **(tool if client == R else {"custom": tool})}


@row("TR-22")
def test_row_22_free_text_is_told_in_a_function(client: str, upstream: str) -> None:
    request, native = parsed(client, {"tools": [custom(client)]}), client == upstream
    written = write(DIALECTS[upstream], request, "up", PROFILE)
    assert native != (b'"input"' in dumps(written.body["tools"]))
    pieces = ("a\n", "b") if native else ('{"inp', 'ut":"a\\', 'nb"}')
    opened = ToolCall("a", "apply", "", "custom" if native else "function")
    deltas = [ArgsDelta(0, piece) for piece in pieces]
    data = said(upstream, [Open(0, opened), *deltas, Close(0), TOOLS])
    found = answered(upstream, data, client, written=written)
    assert [("custom", "a\nb")] == [(made.kind, made.args) for made in found.reply.calls]


@row("TR-22")
def test_row_22_so_it_is_in_the_history(client: str, upstream: str) -> None:
    turn = Message("assistant", [ToolCall("a", "apply", "a\nb", "custom")])
    result = Message("tool", [ToolResult("a", [Text("done")])])
    body = {**asks(client, GO, turn, result), "tools": [custom(client)]}
    (made,) = parts_of(told(upstream, sent(client, body, upstream)), ToolCall)
    if client == upstream:
        assert ("custom", "a\nb") == (made.kind, made.args)
    else:
        assert ("function", {"input": "a\nb"}) == (made.kind, json.loads(made.args))


# ---- results of tools ----

PNG = "iVBORw0KGgo="
SHOWN: dict[str, dict[str, Any]] = {
    A: {"tools": [{"name": "look", "input_schema": {"type": "object"}}], "messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [
            {"type": "tool_use", "id": i, "name": "look", "input": {}} for i in ("a", "b")]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "a", "content": [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png",
                                             "data": PNG}}]},
            {"type": "tool_result", "tool_use_id": "b", "content": "plain"}]}]},
    R: {"input": [
        {"role": "user", "content": "go"},
        *({"type": "function_call", "call_id": i, "name": "look", "arguments": "{}"}
          for i in ("a", "b")),
        {"type": "function_call_output", "call_id": "a", "output": [
            {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}]},
        {"type": "function_call_output", "call_id": "b", "output": "plain"}]},
    G: {"contents": [
        {"role": "user", "parts": [{"text": "go"}]},
        {"role": "model", "parts": [
            {"functionCall": {"id": i, "name": "look", "args": {}}} for i in ("a", "b")]},
        {"role": "user", "parts": [
            {"functionResponse": {"id": "a", "name": "look", "response": {"result": "see"},
                                  "parts": [{"inlineData": {"mimeType": "image/png",
                                                            "data": PNG}}]}},
            {"functionResponse": {"id": "b", "name": "look",
                                  "response": {"result": "plain"}}}]}]},
    L: {"messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": "", "tool_calls": [
            {"id": i, "function": {"name": "look", "arguments": {}}} for i in ("a", "b")]},
        {"role": "tool", "tool_name": "look", "tool_call_id": "a", "content": "see",
         "images": [PNG]},
        {"role": "tool", "tool_name": "look", "tool_call_id": "b", "content": "plain"}]},
}  # fmt: skip


@row("TR-23")
def test_row_23_pictures_of_results_arrive_as_pictures(client: str, upstream: str) -> None:
    held: list[Any] = []
    body = sent(client, SHOWN[client], upstream, request=held)
    assert 1 == dumps(body).decode().count(PNG)
    assert not [name for name in held[0].dropped if "image" in name]
    (picture,) = parts_of(told(upstream, body), Media)
    assert (PNG, "image/png") == (picture.data, picture.mime)
    if upstream == C:
        *_, one, two, after = body["messages"]
        assert ["tool", "tool", "user"] == [turn["role"] for turn in (one, two, after)]
        assert one["content"].endswith("[image attached]")
    if upstream == G and client != G:
        assert "inlineData" in body["contents"][-1]["parts"][0]


def reversed_results(client: str) -> dict[str, Any]:
    """Two calls, their results in the other order, and a word of the user."""
    answers = [("b", "2"), ("a", "1")]
    if client == R:
        return {"input": [
            {"role": "user", "content": "go"},
            *({"type": "function_call", "call_id": i, "name": "look", "arguments": "{}"}
              for i in ("a", "b")),
            *({"type": "function_call_output", "call_id": i, "output": t} for i, t in answers),
            {"role": "user", "content": "and?"}]}  # fmt: skip
    if client == A:
        return {"messages": [
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": i, "name": "look", "input": {}} for i in ("a", "b")]},
            {"role": "user", "content": [
                {"type": "text", "text": "and?"},
                *({"type": "tool_result", "tool_use_id": i, "content": t} for i, t in answers)]},
        ]}  # fmt: skip
    if client == G:
        return {"contents": [
            {"role": "user", "parts": [{"text": "go"}]},
            {"role": "model", "parts": [
                {"functionCall": {"id": i, "name": "look", "args": {}}} for i in ("a", "b")]},
            {"role": "user", "parts": [
                *({"functionResponse": {"id": i, "name": "look", "response": {"result": t}}}
                  for i, t in answers), {"text": "and?"}]}]}  # fmt: skip
    made: list[Any] = [{"id": i, "function": {"name": "look", "arguments": {}}} for i in ("a", "b")]
    if client == C:
        made = [{"id": i, "type": "function", "function": {"name": "look", "arguments": "{}"}}
                for i in ("a", "b")]  # fmt: skip
    name = {"tool_name": "look"} if client == L else {}
    return {"messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": "", "tool_calls": made},
        *({"role": "tool", "tool_call_id": i, "content": t, **name} for i, t in answers),
        {"role": "user", "content": "and?"}]}  # fmt: skip


@row("TR-24")
def test_row_24_results_stand_right_after_their_calls(client: str, upstream: str) -> None:
    body = sent(client, reversed_results(client), upstream)
    kinds = [type(held).__name__ for turn in told(upstream, body).messages for held in turn.parts]
    assert ["Text", *["ToolCall"] * 2, *["ToolResult"] * 2, "Text"] == kinds
    if upstream == A:
        _, _, last = body["messages"]
        assert ["1", "2"] == [block.get("content") for block in last["content"][:2]]
    if upstream in (C, L):
        assert ["tool", "tool", "user"] == [turn["role"] for turn in body["messages"][2:]]


@row("TR-24", clients=(R, A))
def test_row_24_whatever_stood_between_them(client: str, upstream: str) -> None:
    given = reversed_results(client)
    if client == R:  # said while the tools ran
        *calls, first, second, word = given["input"]
        given = {"input": [*calls, word, first, second]}
    else:  # the results of a step in two turns
        *calls, last = given["messages"]
        word, first, second = last["content"]
        parted = [{"role": "user", "content": held} for held in ([first, word], [second])]
        given = {"messages": [*calls, *parted]}
    body = sent(client, given, upstream)
    parts = [held for turn in told(upstream, body).messages for held in turn.parts]
    expected = ["Text", *["ToolCall"] * 2, *["ToolResult"] * 2, "Text"]
    assert expected == [type(held).__name__ for held in parts]
    assert ["1", "2"] == [text_of(held.parts) for held in parts if isinstance(held, ToolResult)]


@row("TR-25")
def test_row_25_results_of_one_step_are_one_content(client: str, upstream: str) -> None:
    calls, results, *_ = sent(client, reversed_results(client), upstream)["contents"][1:]
    assert ("model", "user") == (calls["role"], results["role"])
    given = [held["functionResponse"] for held in results["parts"] if "functionResponse" in held]
    found = [(result["name"], result["response"]) for result in given]
    if client == G:  # as its client said it
        found.reverse()
    assert [("look", {"result": "1"}), ("look", {"result": "2"})] == found


@row("TR-26")
def test_row_26_an_answer_that_nobody_kept_is_not_ignored(client: str, upstream: str) -> None:
    """With a store the engine expands it: tests/clients/test_responses.py."""
    with pytest.raises(RequestError, match="previous_response_id") as caught:
        sent(client, {"previous_response_id": "resp_1"}, upstream)
    assert "unsupported" == caught.value.kind


# ---- thinking and its signatures ----


def signed(origin: str, signature: str = "EqQC") -> list[Event]:
    """An answer that thinks, signs it, and calls."""
    return [
        *thought(0, "hm")[:-1], SignatureDelta(0, signature), Close(0),
        *called(1, "call_a", "{}"), TOOLS,
    ]  # fmt: skip


def next_request(client: str, upstream: str, events: list[Event]) -> dict[str, Any]:
    """What a client asks next after an upstream's whole answer."""
    data = whole(upstream, events)
    if upstream == G:
        data = dumps(part({"functionCall": {"name": "look", "args": {}},
                           "thoughtSignature": "EqQC"}, finish="STOP"))  # fmt: skip
    return goes_on(client, answered(upstream, data, client, stream=False).data)


@row("TR-27")
def test_row_27_a_signature_comes_home_through_every_client(client: str, upstream: str) -> None:
    body = next_request(client, upstream, [])
    written = write(DIALECTS[upstream], parsed(client, body), "gemini-3-pro", PROFILE).body
    contents: Any = written["contents"]
    (made,) = [held for held in contents[1]["parts"] if "functionCall" in held]
    # Ollama's clients have no place for it: the engine remembers it, or says that it is lost.
    assert (SENTINEL if client == L else "EqQC") == made["thoughtSignature"]


@row("TR-27")
def test_row_27_and_goes_to_nobody_else(client: str, upstream: str) -> None:
    body = next_request(client, upstream, [])
    for other in {C, R, A, L} - {client}:
        target = dumps(sent(client, body, other))
        assert b"EqQC" not in target
        assert b"penstock" not in target


SCHEMA_FORM = Output(format="schema", schema={"type": "object"}, schema_name="place")
BY_TOOL = Profile(json_schema="tool")


@row("TR-28")
@pytest.mark.parametrize("stream", [False, True])
def test_row_28_a_schema_by_a_forced_tool_is_answered_in_text(
    client: str, upstream: str, stream: bool
) -> None:
    request = parsed(client, asks(client, out=SCHEMA_FORM))
    written = write(DIALECTS[upstream], request, "up", BY_TOOL)
    found = told(upstream, written.body)
    (tool,) = found.tools
    assert found.tool_choice is not None
    assert ("named", [tool.name]) == (found.tool_choice.mode, found.tool_choice.names)
    assert found.out.format is None
    events: list[Event] = [*called(0, "t", '{"city"', ':"Rom"}', name=tool.name), TOOLS]
    data = said(upstream, events) if stream else whole(upstream, events)
    reply = answered(upstream, data, client, written=written, stream=stream).reply
    assert ({"city": "Rom"}, "stop", []) == (json.loads(reply.text), reply.finish, reply.calls)


@row("TR-28")
def test_row_28_not_beside_thinking_or_other_tools(client: str, upstream: str) -> None:
    thinking = asks(client, out=SCHEMA_FORM, think=Think("on", "high"))
    found = told(upstream, sent(client, thinking, upstream, BY_TOOL))
    assert ([], None) == (found.tools, found.tool_choice)
    with_tools = asks(client, out=SCHEMA_FORM, tools=[LOOK])
    found = told(upstream, sent(client, with_tools, upstream, BY_TOOL))
    assert ["look"] == [tool.name for tool in found.tools]
    assert "JSON Schema" in "".join(m.text for m in found.messages if m.role == "system")


BUDGET = {"think": Think("on", budget=2048, show=True), "out": Output(max_tokens=4000)}


@row("TR-29")
def test_row_29_thinking_stands_before_its_calls(client: str, upstream: str) -> None:
    body = {**asks(client, **BUDGET), **next_request(client, upstream, signed(upstream, "EqQB"))}
    found = sent(client, body, upstream, Profile(thinking="budget"))
    first, *rest = found["messages"][1]["content"]
    if client in (C, L):  # they have no place for the signature: the engine remembers it
        assert ("tool_use", [], False) == (first["type"], rest, "thinking" in found)
    else:
        assert ("thinking", "EqQB") == (first["type"], first["signature"])
        assert (["tool_use"], True) == ([block["type"] for block in rest], "thinking" in found)


@row("TR-29")
def test_row_29_where_it_is_another_s_it_goes_and_thinking_with_it(
    client: str, upstream: str
) -> None:
    body = {**asks(client, **BUDGET), **next_request(client, G, [])}
    found = sent(client, body, upstream, Profile(thinking="budget"))
    assert ["tool_use"] == [block["type"] for block in found["messages"][1]["content"]]
    assert "thinking" not in found


REPAIRED = "transforms: [repair_reasoning]\nprofile: { unsigned_thinking: send }\n"


@row("TR-30")
async def test_row_30_calls_without_reasoning_get_some(client: str, upstream: str) -> None:
    data = said(upstream, [*text(0, "a"), STOP])
    _, requests = await exchanged(
        upstream, Say(data), client, body=one_call(client), route=route_to(upstream, REPAIRED)
    )
    body: Any = loads(requests[0].body)
    turn = body["messages"][1]
    if upstream == C:
        assert " " == turn["reasoning_content"]
    else:
        assert {"type": "thinking", "thinking": " ", "signature": ""} == turn["content"][0]


@row("TR-45")
def test_row_45_redacted_thinking_goes_round_and_to_nobody_else(client: str, upstream: str) -> None:
    hidden = Reasoning(encrypted="EmwK", origin=A)
    events: list[Event] = [Open(0, hidden), Close(0), *called(1, "call_a", "{}"), TOOLS]
    body = next_request(client, A, events)
    found = sent(client, body, upstream)
    carried = upstream == A and client in (A, R, G)
    assert carried == (b"EmwK" in dumps(found))
    if carried:
        assert {"type": "redacted_thinking", "data": "EmwK"} == found["messages"][1]["content"][0]


@row("TR-46")
def test_row_46_what_only_a_store_knows_stays_behind(client: str, upstream: str) -> None:
    bare = {"type": "reasoning", "id": "rs_1", "summary": []}
    sealed = {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gAAA"}
    answer = {"type": "message", "role": "assistant", "id": "msg_1",
              "content": [{"type": "output_text", "text": "a"}]}  # fmt: skip
    items = [{"role": "user", "content": "go"}, bare, {"type": "item_reference", "id": "rs_1"},
             sealed, answer, {"role": "user", "content": "on"}]  # fmt: skip
    found = dumps(sent(client, {"input": items}, upstream))
    assert b"rs_1" not in found
    assert b"msg_1" not in found
    assert (b"gAAA" in found) is (upstream == R)


# ---- the system's words ----


def with_late_system(client: str) -> dict[str, Any]:
    turns = [{"role": "user", "content": "first"}, {"role": "system", "content": "be brief"},
             {"role": "user", "content": "last"}]  # fmt: skip
    return {"input" if client == R else "messages": turns}


@row("TR-31")
@pytest.mark.parametrize("later", ["as_sent", "user", "lift"])
def test_row_31_system_messages_in_the_middle(client: str, upstream: str, later: Any) -> None:
    body = sent(client, with_late_system(client), upstream, Profile(later_system=later))
    found = told(upstream, body).messages
    system = [turn.text for turn in found if turn.role in ("system", "developer")]
    words = "".join(turn.text for turn in found)
    places = [words.index(word) for word in ("first", "be brief", "last")]
    if later == "lift":
        assert (["be brief"], 0) == (system, places[1])
        return
    assert sorted(places) == places
    kept = later == "as_sent" and (upstream in (C, R, L) or client == upstream)
    assert ["be brief"] * kept == system


@row("TR-36")
def test_row_36_the_billing_line_goes_to_its_own_upstream_only(client: str, upstream: str) -> None:
    lines = [{"type": "text", "text": "x-anthropic-billing-header: cc_version=1; cch=abc"},
             {"type": "text", "text": "You are brief."}]  # fmt: skip
    body = {"system": lines, "messages": [{"role": "user", "content": "a"}]}
    found = dumps(sent(client, body, upstream))
    assert b"billing" not in found
    assert b"You are brief." in found
    assert b"prompt_cache_key" not in found
    assert lines == sent(client, body, client)["system"]


# ---- dials, limits, flags ----


@row("TR-32")
def test_row_32_sampling_that_a_model_refuses(client: str, upstream: str) -> None:
    request: list[Any] = []
    profile = Profile(sampling_refused=["temperature", "top_p"])
    asked = asks(client, sampling=Sampling(temperature=0.5, top_p=0.9))
    assert b"0.5" in dumps(asked)
    body = dumps(sent(client, asked, upstream, profile, request=request))
    assert b"0.5" not in body
    assert b"0.9" not in body
    assert ["temperature", "top_p"] == request[0].dropped


@row("TR-33")
def test_row_33_fields_go_as_far_as_their_flags(client: str, upstream: str) -> None:
    body = {"context_management": {"edits": []}, "messages": [{"role": "user", "content": "a"}]}
    for betas, goes in ((None, True), ([], False), (["context-management-*"], True)):
        request: list[Any] = []
        found = sent(client, body, upstream, Profile(betas=betas), request=request)
        assert (goes and upstream == client) == ("context_management" in found)
        assert ("context_management" in found) != ("context_management" in request[0].dropped)


@row("TR-42")
def test_row_42_thinking_gives_way_to_a_forced_call(client: str, upstream: str) -> None:
    for mode, thinks in (("required", False), ("auto", True)):
        choice: Any = ToolChoice(mode)  # type: ignore[arg-type]
        body = asks(client, tools=[LOOK], tool_choice=choice, think=Think("on", "high"))
        assert thinks == ("thinking" in sent(client, body, upstream))


@row("TR-42")
def test_row_42_thinking_fits_into_the_limit(client: str, upstream: str) -> None:
    body = asks(client, think=Think("on", "high"), out=Output(max_tokens=2000))
    found = sent(client, body, upstream, Profile(thinking="budget"))
    assert 1024 <= found["thinking"]["budget_tokens"] < found["max_tokens"]


@row("TR-43")
def test_row_43_the_output_limit_has_its_bound(client: str, upstream: str) -> None:
    asked = asks(client, out=Output(max_tokens=900))
    assert 900 == told(upstream, sent(client, asked, upstream)).out.max_tokens
    bound = Profile(max_output=500, max_tokens_field="max_completion_tokens")
    found = sent(client, asked, upstream, bound)
    assert 500 == told(upstream, found).out.max_tokens
    if upstream == C:
        assert (500, False) == (found["max_completion_tokens"], "max_tokens" in found)


@row("TR-43", upstreams=(A,))
def test_row_43_where_one_is_due_it_has_a_default(client: str, upstream: str) -> None:
    asked = asks(client)
    asked.pop("max_tokens", None)
    if client == A:  # it has to say one itself
        asked["max_tokens"] = 8192
    assert 8192 == sent(client, asked, upstream)["max_tokens"]
    if client != A:
        assert 64000 == sent(client, asked, upstream, Profile(max_output=64000))["max_tokens"]


# ---- turns ----

TWICE: dict[str, Any] = {
    C: {"messages": [
        {"role": "user", "content": "a"}, {"role": "user", "content": "b"},
        {"role": "assistant", "content": "c", "reasoning_content": "hm"},
        {"role": "assistant", "content": "d"}, {"role": "user", "content": "e"}]},
    R: {"input": [{"role": r, "content": t} for r, t in (
        ("user", "a"), ("user", "b"), ("assistant", "c"), ("assistant", "d"), ("user", "e"))]},
    A: {"messages": [{"role": r, "content": t} for r, t in (
        ("user", "a"), ("user", "b"), ("assistant", "c"), ("assistant", "d"), ("user", "e"))]},
    G: {"contents": [{"role": r, "parts": [{"text": t}]} for r, t in (
        ("user", "a"), ("user", "b"), ("model", "c"), ("model", "d"), ("user", "e"))]},
    L: {"messages": [
        {"role": "user", "content": "a"}, {"role": "user", "content": "b"},
        {"role": "assistant", "content": "c", "thinking": "hm"},
        {"role": "assistant", "content": "d"}, {"role": "user", "content": "e"}]},
}  # fmt: skip


@row("TR-44")
def test_row_44_turns_alternate_where_they_must_and_keep_their_thinking(
    client: str, upstream: str
) -> None:
    body = sent(client, TWICE[client], upstream, Profile(alternate=True, unsigned_thinking="send"))
    found = told(upstream, body)
    turns = [(turn.role, turn.text) for turn in found.messages]
    if client == upstream == R:  # items of a turn stay items
        turns[1:3] = [("assistant", turns[1][1] + turns[2][1])]
    assert [("user", "a\n\nb"), ("assistant", "c\n\nd"), ("user", "e")] == turns
    if client in (C, L) and upstream in (C, L, A):
        assert ["hm"] == [thought.text for thought in parts_of(found, Reasoning)]


@row("TR-44", clients=(C,))
@pytest.mark.parametrize("empty", [None, [], ""])
def test_row_44_empty_content_beside_calls_is_nothing(
    client: str, upstream: str, empty: Any
) -> None:
    body = one_call(client)
    body["messages"][1]["content"] = empty
    found = told(upstream, sent(client, body, upstream))
    kinds = [type(part) for part in found.messages[1].parts if part != Text("")]
    assert [ToolCall] == kinds


EMPTIES: dict[str, dict[str, Any]] = {
    C: {"messages": [
        {"role": "user", "content": [{"type": "text", "text": ""}, {"type": "text", "text": "a"}]},
        {"role": "assistant", "content": ""}, {"role": "user", "content": "b"},
        {"role": "assistant", "content": "c \n"}]},
    R: {"input": [
        {"role": "user", "content": [{"type": "input_text", "text": ""},
                                     {"type": "input_text", "text": "a"}]},
        {"role": "assistant", "content": ""}, {"role": "user", "content": "b"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "c \n"}]}]},
    A: {"messages": [
        {"role": "user", "content": [
            {"type": "text", "text": "a"},
            {"type": "text", "text": "", "cache_control": {"type": "ephemeral"}}]},
        {"role": "assistant", "content": [{"type": "text", "text": " "}]},
        {"role": "user", "content": [{"type": "text", "text": "b", "cache_control": None}]},
        {"role": "assistant", "content": "c \n"}]},
    G: {"contents": [
        {"role": "user", "parts": [{"text": ""}, {"text": "a"}]},
        {"role": "model", "parts": [{"text": ""}]}, {"role": "user", "parts": [{"text": "b"}]},
        {"role": "model", "parts": [{"text": "c \n"}]}]},
    L: {"messages": [
        {"role": "user", "content": ""}, {"role": "user", "content": "a"},
        {"role": "assistant", "content": ""}, {"role": "user", "content": "b"},
        {"role": "assistant", "content": "c \n"}]},
}  # fmt: skip


@row("TR-34")
def test_row_34_no_empty_text_reaches_messages(client: str, upstream: str) -> None:
    found = sent(client, EMPTIES[client], upstream)["messages"]
    assert b'"text":""' not in dumps(found)
    assert b'"text":" "' not in dumps(found)
    assert b"null" not in dumps(found)
    last = found[-1]["content"]
    assert "c" == (last if isinstance(last, str) else last[-1]["text"])
    if client == A:  # the mark moves to what is not empty
        marked = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}
        assert marked in found[0]["content"]


MARKED: dict[str, dict[str, Any]] = {
    A: {"messages": [{"role": "user", "content": [
        {"type": "text", "text": "long", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "text", "text": "short"}]}], "metadata": {"user_id": "u"}},
    C: {"messages": [{"role": "user", "content": [
        {"type": "text", "text": "long",
         "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}},
        {"type": "text", "text": "short"}]}], "user": "u"},
    R: {"input": [{"role": "user", "content": [
        {"type": "input_text", "text": "long",
         "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}},
        {"type": "input_text", "text": "short"}]}], "user": "u"},
}  # fmt: skip


@row("TR-35")
def test_row_35_marks_of_the_cache_are_carried(client: str, upstream: str) -> None:
    body = sent(client, MARKED[client], upstream, Profile(cache_marks="send"))
    (turn,) = body["input" if upstream == R else "messages"]
    long, short = turn["content"]
    due: tuple[str, Any] = (
        ("cache_control", {"type": "ephemeral", "ttl": "1h"})
        if upstream == A
        else ("prompt_cache_breakpoint", {"mode": "explicit", "ttl": "12h"})
    )
    assert ("long", due[1]) == (long["text"], long[due[0]])
    assert due[0] not in short


@row("TR-35", clients=(A,))
def test_row_35_results_beside_a_mark_stay_results(client: str, upstream: str) -> None:
    results = one_call(A)
    results["messages"][-1]["content"].append(MARKED[A]["messages"][0]["content"][0])
    found = told(upstream, sent(A, results, upstream, Profile(cache_marks="send")))
    (result,) = parts_of(found, ToolResult)
    assert "long" not in result.text


@row("TR-35")
def test_row_35_and_nobody_s_name_becomes_a_cache_key(client: str, upstream: str) -> None:
    body = sent(client, MARKED[client], upstream)
    assert "prompt_cache_key" not in body
    if client != upstream:
        assert not {"user", "safety_identifier", "metadata"} & set(body)
        assert b"cache" not in dumps(body)


# ---- tools ----


@row("TR-37")
@pytest.mark.parametrize("ident", ["call_abc|fc_1", "functions.look:0", "x" * 80])
def test_row_37_ids_are_the_same_in_call_and_result(client: str, upstream: str, ident: str) -> None:
    for profile, form in (
        (PROFILE, {A: "[a-zA-Z0-9_-]{1,64}", C: ".{1,40}", R: ".{1,64}", G: ".+"}[upstream]),
        (Profile(tools=ToolProfile(id_pattern=re.compile("[a-zA-Z0-9]{9}"), id_max=9)),
         "[a-zA-Z0-9]{9}"),
    ):  # fmt: skip
        found = told(upstream, sent(client, one_call(client, ident), upstream, profile))
        (made,), (result,) = parts_of(found, ToolCall), parts_of(found, ToolResult)
        assert made.id == result.call_id
        if client != upstream or profile is not PROFILE:
            assert re.fullmatch(form, made.id)


SHORT = Profile(tools=ToolProfile(name_pattern=re.compile("[a-zA-Z0-9_-]+"), name_max=64))


@row("TR-38")
def test_row_38_long_and_dotted_names_come_back(client: str, upstream: str) -> None:
    name = "mcp.server/look." + "x" * 70
    turn = Message("assistant", [ToolCall("a", name, "{}")])
    result = Message("tool", [ToolResult("a", [Text("1")], name=name)])
    body = asks(client, GO, turn, result, tools=[Tool(name, schema={"type": "object"})],
                tool_choice=ToolChoice("named", [name]))  # fmt: skip
    written = write(DIALECTS[upstream], parsed(client, body), "up", SHORT)
    found = told(upstream, written.body)
    (tool,), (made,) = found.tools, parts_of(found, ToolCall)
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,55}_[0-9a-f]{8}", tool.name)
    assert tool.name == made.name
    if L not in (client, upstream):
        assert found.tool_choice is not None
        assert [tool.name] == found.tool_choice.names
    data = said(upstream, [*called(0, "t", "{}", name=tool.name), TOOLS])
    assert [name] == [c.name for c in answered(upstream, data, client, written=written).reply.calls]


TOP = {"anyOf": [{"properties": {"a": {"const": 1}}}, {"$ref": "#/$defs/p"}],
       "$defs": {"p": {"type": ["object", "null"]}}}  # fmt: skip


def schema_of(client: str, upstream: str, schema: Any, profile: Profile) -> Any:
    body = asks(client, tools=[Tool("look", schema=schema)])
    return told(upstream, sent(client, body, upstream, profile)).tools[0].schema


@row("TR-39", upstreams=(A,))
def test_row_39_messages_gets_an_object(client: str, upstream: str) -> None:
    schema = schema_of(client, upstream, TOP, Profile(tool_schemas="anthropic"))
    assert "object" == schema["type"]
    assert not {"anyOf", "$ref"} & set(schema)
    bare = schema_of(client, upstream, {"type": "object", "properties": {}}, PROFILE)
    assert {"type": "object", "properties": {}} == bare


@row("TR-39", upstreams=(G,))
def test_row_39_gemini_gets_no_word_it_does_not_know(client: str, upstream: str) -> None:
    schema = dumps(schema_of(client, upstream, TOP, Profile(tool_schemas="gemini")))
    assert not re.search(rb'"(const|\$ref|\$defs)"|"type":\[', schema)


@row("TR-39", upstreams=(C, R, L))
def test_row_39_strict_schemas_are_closed_where_that_is_wanted(client: str, upstream: str) -> None:
    tool = Tool("look", schema={"type": "object", "properties": {"a": {}}}, strict=True)
    body = asks(client, tools=[tool])
    made = sent(client, body, upstream, Profile(tool_schemas="openai_strict"))["tools"][0]
    schema = made.get("parameters") or made["function"]["parameters"]
    if client in (G, L):  # they cannot ask for it
        assert "additionalProperties" not in schema
    else:
        assert schema["additionalProperties"] is False


JPEG = "/9j/4AAQ"
WRONG = [("image/jpg", JPEG), ("image/gif", PNG)]
IMAGES: dict[str, dict[str, Any]] = {
    C: {"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": f"data:{m};base64,{d}"}} for m, d in WRONG]}]},
    R: {"input": [{"role": "user", "content": [
        {"type": "input_image", "image_url": f"data:{m};base64,{d}"} for m, d in WRONG]}]},
    A: {"messages": [{"role": "user", "content": [
        {"type": "image", "source": {"type": "base64", "media_type": m, "data": d}}
        for m, d in WRONG]}]},
    G: {"contents": [{"role": "user", "parts": [
        {"inlineData": {"mimeType": m, "data": d}} for m, d in WRONG]}]},
    L: {"messages": [{"role": "user", "content": "", "images": [d for _, d in WRONG]}]},
}  # fmt: skip


@row("TR-40")
def test_row_40_images_have_the_type_their_bytes_show(client: str, upstream: str) -> None:
    pictures = parts_of(told(upstream, sent(client, IMAGES[client], upstream)), Media)
    assert [("image/jpeg", JPEG), ("image/png", PNG)] == [(p.mime, p.data) for p in pictures]


NO_TOOLS: dict[str, list[dict[str, Any]]] = {
    C: [{"tools": [], "tool_choice": "auto"}, {"tool_choice": "required"}],
    R: [{"tools": [], "tool_choice": "auto"}, {"tool_choice": "required"}],
    A: [{"tools": [], "tool_choice": {"type": "auto"}}, {"tool_choice": {"type": "any"}}],
    G: [{"tools": [], "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}}},
        {"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}],
    L: [{"tools": []}],
}  # fmt: skip


@row("TR-41")
def test_row_41_no_choice_without_tools(client: str, upstream: str) -> None:
    for fields in NO_TOOLS[client]:
        body = sent(client, fields, upstream)
        assert not {"tool_choice", "toolConfig"} & set(body)
        assert not body.get("tools")


@row("TR-41")
def test_row_41_no_calls_in_the_history_without_their_tools(client: str, upstream: str) -> None:
    found = told(upstream, sent(client, one_call(client), upstream))
    stub = upstream == A and client != A  # it refuses the one without the other
    assert ["look"] * stub == [tool.name for tool in found.tools]
    assert 1 == len(parts_of(found, ToolCall))
