"""The route kimi-ai behind the real gateway, asked by the official OpenAI SDK over real sockets."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import aiohttp
import openai
import pytest
from aiohttp import web
from openai import AsyncOpenAI, OpenAI

from engine.options import Duration, Secret
from engine.shell.app import gateway
from engine.shell.bundle import bundled_routes
from engine.shell.library import Library
from engine.shell.settings import Clients, Listen, Log, Settings
from tests.shell.kimi_site import Site, running

ROUTE = bundled_routes() / "examples/kimi-ai.yaml"
KEYS = ("client-key-Za81kq", "another-key-Qm27xw")
MODEL = "kimi-k2-instruct-0905"
HELLO: Any = [{"role": "user", "content": "Hello"}]


def said(text: str) -> Any:
    return [{"role": "user", "content": text}]


@dataclass(slots=True)
class Front:
    """A gateway that serves, and a client of it."""

    url: str
    client: AsyncOpenAI

    async def ask(self, messages: Any = HELLO, **more: Any) -> str:
        """The text of a plain answer."""
        answer = await self.client.chat.completions.create(
            **{"model": MODEL, "messages": messages, **more}
        )
        return answer.choices[0].message.content or ""

    def another(self) -> AsyncOpenAI:
        """A client with another key."""
        return AsyncOpenAI(base_url=f"{self.url}/v1", api_key=KEYS[1])


@asynccontextmanager
async def front(
    home: Path,
    site_url: str,
    *,
    route: Path = ROUTE,
    store: Literal["memory", "sqlite"] = "memory",
    **env: str,
) -> AsyncIterator[Front]:
    """The gateway on a free port, the route's site at `site_url`."""
    folder = home / "routes"
    folder.mkdir(exist_ok=True)
    shutil.copyfile(route, folder / "kimi-ai.yaml")
    settings = Settings(
        listen=Listen(port=0),
        clients=Clients(keys=[Secret(key) for key in KEYS]),
        state=str(home / "state"),
        store=store,
        log=Log(level="error"),
        watch="off",
        drain=Duration(1.0),
    )
    library = Library([folder], env={"KIMI_AI_BASE_URL": site_url, **env})
    async with (
        gateway(settings, library, strict=True) as running_,
        AsyncOpenAI(base_url=f"{running_.url}/v1", api_key=KEYS[0]) as client,
    ):
        yield Front(running_.url, client)


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
async def kimi(tmp_path: Path, site: Site) -> AsyncIterator[Front]:
    async with running(site) as url, front(tmp_path, url) as made:
        yield made


# ---- answers ----


async def test_a_plain_answer_is_json_with_an_estimated_usage(kimi: Front, site: Site) -> None:
    answer = await kimi.client.chat.completions.create(model=MODEL, messages=HELLO)
    assert (answer.object, answer.model) == ("chat.completion", MODEL)
    choice = answer.choices[0]
    assert (choice.message.role, choice.message.content) == ("assistant", "You said: Hello")
    assert choice.finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.model_extra == {"penstock_estimated": True}
    assert (site.pages, site.chats) == (1, 1)
    assert site.forms[0]["model"] == "moonshotai/Kimi-K2-Instruct-0905"


async def test_a_stream_has_a_role_the_text_a_finish_and_the_usage_asked_for(kimi: Front) -> None:
    stream = await kimi.client.chat.completions.create(
        model="kimi-k2-instruct",
        messages=HELLO,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert deltas[0].role == "assistant"
    assert "".join(delta.content or "" for delta in deltas) == "You said: Hello"
    finishes = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    assert [finish for finish in finishes if finish] == ["stop"]
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    assert {chunk.model for chunk in chunks} == {"kimi-k2-instruct"}
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.model_extra == {"penstock_estimated": True}


@pytest.mark.rows("KA-19")
async def test_the_frames_of_a_stream_are_those_of_the_api(kimi: Front) -> None:
    body = {"model": MODEL, "messages": HELLO, "stream": True}
    headers = {"Authorization": f"Bearer {KEYS[0]}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{kimi.url}/v1/chat/completions", json=body, headers=headers) as answer,
    ):
        assert answer.content_type == "text/event-stream"
        frames = (await answer.text()).split("\n\n")
    assert frames[-2:] == ["data: [DONE]", ""]
    choices = [json.loads(frame.removeprefix("data: "))["choices"][0] for frame in frames[:-2]]
    assert choices[0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert choices[1]["delta"] == {"content": "You said: Hello"}
    assert choices[-1]["delta"] == {}
    assert [choice["finish_reason"] for choice in choices] == [None, None, "stop"]


async def test_the_synchronous_client_works_too(kimi: Front) -> None:
    def ask() -> list[str]:
        with OpenAI(base_url=f"{kimi.url}/v1", api_key=KEYS[0]) as client:
            plain = client.chat.completions.create(model=MODEL, messages=said("one"))
            stream = client.chat.completions.create(model=MODEL, messages=said("two"), stream=True)
            pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
            return [plain.choices[0].message.content or "", "".join(pieces)]

    assert await asyncio.to_thread(ask) == ["You said: one", "You said: two"]


@pytest.mark.rows("AB-6", "KA-19")
async def test_a_long_answer_is_streamed_without_pauses(kimi: Front, site: Site) -> None:
    site.answer = lambda message: "长" * 5000
    begun = time.monotonic()
    stream = await kimi.client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert len(text) == 5000
    assert time.monotonic() - begun < 2


@pytest.mark.rows("KA-20", "K2-32", "KT-06", "IF-06")
async def test_models_have_an_owner_and_health_needs_no_key(kimi: Front) -> None:
    models = {model.id: model.owned_by async for model in kimi.client.models.list()}
    assert models == {MODEL: "kimi-ai", "kimi-k2-instruct": "kimi-ai"}
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{kimi.url}/") as answer:
            assert (answer.status, "message" in await answer.json()) == (200, True)
        async with session.get(f"{kimi.url}/health") as answer:
            assert await answer.json() == {"status": "ok", "ok": True}


# ---- conversations ----


async def test_turns_of_a_user_are_kept_under_one_session(kimi: Front, site: Site) -> None:
    site.answer = lambda message: f"answer {site.chats}"
    for text in ("first", "second", "third"):
        await kimi.ask(said(text), user="ann")
    assert site.forms[2]["message"] == (
        "用户: first\n模型: answer 1\n用户: second\n模型: answer 2\n用户: third"
    )
    assert len({form["session_id"] for form in site.forms}) == 1


@pytest.mark.rows("KA-12")
async def test_streamed_turns_are_kept_as_well(kimi: Front, site: Site) -> None:
    stream = await kimi.client.chat.completions.create(
        model=MODEL, messages=said("first"), user="ann", stream=True
    )
    assert [chunk async for chunk in stream]
    await kimi.ask(said("second"), user="ann")
    assert site.forms[1]["message"] == "用户: first\n模型: You said: first\n用户: second"


async def test_a_user_of_another_key_is_another_user(kimi: Front, site: Site) -> None:
    await kimi.ask(said("first"), user="ann")
    async with kimi.another() as other:
        await other.chat.completions.create(model=MODEL, messages=said("mine"), user="ann")
    assert site.forms[1]["message"] == "用户: mine"
    assert site.forms[0]["session_id"] != site.forms[1]["session_id"]


async def test_without_a_user_nothing_is_kept(kimi: Front, site: Site) -> None:
    await kimi.ask(said("first"))
    await kimi.ask(said("second"))
    assert site.forms[1]["message"] == "用户: second"
    assert site.forms[0]["session_id"] != site.forms[1]["session_id"]


@pytest.mark.parametrize("store", ["memory", "sqlite"])
@pytest.mark.rows("KA-21")
async def test_two_parallel_requests_of_one_user_are_both_kept(
    tmp_path: Path, site: Site, store: Literal["memory", "sqlite"]
) -> None:
    site.together = 2
    async with running(site) as url, front(tmp_path, url, store=store) as kimi:
        both = await asyncio.gather(
            kimi.ask(said("one"), user="ann"), kimi.ask(said("two"), user="ann")
        )
        site.together = 1
        await kimi.ask(said("three"), user="ann")
    assert list(both) == ["You said: one", "You said: two"]
    assert len({form["session_id"] for form in site.forms}) == 1
    lines = site.forms[2]["message"].split("\n")
    assert sorted(lines[:-1]) == [
        "模型: You said: one", "模型: You said: two", "用户: one", "用户: two",
    ]  # fmt: skip
    assert lines[-1] == "用户: three"


@pytest.mark.rows("KA-21", "AB-9")
async def test_a_failed_call_leaves_the_session_as_it_was(kimi: Front, site: Site) -> None:
    await kimi.ask(said("one"), user="ann")
    site.broken = lambda: web.Response(status=400, text="0", content_type="text/html")
    with pytest.raises(openai.InternalServerError):
        await kimi.ask(said("two"), user="ann")
    site.broken = None
    await kimi.ask(said("three"), user="ann")
    assert site.forms[-1]["message"] == "用户: one\n模型: You said: one\n用户: three"


@pytest.mark.rows("KA-04")
async def test_no_more_sessions_are_kept_than_the_route_says(tmp_path: Path, site: Site) -> None:
    few = tmp_path / "few.yaml"
    few.write_text(ROUTE.read_text().replace("max: 1024", "max: 2"))
    async with running(site) as url, front(tmp_path, url, route=few) as kimi:
        for user in ("ann", "bob", "cy"):
            await kimi.ask(said(f"I am {user}"), user=user)
        await kimi.ask(said("Who am I?"), user="cy")
        await kimi.ask(said("Who am I?"), user="ann")
    assert site.forms[3]["message"].startswith("用户: I am cy\n")
    assert site.forms[4]["message"] == "用户: Who am I?"


@pytest.mark.rows("AB-3")
async def test_two_gateways_with_one_store_serve_one_session(tmp_path: Path, site: Site) -> None:
    async with (
        running(site) as url,
        front(tmp_path, url, store="sqlite") as one,
        front(tmp_path, url, store="sqlite") as two,
    ):
        await one.ask(said("first"), user="ann")
        await two.ask(said("second"), user="ann")
        await one.ask(said("third"), user="ann")
    assert site.forms[2]["message"].split("\n")[::2] == [
        "用户: first",
        "用户: second",
        "用户: third",
    ]
    assert len({form["session_id"] for form in site.forms}) == 1


# ---- errors ----


@pytest.mark.rows("KA-02")
async def test_an_unknown_key_is_refused(kimi: Front) -> None:
    async with AsyncOpenAI(base_url=f"{kimi.url}/v1", api_key="wrong-key-Tr55pl") as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            await client.chat.completions.create(model=MODEL, messages=HELLO)
    assert caught.value.status_code == 401
    assert caught.value.type == "authentication_error"


@pytest.mark.rows("KA-02")
async def test_a_request_without_a_key_is_refused_as_the_api_does(kimi: Front) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{kimi.url}/v1/chat/completions", json={"model": MODEL}) as answer,
    ):
        assert answer.status == 401
        error = (await answer.json())["error"]
    assert error["message"] == "Invalid API key provided"
    assert error["type"] == "authentication_error"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.rows("KA-08", "AB-4")
async def test_a_second_failure_is_a_502_in_the_upstreams_words(
    kimi: Front, site: Site, stream: bool
) -> None:
    site.broken = lambda: web.json_response({"success": False, "data": "额度已用完"})
    with pytest.raises(openai.InternalServerError) as caught:
        await kimi.client.chat.completions.create(model=MODEL, messages=HELLO, stream=stream)
    assert (caught.value.status_code, caught.value.code) == (502, "bad_gateway")
    assert "额度已用完" in caught.value.message
    assert (site.chats, site.pages) == (2, 2)  # once more with a new nonce; the SDK asks no more


@pytest.mark.parametrize(
    ("more", "kind", "status", "code"),
    [
        ({"messages": said("长" * 1001)}, openai.BadRequestError, 400, "context_length_exceeded"),
        ({"messages": []}, openai.BadRequestError, 400, None),
        (
            {"messages": [*HELLO, {"role": "assistant", "content": "Hi"}]},
            openai.BadRequestError,
            400,
            None,
        ),
        ({"model": "kimi-k3"}, openai.NotFoundError, 404, "model_not_found"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.rows("KA-15", "KA-16", "KA-17", "AB-7")
async def test_what_is_wrong_with_a_request_is_told_and_not_sent(
    kimi: Front,
    site: Site,
    more: dict[str, Any],
    kind: type[openai.APIStatusError],
    status: int,
    code: str | None,
    stream: bool,
) -> None:
    with pytest.raises(kind) as caught:
        await kimi.client.chat.completions.create(
            **{"model": MODEL, "messages": HELLO, "stream": stream, **more}
        )
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert caught.value.type == "invalid_request_error"
    assert site.chats == 0


@pytest.mark.parametrize("status", [200, 403, 503])
async def test_a_page_for_browsers_is_a_503(kimi: Front, site: Site, status: int) -> None:
    site.broken = lambda: web.Response(
        status=status, text="<html>Just a moment...</html>", content_type="text/html"
    )
    with pytest.raises(openai.InternalServerError) as caught:
        await kimi.ask()
    assert caught.value.status_code == 503
    assert "Just a moment" not in caught.value.message
    assert site.chats == 1


@pytest.mark.rows("KA-05")
async def test_an_upstream_that_does_not_answer_is_a_504(tmp_path: Path, site: Site) -> None:
    site.delay = 30
    async with running(site) as url, front(tmp_path, url, API_REQUEST_TIMEOUT="0.3") as kimi:
        with pytest.raises(openai.InternalServerError) as caught:
            await kimi.ask()
    assert (caught.value.status_code, caught.value.code) == (504, "timeout")
    assert site.chats == 1


# ---- the nonce ----


@pytest.mark.rows("KA-07")
async def test_the_nonce_is_fetched_before_anybody_asks(kimi: Front, site: Site) -> None:
    await _until(lambda: site.pages == 1)
    assert site.chats == 0


@pytest.mark.parametrize("refuse", ["json", "status"])
@pytest.mark.rows("KA-08", "KA-09")
async def test_a_nonce_that_has_expired_is_renewed_once(
    kimi: Front, site: Site, refuse: str
) -> None:
    site.refuse = refuse
    assert await kimi.ask() == "You said: Hello"
    site.expire()
    assert await kimi.ask() == "You said: Hello"
    assert await kimi.ask() == "You said: Hello"
    assert (site.pages, site.chats) == (2, 4)


@pytest.mark.rows("KA-03", "KA-07")
async def test_fifty_parallel_requests_get_their_own_answers(tmp_path: Path, site: Site) -> None:
    site.page_delay, site.together = 0.2, 50  # answered only when all fifty wait
    async with running(site) as url, front(tmp_path, url) as kimi:
        answers = await asyncio.gather(*(kimi.ask(said(f"number {n}")) for n in range(50)))
    assert answers == [f"You said: number {n}" for n in range(50)]
    assert (site.pages, site.chats, site.most_open) == (1, 50, 50)


@pytest.mark.rows("AB-13", "KA-07")
async def test_a_nonce_that_expires_under_load_is_fetched_once(kimi: Front, site: Site) -> None:
    await kimi.ask()
    site.expire()
    site.together, site.page_delay = 50, 0.1  # all fifty are under way with the old nonce
    answers = await asyncio.gather(*(kimi.ask(said(f"number {n}")) for n in range(50)))
    assert answers == [f"You said: number {n}" for n in range(50)]
    assert (site.pages, site.chats) == (2, 101)


@pytest.mark.rows("AB-13")
async def test_a_late_failure_does_not_drop_the_new_nonce(kimi: Front, site: Site) -> None:
    await kimi.ask()
    site.expire()
    site.delay = 0.3
    late = asyncio.create_task(kimi.ask(said("late")))
    await _until(lambda: site.chats == 2)
    site.delay = 0.0
    assert await kimi.ask(said("early")) == "You said: early"  # renews while `late` still waits
    assert await late == "You said: late"
    assert site.pages == 2


@pytest.mark.rows("AB-1")
async def test_others_are_served_while_one_waits(kimi: Front, site: Site) -> None:
    await kimi.ask()
    site.delay = 1.0
    slow = asyncio.create_task(kimi.ask(said("slow")))
    await _until(lambda: site.chats == 2)
    site.delay = 0.0
    begun = time.monotonic()
    await asyncio.gather(*(kimi.ask() for _ in range(5)))
    assert time.monotonic() - begun < 0.9
    assert not slow.done()
    assert await slow == "You said: slow"


@pytest.mark.rows("AB-1")
async def test_others_are_served_while_the_page_is_waited_for(tmp_path: Path, site: Site) -> None:
    site.page_delay = 1.0
    async with running(site) as url, front(tmp_path, url) as kimi:
        asking = asyncio.create_task(kimi.ask())
        await _until(lambda: site.pages == 1)
        begun = time.monotonic()
        assert len([model async for model in kimi.client.models.list()]) == 2
        assert time.monotonic() - begun < 0.9
        assert await asking == "You said: Hello"


@pytest.mark.rows("KA-11", "AB-11")
async def test_a_site_that_is_down_at_the_start_is_a_503_until_it_is_up(
    tmp_path: Path, site: Site
) -> None:
    port = _free_port()
    async with front(tmp_path, f"http://127.0.0.1:{port}") as kimi:
        with pytest.raises(openai.InternalServerError) as caught:
            await kimi.ask()
        assert (caught.value.status_code, caught.value.code) == (503, "service_unavailable")
        async with running(site, port):
            await _until_asked(kimi)
    assert (site.pages, site.chats) == (1, 1)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


async def _until(holds: Any) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.005)


async def _until_asked(kimi: Front) -> None:
    """Ask until there is an answer: a fetch that failed is not tried again at once."""
    async with asyncio.timeout(10):
        while True:
            try:
                assert await kimi.ask() == "You said: Hello"
                return
            except openai.InternalServerError:
                await asyncio.sleep(0.1)
