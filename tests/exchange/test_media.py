"""Media by URL become bytes: what is fetched, once for all attempts, and what a route sees."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest

from engine.chat import Media, Message, Text, ToolResult, media_parts
from engine.errors import RequestError
from engine.exchange.media import AT_ONCE
from engine.ports import Page
from engine.route.reach import Reach
from engine.route.route import Route
from engine.wire import HttpRequest, loads
from tests.kit import FakeSink, Say, World, route_of

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)
PDF = b"%PDF-1.7\n"
WAV = b"RIFF\x10\x00\x00\x00WAVEfmt "
ROUTE = """
version: 1
dialect: DIALECT
base_url: https://chat.example.com
models: [m]
retry: { attempts: 2, backoff: { initial: 1s, jitter: none } }
media: { fetch: FETCH MORE }
"""
RULES = """
version: 1
base_url: https://chat.example.com
models: [m]
media: { fetch: always }
request: { path: /x, json: { q: "{{ req.messages | FILTER }}", kinds: "{{ req.media }}" } }
response: { events: [ { text: $.text, finish: stop } ] }
"""
FILES = {
    "a.png": Say(PNG), "b.jpg": Say(PNG), "c.pdf": Say(PDF), "d.wav": Say(WAV),
    "e.txt": Say(b"some words", headers={"Content-Type": "text/plain; charset=utf-8"}),
    "f.bin": Say(b"\x00\x01", headers={"Content-Type": "text/plain"}),
    "g.html": Say(b"<html>", headers={"Content-Type": "image/png"}),
    "i.txt": Say(b"caf\xe9", headers={"Content-Type": "text/plain; charset=latin-1"}),
    "j.zip": Say(b"PK\x03\x04", headers={"Content-Type": "application/zip"}),
    "h.none": Say(b"", 404), "big": Say(bytes(3000)),
}  # fmt: skip


def url(name: str) -> str:
    return f"https://pics.example.com/{name}"


def route(dialect: str = "ollama", fetch: str = "needed", more: str = "") -> Route:
    text = ROUTE.replace("DIALECT", dialect).replace("FETCH", fetch)
    return route_of(text.replace("MORE", f", {more}" if more else ""))


class Site:
    """Pictures, and an upstream whose answers are these, the last of them for ever."""

    def __init__(self, *answers: Say) -> None:
        self.answers = list(answers)
        self.fetched: list[str] = []
        self.bodies: list[Any] = []

    def __call__(self, request: HttpRequest) -> Say:
        host, _, path = request.url.partition("://")[2].partition("/")
        if host == "pics.example.com":
            self.fetched.append(path)
            return FILES[path]
        self.bodies.append(loads(request.body))
        return self.answers.pop(0) if self.answers else Say(b"{}", 400)


def image(name: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url(name)}}


async def ask(on: Route, site: Site, *parts: dict[str, Any]) -> FakeSink:
    async with World(site) as world:
        return await world.ask(on, [{"role": "user", "content": [*parts]}])


def encoded(data: bytes) -> str:
    return b64encode(data).decode()


@pytest.mark.rows("KT-16")
async def test_what_the_upstream_cannot_take_is_fetched_once_for_all_attempts() -> None:
    site = Site(Say(b"{}", 503))
    await ask(route(), site, image("a.png"), image("a.png"), image("b.jpg"))
    assert ["a.png", "b.jpg"] == sorted(site.fetched)
    assert [[encoded(PNG)] * 3] * 2 == [body["messages"][0]["images"] for body in site.bodies]


@pytest.mark.parametrize(
    ("dialect", "fetch", "fetched"),
    [
        ("ollama", "needed", ["a.png"]),
        ("gemini", "needed", ["a.png"]),
        ("anthropic_messages", "needed", []),
        ("openai_responses", "needed", []),
        ("openai_chat", "needed", []),
        ("openai_chat", "always", ["a.png"]),
        ("anthropic_messages", "always", ["a.png"]),
    ],
)
async def test_only_what_has_to_be_is_fetched(dialect: str, fetch: str, fetched: list[str]) -> None:
    site = Site()
    await ask(route(dialect, fetch), site, image("a.png"))
    assert fetched == site.fetched
    assert 1 == len(site.bodies)


async def test_nothing_is_fetched_where_the_route_does_not_say_so() -> None:
    site = Site()
    with pytest.raises(RequestError, match="an image by URL cannot be sent"):
        await ask(route(fetch="never"), site, image("a.png"))
    assert ([], []) == (site.fetched, site.bodies)


async def test_a_profile_without_urls_is_a_need() -> None:
    on = route_of(
        ROUTE.replace("DIALECT", "openai_chat").replace("FETCH MORE", "needed")
        + "profile: { images: { url: false } }\n"
    )
    site = Site()
    await ask(on, site, image("b.jpg"))
    (part,) = site.bodies[0]["messages"][0]["content"]
    assert f"data:image/png;base64,{encoded(PNG)}" == part["image_url"]["url"]


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("h.none", "failed_to_download_image", "it could not be fetched from its URL"),
        ("g.html", "unsupported_image_media_type", "its URL leads to something else"),
        ("c.pdf", "unsupported_image_media_type", "its URL leads to something else"),
    ],
)
async def test_what_cannot_be_had_refuses_the_request(name: str, code: str, message: str) -> None:
    site = Site()
    sink = await ask(route(), site, image(name))
    assert sink.error is not None
    assert ("invalid_request", code) == (sink.error.cls, sink.error.code)
    assert f"image 1 of those named by URL: {message}" == sink.error.message
    assert [] == site.bodies


async def test_there_is_a_most_of_them() -> None:
    site = Site()
    sink = await ask(route(more="most: 1"), site, image("a.png"), image("b.jpg"))
    assert sink.error is not None
    assert ("too_many_media", []) == (sink.error.code, site.fetched)


async def test_all_together_are_no_more_than_a_request_may_be() -> None:
    on = route_of(
        ROUTE.replace("DIALECT", "ollama").replace("FETCH MORE", "needed")
        + "limits: { request: 20B }\n"
    )
    site = Site()
    sink = await ask(on, site, image("a.png"), image("b.jpg"))
    assert sink.error is not None
    assert ("image_file_too_large", []) == (sink.error.code, site.bodies)


async def test_it_takes_only_so_long() -> None:
    def stalls(request: HttpRequest) -> Say:
        return Say(end="stall")

    async with World(stalls) as world:
        turn = [{"role": "user", "content": [image("a.png")]}]
        sink = await world.ask(route(more="timeout: 3s"), turn)
        assert sink.error is not None
        assert "failed_to_download_image" == sink.error.code
        told = world.notes.of("media_fetched")
        assert [("sample", 1, "failed_to_download_image", 3.0)] == [
            (n["route"], n["count"], n["outcome"], n["seconds"]) for n in told
        ]


@pytest.mark.parametrize(
    ("form", "path"),
    [
        ("as_openai", ("content", 0, "image_url", "url")),
        ("as_anthropic", ("content", 0, "source", "data")),
        ("as_gemini", ("parts", 0, "inlineData", "data")),
        ("as_ollama", ("images", 0)),
        ("as_bedrock", ("content", 0, "image", "source", "bytes")),
    ],
)
async def test_templates_see_the_bytes(form: str, path: tuple[Any, ...]) -> None:
    site = Site(Say(b'{"text":"hi"}'))
    sink = await ask(route_of(RULES.replace("FILTER", form)), site, image("a.png"))
    assert "hi" == sink.text
    found = site.bodies[0]["q"][0]
    for step in path:
        found = found[step]
    assert found.endswith(encoded(PNG))
    assert ["image"] == site.bodies[0]["kinds"]


async def test_a_file_is_what_its_first_bytes_say() -> None:
    """Of Messages' documents and Responses' files, text only where it is declared and is some."""
    for name, mime in (
        ("c.pdf", "application/pdf"),
        ("e.txt", "text/plain"),
        ("d.wav", "audio/wav"),
    ):
        site = Site()
        await file(site, name)
        (sent,) = site.bodies[0]["contents"][0]["parts"]
        assert mime == sent["inlineData"]["mimeType"]


async def test_a_file_that_is_too_large_has_a_code_of_its_own() -> None:
    site = Site()
    sink = await file(site, "c.pdf", "limits: { request: 5B }\n")
    assert sink.error is not None
    assert "file_too_large" == sink.error.code


@pytest.mark.parametrize("name", ["f.bin", "i.txt", "j.zip"])
async def test_what_is_no_text_though_it_is_said_to_be_is_refused(name: str) -> None:
    site = Site()
    sink = await file(site, name)
    assert sink.error is not None
    assert ("unsupported_file_media_type", []) == (sink.error.code, site.bodies)


async def file(site: Site, name: str, more: str = "") -> FakeSink:
    """Ask about a file that is named by URL, as clients of Responses do."""
    async with World(site) as world:
        part = {"type": "input_file", "file_url": url(name)}
        turn = [{"type": "message", "role": "user", "content": [part]}]
        text = ROUTE.replace("DIALECT", "gemini").replace("FETCH MORE", "needed") + more
        on = route_of(text)
        return await world.ask(on, "unused", dialect="openai_responses", input=turn, messages=None)


def test_media_of_tools_count_too() -> None:
    inner, outer = Media("image", url="b"), Media("file", url="a")
    turns = [Message("user", [Text("x"), outer]), Message("tool", [ToolResult("1", [inner])])]
    assert [outer, inner] == list(media_parts(turns))


async def test_a_few_are_fetched_at_once() -> None:
    """No more than AT_ONCE; the rest wait."""
    busy, most = 0, 0

    class Slow:
        async def get(self, where: str, reach: Reach) -> Page:
            nonlocal busy, most
            busy += 1
            most = max(most, busy)
            for _ in range(5):
                await asyncio.sleep(0)
            busy -= 1
            return Page(PNG)

    site = Site()
    async with World(site) as world:
        world.ports = replace(world.ports, web=Slow())
        parts = [image(f"{n}.png") for n in range(10)]
        await world.ask(route(), [{"role": "user", "content": parts}])
    assert AT_ONCE == most
    assert 10 == len(site.bodies[0]["messages"][0]["images"])
