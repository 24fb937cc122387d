"""The route k2think in front of a site that behaves as the real one, asked by official SDKs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from tests.upstreams.front import HELLO, Front, front
from tests.upstreams.k2think import THOUGHT, Site, people, running

MODEL = "MBZUAI-IFM/K2-Think"


@asynccontextmanager
async def k2(
    home: Path, site: Site, *, accounts: int = 3, tokens: str = "", **more: Any
) -> AsyncIterator[Front]:
    files = {"tokens.txt": tokens} if tokens else {"accounts.txt": people(accounts)}
    env = more.pop("env", {})
    name = more.pop("name", "k2think")
    names = ("k2think", name) if name != "k2think" else (name,)
    async with (
        running(site) as url,
        front(home, *names, env={"K2THINK_BASE_URL": url, **env}, files=files, **more) as made,
    ):
        yield made


def pool(site: Site, count: int) -> str:
    """A file of tokens that the site knows, as people write them."""
    site.tokens |= {f"token-{n}": f"p{n}" for n in range(count)}
    lines = "\n".join(f"token-{n}" for n in range(count))
    return f"# a pool\n\n{lines}\n\n  # the end\n"


# ---- answers ----


@pytest.mark.rows("K2-03", "K2-22", "K2-23", "K2-24")
async def test_a_plain_answer(tmp_path: Path) -> None:
    async with k2(tmp_path, Site()) as on:
        answer = await on.openai.chat.completions.create(model="k2think", messages=HELLO)
    message = answer.choices[0].message
    assert (answer.model, message.content) == ("k2think", "You said: Hello")
    assert message.model_extra == {"reasoning_content": "They greet."}
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (434, 173)


@pytest.mark.rows("K2-29", "KB-13", "KB-14")
@pytest.mark.parametrize("text", ["Good day.", ""])
async def test_a_stream_has_one_id_and_one_finish(tmp_path: Path, text: str) -> None:
    site = Site(answer=lambda body: THOUGHT.format(text))
    async with k2(tmp_path, site) as on:
        stream = await on.openai.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
        chunks = [chunk async for chunk in stream]
        status, headers, raw = await on.raw({"model": MODEL, "messages": HELLO, "stream": True})
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert deltas[0].role == "assistant"
    assert "".join(delta.content or "" for delta in deltas) == text
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == ["stop"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert (status, raw.split("\n\n")[-2:]) == (200, ["data: [DONE]", ""])
    assert (headers["Cache-Control"], headers["X-Accel-Buffering"]) == ("no-cache", "no")


@pytest.mark.rows("K2-21", "K2-22")
async def test_one_name_thinks_and_the_other_only_answers(tmp_path: Path) -> None:
    async with k2(tmp_path, Site()) as on:
        thinks = await on.anthropic.messages.create(model=MODEL, max_tokens=100, messages=HELLO)
        answers = await on.anthropic.messages.create(
            model=f"{MODEL}-nothink", max_tokens=100, messages=HELLO
        )
        listed = {model.id: model.owned_by async for model in on.openai.models.list()}
    assert [block.type for block in thinks.content] == ["thinking", "text"]
    assert [block.type for block in answers.content] == ["text"]
    assert listed[MODEL] == listed[f"{MODEL}-nothink"] == "MBZUAI"


@pytest.mark.rows("K2-27", "K2-28", "KB-12")
@pytest.mark.parametrize(
    "said",
    [
        '```json\n{"tool_calls": [{"name": "weather", "arguments": {"city": "Oslo"}}]}\n```',
        '{"name": "weather", "arguments": {"city": "Oslo"}}',
        '调用函数: weather 参数: {"city": "Oslo"}',
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_tools_that_the_site_has_not(tmp_path: Path, said: str, stream: bool) -> None:
    long = {"type": "object", "properties": {f"field_{n}": {"type": "string"} for n in range(200)}}
    offered: Any = [
        {"type": "function", "function": {"name": "weather", "parameters": long}},
    ]
    site = Site(answer=lambda body: THOUGHT.format(said))
    async with k2(tmp_path, site) as on:
        body: Any = {"model": MODEL, "messages": HELLO, "tools": offered}
        if stream:
            async with on.openai.chat.completions.stream(**body) as events:
                choice: Any = (await events.get_final_completion()).choices[0]
        else:
            choice = (await on.openai.chat.completions.create(**body)).choices[0]
    assert (choice.finish_reason, choice.message.content or None) == ("tool_calls", None)
    (call,) = choice.message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == (
        "weather", {"city": "Oslo"},
    )  # fmt: skip
    assert "field_199" in site.asked[0]["messages"][0]["content"]


@pytest.mark.rows("K2-26")
@pytest.mark.parametrize(
    ("choice", "there"),
    [
        ("auto", "weather"),
        ("required", "call at least one tool"),
        ({"type": "function", "function": {"name": "weather"}}, "call the tool `weather`"),
    ],
)
async def test_a_choice_of_tools_is_told(tmp_path: Path, choice: Any, there: str) -> None:
    site = Site()
    offered: Any = [{"type": "function", "function": {"name": "weather"}}]
    async with k2(tmp_path, site) as on:
        await on.ask(MODEL, tools=offered, tool_choice=choice)
        await on.ask(MODEL, tools=offered, tool_choice="none")
    first, second = (asked["messages"][0] for asked in site.asked)
    assert (first["role"], second["role"]) == ("system", "user")
    assert there.lower() in first["content"].lower()


@pytest.mark.rows("K2-25")
async def test_texts_are_joined_and_images_stay(tmp_path: Path) -> None:
    site = Site()
    image = {"type": "image_url", "image_url": {"url": "https://a.example/dot.png"}}
    texts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    async with k2(tmp_path, site) as on:
        await on.ask(MODEL, [{"role": "user", "content": texts}])
        await on.ask(MODEL, [{"role": "user", "content": [*texts, image]}])
    assert [asked["messages"][0]["content"] for asked in site.asked] == [
        "one two", [*texts, image],
    ]  # fmt: skip


@pytest.mark.rows("K2-30", "KB-1")
async def test_a_guest_gets_thoughts_while_the_site_still_writes(tmp_path: Path) -> None:
    site = Site(go_on=asyncio.Event())
    async with k2(tmp_path, site, name="k2think-guest") as on:
        stream = await on.openai.chat.completions.create(
            model="k2-think-guest", messages=HELLO, stream=True
        )
        said = thought = ""
        async with asyncio.timeout(10):
            async for chunk in stream:
                delta = chunk.choices[0].delta
                said += delta.content or ""
                thought += (delta.model_extra or {}).get("reasoning_content") or ""
                if thought == "They greet.":
                    site.go_on.set()  # had all been held back, nobody would
    assert said == "You said: Hello"


@pytest.mark.rows("KB-1")
async def test_a_client_that_waits_is_told_that_work_goes_on(tmp_path: Path) -> None:
    def edit(text: str) -> str:
        return text.replace("  connect: 10s\n", "  connect: 10s\n  early_headers: 100ms\n")

    async with k2(tmp_path, Site(delay=1.0), edit=edit) as on:
        status, _, raw = await on.raw({"model": MODEL, "messages": HELLO, "stream": True})
    assert status == 200
    assert raw.startswith(":")
    assert "They greet." in raw


# ---- the pool ----


@pytest.mark.rows("K2-05", "K2-07")
async def test_a_file_of_hundreds_of_tokens_is_used_in_turn(tmp_path: Path) -> None:
    site = Site()
    async with k2(tmp_path, site, tokens=pool(site, 300)) as on:
        (shown,) = (await on.admin("GET", "/admin/accounts", route="k2think"))["pools"]
        for _ in range(4):
            await on.ask(MODEL)
        site.expire("p5")
        for _ in range(4):
            await on.ask(MODEL)
    assert len(shown["accounts"]) == 300
    assert dict(site.calls) == {f"p{n}": 1 for n in range(9) if n != 5}


@pytest.mark.rows("K2-08", "KB-8")
async def test_a_token_that_fails_is_out_and_comes_back(tmp_path: Path) -> None:
    site = Site()
    short = lambda text: text.replace("refused: 10m", "refused: 1s")  # noqa: E731
    async with k2(tmp_path, site, tokens=pool(site, 2), edit=short) as on:
        site.expire("p0")
        for _ in range(3):
            await on.ask(MODEL)
        (shown,) = (await on.admin("GET", "/admin/accounts", route="k2think"))["pools"]
        site.tokens["token-0"] = "p0"
        await asyncio.sleep(1.1)
        for _ in range(2):
            await on.ask(MODEL)
    assert (shown["free"], shown["parked"]) == (1, 1)
    assert dict(site.calls) == {"p1": 4, "p0": 1}


@pytest.mark.rows("K2-06")
async def test_without_any_file_the_route_says_which(tmp_path: Path) -> None:
    async with front(tmp_path, "k2think") as on:
        status, _, _ = await on.raw({"model": MODEL, "messages": HELLO})
        (state,) = (await on.admin("GET", "/admin/routes"))["routes"]
    assert (status, state["state"]) == (404, "broken")
    assert ["accounts.txt" in text or "tokens.txt" in text for text in state["problems"]] == [
        True, True,
    ]  # fmt: skip


@pytest.mark.rows("K2-13", "K2-14")
@pytest.mark.parametrize("tells", ["cookie", "json", "both"])
async def test_accounts_log_in_four_at_a_time(tmp_path: Path, tells: str) -> None:
    site = Site(tells=tells, login_delay=0.1)
    async with k2(tmp_path, site, accounts=9) as on:
        for _ in range(9):
            await on.ask(MODEL)
    assert (site.most, len(site.logins), set(site.logins.values())) == (4, 9, {1})


@pytest.mark.rows("K2-14")
async def test_a_login_that_failed_is_tried_again(tmp_path: Path) -> None:
    site = Site(fails=1)
    async with k2(tmp_path, site, accounts=1) as on:
        assert await on.ask(MODEL) == "You said: Hello"
    assert (site.tried, dict(site.logins)) == (2, {"p0@example.com": 1})


@pytest.mark.rows("K2-10", "K2-11", "KB-2", "KB-6")
@pytest.mark.parametrize("stream", [False, True])
async def test_a_refused_token_logs_its_account_in_again_and_no_other(
    tmp_path: Path, stream: bool
) -> None:
    site = Site()
    async with k2(tmp_path, site) as on:
        for _ in range(3):
            await on.ask(MODEL)
        site.expire("p1@example.com")
        for _ in range(3):
            status, _, raw = await on.raw({"model": MODEL, "messages": HELLO, "stream": stream})
            assert (status, "You said: Hello" in raw) == (200, True)
    assert dict(site.logins) == {
        "p0@example.com": 1, "p1@example.com": 2, "p2@example.com": 1,
    }  # fmt: skip


@pytest.mark.rows("K2-11", "KB-6")
async def test_fifty_requests_with_tokens_that_ended_make_one_login_each(tmp_path: Path) -> None:
    site = Site(login_delay=0.1)
    async with k2(tmp_path, site) as on:
        for _ in range(3):
            await on.ask(MODEL)
        site.expire()
        answers = await asyncio.gather(*(on.ask(MODEL) for _ in range(50)))
    assert set(answers) == {"You said: Hello"}
    assert set(site.logins.values()) == {2}


@pytest.mark.rows("K2-16", "KB-6", "KB-7")
async def test_a_login_that_fails_leaves_the_tokens_that_are_there(tmp_path: Path) -> None:
    site = Site()
    files = {"accounts.txt": people(3)}
    async with running(site) as url:
        env = {"K2THINK_BASE_URL": url}
        async with front(tmp_path, "k2think", env=env, files=files) as on:
            for _ in range(3):
                await on.ask(MODEL)
            site.refuses = {f"p{n}@example.com" for n in range(3)}
            await on.admin("POST", "/admin/accounts/refresh", route="k2think")
            while site.tried < 6:
                await asyncio.sleep(0.02)
        async with front(tmp_path, "k2think", env=env, files=files) as on:
            for _ in range(3):
                await on.ask(MODEL)
    assert set(site.logins.values()) == {1}
    assert set(site.calls.values()) == {2}


@pytest.mark.rows("K2-12", "K2-36")
async def test_an_operator_has_all_log_in_anew(tmp_path: Path) -> None:
    site = Site()
    async with k2(tmp_path, site) as on:
        for _ in range(3):
            await on.ask(MODEL)
        told = await on.admin("POST", "/admin/accounts/refresh", route="k2think")
        while sum(site.logins.values()) < 6:
            await asyncio.sleep(0.02)
    assert len(told["accounts"]) == 3
    assert set(site.logins.values()) == {2}


@pytest.mark.rows("K2-36")
async def test_tokens_of_a_file_cannot_log_in(tmp_path: Path) -> None:
    site = Site()
    async with k2(tmp_path, site, tokens=pool(site, 2)) as on:
        await on.admin("POST", "/admin/accounts/refresh", route="k2think")
        assert await on.ask(MODEL) == "You said: Hello"
    assert site.tried == 0


@pytest.mark.rows("K2-33", "K2-34", "K2-35")
async def test_an_operator_sees_the_pool_and_resets_it(tmp_path: Path) -> None:
    site = Site()
    async with k2(tmp_path, site, tokens=pool(site, 3)) as on:
        site.expire("p0")
        await on.ask(MODEL)
        (before,) = (await on.admin("GET", "/admin/accounts", route="k2think"))["pools"]
        bad = await on.admin("POST", "/admin/accounts/revive", route="k2think", account="nobody")
        await on.admin("POST", "/admin/accounts/revive", route="k2think")
        (after,) = (await on.admin("GET", "/admin/accounts", route="k2think"))["pools"]
        (on.routes / "tokens.txt").write_text("token-1\n")
        await on.admin("POST", "/admin/reload")
        (reloaded,) = (await on.admin("GET", "/admin/accounts", route="k2think"))["pools"]
    first = before["accounts"][0]
    assert (first["state"], first["failures"], first["last_error"]) == ("parked", 1, "auth_invalid")
    assert (before["refresh_after"], before["min_pool"], before["free"]) == (2, 3, 2)
    assert bad[0] == 404
    assert (after["free"], after["failing_in_a_row"]) == (3, 0)
    assert len(reloaded["accounts"]) == 1
    assert "token-" not in json.dumps(before)


@pytest.mark.rows("K2-20", "KB-9")
async def test_connections_are_kept_and_bounded(tmp_path: Path) -> None:
    site = Site(delay=0.1)
    async with k2(tmp_path, site, tokens=pool(site, 1), limits__connections=2) as on:
        answers = await asyncio.gather(*(on.ask(MODEL) for _ in range(12)))
    assert set(answers) == {"You said: Hello"}
    assert len(site.peers) == 2


# ---- failures ----


@pytest.mark.rows("K2-17", "KB-4", "KB-9")
@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_is_tried_with_another_token(tmp_path: Path, stream: bool) -> None:
    site = Site(next=[(500, {"detail": "oops"}), (502, "bad gateway")])
    async with k2(tmp_path, site, tokens=pool(site, 3)) as on:
        status, _, raw = await on.raw({"model": MODEL, "messages": HELLO, "stream": stream})
        for _ in range(20):
            await on.ask(MODEL)
    assert (status, "You said: Hello" in raw) == (200, True)
    bearers = [head["Authorization"] for head in site.heads[:3]]
    assert bearers == ["Bearer token-0", "Bearer token-1", "Bearer token-2"]
    assert len(site.peers) <= 3


@pytest.mark.rows("K2-17", "K2-37", "KB-3", "KB-10")
@pytest.mark.parametrize("stream", [False, True])
async def test_failures_are_errors_of_the_clients_dialect(tmp_path: Path, stream: bool) -> None:
    site = Site(next=[(500, {"detail": "Internal Server Error"})] * 6)
    async with k2(tmp_path, site, tokens=pool(site, 3)) as on:
        with pytest.raises(openai.InternalServerError) as caught:
            await on.openai.chat.completions.create(model=MODEL, messages=HELLO, stream=stream)
        with pytest.raises(anthropic.APIStatusError) as other:
            await on.anthropic.messages.create(
                model=MODEL, messages=HELLO, max_tokens=9, stream=stream
            )
    assert (caught.value.status_code, caught.value.code) == (502, "bad_gateway")
    assert "Internal Server Error" in caught.value.message
    assert other.value.status_code == 502
    body: Any = other.value.body
    assert body["error"] == {"type": "api_error", "message": "Internal Server Error"}


@pytest.mark.rows("K2-19")
async def test_no_answer_in_time_is_a_504(tmp_path: Path) -> None:
    site = Site(delay=30)
    async with k2(tmp_path, site, env={"REQUEST_TIMEOUT": "1"}) as on:
        with pytest.raises(openai.InternalServerError) as caught:
            await on.ask(MODEL)
    assert (caught.value.status_code, caught.value.type) == (504, "timeout")


@pytest.mark.rows("KB-15")
async def test_without_the_cookie_the_firewall_answers(tmp_path: Path) -> None:
    def edit(text: str) -> str:
        return "".join(line for line in text.splitlines(True) if not line.startswith("    Cookie:"))

    site = Site()
    async with k2(tmp_path, site, edit=edit) as on:
        with pytest.raises(openai.InternalServerError) as caught:
            await on.ask(MODEL)
        whole = (await on.raw({"model": MODEL, "messages": HELLO}))[2]
    assert caught.value.status_code == 503
    assert "<html" not in whole
    async with k2(tmp_path, site) as on:
        assert await on.ask(MODEL) == "You said: Hello"
