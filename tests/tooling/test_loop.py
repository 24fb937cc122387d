"""The whole loop: a model calls tools, the engine runs them on real servers, the model answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.clients.text_stub import ROUTE as TEXT_ROUTE
from tests.clients.text_stub import TextStub, Turns, text_stub

from .stage import PLAIN, ROUTE, TIME, Stage, odd, stage, until
from .upstream import Heard, Say, calling

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]
ASK: Any = [{"role": "user", "content": "What time is it in Paris?"}]
SCHEMA: Any = {"type": "object", "properties": {}}
OWN: Any = {"type": "function", "function": {"name": "own", "parameters": SCHEMA}}
ECHO: Any = {"type": "function", "function": {"name": "echo", "parameters": SCHEMA}}


def route(servers: str, more: str = "") -> str:
    return ROUTE.replace("%SERVERS%", servers).replace("%MORE%", more)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def both(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Stage, TextStub]]:
    home = tmp_path_factory.mktemp("loop")
    servers = {"time": {"command": TIME}, "odd": {"command": odd(home)}}
    async with text_stub() as plain:
        text = TEXT_ROUTE.format(url=plain.url, style="xml") + "tools: { mcp: odd }\n"
        routes = {
            "m": route("time, odd"),
            "quiet": route("odd", ", show: none, max_rounds: 2").replace("[m]", "[quiet]"),
            "plain": text,
        }
        async with stage(home, servers, routes=routes) as on:
            yield on, plain


@pytest.fixture
def on(both: tuple[Stage, TextStub]) -> Stage:
    both[0].upstream.reset()
    return both[0]


@pytest.mark.rows("FL-60", "FL-61")
async def test_an_openai_client_sees_one_answer(on: Stage) -> None:
    on.upstream.script = calling("get_current_time", "Let me see. ", timezone="Europe/Paris")
    answer = await on.openai().chat.completions.create(model="m", messages=ASK)
    choice = answer.choices[0]
    assert "stop" == choice.finish_reason
    assert choice.message.tool_calls is None
    said = choice.message.content or ""
    assert said.startswith("Let me see. It says: ")
    assert "Europe/Paris" in said
    assert 2 == len(on.upstream.asked)
    assert {"get_current_time", "convert_time", "echo"} <= set(on.upstream.offered(0))
    thoughts = getattr(choice.message, "reasoning_content", "")
    assert thoughts.startswith("Calling get_current_time of time.\n")


async def test_usage_is_that_of_all_rounds(on: Stage) -> None:
    on.upstream.script = calling("echo", text="hi")
    answer = await on.openai().chat.completions.create(model="m", messages=ASK)
    assert answer.usage is not None
    assert (20, 10) == (answer.usage.prompt_tokens, answer.usage.completion_tokens)


async def test_text_streams_through_the_rounds_with_one_start_and_one_finish(on: Stage) -> None:
    on.upstream.script = calling("echo", "Let me see. ", text="hi")
    stream = await on.openai().chat.completions.create(model="m", messages=ASK, stream=True)
    chunks = [chunk async for chunk in stream]
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert "Let me see. It says: echo hi" == "".join(c.delta.content or "" for c in choices)
    assert ["stop"] == [c.finish_reason for c in choices if c.finish_reason]
    assert 1 == sum(c.delta.role == "assistant" for c in choices)
    assert not any(c.delta.tool_calls for c in choices)
    assert 1 == len({chunk.id for chunk in chunks})


async def test_an_anthropic_client_sees_the_calls_as_thinking(on: Stage) -> None:
    on.upstream.script = calling("echo", "Let me see. ", text="hi")
    async with on.anthropic().messages.stream(model="m", max_tokens=99, messages=ASK) as stream:
        message = await stream.get_final_message()
    assert "end_turn" == message.stop_reason
    assert ["text", "thinking", "text"] == [block.type for block in message.content]
    texts = [block.text for block in message.content if block.type == "text"]
    assert ["Let me see. ", "It says: echo hi"] == texts


async def test_what_is_not_shown_leaves_the_status_free(on: Stage) -> None:
    def script(heard: Heard) -> Say:
        return Say(status=400) if heard.results else Say(calls=(("echo", '{"text": "x"}'),))

    on.upstream.script = script
    answer = await on.session.post(
        f"{on.gateway.url}/v1/chat/completions",
        json={"model": "quiet", "messages": ASK, "stream": True},
        headers={"Authorization": f"Bearer {on.openai().api_key}"},
    )
    assert 400 == answer.status


async def test_results_stand_behind_their_calls(on: Stage) -> None:
    def script(heard: Heard) -> Say:
        if heard.results:
            return Say(" / ".join(heard.results))
        calls = tuple(("echo", json.dumps({"text": word})) for word in ("one", "two", "three"))
        return Say(calls=calls)

    on.upstream.script = script
    answer = await on.openai().chat.completions.create(model="m", messages=ASK)
    assert "echo one / echo two / echo three" == answer.choices[0].message.content
    roles = [message["role"] for message in on.upstream.asked[1]["messages"]]
    assert ["user", "assistant", "tool", "tool", "tool"] == roles


async def test_a_failing_tool_is_told_to_the_model(on: Stage) -> None:
    on.upstream.script = calling("fail")
    answer = await on.openai().chat.completions.create(model="m", messages=ASK)
    assert "It says: Error: Error executing tool fail" == answer.choices[0].message.content


async def test_arguments_that_are_no_object_are_told_to_the_model(on: Stage) -> None:
    def script(heard: Heard) -> Say:
        return Say(heard.results[0]) if heard.results else Say(calls=(("echo", "[1"),))

    on.upstream.script = script
    answer = await on.openai().chat.completions.create(model="m", messages=ASK)
    assert "Error: the arguments are not a JSON object" == answer.choices[0].message.content


async def test_a_clients_tool_keeps_its_name_and_its_calls(on: Stage) -> None:
    def script(heard: Heard) -> Say:
        if heard.results:
            return Say(" / ".join(heard.results))
        return Say(calls=(("echo", "{}"), ("odd__echo", '{"text": "x"}')))

    on.upstream.script = script
    chats = on.openai().chat.completions
    answer = await chats.create(model="m", messages=ASK, tools=[ECHO, OWN])
    choice = answer.choices[0]
    assert ["echo", "own"] == on.upstream.offered(0)[:2]
    assert "odd__echo" in on.upstream.offered(0)
    assert "tool_calls" == choice.finish_reason
    names = [call.function.name for call in choice.message.tool_calls or []]  # type: ignore[union-attr]
    assert ["echo"] == names
    assert 1 == len(on.upstream.asked)
    (call,) = choice.message.tool_calls or []
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "mine"}
    turns: list[Any] = [*ASK, choice.message, result]
    after = await chats.create(model="m", messages=turns, tools=[ECHO, OWN])
    assert "mine / echo x" == after.choices[0].message.content


async def test_what_is_kept_beside_a_call_is_one_client_s_and_one_conversation_s(
    on: Stage,
) -> None:
    def script(heard: Heard) -> Say:
        if heard.results:
            return Say(" / ".join(heard.results))
        return Say(calls=(("own", "{}"), ("echo", '{"text": "x"}')))

    on.upstream.script = script
    chats = on.openai().chat.completions
    answer = await chats.create(model="m", messages=ASK, tools=[OWN])
    (call,) = answer.choices[0].message.tool_calls or []
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "mine"}
    other: list[Any] = [{"role": "user", "content": "Another one."}]
    for asked, told in ((ASK, "mine / echo x"), (other, "mine")):
        turns: list[Any] = [*asked, answer.choices[0].message, result]
        after = await chats.create(model="m", messages=turns, tools=[OWN])
        assert told == after.choices[0].message.content


async def test_a_call_that_comes_again_in_another_conversation_brings_nothing_along(
    on: Stage,
) -> None:
    """Some upstreams number their calls anew in each conversation; so does this one."""
    calls: list[tuple[str, str]] = [("own", "{}"), ("echo", '{"text": "x"}')]

    def script(heard: Heard) -> Say:
        return Say(" / ".join(heard.results)) if heard.results else Say(calls=tuple(calls))

    on.upstream.script = script
    chats = on.openai().chat.completions
    for told in ("mine / echo x", "mine"):
        on.upstream.reset()
        answer = await chats.create(model="m", messages=ASK, tools=[OWN])
        (call,) = answer.choices[0].message.tool_calls or []
        result: Any = {"role": "tool", "tool_call_id": call.id, "content": "mine"}
        turns: list[Any] = [*ASK, answer.choices[0].message, result]
        after = await chats.create(model="m", messages=turns, tools=[OWN])
        assert told == after.choices[0].message.content
        del calls[1:]


async def test_a_clients_tool_may_be_called_after_ours(on: Stage) -> None:
    def script(heard: Heard) -> Say:
        return Say(calls=((("own", "{}") if heard.results else ("echo", '{"text": "x"}')),))

    on.upstream.script = script
    stream = await on.openai().chat.completions.create(
        model="m", messages=ASK, tools=[OWN], stream=True
    )
    chunks = [chunk async for chunk in stream]
    calls = [
        c for chunk in chunks if chunk.choices for c in chunk.choices[0].delta.tool_calls or []
    ]
    assert ["own"] == [call.function.name for call in calls if call.function and call.function.name]
    assert "tool_calls" == next(c.choices[0].finish_reason for c in reversed(chunks) if c.choices)


async def test_a_client_that_wants_no_calls_is_offered_none(on: Stage) -> None:
    on.upstream.script = lambda heard: Say("fine")
    await on.openai().chat.completions.create(
        model="m", messages=ASK, tools=[OWN], tool_choice="none"
    )
    assert ["own"] == on.upstream.offered(0)


async def test_after_the_last_round_the_model_has_to_answer(on: Stage) -> None:
    def script(heard: Heard) -> Say:
        if not heard.may_call:
            return Say("enough")
        return Say(calls=(("echo", '{"text": "x"}'),))

    on.upstream.script = script
    answer = await on.openai().chat.completions.create(model="quiet", messages=ASK)
    assert "enough" == answer.choices[0].message.content
    assert 3 == len(on.upstream.asked)


async def test_a_model_that_never_stops_calling_is_an_error(on: Stage) -> None:
    on.upstream.script = lambda heard: Say(calls=(("echo", '{"text": "x"}'),))
    answer = await on.session.post(
        f"{on.gateway.url}/v1/chat/completions",
        json={"model": "quiet", "messages": ASK},
        headers={"Authorization": f"Bearer {on.openai().api_key}"},
    )
    assert answer.status >= 500
    assert "still calls tools after 2 rounds" in await answer.text()


async def test_a_key_that_is_not_listed_never_runs_a_tool(on: Stage) -> None:
    on.upstream.script = lambda heard: Say(calls=(("echo", '{"text": "x"}'),))
    answer = await on.openai(PLAIN).chat.completions.create(model="m", messages=ASK)
    assert [] == on.upstream.offered(0)
    assert 1 == len(on.upstream.asked)
    assert "tool_calls" == answer.choices[0].finish_reason  # the model's own doing


async def test_upstreams_without_tools_may_use_them(both: tuple[Stage, TextStub]) -> None:
    on, plain = both

    def script(turns: Turns) -> str:
        last = turns[-1]["content"]
        if "<tool_result" in last:
            return "It says " + last.partition(">\n")[2].partition("\n<")[0]
        assert "echo" in turns[0]["content"]
        return 'One moment. <tool_call>{"name": "echo", "arguments": {"text": "hi"}}</tool_call>'

    plain.script = script
    stream = await on.openai().chat.completions.create(model="plain", messages=ASK, stream=True)
    chunks = [chunk async for chunk in stream]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert "One moment." in text
    assert text.endswith("It says echo hi")


async def test_a_call_is_one_line_of_the_log_and_counted(on: Stage) -> None:
    on.upstream.script = calling("echo", text="sensitive words")
    await on.openai().chat.completions.create(model="m", messages=ASK)
    await until(lambda: b'"received":20' in on.written.getvalue())
    line = (await on.lines("tool_call"))[-1]
    assert ("m", "odd", "echo", "ok") == tuple(
        line[name] for name in ("route", "server", "tool", "outcome")
    )
    assert 12 == len(line["client"])
    assert (27, 20) == (line["sent"], line["received"])
    assert b"sensitive words" not in on.written.getvalue()
    assert 'penstock_tool_calls_total{outcome="ok",route="m",server="odd"}' in await on.metrics()


async def test_a_server_does_not_see_the_gateways_environment(on: Stage) -> None:
    on.upstream.script = calling("secret_environment")
    await on.openai().chat.completions.create(model="m", messages=ASK)
    seen = set(on.upstream.heard[1].results[0].split())
    assert seen <= {"HOME", "LC_CTYPE", "LOGNAME", "PATH", "SHELL", "TERM", "USER"}


async def test_a_long_result_is_cut_and_says_so(on: Stage) -> None:
    on.upstream.script = calling("long")
    await on.openai().chat.completions.create(model="m", messages=ASK)
    told = on.upstream.heard[1].results[0]
    assert told.endswith(f"[{1_000_000 - 256 * 1024} characters left out]")
