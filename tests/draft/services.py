"""Chat services true to the wire, each with what a browser does there before it has an answer.

A service refuses what the real one would refuse: a wrong key, a nonce of another page.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from aiohttp import web

from tests.draft.browser import Browser

ASKED = "Why is the sky blue?"
SAID = ["Because ", "air scatters ", "blue light ", "more than red."]
THOUGHT = ["The user asks ", "about scattering. "]
TEXT, THINKING = "".join(SAID), "".join(THOUGHT)
KEY = "qk-7Fd93LmQ2xVb81ZpTt04"

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4iLCJleHAiOjE4OTM0NTYwMDB9.c2lnbmF0dXJl"

Visit = Callable[[Browser], Awaitable[object]]


@dataclass(slots=True)
class Service:
    """pages: what answers by path; visit: what the browser does; refused: what was wrong."""

    visit: Visit
    pages: dict[str, Callable[[web.BaseRequest, bytes], web.Response]]
    refused: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        self.bodies.append(body)
        page = self.pages.get(request.path)
        answer = page(request, body) if page else web.Response(status=404, text="no such page")
        if answer.status >= 400:
            self.refused.append(f"{request.method} {request.path}: {answer.status}")
        return answer


def sse(*values: Any, names: list[str] | None = None, done: str = "") -> web.Response:
    lines = []
    for at, value in enumerate(values):
        name = f"event: {names[at]}\n" if names else ""
        lines.append(f"{name}data: {json.dumps(value, ensure_ascii=False)}\n\n")
    lines += [f"data: {done}\n\n"] if done else []
    return web.Response(text="".join(lines), content_type="text/event-stream")


def guarded(answer: Callable[[], web.Response]) -> Callable[[web.BaseRequest, bytes], web.Response]:
    """Only for those who bring the key."""

    def page(request: web.BaseRequest, body: bytes) -> web.Response:
        brought = [
            request.headers.get(name, "")
            for name in ("authorization", "x-api-key", "x-goog-api-key")
        ]
        if not any(KEY in value for value in brought):
            return web.json_response({"error": {"message": "no key"}}, status=401)
        return answer()

    return page


# ---- the APIs that are dialects ----


def openai_chat() -> Service:
    def chunk(delta: dict[str, Any], why: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": why}
        return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1767225600,
                "model": "large-1", "choices": [choice]}  # fmt: skip

    usage = {"prompt_tokens": 12, "completion_tokens": 9, "total_tokens": 21}

    def answer() -> web.Response:
        return sse(
            chunk({"role": "assistant", "content": ""}),
            *(chunk({"content": piece}) for piece in SAID),
            chunk({}, "stop"),
            {**chunk({}), "choices": [], "usage": usage},
            done="[DONE]",
        )

    async def visit(browser: Browser) -> None:
        body = {
            "model": "large-1", "stream": True, "stream_options": {"include_usage": True},
            "messages": [{"role": "user", "content": ASKED}],
        }  # fmt: skip
        await browser.post("/v1/chat/completions", body, authorization=f"Bearer {KEY}")

    return Service(visit, {"/v1/chat/completions": guarded(answer)})


def anthropic() -> Service:
    def block(at: int, kind: str, field: str, pieces: list[str]) -> list[dict[str, Any]]:
        start = {
            "type": "content_block_start",
            "index": at,
            "content_block": {"type": kind, field: ""},
        }
        deltas = [
            {
                "type": "content_block_delta",
                "index": at,
                "delta": {"type": f"{field}_delta", field: piece},
            }
            for piece in pieces
        ]
        return [start, *deltas, {"type": "content_block_stop", "index": at}]

    signed = {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "signature_delta", "signature": "c2ln"},
    }
    message: dict[str, Any] = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "deep-1", "content": [],
        "stop_reason": None, "usage": {"input_tokens": 12, "output_tokens": 1},
    }  # fmt: skip
    counts = {"output_tokens": 20}
    thinking = block(0, "thinking", "thinking", THOUGHT)
    events = [
        {"type": "message_start", "message": message},
        *thinking[:-1], signed, thinking[-1],
        *block(1, "text", "text", SAID),
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": counts},
        {"type": "message_stop"},
    ]  # fmt: skip

    async def visit(browser: Browser) -> None:
        body = {
            "model": "deep-1", "max_tokens": 4096, "stream": True,
            "thinking": {"type": "enabled", "budget_tokens": 2048},
            "messages": [{"role": "user", "content": ASKED}],
        }  # fmt: skip
        headers = {"x_api_key": KEY, "anthropic_version": "2023-06-01"}
        await browser.post("/v1/messages", body, **headers)

    names = [event["type"] for event in events]
    return Service(visit, {"/v1/messages": guarded(lambda: sse(*events, names=names))})


def gemini() -> Service:
    def part(text: str, **more: Any) -> dict[str, Any]:
        content = {"role": "model", "parts": [{"text": text, **more}]}
        return {"candidates": [{"content": content, "index": 0}], "modelVersion": "gem-1"}

    counts = {"promptTokenCount": 7, "candidatesTokenCount": 9, "totalTokenCount": 16}
    last: dict[str, Any] = part(SAID[-1])
    last["candidates"][0]["finishReason"] = "STOP"
    events = [
        part(THINKING, thought=True),
        *map(part, SAID[:-1]),
        {**last, "usageMetadata": counts},
    ]
    path = "/v1beta/models/gem-1:streamGenerateContent"

    async def visit(browser: Browser) -> None:
        body = {"contents": [{"role": "user", "parts": [{"text": ASKED}]}]}
        await browser.post(f"{path}?alt=sse", body, x_goog_api_key=KEY)

    return Service(visit, {path: guarded(lambda: sse(*events))})


def ollama() -> Service:
    def line(text: str, **more: Any) -> dict[str, Any]:
        message = {"role": "assistant", "content": text}
        return {
            "model": "small:1b",
            "created_at": "2026-01-01T00:00:00Z",
            "message": message,
            "done": False,
            **more,
        }

    ended = line(
        "", done=True, done_reason="stop", prompt_eval_count=12, eval_count=9, total_duration=5
    )
    lines = [*map(line, SAID), ended]
    text = "".join(json.dumps(each) + "\n" for each in lines)

    async def visit(browser: Browser) -> None:
        messages = [{"role": "user", "content": ASKED}]
        await browser.post("/api/chat", {"model": "small:1b", "messages": messages, "stream": True})

    return Service(
        visit,
        {
            "/api/chat": lambda *_: web.Response(text=text, content_type="application/x-ndjson"),
            "/api/tags": lambda *_: web.json_response({"models": [{"name": "small:1b"}]}),
        },
    )


# ---- odd ones ----


def snapshots() -> Service:
    """A web chat that repeats all so far in each event; its key is in a cookie."""
    texts = list(itertools.accumulate(SAID))
    thoughts = list(itertools.accumulate(THOUGHT))

    def answer(request: web.BaseRequest, body: bytes) -> web.Response:
        if KEY not in request.headers.get("cookie", ""):
            return web.json_response({"error": "log in"}, status=401)
        events: list[dict[str, Any]] = [
            {"mid": "m-1", "thoughts": text, "answer": ""} for text in thoughts
        ]
        events += [{"mid": "m-1", "thoughts": THINKING, "answer": text} for text in texts]
        return sse(*events, done="[DONE]")

    async def visit(browser: Browser) -> None:
        browser._session.cookie_jar.update_cookies({"sid": KEY, "theme": "dark"})
        body = {
            "question": ASKED, "model": "owl-2", "client_ts": 1767225600123,
            "msg": "1f0c9a2e-7d1b-4c58-9f3a-0123456789ab", "temperature": 0.7,
        }  # fmt: skip
        await browser.post("/api/ask", body)

    return Service(visit, {"/api/ask": answer})


def tagged() -> Service:
    """Events with names: notes, thinking, text, the end with counts."""

    def answer() -> web.Response:
        names = ["ready", *["thinking"] * len(THOUGHT), *["delta"] * len(SAID), "usage", "done"]
        events: list[Any] = [{"request": "r-1"}, *({"v": piece} for piece in [*THOUGHT, *SAID])]
        events += [{"usage": {"input_tokens": 12, "output_tokens": 9}}, {"reason": "eos"}]
        return sse(*events, names=names)

    async def visit(browser: Browser) -> None:
        body = {"turns": [{"who": "human", "what": ASKED}], "engine": "fast", "live": True}
        headers = {"x_api_key": KEY, "accept": "text/event-stream"}
        await browser.post("/chat", body, **headers)

    return Service(visit, {"/chat": guarded(answer)})


def nested() -> Service:
    """JSON in strings in JSON, both ways; the key stands in the query, too."""

    def record(kind: str, text: str) -> dict[str, Any]:
        content = json.dumps({"text": text}, ensure_ascii=False)
        data = {"message": {"content": content, "content_type": 1}, "seq": len(text)}
        return {"event_type": kind, "event_id": "e-1", "event_data": json.dumps(data)}

    def answer() -> web.Response:
        pieces = [record("message", piece) for piece in SAID]
        return sse({"event_type": "init", "event_data": "{}"}, *pieces, {"event_type": "finished"})

    async def visit(browser: Browser) -> None:
        content = json.dumps({"text": ASKED, "ticket": KEY}, separators=(",", ":"))
        body = {"messages": [{"content": content, "content_type": 2001, "attachments": []}]}
        await browser.post(f"/samantha/ask?aid=497858&token={KEY}", body, x_api_key=KEY)

    return Service(visit, {"/samantha/ask": guarded(answer)})


def phases() -> Service:
    """Chunks in the clothes of the Chat API, but with a phase in each, and a body of its own."""

    def chunk(text: str, phase: str, status: str = "typing") -> dict[str, Any]:
        delta = {"role": "assistant", "content": text, "phase": phase, "status": status}
        return {"choices": [{"delta": delta}], "usage": {"input_tokens": 12, "output_tokens": 9}}

    def answer() -> web.Response:
        thoughts = [chunk(piece, "think") for piece in THOUGHT]
        pieces = [chunk(piece, "answer") for piece in SAID]
        end = chunk("", "answer", "finished")
        return sse({"response.created": {"chat_id": "c-1"}}, *thoughts, *pieces, end)

    async def visit(browser: Browser) -> None:
        message = {"fid": "1f0c9a2e-7d1b-4c58-9f3a-0123456789ab", "role": "user", "content": ASKED}
        body = {"stream": True, "model": "owl-3", "messages": [message], "timestamp": 1767225600123}
        await browser.post("/api/v2/chat/completions", body, authorization=f"Bearer {KEY}")

    return Service(visit, {"/api/v2/chat/completions": guarded(answer)})


PAGE = """<!DOCTYPE html><html><head><title>Chat of ann@example.org</title>
<script>var settings = {"root":"https:\\/\\/chat.example.com\\/","nonce":"0f1e2d3c4b"};</script>
</head><body><p>action: wp_send_message</p><script id="chat-js-extra">
var wp_chat = {"ajax_url":"\\/wp-admin\\/admin-ajax.php","nonce":"NONCE"};
</script></body></html>"""


def nonce() -> Service:
    """A nonce out of a page, a form, a whole JSON answer."""
    good: list[str] = []

    def page(request: web.BaseRequest, body: bytes) -> web.Response:
        good.append(f"9a8b7c6d5{len(good)}")
        return web.Response(text=PAGE.replace("NONCE", good[-1]), content_type="text/html")

    def ajax(request: web.BaseRequest, body: bytes) -> web.Response:
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        if form.get("action") != "wp_send_message":
            return web.Response(status=400, text="0")
        if form.get("nonce") not in good or not form.get("message"):
            return web.Response(status=403, text="-1")
        return web.json_response({"success": True, "data": {"message": TEXT}})

    async def visit(browser: Browser) -> None:
        html = await browser.ask("GET", "/chat/", accept="text/html")
        found = html.partition('php","nonce":"')[2].partition('"')[0]
        form = (
            f"action=wp_send_message&nonce={found}&message=Why+is+the+sky+blue%3F"
            "&model=vendor%2Flarge-2&session_id=session_1767225600123_k3j9x0q2z"
        )
        kind = "application/x-www-form-urlencoded; charset=UTF-8"
        await browser.ask("POST", "/wp-admin/admin-ajax.php", form.encode(), kind)

    return Service(visit, {"/chat/": page, "/wp-admin/admin-ajax.php": ajax})


def chats() -> Service:
    """A login's token, a chat that is made with it, its id in the path of the question."""
    chat = "5e8f1c2d-3b4a-4956-8777-aabbccddeeff"

    def session(request: web.BaseRequest, body: bytes) -> web.Response:
        if KEY not in body.decode():
            return web.json_response({"detail": "who are you?"}, status=401)
        return web.json_response({"access_token": TOKEN, "user": {"email": "ann@example.org"}})

    def make(request: web.BaseRequest, body: bytes) -> web.Response:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return web.json_response({"detail": "log in"}, status=401)
        return web.json_response({"chat": {"id": chat, "title": "New chat"}})

    def answer(request: web.BaseRequest, body: bytes) -> web.Response:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return web.json_response({"detail": "log in"}, status=401)
        pieces = [
            {"type": "text", "phase": "thinking", "data": {"delta": piece}} for piece in THOUGHT
        ]
        pieces += [{"type": "text", "phase": "answer", "data": {"delta": piece}} for piece in SAID]
        lines = [*pieces, {"type": "end", "phase": "answer", "data": {"finish_reason": "stop"}}]
        text = "".join(json.dumps(each) + "\n" for each in lines)
        return web.Response(text=text, content_type="application/x-ndjson")

    async def visit(browser: Browser) -> None:
        await browser.post("/api/session", {"refresh_token": KEY})
        bearer = {"authorization": f"Bearer {TOKEN}"}
        await browser.post("/api/chats", {"title": "New chat"}, **bearer)
        await browser.post("/api/events", {"name": "opened", "chat": chat}, **bearer)
        body = {"model": "owl-2", "content": ASKED, "parent": None}
        await browser.post(f"/api/chats/{chat}/ask", body, **bearer)

    pages = {"/api/session": session, "/api/chats": make, f"/api/chats/{chat}/ask": answer}
    return Service(visit, {**pages, "/api/events": lambda *_: web.json_response({"ok": True})})


SERVICES: dict[str, Callable[[], Service]] = {
    made.__name__: made
    for made in (
        openai_chat,
        anthropic,
        gemini,
        ollama,
        snapshots,
        tagged,
        nested,
        phases,
        nonce,
        chats,
    )
}
THINKS = {"anthropic", "gemini", "snapshots", "tagged", "phases", "chats"}
