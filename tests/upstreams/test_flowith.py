"""The route flowith in front of the service, asked by the official SDKs over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from tests.upstreams.flowith import SEED, TOKENS, Cut, Flowith, numbered, running
from tests.upstreams.stand import KEYS, Front, example, front, has_models, said

MODEL = "gpt-4.1"
ONE = {"FLOWITH_AUTH_TOKENS": TOKENS[0]}
ALL = {"FLOWITH_AUTH_TOKENS": ",".join(TOKENS)}
STATUSES = (401, 402, 403, 408, 409, 425, 429, 500, 502, 503, 504)


@asynccontextmanager
async def flowing(
    home: Path,
    site: Flowith,
    *edits: tuple[str, str],
    env: Mapping[str, str] = ALL,
    **over: object,
) -> AsyncIterator[Front]:
    """The gateway with the route, whose models are known."""
    async with (
        running(site) as url,
        front(home, {"flowith": example("flowith", *edits)}, {"FLOWITH_BASE": url, **env}, **over)
        as made,
    ):  # fmt: skip
        await has_models(made, MODEL)
        site.asked.clear()
        site.forget()
        yield made


@pytest.fixture
def site() -> Flowith:
    return Flowith()


@pytest.fixture
async def flow(tmp_path: Path, site: Flowith) -> AsyncIterator[Front]:
    async with flowing(tmp_path, site) as made:
        yield made


# ---- answers ----


@pytest.mark.rows("FL-27", "FL-28", "FB-2", "FB-13")
@pytest.mark.parametrize("cut", ["whole", "between", "bytes"])
@pytest.mark.parametrize("tagged", [True, False])
async def test_a_stream_is_its_deltas_however_it_is_cut(
    flow: Front, site: Flowith, cut: Cut, tagged: bool
) -> None:
    site.cut, site.tagged = cut, tagged
    site.answer = lambda seen: ["你好, ", 'data: {"tag":"final"}\n\n', "world"]
    chunks = await flow.stream(MODEL, stream_options={"include_usage": True})
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == (
        '你好, data: {"tag":"final"}\n\nworld'
    )
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    finishes = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    assert [finish for finish in finishes if finish] == ["stop"]
    assert chunks[-1].usage.model_extra == {"penstock_estimated": True}


@pytest.mark.rows("FB-13", "FL-25")
async def test_two_answers_of_the_same_words_have_ids_of_their_own(flow: Front) -> None:
    both = await asyncio.gather(flow.stream(MODEL), flow.stream(MODEL))
    assert len({chunk.id for chunks in both for chunk in chunks}) == 2


@pytest.mark.rows("FL-28", "FB-18")
async def test_a_whole_answer_is_read_and_nothing_is_put_into_the_question(
    flow: Front, site: Flowith
) -> None:
    answer = await flow.openai.chat.completions.create(model=MODEL, messages=said("Hello"))
    assert answer.choices[0].message.content == "You said: Hello"
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0
    assert site.asked[0].said == [("user", "Hello")]
    assert set(site.asked[0].body) == {"messages", "model", "stream", "kb_list"}


@pytest.mark.rows("FL-28")
@pytest.mark.parametrize("kind", ["application/json", "text/plain", "text/event-stream"])
@pytest.mark.parametrize("stream", [False, True])
async def test_no_content_type_misleads(
    flow: Front, site: Flowith, kind: str, stream: bool
) -> None:
    site.content = kind
    if stream:
        chunks = await flow.stream(MODEL)
        told = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    else:
        told = await flow.ask(MODEL)
    assert told == "You said: Hello"


@pytest.mark.rows("FB-5", "FB-14")
@pytest.mark.parametrize("text", ["42", '{"a":1}', '[{"choices":[]}]', "No", '"x"', "true"])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_is_json_or_short_is_this_text(
    flow: Front, site: Flowith, text: str, stream: bool
) -> None:
    site.answer = lambda seen: [text]
    if stream:
        chunks = await flow.stream(MODEL)
        told = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    else:
        told = await flow.ask(MODEL)
    assert told == text
    assert len(site.asked) == 1


@pytest.mark.rows("FL-24", "FB-10")
async def test_the_anthropic_sdk_gets_its_own_events(flow: Front, site: Flowith) -> None:
    site.answer = lambda seen: ["<think>Ea", "sy.</think>", "Hel", "lo"]
    site.moods.append(503)
    async with flow.anthropic.messages.stream(
        model=MODEL, max_tokens=100, messages=said("Hi"), system="Be brief."
    ) as stream:
        message = await stream.get_final_message()
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert [getattr(b, "text", "") or getattr(b, "thinking", "") for b in message.content] == [
        "Easy.",
        "Hello",
    ]
    assert message.stop_reason == "end_turn"
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens > 0
    assert [seen.said for seen in site.asked] == [[("system", "Be brief."), ("user", "Hi")]] * 2


@pytest.mark.rows("FB-10")
async def test_the_anthropic_sdk_has_sessions_as_well(flow: Front, site: Flowith) -> None:
    for text in ("one", "two"):
        answer = await flow.anthropic.messages.create(
            model=MODEL, max_tokens=9, messages=said(text), extra_body={"session_id": "s"}
        )
        assert answer.content[0].type == "text"
    assert site.asked[1].said == [
        ("user", "one"), ("assistant", "You said: one"), ("user", "two"),
    ]  # fmt: skip


@pytest.mark.rows("FB-10", "FL-22")
async def test_the_anthropic_sdk_gets_its_tool_calls(flow: Front, site: Flowith) -> None:
    site.answer = lambda seen: ['<tool_call name="weather">', '{"city":"Oslo"}</tool_call>']
    tool: Any = {"name": "weather", "input_schema": {"type": "object", "properties": {}}}
    async with flow.anthropic.messages.stream(
        model=MODEL, max_tokens=100, messages=said("Weather?"), tools=[tool]
    ) as stream:
        message = await stream.get_final_message()
    assert message.stop_reason == "tool_use"
    call = message.content[-1]
    assert call.type == "tool_use"
    assert (call.name, call.input) == ("weather", {"city": "Oslo"})
    assert "tools" not in site.asked[0].body
    assert "weather" in site.asked[0].said[0][1]


@pytest.mark.rows("FB-10")
async def test_a_picture_that_flowith_cannot_take_is_refused_not_lost(
    flow: Front, site: Flowith
) -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}
    parts = [{"type": "text", "text": "What is it?"}, picture]
    body = {"model": MODEL, "messages": [{"role": "user", "content": parts}]}
    status, _, told = await flow.call("POST", "/v1/chat/completions", json=body)
    assert (status, told["error"]["type"]) == (400, "invalid_request_error")
    assert "text only" in told["error"]["message"]
    assert site.asked == []


# ---- sessions ----


@pytest.mark.rows("FL-15", "FL-16", "FL-18", "FB-3")
@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_a_session_keeps_knowledge_bases_and_turns_over_a_restart(
    tmp_path: Path, site: Flowith, store: str
) -> None:
    more: Any = {"extra_body": {"session_id": "s1"}}
    async with running(site) as url:
        env, routes = {"FLOWITH_BASE": url, **ALL}, {"flowith": example("flowith")}
        async with front(tmp_path, routes, env, store=store) as flow:
            await has_models(flow, MODEL)
            await flow.stream(MODEL, "one", **more)
            assert await flow.ask(MODEL, "two", **more) == "You said: two"
        async with front(tmp_path, routes, env, store=store) as flow:
            await has_models(flow, MODEL)
            await flow.ask(MODEL, "three", **more)
    assert len({seen.body["kb_list"][0] for seen in site.asked}) == 1
    assert [text for _, text in site.asked[2].said] == [
        "one", "You said: one", "two", "You said: two", "three",
    ]  # fmt: skip


@pytest.mark.rows("FL-18")
async def test_the_clients_knowledge_bases_are_asked(flow: Front, site: Flowith) -> None:
    known = ["3f2b8c1e-5d6a-4b7c-8d9e-0f1a2b3c4d5e"]
    await flow.ask(MODEL, extra_body={"kb_list": known})
    await flow.ask(MODEL)
    assert site.asked[0].body["kb_list"] == known
    assert site.asked[1].body["kb_list"] != known


@pytest.mark.rows("FL-17", "FB-4")
async def test_clients_share_no_session(flow: Front, site: Flowith) -> None:
    more: Any = {"session_id": "s1"}
    await flow.ask(MODEL, "one", extra_body=more)
    async with AsyncOpenAI(base_url=f"{flow.url}/v1", api_key=KEYS[1]) as other:
        await other.chat.completions.create(model=MODEL, messages=said("mine"), extra_body=more)
    await flow.ask(MODEL, "plain")
    assert [seen.said for seen in site.asked[1:]] == [[("user", "mine")], [("user", "plain")]]
    assert len({seen.body["kb_list"][0] for seen in site.asked}) == 3


# ---- tokens ----


@pytest.mark.rows("FL-02", "FL-39", "FB-16")
async def test_a_refused_token_leaves_the_pool(flow: Front, site: Flowith) -> None:
    site.refused[TOKENS[1]] = 401
    for number in range(6):
        assert await flow.ask(MODEL, str(number)) == f"You said: {number}"
    used = [seen.token for seen in site.asked]
    assert (used.count(TOKENS[0]), used.count(TOKENS[1]), used.count(TOKENS[2])) == (3, 1, 3)


@pytest.mark.rows("FL-02")
async def test_tokens_of_the_variable_and_of_a_file_are_one_pool(
    tmp_path: Path, site: Flowith
) -> None:
    (tmp_path / "routes").mkdir()
    (tmp_path / "routes/tokens.txt").write_text(f"# kept\n\n{TOKENS[1]}\n{TOKENS[0]}\n")
    both = (
        'from: { env: FLOWITH_AUTH_TOKENS, split: "," }',
        'from: [ { env: FLOWITH_AUTH_TOKENS, split: "," }, { file: tokens.txt } ]',
    )
    async with flowing(tmp_path, site, both, env=ONE) as flow:
        for _ in range(4):
            await flow.ask(MODEL)
    assert [seen.token for seen in site.asked] == [TOKENS[n] for n in (0, 1, 0, 1)] or [
        seen.token for seen in site.asked
    ] == [TOKENS[n] for n in (1, 0, 1, 0)]


@pytest.mark.rows("FL-10", "FB-1")
@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_is_tried_again_with_another_token(
    flow: Front, site: Flowith, status: int, stream: bool
) -> None:
    site.moods.append(status)
    if stream:
        assert (await flow.stream(MODEL))[-1].choices[0].finish_reason == "stop"
    else:
        assert await flow.ask(MODEL) == "You said: Hello"
    first, second = (seen.token for seen in site.asked)
    assert first != second


@pytest.mark.rows("FL-10")
@pytest.mark.parametrize("status", [400, 422])
async def test_what_no_other_token_would_mend_is_not_tried_again(
    flow: Front, site: Flowith, status: int
) -> None:
    site.moods.append(status)
    with pytest.raises((openai.BadRequestError, openai.UnprocessableEntityError)):
        await flow.ask(MODEL)
    assert len(site.asked) == 1


@pytest.mark.rows("FL-13")
async def test_headers_tell_of_retries(flow: Front, site: Flowith) -> None:
    body = {"model": MODEL, "messages": said("Hi")}
    _, headers, _ = await flow.call("POST", "/v1/chat/completions", json=body)
    assert "x-retry-attempts" not in headers
    for stream in (False, True):
        site.moods.extend([500, 502])
        asked = {**body, "stream": stream}
        status, headers, _ = await flow.call("POST", "/v1/chat/completions", json=asked)
        assert (status, headers["x-retry-attempts"]) == (200, "2")
        assert "x-all-retries-failed" not in headers
    site.moods.extend([500] * 4)
    status, headers, _ = await flow.call("POST", "/v1/chat/completions", json=body)
    assert (status, headers["x-retry-attempts"]) == (502, "3")
    assert headers["x-all-retries-failed"] == "true"


@pytest.mark.rows("FL-09", "FL-14", "FB-1", "FB-15")
@pytest.mark.parametrize(("mood", "status"), [(503, 503), (500, 502), ("page", 502)])
@pytest.mark.parametrize("stream", [False, True])
async def test_when_all_attempts_fail_it_is_an_error_in_the_clients_dialect(
    flow: Front, site: Flowith, mood: Any, status: int, stream: bool
) -> None:
    site.moods.extend([mood] * 4)
    body = {"model": MODEL, "messages": said("Hi"), "stream": stream}
    got, headers, told = await flow.call("POST", "/v1/chat/completions", json=body)
    assert (got, headers["content-type"].partition(";")[0]) == (status, "application/json")
    assert set(told) == {"error"}
    assert {"message", "type", "code"} <= set(told["error"])
    assert "<html>" not in json.dumps(told)
    assert len(site.asked) == 4
    routes = (await flow.admin("GET", "statistics"))["routes"]
    assert (routes["flowith"]["requests"], routes["flowith"]["ok"]) == (1, 0)


@pytest.mark.rows("FL-14")
async def test_a_service_that_is_not_there_is_a_502(tmp_path: Path) -> None:
    written = (example("flowith").split("discover: ")[1].partition("\n")[0], "")
    text = example("flowith", written, ("discover: \n", "models: [gpt-4.1]\n"))
    nowhere = {"FLOWITH_BASE": "http://127.0.0.1:9", **ALL}
    async with front(tmp_path, {"flowith": text}, nowhere) as flow:
        with pytest.raises(openai.InternalServerError) as caught:
            await flow.ask(MODEL)
    assert (caught.value.status_code, caught.value.code) == (502, "bad_gateway")


@pytest.mark.rows("FL-12")
@pytest.mark.parametrize("mood", ["empty", "nothing", "silent-end"])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_without_text_is_asked_again(
    flow: Front, site: Flowith, mood: Any, stream: bool
) -> None:
    if mood == "silent-end":
        site.answer = numbered("", "Hello")
    site.moods.append(mood)
    if stream:
        chunks = await flow.stream(MODEL)
        assert "Hello" in "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    else:
        assert "Hello" in await flow.ask(MODEL)
    assert len(site.asked) == 2


@pytest.mark.rows("FL-12")
async def test_how_much_text_is_an_answer_is_a_setting(tmp_path: Path, site: Flowith) -> None:
    site.answer = numbered("Ten chars.", "More than ten.")
    longer = ("response:\n  min_text: 1", "response:\n  min_text: 11")
    async with flowing(tmp_path, site, longer) as flow:
        assert await flow.ask(MODEL) == "More than ten."


# ---- time ----


@pytest.mark.rows("FL-08", "FL-11")
@pytest.mark.parametrize(
    ("mood", "stream", "setting"),
    [
        ("stall", True, "UPSTREAM_TIMEOUT_MS"),
        ("stall", False, "UPSTREAM_TIMEOUT_MS"),
        ("stall-body", False, "UPSTREAM_BODY_TIMEOUT_MS"),
        ("stall", True, "STREAM_TOTAL_TIMEOUT_MS"),
    ],
)
async def test_each_timer_ends_a_silent_answer_with_504_and_no_retry(
    tmp_path: Path, site: Flowith, mood: Any, stream: bool, setting: str
) -> None:
    site.moods.append(mood)
    # The time to connect is part of what the first byte has.
    soon = ("timeouts:\n", "timeouts:\n  connect: 600ms\n")
    async with flowing(tmp_path, site, soon, env={**ALL, setting: "400"}) as flow:
        with pytest.raises(openai.InternalServerError) as caught:
            await (flow.stream(MODEL) if stream else flow.ask(MODEL))
    assert (caught.value.status_code, caught.value.code) == (504, "timeout")
    assert len(site.asked) == 1


@pytest.mark.rows("FL-08", "FB-12")
@pytest.mark.parametrize("setting", ["STREAM_IDLE_TIMEOUT_MS", "STREAM_TOTAL_TIMEOUT_MS"])
async def test_silence_inside_a_stream_is_an_error_and_no_complete_answer(
    tmp_path: Path, site: Flowith, setting: str
) -> None:
    site.moods.append("stall-inside")
    async with flowing(tmp_path, site, env={**ALL, setting: "700"}) as flow:
        stream = await flow.openai.chat.completions.create(
            model=MODEL, messages=said("Hello"), stream=True
        )
        got: list[Any] = []
        with pytest.raises(openai.APIError) as caught:
            await _collect(stream, got)
    assert "".join(choice.delta.content or "" for choice in got) == "You said: "
    assert [choice.finish_reason for choice in got if choice.finish_reason] == []
    assert caught.value.code == "timeout"


async def _collect(stream: Any, got: list[Any]) -> None:
    async for chunk in stream:
        got += chunk.choices


@pytest.mark.rows("FB-12")
async def test_a_stream_that_breaks_off_is_an_error(flow: Front, site: Flowith) -> None:
    site.moods.append("reset")
    with pytest.raises(openai.APIError):
        await flow.stream(MODEL)
    assert len(site.asked) == 1


async def test_twelve_calls_a_minute_are_all_a_token_is_used_for(
    tmp_path: Path, site: Flowith
) -> None:
    env = {"FLOWITH_AUTH_TOKENS": ",".join(TOKENS[:2])}
    async with flowing(tmp_path, site, env=env) as flow:
        answers = await asyncio.gather(*(flow.ask(MODEL, str(n)) for n in range(23)))
    assert sorted(answers) == sorted(f"You said: {n}" for n in range(23))
    used = [seen.token for seen in site.asked]
    assert len(used) == 23  # none was refused: discovery took one of the 24
    assert max(used.count(token) for token in TOKENS) <= 12


# ---- where and how ----


@pytest.mark.rows("FL-05", "FL-06")
async def test_a_region_is_a_route_that_extends_this_one_perhaps_behind_a_proxy(
    tmp_path: Path, site: Flowith
) -> None:
    region = (
        "version: 1\nextends: ./flowith.yaml\n"
        'base_url: "http://${env:FLOWITH_REGION}.edge.flowith.net"\n'
        "models: [regional]\nauth: { from: { env: FLOWITH_AUTH_TOKENS, split: ',' } }\n"
    )
    async with running(site) as proxy:
        routes = {"flowith": example("flowith"), "region": region}
        env = {"FLOWITH_REGION": "eu", "PROXY_URL": proxy, **ALL}
        async with front(tmp_path, routes, env) as flow:
            assert await flow.ask("regional") == "You said: Hello"
    assert site.asked[0].headers["Host"] == "eu.edge.flowith.net"


@pytest.mark.rows("FL-26", "FB-11")
@pytest.mark.parametrize("stream", [False, True])
async def test_the_clients_own_token_goes_upstream(
    tmp_path: Path, site: Flowith, stream: bool
) -> None:
    own = ('from: { env: FLOWITH_AUTH_TOKENS, split: "," }', "from: { client_key: true }")
    found = ("discover: {", "x-discover: {")
    models = ("vars: {", "models: [gpt-4.1]\nvars: {")
    text = example("flowith", own, found, models)
    async with running(site) as url:
        over: Any = {"clients__keys": None, "clients__auth": "none"}
        async with front(tmp_path, {"flowith": text}, {"FLOWITH_BASE": url}, **over) as flow:
            async with AsyncOpenAI(base_url=f"{flow.url}/v1", api_key=TOKENS[2]) as client:
                if stream:
                    chunks = await client.chat.completions.create(
                        model=MODEL, messages=said("Hi"), stream=True
                    )
                    pieces = [chunk.choices[0].delta.content or "" async for chunk in chunks]
                    assert "".join(pieces) == "You said: Hi"
                else:
                    told = await client.chat.completions.create(model=MODEL, messages=said("Hi"))
                    assert told.choices[0].message.content == "You said: Hi"
            async with AsyncAnthropic(base_url=flow.url, api_key="flo_wrong", max_retries=0) as bad:
                with pytest.raises(anthropic.APIStatusError) as caught:
                    await bad.messages.create(model=MODEL, max_tokens=9, messages=said("Hi"))
    assert "flo_wrong" not in str(caught.value)
    assert [seen.token for seen in site.asked] == [TOKENS[2], "flo_wrong"]


@pytest.mark.rows("FL-31")
async def test_models_are_those_that_flowith_lists(tmp_path: Path, site: Flowith) -> None:
    site.refused[TOKENS[0]] = 401
    async with flowing(tmp_path, site) as flow:
        models = [model.id async for model in flow.openai.models.list()]
        assert models == sorted(site.models) or models == site.models
        assert await flow.ask("claude-sonnet-4") == "You said: Hello"
    assert set(site.listed) > {TOKENS[0]}  # refused, then another


@pytest.mark.rows("FL-27")
async def test_sources_are_annotations_when_they_are_wanted(tmp_path: Path, site: Flowith) -> None:
    async with flowing(tmp_path, site, env={**ALL, "FLOWITH_CITATIONS": "1"}) as flow:
        chunks = await flow.stream(MODEL)
    found = [(chunk.model_extra or {}).get("annotations") for chunk in chunks]
    assert json.dumps(SEED["source_title"]) in json.dumps(found)
