"""The route zenmux-kimi in front of a service that refuses lost thinking, asked by SDKs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from tests.upstreams.front import HELLO, KEY, Front, front
from tests.upstreams.zenmux import CALL, Zenmux, running

MODEL = "kimi-k2.5"
TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
FILLER = "[Continuing previous tool execution analysis...]"


@asynccontextmanager
async def zenmux(home: Path, service: Zenmux, **more: Any) -> AsyncIterator[Front]:
    env = {"ZENMUX_API_KEY": "sk-zen-0001", **more.pop("env", {})}
    async with running(service) as url:
        env = {"MOONSHOT_BASE_URL": url, **env}
        async with front(home, "zenmux-kimi", env=env, **more) as made:
            yield made


@pytest.mark.rows("KT-02", "KT-04", "KT-06", "KT-10", "KT-15", "TB-1", "TB-2", "TB-4")
async def test_messages_streamed_and_not(tmp_path: Path) -> None:
    service = Zenmux()
    async with zenmux(tmp_path, service) as on:
        whole = await on.anthropic.messages.create(model=MODEL, max_tokens=99, messages=HELLO)
        async with on.anthropic.messages.stream(
            model=MODEL, max_tokens=99, messages=HELLO
        ) as stream:
            streamed = await stream.get_final_message()
        status, headers, raw = await on.raw(
            {"model": MODEL, "max_tokens": 9, "messages": HELLO}, "/v1/messages"
        )
        listed = [model.id async for model in on.openai.models.list()]
        health = await on.raw(None, "/health", "GET")
    for answer in (whole, streamed):
        assert [block.type for block in answer.content] == ["thinking", "text"]
        assert answer.stop_reason == "end_turn"
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (9, 21)
    assert {asked["model"] for asked in service.asked} == {"moonshotai/kimi-k2.5"}
    assert all(asked["stream"] for asked in service.asked)
    assert {head["anthropic-version"] for head in service.heads} == {"2023-06-01"}
    assert (status, headers["Content-Type"], raw[0]) == (200, "application/json", "{")
    assert {MODEL, "kimi-k2-thinking"} <= set(listed)
    assert (health[0], '"status":"ok"' in health[2].replace(" ", "")) == (200, True)


@pytest.mark.rows("KT-05", "KT-11", "TB-3")
async def test_chats_streamed_and_not(tmp_path: Path) -> None:
    service = Zenmux()
    async with zenmux(tmp_path, service) as on:
        whole = await on.openai.chat.completions.create(model=MODEL, messages=HELLO)
        stream = await on.openai.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
        deltas = [chunk.choices[0].delta async for chunk in stream]
    message = whole.choices[0].message
    assert (message.content, message.model_extra) == (
        "Good day.", {"reasoning_content": "They greet."},
    )  # fmt: skip
    assert "".join(delta.content or "" for delta in deltas) == "Good day."
    thoughts = [(delta.model_extra or {}).get("reasoning_content") or "" for delta in deltas]
    assert "".join(thoughts) == "They greet."


@pytest.mark.rows("KT-07", "KT-09", "TB-8")
@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_loop_of_a_client_that_loses_thinking(tmp_path: Path, stream: bool) -> None:
    service = Zenmux()
    turns: Any = [
        *HELLO,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    ]
    async with zenmux(tmp_path, service) as on:
        answer: Any = await on.openai.chat.completions.create(
            model=MODEL,
            messages=turns,
            tools=[TOOL],
            temperature=0.2,
            max_tokens=50,
            stream=stream,
            extra_body={"thinking": {"type": "enabled"}},
        )
        if stream:
            pieces = [chunk.choices[0].delta.content or "" async for chunk in answer]
            assert "".join(pieces) == "Good day."
        else:
            assert answer.choices[0].message.content == "Good day."
    (asked,) = service.asked
    assert asked["messages"][1]["content"][0]["thinking"] == FILLER
    assert "temperature" not in asked
    assert asked["max_tokens"] >= 16000


@pytest.mark.rows("KT-08", "KT-11", "TB-8")
async def test_what_was_thought_is_remembered_for_a_messages_client(tmp_path: Path) -> None:
    thought = {"type": "thinking", "thinking": "They ask for Oslo.", "signature": "kimi-2"}
    service = Zenmux(content=[thought, CALL])
    tool: Any = {"name": "weather", "input_schema": {"type": "object"}}
    async with zenmux(tmp_path, service) as on:
        first = await on.anthropic.messages.create(
            model=MODEL, max_tokens=99, messages=HELLO, tools=[tool]
        )
        call: Any = first.content[-1]
        service.content = [{"type": "text", "text": "Rain."}]
        turns: Any = [
            *HELLO,
            {"role": "assistant", "content": [{**CALL, "id": call.id}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": call.id, "content": "rain"},
            ]},
        ]  # fmt: skip
        second = await on.anthropic.messages.create(
            model=MODEL, max_tokens=99, messages=turns, tools=[tool]
        )
        stranger = await on.anthropic.messages.create(
            model=MODEL, max_tokens=99, tools=[tool],
            messages=[{"role": "user", "content": "Other"}, *turns[1:]],
        )  # fmt: skip
    assert [block.type for block in first.content] == ["thinking", "tool_use"]
    assert second.content[0].text == stranger.content[0].text == "Rain."  # type: ignore[union-attr]
    told = [asked["messages"][1]["content"][0]["thinking"] for asked in service.asked[1:]]
    assert told[0] in ("They ask for Oslo.", FILLER)
    assert told[1] == FILLER


@pytest.mark.rows("KT-01")
async def test_the_routes_key_comes_first_and_else_the_clients(tmp_path: Path) -> None:
    service = Zenmux(keys={"sk-zen-0001", KEY})
    async with zenmux(tmp_path, service) as on:
        await on.ask(MODEL)
    open_ = {"clients.keys": [], "clients.auth": "none"}
    async with zenmux(tmp_path, service, env={"ZENMUX_API_KEY": ""}, **open_) as on:
        await on.ask(MODEL)
        await on.anthropic.messages.create(model=MODEL, max_tokens=9, messages=HELLO)
        status, _, _ = await on.raw(
            {"model": MODEL, "messages": HELLO}, Authorization="Bearer sk-other-0002"
        )
    assert [head["x-api-key"] for head in service.heads] == [
        "sk-zen-0001", KEY, KEY, "sk-other-0002",
    ]  # fmt: skip
    assert status == 502
    assert not any("authorization" in head for head in service.heads)


@pytest.mark.rows("TB-5")
@pytest.mark.parametrize("stream", [False, True])
async def test_errors_keep_their_meaning_in_both_dialects(tmp_path: Path, stream: bool) -> None:
    refused = {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}}
    keys = {"ZENMUX_API_KEY": "sk-zen-0001,sk-zen-0002,sk-zen-0003,sk-zen-0004"}
    async with zenmux(tmp_path, Zenmux(next=[(429, refused)] * 3), env=keys) as on:
        with pytest.raises(openai.RateLimitError) as caught:
            await on.openai.chat.completions.create(model=MODEL, messages=HELLO, stream=stream)
    async with zenmux(tmp_path, Zenmux(next=[(429, refused)] * 3), env=keys) as on:
        with pytest.raises(anthropic.RateLimitError) as other:
            await on.anthropic.messages.create(
                model=MODEL, max_tokens=9, messages=HELLO, stream=stream
            )
    assert "slow down" in caught.value.message
    assert "slow down" in other.value.message


@pytest.mark.rows("TB-5", "TB-4")
async def test_an_error_in_the_middle_is_an_event_of_the_clients_dialect(tmp_path: Path) -> None:
    async with zenmux(tmp_path, Zenmux(broken=True)) as on:
        chat = {"model": MODEL, "messages": HELLO, "stream": True}
        frames = (await on.raw(chat))[2]
        events = (await on.raw({**chat, "max_tokens": 9}, "/v1/messages"))[2]
        status, headers, whole = await on.raw({"model": MODEL, "messages": HELLO})
    assert '"error"' in frames
    assert '"finish_reason":"stop"' not in frames
    assert "event: error\n" in events
    assert "message_stop" not in events
    assert (status, headers["Content-Type"], whole[:9]) == (503, "application/json", '{"error":')


@pytest.mark.rows("TB-6")
async def test_lengths_and_codings_are_those_of_what_is_sent(tmp_path: Path) -> None:
    async with zenmux(tmp_path, Zenmux()) as on:
        for path in ("/v1/chat/completions", "/v1/messages"):
            body = {"model": MODEL, "max_tokens": 9, "messages": HELLO}
            _, headers, text = await on.raw(body, path, **{"Accept-Encoding": "identity"})
            assert int(headers["Content-Length"]) == len(text.encode())
            assert "Content-Encoding" not in headers


@pytest.mark.rows("TB-7")
async def test_what_is_said_is_in_no_log(tmp_path: Path) -> None:
    said: Any = [{"role": "user", "content": "a very private question"}]
    async with zenmux(tmp_path, Zenmux()) as on:
        await on.ask(MODEL, said)
        async with asyncio.timeout(5):
            while '"event":"request"' not in on.log:
                await asyncio.sleep(0.02)
        log = on.log
    assert "private" not in log
    assert "Good day" not in log


@pytest.mark.rows("KT-12")
async def test_an_upstream_that_says_nothing_is_a_504(tmp_path: Path) -> None:
    def edit(text: str) -> str:
        return text.replace("connect: 10s, first_byte: 120s", "connect: 500ms, first_byte: 500ms")

    async with zenmux(tmp_path, Zenmux(delay=5), edit=edit) as on:
        with pytest.raises(openai.InternalServerError) as caught:
            await on.ask(MODEL)
    assert caught.value.status_code == 504


@pytest.mark.rows("KT-13", "TB-2")
async def test_a_proxy_is_asked_only_where_one_is_named(tmp_path: Path) -> None:
    service, proxy = Zenmux(), Zenmux(next=[(418, {"error": {"message": "a proxy"}})] * 3)
    async with running(proxy) as url:
        async with zenmux(tmp_path, service, env={"HTTP_PROXY": url, "http_proxy": url}) as on:
            assert await on.ask(MODEL) == "Good day."
        assert proxy.asked == []
        async with zenmux(tmp_path, service, env={"PROXY_URL": url}) as on:
            with pytest.raises(openai.APIStatusError):
                await on.ask(MODEL)
    assert len(service.asked) == 1
