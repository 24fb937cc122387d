"""The route iflow in front of services that behave as iFlow's did, asked by official SDKs."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.upstreams.front import HELLO, KEY, Front, front
from tests.upstreams.iflow import AGENT, Iflow, running, signature

MODEL = "glm-4.6"
TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


@asynccontextmanager
async def iflow(home: Path, service: Iflow, **more: Any) -> AsyncIterator[Front]:
    """The route with the key of settings.json, unless `login` is the file of a login."""
    place = home / "iflow"
    place.mkdir(exist_ok=True)
    login = more.pop("login", None)
    if login is not None:
        (place / "oauth_creds.json").write_text(json.dumps(login))
    elif not list(place.iterdir()):
        (place / "settings.json").write_text('{"apiKey": "sk-test-0000"}')
    async with running(service) as url:
        env = {
            "IFLOW_BASE_URL": f"{url}/v1", "IFLOW_LOGIN_URL": url, "IFLOW_HOME": str(place),
            "IFLOW_CLIENT_ID": "10009311001", "IFLOW_CLIENT_SECRET": "not-a-real-secret",
            **more.pop("env", {}),
        }  # fmt: skip
        async with front(home, "iflow", env=env, **more) as made:
            yield made


def creds(hours: float) -> dict[str, Any]:
    """A login's file, whose token is good for so many hours."""
    return {
        "access_token": "at-1", "refresh_token": "rt-1", "token_type": "bearer", "scope": "",
        "expiry_date": int((time.time() + hours * 3600) * 1000), "apiKey": "sk-test-0000",
        "something_else": "stays",
    }  # fmt: skip


def kept(home: Path) -> Any:
    return json.loads((home / "iflow/oauth_creds.json").read_text())


# ---- answers ----


@pytest.mark.rows("IF-05")
def test_the_signature_is_the_published_one() -> None:
    session = "session-00000000-0000-4000-8000-000000000000"
    assert signature("sk-test-0000", session, "1700000000000") == (
        "a421ec34235883fcb8015c037b6f99c020ee1c4089079ae89b1f4fdc0823c640"
    )


@pytest.mark.rows("IF-03", "IF-04", "IF-05", "IF-18")
@pytest.mark.parametrize("packed", [False, True])
async def test_a_plain_answer(tmp_path: Path, packed: bool) -> None:
    service = Iflow(packed=packed)
    async with iflow(tmp_path, service) as on:
        answer = await on.openai.chat.completions.create(model=MODEL, messages=HELLO)
        await on.ask(MODEL)
    message = answer.choices[0].message
    assert (message.content, message.model_extra) == (
        "Good day.", {"reasoning_content": "They greet."},
    )  # fmt: skip
    heads = service.heads[0]
    assert (heads["user-agent"], heads["x-api-key"]) == (AGENT, "sk-test-0000")
    assert not any(KEY in value for value in heads.values())
    assert len({head["session-id"] for head in service.heads}) == 2


@pytest.mark.rows("IF-12", "IF-17", "IF-18", "IB-7", "IB-9")
@pytest.mark.parametrize("packed", [False, True])
async def test_a_stream_in_both_dialects(tmp_path: Path, packed: bool) -> None:
    service = Iflow(packed=packed)
    async with iflow(tmp_path, service) as on:
        stream = await on.openai.chat.completions.create(
            model=MODEL, messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        events = (
            await on.raw(
                {"model": MODEL, "max_tokens": 99, "messages": HELLO, "stream": True},
                "/v1/messages",
            )
        )[2]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Good day."
    told = [json.loads(line[6:]) for line in events.split("\n") if line.startswith("data: ")]
    kinds = [event["type"] for event in told if event["type"] != "ping"]
    assert [(e["index"], e["content_block"]["type"]) for e in told if "content_block" in e] == [
        (0, "thinking"), (1, "text"),
    ]  # fmt: skip
    assert (kinds[0], kinds[-2:]) == ("message_start", ["message_delta", "message_stop"])
    assert next(e for e in told if e["type"] == "message_delta")["usage"]["output_tokens"] == 3
    assert all(asked["stream_options"] == {"include_usage": True} for asked in service.asked)


@pytest.mark.rows("IF-16", "IF-17", "IB-7")
async def test_calls_of_tools_are_streamed_to_a_messages_client(tmp_path: Path) -> None:
    service = Iflow(call={"city": "Oslo"})
    tool: Any = {"name": "weather", "input_schema": {"type": "object"}}
    image: Any = {"type": "base64", "media_type": "image/png", "data": "AA=="}
    turns: Any = [
        {"role": "user", "content": [
            {"type": "image", "source": image}, {"type": "text", "text": "What is it?"},
        ]},
        {"role": "assistant", "content": [
            {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Rome"}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": "sunny"},
        ]},
    ]  # fmt: skip
    async with iflow(tmp_path, service) as on, on.anthropic.messages.stream(
        model="qwen3-vl-plus", max_tokens=5000, messages=turns, tools=[tool], system="Be brief.",
        stop_sequences=["END"], tool_choice={"type": "any"},
        thinking={"type": "enabled", "budget_tokens": 2000},
    ) as stream:  # fmt: skip
        pieces = [e.partial_json async for e in stream if e.type == "input_json"]
        final = await stream.get_final_message()
    assert [block.type for block in final.content] == ["thinking", "tool_use"]
    assert final.content[1].input == {"city": "Oslo"}  # type: ignore[union-attr]
    assert (final.stop_reason, len([p for p in pieces if p]) > 1) == ("tool_use", True)
    (asked,) = service.asked
    assert [message["role"] for message in asked["messages"]] == [
        "system", "user", "assistant", "tool",
    ]  # fmt: skip
    url = asked["messages"][1]["content"][0]["image_url"]["url"]
    assert (url, asked["messages"][3]["content"]) == ("data:image/png;base64,AA==", "sunny")
    assert (asked["stop"], asked["tool_choice"]) == (["END"], "required")


@pytest.mark.rows("IF-14", "IB-4", "IB-6")
@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_is_cut_off_goes_on(tmp_path: Path, stream: bool) -> None:
    service = Iflow(parts=["A", "B", "C"])
    async with iflow(tmp_path, service) as on:
        body: Any = {"model": MODEL, "max_tokens": 4000, "messages": HELLO, "stream": stream}
        told = (await on.raw(body))[2]
        if stream:
            async with on.anthropic.messages.stream(
                model=MODEL, max_tokens=4000, messages=HELLO
            ) as events:
                other: Any = await events.get_final_message()
        else:
            other = await on.anthropic.messages.create(model=MODEL, max_tokens=4000, messages=HELLO)
    said = [asked["messages"][1:] for asked in service.asked[:3]]
    assert said == [
        [], [{"role": "assistant", "content": "A"}], [{"role": "assistant", "content": "AB"}],
    ]  # fmt: skip
    frames = [json.loads(f[6:]) for f in told.split("\n\n") if f[6:7] == "{"] if stream else []
    whole = frames or [json.loads(told)]
    choices = [choice for each in whole for choice in each["choices"]]
    pieces = [choice.get("delta", choice.get("message")) for choice in choices]
    assert "".join(piece.get("content") or "" for piece in pieces) == "ABC"
    assert [c["finish_reason"] for c in choices if c["finish_reason"]] == ["stop"]
    assert len({each["id"] for each in whole}) == 1
    assert "".join(block.text for block in other.content if block.type == "text") == "ABC"
    assert (other.stop_reason, other.usage.output_tokens) == ("end_turn", 9)


@pytest.mark.rows("IF-06", "IB-8")
async def test_the_other_paths(tmp_path: Path) -> None:
    async with iflow(tmp_path, Iflow()) as on:
        long: Any = [{"type": "text", "text": "one two three four five six seven eight nine ten"}]
        short = await on.anthropic.messages.count_tokens(model=MODEL, messages=HELLO)
        counted = await on.anthropic.messages.count_tokens(model=MODEL, messages=HELLO, system=long)
        health = [(await on.raw(None, path, "GET"))[0] for path in ("/health", "/v1/health")]
    assert counted.input_tokens >= short.input_tokens + 8
    assert health == [200, 200]


@pytest.mark.rows("IF-19")
async def test_models_that_the_service_lists_are_added(tmp_path: Path) -> None:
    async with iflow(tmp_path, Iflow()) as on:
        async with asyncio.timeout(10):
            while True:
                listed = {model.id async for model in on.openai.models.list()}
                if "iflow-rome-30ba3b" in listed:
                    break
                await asyncio.sleep(0.02)
    assert {MODEL, "qwen3-max", "glm-4.7(high)"} <= listed


@pytest.mark.rows("IF-21")
async def test_a_system_prompt_is_put_first_where_one_is_set(tmp_path: Path) -> None:
    service = Iflow()
    async with iflow(tmp_path, service) as on:
        await on.ask(MODEL)
    async with iflow(tmp_path, service, env={"SYSTEM_PROMPT": "Be brief."}) as on:
        await on.ask(MODEL)
    assert [asked["messages"][0] for asked in service.asked] == [
        HELLO[0], {"role": "system", "content": "Be brief."},
    ]  # fmt: skip


@pytest.mark.rows("IF-15")
async def test_a_long_conversation_loses_its_oldest_turns_and_no_half_of_a_call(
    tmp_path: Path,
) -> None:
    service = Iflow()
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    turns: Any = []
    for number in range(40):
        turns += [
            {"role": "user", "content": f"question {number} " + "x" * 200},
            {"role": "assistant", "content": None, "tool_calls": [{**call, "id": f"c{number}"}]},
            {"role": "tool", "tool_call_id": f"c{number}", "content": "sunny"},
        ]
    async with iflow(
        tmp_path, service, edit=lambda text: text.replace("tokens: 180000", "tokens: 500")
    ) as on:
        await on.ask(MODEL, [{"role": "system", "content": "Be brief."}, *turns], tools=[TOOL])
    (asked,) = service.asked
    roles = [message["role"] for message in asked["messages"]]
    assert (roles[0], len(roles) < 40) == ("system", True)
    assert roles[1:4] == ["user", "assistant", "tool"]
    assert roles.count("assistant") == roles.count("tool")
    assert "question 39" in asked["messages"][-3]["content"]


# ---- failures ----


@pytest.mark.rows("IF-22", "IF-09", "IB-6")
@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_with_status_200_is_an_error(tmp_path: Path, stream: bool) -> None:
    service = Iflow(blocked={"sk-test-0000"})
    async with iflow(tmp_path, service) as on:
        for path in ("/v1/chat/completions", "/v1/messages"):
            body = {"model": MODEL, "max_tokens": 9, "messages": HELLO, "stream": stream}
            status, _, told = await on.raw(body, path)
            assert (status, '"error"' in told) == (502, True)


@pytest.mark.rows("IF-08", "IF-22")
async def test_an_empty_answer_is_asked_for_again(tmp_path: Path) -> None:
    service = Iflow(next=[(200, b""), (500, {"error": {"message": "busy"}})])
    async with iflow(tmp_path, service) as on:
        assert await on.ask(MODEL) == "Good day."
    assert len(service.asked) == 3


@pytest.mark.rows("IB-5", "IF-09")
@pytest.mark.parametrize("stream", [False, True])
async def test_a_bad_request_is_not_tried_again(tmp_path: Path, stream: bool) -> None:
    service = Iflow(next=[(400, {"error": {"message": "no such role"}})])
    async with iflow(tmp_path, service) as on:
        with pytest.raises(openai.BadRequestError):
            await on.openai.chat.completions.create(model=MODEL, messages=HELLO, stream=stream)
        for bad in (b"{", json.dumps({"model": MODEL, "messages": {}}).encode()):
            assert (await on.raw(bad))[0] == 400
    assert len(service.asked) == 1


@pytest.mark.rows("IB-5")
async def test_a_stream_that_breaks_ends_with_an_error(tmp_path: Path) -> None:
    async with iflow(tmp_path, Iflow(breaks=True)) as on:
        body = {"model": MODEL, "max_tokens": 9, "messages": HELLO, "stream": True}
        chat = (await on.raw(body))[2]
        messages = (await on.raw(body, "/v1/messages"))[2]
    assert '"error"' in chat
    assert '"finish_reason":"stop"' not in chat
    assert "event: error\n" in messages


@pytest.mark.rows("IF-05")
async def test_a_wrong_signature_is_the_operators_to_mend(tmp_path: Path) -> None:
    service = Iflow()
    edit = lambda text: text.replace('payload: "iFlow-Cli:', 'payload: "other:')  # noqa: E731
    async with iflow(tmp_path, service, edit=edit) as on:
        with pytest.raises(openai.InternalServerError) as caught:
            await on.ask(MODEL)
    assert (caught.value.status_code, len(service.asked)) == (502, 1)


@pytest.mark.rows("IF-10")
async def test_the_whole_request_has_its_time(tmp_path: Path) -> None:
    def edit(text: str) -> str:
        return text.replace("connect: 10s, first_byte: 300s", "connect: 300ms, first_byte: 300ms")

    service = Iflow(parts=["x" * 400_000])
    async with iflow(
        tmp_path, service, edit=edit, env={"IFLOW_BASE_URL": "http://127.0.0.1:9"}
    ) as on:
        with pytest.raises(openai.InternalServerError):
            await on.ask(MODEL)


# ---- the login ----


@pytest.mark.rows("IF-02", "IB-2")
async def test_a_token_that_is_over_is_refreshed_once_by_fifty_requests(tmp_path: Path) -> None:
    service = Iflow()
    async with iflow(tmp_path, service, login=creds(-1)) as on:
        answers = await asyncio.gather(*(on.ask(MODEL) for _ in range(50)))
    assert set(answers) == {"Good day."}
    assert (service.refreshed, service.exchanged) == (["rt-1"], 1)
    found = kept(tmp_path)
    assert (found["refresh_token"], found["apiKey"]) == ("rt-2", "sk-of-at-2")
    assert found["something_else"] == "stays"


@pytest.mark.rows("IF-02", "IF-23", "IB-3")
async def test_trouble_with_a_refresh_keeps_what_is_good(tmp_path: Path) -> None:
    service = Iflow(busy=99)
    async with iflow(tmp_path, service, login=creds(20)) as on:
        for _ in range(3):
            assert await on.ask(MODEL) == "Good day."
    assert kept(tmp_path)["apiKey"] == "sk-test-0000"
    service.busy, service.keyless = 0, 99
    async with iflow(tmp_path, service, login=creds(20)) as on:
        for _ in range(3):
            assert await on.ask(MODEL) == "Good day."
        async with asyncio.timeout(10):
            while not service.exchanged:
                await asyncio.sleep(0.02)
    assert kept(tmp_path)["apiKey"] == "sk-test-0000"


@pytest.mark.rows("IF-23")
async def test_a_login_that_is_over_says_so(tmp_path: Path) -> None:
    service = Iflow(refreshers=set())
    async with iflow(tmp_path, service, login=creds(-1)) as on:
        status, _, told = await on.raw({"model": MODEL, "messages": HELLO})
        await on.raw({"model": MODEL, "messages": HELLO})
        (pool,) = (await on.admin("GET", "/admin/accounts", route="iflow"))["pools"]
    assert status == 502
    assert len(service.refreshed) == 1
    assert pool["accounts"][0]["last_error"] in ("login", "auth_invalid")
    assert "rt-1" not in told
