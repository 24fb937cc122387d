"""repair_reasoning: no turn without thinking where the upstream wants it back."""

from pathlib import Path
from typing import Any

import pytest

from engine.route.transforms import instantiate, load
from engine.transform import ChatRequest, Context, Message, Part, Reasoning, Text, ToolCall
from tests.kit import Say, World, route_of, sse

PATH = Path(__file__).parents[2] / "transforms" / "repair_reasoning.py"
SHIPPED = load("repair_reasoning", PATH.read_bytes(), "transforms/repair_reasoning.py")

CALL = ToolCall("c1", "look", "{}")
SPACE = Reasoning(" ")


def turn(*parts: Part | str) -> Message:
    return Message("assistant", [Text(p) if isinstance(p, str) else p for p in parts])


def repair(
    *turns: Message,
    recalled: dict[str, str] | None = None,
    previous: str | None = None,
    **options: Any,
) -> list[Message]:
    assert SHIPPED.options is not None
    context = Context("route", previous=previous, recalled=recalled or {})
    transform = instantiate(SHIPPED, SHIPPED.options(**options), context)
    shaped: ChatRequest = transform.shape(ChatRequest("openai_chat", "m", list(turns)))
    return shaped.messages


def test_what_it_says_of_itself() -> None:
    assert (("reasoning_missing",), True) == (SHIPPED.retries, SHIPPED.recalls)


def test_a_turn_with_calls_and_no_thinking_gets_the_placeholder() -> None:
    assert [turn(SPACE, CALL)] == repair(turn(CALL))
    assert [turn(Reasoning("…"), CALL)] == repair(turn(Reasoning(""), CALL), placeholder="…")


def test_what_the_client_sent_stands() -> None:
    sent = turn(Reasoning("hm"), "so", CALL)
    assert [sent] == repair(sent, recalled={"c1": "other"})
    signed = turn(Reasoning("", signature="EqQB"), CALL)
    assert [signed] == repair(signed)


def test_thinking_stands_before_all_else() -> None:
    assert [turn(Reasoning("hm"), "so", CALL)] == repair(turn("so", Reasoning("hm"), CALL))


def test_what_the_engine_remembers_comes_before_the_placeholder() -> None:
    assert [turn(Reasoning("hm"), CALL)] == repair(turn(CALL), recalled={"c1": "hm"})


@pytest.mark.parametrize("tag", ["think", "thinking"])
def test_thinking_in_tags_is_moved(tag: str) -> None:
    given = turn(f" <{tag}>first\nthis</{tag}>\n\nthen", CALL)
    assert [turn(Reasoning("first\nthis"), "then", CALL)] == repair(given)
    assert [turn(Reasoning("a"), CALL)] == repair(turn(f"<{tag}>a</{tag}>", CALL))
    late = turn(f"then <{tag}>a</{tag}>", CALL)
    assert [turn(SPACE, *late.parts)] == repair(late)


def test_turns_without_calls_and_other_roles_are_left_alone() -> None:
    turns = [Message("user", [Text("a")]), turn("b")]
    assert turns == repair(*turns)


def test_all_turns_where_the_upstream_wants_them() -> None:
    assert [turn(SPACE, "b")] == repair(turn("b"), require="all_turns")


def test_once_the_upstream_said_that_some_is_missing_all_get_it() -> None:
    assert [turn(SPACE, "b")] == repair(turn("b"), previous="reasoning_missing")


def test_never_takes_thinking_out() -> None:
    assert [turn("b", CALL)] == repair(turn(Reasoning("hm"), "b", CALL), require="never")


def test_the_field_can_be_told() -> None:
    (message,) = repair(turn(CALL), field="reasoning")
    assert {"field": "reasoning"} == message.parts[0].extras  # type: ignore[union-attr]


def test_an_empty_placeholder_is_a_mistake() -> None:
    assert SHIPPED.options is not None
    with pytest.raises(ValueError, match="placeholder"):
        SHIPPED.options(placeholder="")


# ---- in a route ----

FILLER = "[Continuing previous tool execution analysis...]"
ROUTE = """
version: 1
extends: %s
base_url: https://a.example/v1
models: [{ id: kimi-k2.5, upstream: moonshotai/kimi-k2.5 }]
profile:
  unsigned_thinking: send
  null_content: empty
  thinking: as_sent
  thinking_sampling: { temperature: 1 }
  thinking_min_output: 16000
  forward_extras: [thinking]
transforms:
  - repair_reasoning: { placeholder: "[Continuing previous tool execution analysis...]" }
stream: { format: sse, use: always }
errors:
  rules:
    - { status: 400, body: "/reasoning_content is missing/", as: reasoning_missing }
    - inherit
retry: { attempts: 2, for: [reasoning_missing], backoff: { jitter: none } }
"""
STREAM = {"content-type": "text/event-stream"}
DONE = Say(
    sse({"choices": [{"index": 0, "delta": {"content": "ok"}, "finish_reason": "stop"}]}),
    headers=STREAM,
)
MISSING = Say(
    b'{"error":{"message":"thinking is enabled but reasoning_content is missing in assistant tool '
    b'call message at index 1","type":"invalid_request_error"}}', 400,
)  # fmt: skip


def chat_history(content: str | None) -> list[dict[str, Any]]:
    call = {"id": "look:0", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    return [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": content, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "look:0", "content": "seen"},
    ]


@pytest.mark.rows("KT-07", "KT-15")
@pytest.mark.parametrize(
    ("content", "thought", "left"),
    [
        (None, FILLER, ""),
        ("so", FILLER, "so"),
        ("<thinking>hm</thinking>so", "hm", "so"),
        ("<thinking>hm</thinking>", "hm", ""),
    ],
)
async def test_a_chat_history_without_thinking(
    content: str | None, thought: str, left: str
) -> None:
    async with World([DONE]) as world:
        sink = await world.ask(route_of(ROUTE % "openai"), chat_history(content))
        sent = world.upstream.bodies[0]
    assert "ok" == sink.text
    assert "moonshotai/kimi-k2.5" == sent["model"]
    assert (thought, left) == (
        sent["messages"][1]["reasoning_content"], sent["messages"][1]["content"]
    )  # fmt: skip


MESSAGES_DONE = Say(
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","content":[],'
    b'"usage":{"input_tokens":1}}}\n\n'
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
    b'"content_block":{"type":"text","text":"ok"}}\n\n'
    b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},'
    b'"usage":{"output_tokens":1}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n',
    headers=STREAM,
)  # fmt: skip
TOOLS = [{"name": "look", "input_schema": {"type": "object"}}]


def messages_history() -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": "go"},
        {"role": "assistant",
         "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}]},
        {"role": "user",
         "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "seen"}]},
    ]  # fmt: skip


@pytest.mark.rows("KT-08")
async def test_a_messages_history_without_thinking() -> None:
    async with World([MESSAGES_DONE]) as world:
        sink = await world.ask(
            route_of(ROUTE % "anthropic"), messages_history(), dialect="anthropic_messages",
            max_tokens=99, tools=TOOLS,
        )  # fmt: skip
        sent = world.upstream.bodies[0]
    assert "ok" == sink.text
    wanted = {"type": "thinking", "thinking": FILLER, "signature": ""}
    assert [wanted, messages_history()[1]["content"][0]] == sent["messages"][1]["content"]


@pytest.mark.rows("KT-09", "KT-10")
@pytest.mark.parametrize("preset", ["openai", "anthropic"])
@pytest.mark.parametrize(
    ("dialect", "thinking"),
    [
        ("openai_chat", {"type": "enabled"}),
        ("anthropic_messages", {"type": "enabled", "budget_tokens": 2048}),
    ],
)
async def test_thinking_has_room_and_its_temperature_and_one_whole_answer(
    preset: str, dialect: str, thinking: dict[str, Any]
) -> None:
    async with World([DONE if preset == "openai" else MESSAGES_DONE]) as world:
        sink = await world.ask(
            route_of((ROUTE % preset).replace("profile:\n", "profile:\n  sampling: all\n")),
            dialect=dialect, thinking=thinking, max_tokens=100, temperature=0.2,
        )  # fmt: skip
        sent = world.upstream.bodies[0]
    assert (False, "ok") == (sink.stream, sink.text)
    assert (True, 16000) == (sent["stream"], sent["max_tokens"])
    assert 1 == sent["temperature"]


@pytest.mark.parametrize("attempts", [1, 2])
async def test_on_that_very_refusal_it_is_tried_once_more_with_thinking_everywhere(
    attempts: int,
) -> None:
    turns = [*chat_history("so"), {"role": "assistant", "content": "done"},
             {"role": "user", "content": "more"}]  # fmt: skip
    text = (ROUTE % "openai").replace("attempts: 2", f"attempts: {attempts}")
    async with World([MISSING, DONE]) as world:
        sink = await world.ask(route_of(text), turns)
        bodies = world.upstream.bodies
    thoughts = [body["messages"][3].get("reasoning_content") for body in bodies]
    assert [None, FILLER][:attempts] == thoughts
    if attempts == 1:
        assert sink.error is not None
        assert ("reasoning_missing", 400) == (sink.error.cls, sink.error.status)


async def test_what_the_engine_handed_on_itself_comes_back() -> None:
    def called(thought: str) -> Say:
        call = {"index": 0, "id": "look:0", "function": {"name": "look", "arguments": '{"a": 1}'}}
        deltas = [{"reasoning_content": thought}, {"tool_calls": [call]}]
        chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
        end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
        return Say(sse(*chunks, end), headers=STREAM)

    tools = [{"type": "function", "function": {"name": "look"}}]
    turns = chat_history(None)
    turns[1]["tool_calls"][0]["function"]["arguments"] = '{ "a":1 }'  # written anew
    route = route_of(ROUTE % "openai")
    async with World([called("first the map"), DONE, DONE, DONE, DONE]) as world:
        await world.ask(route, "go", tools=tools, key="one")
        await world.ask(route, turns, tools=tools, key="one")
        await world.ask(route, turns, tools=tools, key="two")
        changed = [{"role": "user", "content": "else"}, *turns[1:]]
        await world.ask(route, changed, tools=tools, key="one")
        world.clock.move(3601)
        await world.ask(route, turns, tools=tools, key="one")
        told = [body["messages"][1]["reasoning_content"] for body in world.upstream.bodies[1:]]
    assert ["first the map", FILLER, FILLER, FILLER] == told
