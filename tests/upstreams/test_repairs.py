"""An upstream changes under way; one edit of the route's file mends it, without a restart.

Each time: a client is in the midst of an answer when the change comes, and still gets all of it;
the next request fails with a status and words that say what is wrong; the file is edited as an
operator does it; the next request is served. The gateway is the same all along.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import web

from engine.shell.stub import listening
from tests.shell import kimi_site
from tests.upstreams import flowith, k2think
from tests.upstreams.stand import Front, example, front, has_models, until

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


async def mended(
    stand: Front,
    model: str,
    begin: Awaitable[str],
    change: Callable[[], None],
    failure: tuple[int, str],
    edit: tuple[str, str, str],
    *,
    asked: Callable[[], bool],
) -> None:
    """The whole story. begin: a request that is under way once `asked` is true."""
    under_way = asyncio.ensure_future(begin)
    await until(asked)
    change()
    status, words = failure
    with pytest.raises(openai.APIStatusError) as caught:
        await stand.ask(model, "during")
    assert (caught.value.status_code, words in caught.value.message) == (status, True), caught.value
    await stand.edit(*edit)
    await _served(stand, model)
    assert await under_way == "You said: before"


async def _served(stand: Front, model: str) -> None:
    """At once; where models are found out, as soon as they are."""
    await until(lambda: stand.gateway.models.book.find(model) is not None)
    assert await stand.ask(model, "after") == "You said: after"


async def text_of(chunks: Awaitable[list[Any]]) -> str:
    pieces = [c.choices[0].delta.content or "" for c in await chunks if c.choices]
    return "".join(pieces)


async def test_kimi_ai_writes_its_nonce_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = kimi_site.Site(delay=1.0)

    def change() -> None:
        """The script is another now, and what was handed out is no longer good."""
        monkeypatch.setattr(
            kimi_site, "PAGE", '<script>kimiChat.start({"token":"NONCE"});</script>'
        )
        site.expire()
        site.delay = 0.0

    async with (
        kimi_site.running(site) as url,
        front(
            tmp_path, {"kimi-ai": example("kimi-ai")}, {"KIMI_AI_BASE_URL": url}, watch="auto"
        ) as stand,
    ):
        model = "kimi-k2-instruct"
        await mended(
            stand,
            model,
            text_of(stand.stream(model, "before")),
            change,
            (503, "value `nonce` was not found in the answer"),
            (
                "kimi-ai",
                r"{ regex: 'var kimi_ajax = (\{.*?\});', then: { json: $.nonce } }",
                r"{ regex: 'kimiChat\.start\((\{.*?\})\);', then: { json: $.token } }",
            ),
            asked=lambda: site.chats == 1,
        )


async def test_flowith_moves_to_another_path(tmp_path: Path) -> None:
    site = flowith.Flowith(pause=0.3)

    def change() -> None:
        site.path = "/external/use/seek-knowledge"
        site.listed_at = "/external/use/knowledge-base"

    async with flowith.running(site) as url:
        env = {"FLOWITH_BASE": url, "FLOWITH_AUTH_TOKENS": ",".join(flowith.TOKENS)}
        async with front(tmp_path, {"flowith": example("flowith")}, env, watch="auto") as stand:
            await has_models(stand, flowith.MODELS[0])
            await mended(
                stand,
                flowith.MODELS[0],
                text_of(stand.stream(flowith.MODELS[0], "before")),
                change,
                (502, "status 404"),
                (
                    "flowith",
                    "path: /external/use/knowledge-base/seek",
                    "path: /external/use/seek-knowledge/seek",
                ),
                asked=lambda: len(site.asked) == 1,
            )


async def test_k2think_renames_its_model(tmp_path: Path) -> None:
    site = k2think.Site(delay=1.0)

    def change() -> None:
        site.model = "MBZUAI-IFM/K2-Think-v3"
        site.delay = 0.0

    (tmp_path / "routes").mkdir()
    (tmp_path / "routes/accounts.txt").write_text(k2think.people(1))
    async with listening(site.handle) as url:
        env = {"K2THINK_BASE_URL": url}
        async with front(tmp_path, {"k2think": example("k2think")}, env, watch="auto") as stand:
            await mended(
                stand,
                "MBZUAI-IFM/K2-Think",
                text_of(stand.stream("MBZUAI-IFM/K2-Think", "before")),
                change,
                (404, "Model not found"),
                ("k2think", "MBZUAI-IFM/K2-Think-v2}", "MBZUAI-IFM/K2-Think-v3}"),
                asked=lambda: bool(site.asked),
            )


async def test_k2think_begins_to_demand_its_cookie(tmp_path: Path) -> None:
    """The route as it was before the site's firewall looked for the cookie."""
    site, demands = k2think.Site(), False
    cookie = '    Cookie: "token={{ account.key | default(values.token) }}"\n'

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/api/chat/completions" and not request.cookies and not demands:
            prompt = json.loads(await request.read())["messages"][-1]["content"]
            under_way.append(prompt)
            await asyncio.sleep(1.0)
            content = f"<answer>You said: {prompt}</answer>"
            return web.json_response({"choices": [{"message": {"content": content}}]})
        return await site.handle(request)

    def change() -> None:
        nonlocal demands
        demands = True

    under_way: list[str] = []
    (tmp_path / "routes").mkdir()
    (tmp_path / "routes/accounts.txt").write_text(k2think.people(1))
    routes = {"k2think": example("k2think", (cookie, ""))}
    async with (
        listening(handle) as url,
        front(tmp_path, routes, {"K2THINK_BASE_URL": url}, watch="auto") as stand,
    ):
        bearer = '    Authorization: "Bearer {{ account.key | default(values.token) }}"\n'
        await mended(
            stand,
            "MBZUAI-IFM/K2-Think",
            text_of(stand.stream("MBZUAI-IFM/K2-Think", "before")),
            change,
            (503, "status 405"),
            ("k2think", bearer, bearer + cookie),
            asked=lambda: bool(under_way),
        )


# ---- services of known dialects ----


@dataclass
class Chat:
    """A Chat service that may ask for a signature, as iFlow began to."""

    key: str
    signed: bool = False
    delay: float = 1.0
    asked: list[Mapping[str, str]] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "GET":
            return web.json_response({"data": []})
        self.asked.append(dict(request.headers))
        body = json.loads(await request.read())
        if self.signed and not self._is_signed(request.headers):
            return web.json_response({"error": {"message": "signature required"}}, status=406)
        await asyncio.sleep(self.delay)
        return await _chunks(request, f"You said: {body['messages'][-1]['content']}", body)

    def _is_signed(self, headers: Mapping[str, str]) -> bool:
        session, when = headers.get("session-id", ""), headers.get("x-iflow-timestamp", "")
        text = f"iFlow-Cli:{session}:{when}".encode()
        wanted = hmac.new(self.key.encode(), text, hashlib.sha256).hexdigest()
        return bool(session) and headers.get("x-iflow-signature") == wanted


async def _chunks(request: web.BaseRequest, text: str, body: Any) -> web.StreamResponse:
    head = {"id": "c", "created": 1, "model": body["model"]}
    if not body.get("stream"):
        choice: Any = {"index": 0, "message": {"role": "assistant", "content": text}}
        return web.json_response({**head, "choices": [{**choice, "finish_reason": "stop"}]})
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for delta, finish in (({"role": "assistant", "content": text}, None), ({}, "stop")):
        chunk = {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
    await response.write(b"data: [DONE]\n\n")
    return response


async def test_iflow_begins_to_demand_a_signature(tmp_path: Path) -> None:
    """The route as it was before; the edit puts the signature in."""
    site = Chat("sk-iflow-0123456789")
    text = example("iflow")
    begin = text.index("  sign:\n")
    sign = text[begin : text.index("upstream: {")]
    (tmp_path / "home").mkdir()
    (tmp_path / "home/settings.json").write_text(json.dumps({"apiKey": site.key}))

    def change() -> None:
        site.signed, site.delay = True, 0.0

    async with listening(site.handle) as url:
        env = {"IFLOW_BASE_URL": url, "IFLOW_HOME": str(tmp_path / "home")}
        routes = {"iflow": text.replace(sign, "")}
        async with front(tmp_path, routes, env, watch="auto") as stand:
            header = '  header: { x-api-key: "{{ account.api_key }}" }\n'
            await mended(
                stand,
                "glm-4.6",
                text_of(stand.stream("glm-4.6", "before")),
                change,
                (502, "signature required"),
                ("iflow", header, header + sign),
                asked=lambda: bool(site.asked),
            )


@dataclass
class Messages:
    """A Messages service that knows its models by name."""

    model: str
    delay: float = 1.0
    asked: list[str] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = json.loads(await request.read())
        self.asked.append(body["model"])
        if body["model"] != self.model:
            error = {"type": "not_found_error", "message": f"model: {body['model']}"}
            return web.json_response({"type": "error", "error": error}, status=404)
        await asyncio.sleep(self.delay)
        said = body["messages"][-1]["content"]
        text = said if isinstance(said, str) else said[-1]["text"]
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in _events(self.model, f"You said: {text}"):
            line = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
            await response.write(line.encode())
        return response


def _events(model: str, text: str) -> list[dict[str, Any]]:
    usage = {"input_tokens": 1, "output_tokens": 1}
    message: Any = {
        "id": "m", "type": "message", "role": "assistant", "model": model, "content": [],
        "stop_reason": None, "stop_sequence": None, "usage": usage,
    }  # fmt: skip
    return [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": usage,
        },
        {"type": "message_stop"},
    ]


async def test_zenmux_renames_a_model(tmp_path: Path) -> None:
    site = Messages("moonshotai/kimi-k2.5")

    def change() -> None:
        site.model, site.delay = "moonshotai/kimi-k2.5-latest", 0.0

    async with listening(site.handle) as url:
        env = {"MOONSHOT_BASE_URL": url, "ZENMUX_API_KEY": "sk-zenmux-0123456789"}
        routes = {"zenmux-kimi": example("zenmux-kimi")}
        async with front(tmp_path, routes, env, watch="auto") as stand:
            await mended(
                stand,
                "kimi-k2.5",
                text_of(stand.stream("kimi-k2.5", "before")),
                change,
                (404, "model: moonshotai/kimi-k2.5"),
                (
                    "zenmux-kimi",
                    "upstream: moonshotai/kimi-k2.5,",
                    "upstream: moonshotai/kimi-k2.5-latest,",
                ),
                asked=lambda: bool(site.asked),
            )
