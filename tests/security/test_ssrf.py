"""What clients name by URL leads nowhere inside: whole gateways, every dialect, an evil port.

The route takes any host at any port, so that addresses are all that is in the way; names are those
of a look-up of ours, as a rogue name server would answer. Besides the evil port there is a gallery
on loopback that the operator has allowed, whose redirects lead to the evil port.
"""

from __future__ import annotations

import dataclasses
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.shell.web import PublicWeb, SystemLookup
from tests.security.stage import KEY, Staged, staged
from tests.shell.gallery import PNG, Evil, Gallery, evil, gallery

ROUTE = """
version: 1
dialect: ollama
base_url: %URL%
models: [m]
retry: { attempts: 1 }
media: { fetch: needed, hosts: "*:*", internal: PLACE }
"""
ROGUE = {
    "a.rogue.example": ["127.0.0.1"],
    "b.rogue.example": ["169.254.169.254"],
    "c.rogue.example": ["0.0.0.0"],
    "d.rogue.example": ["::1"],
    "e.rogue.example": ["::ffff:127.0.0.1"],
    "f.rogue.example": ["8.8.8.8", "127.0.0.1"],
    "g.rogue.example": ["64:ff9b::7f00:1"],
    "h.rogue.example": ["2002:7f00:1::"],
    "i.rogue.example": ["10.0.0.1"],
    "j.rogue.example": ["fd00:ec2::254"],
    "k.rogue.example": ["100.100.100.200"],
    "l.rogue.example": ["224.0.0.1"],
    "localhost": ["127.0.0.1", "::1"],
    "localhost.localdomain": ["127.0.0.1"],
    "ip6-localhost": ["::1"],
    "127.0.0.1.nip.example": ["127.0.0.1"],
    "metadata.google.internal": ["169.254.169.254"],
}
HOSTS = [
    "127.0.0.1", "127.0.0.1.", "127.1", "127.0.1", "127.127.127.127", "2130706433", "017700000001",
    "0x7f000001", "0x7f.0.0.1", "0x7f.1", "0177.0.0.1", "0177.0.1", "00000177.0.0.1",
    "127.000.000.001",
    "127.0.0.0x1", "3232235777", "0", "0.0.0.0", "0.0.0.0.", "00.00.00.00", "0x0", "0.0",
    "[::]", "[::1]", "[0:0:0:0:0:0:0:1]", "[::0001]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]", "[::127.0.0.1]", "[::ffff:0:127.0.0.1]", "[64:ff9b::127.0.0.1]",
    "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2001:0:7f00:1::1]", "[fe80::1]", "[fe80::1%25lo]",
    "[::1%25lo]", "[fc00::1]", "[fd00:ec2::254]", "[ff02::1]", "[::ffff:169.254.169.254]",
    "169.254.169.254", "169.254.170.2", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376",
    "169.254.43518", "100.100.100.200", "10.0.0.1", "10.1", "172.16.0.1", "172.31.255.255",
    "192.168.0.1", "192.168.1", "198.18.0.1", "192.0.0.192", "192.0.2.1", "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1", "255.255.255.255", "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460",
    "\uff11\uff12\uff17.0.0.1",
    "127\u30020\u30020\u30021", "127.0.0.1%00", "127.0.0.1%2f", "127.0.0.1%23", "lo\u00adcalhost",
    "\u24dbocalhost", "LOCALHOST", "localhost.", "%6cocalhost", "%31%32%37.0.0.1", *ROGUE,
]  # fmt: skip
FORMS = [
    "http://me:you@127.0.0.1:PORT/", "http://a.example@127.0.0.1:PORT/", "http://127.0.0.1:PORT@a.example/",
    "http://a.example:80@127.0.0.1:PORT/", "http://a.example#@127.0.0.1:PORT/",
    "http://a.example\\@127.0.0.1:PORT/", "http:\\\\127.0.0.1:PORT/", "http:127.0.0.1:PORT/",
    "http:/127.0.0.1:PORT/", "http:////127.0.0.1:PORT/", "http://\t127.0.0.1:PORT/",
    "http://127.0.0.1:PORT\r\nHost: a.example/", "HTTP://127.0.0.1:PORT/", "https://127.0.0.1:PORT/",
    "http://[::1]:PORT\\.a.example/", "http://a.example&@127.0.0.1:PORT/",
    "http://127.0.0.1:0PORT/", "http://127.0.0.1:PORT/?http://a.example/", "http://GALLERY/go",
    "http://GALLERY/relative", "http://GALLERY/userinfo", "http://GALLERY/named", "http://GALLERY/six",
    "http://GALLERY/decimal", "http://GALLERY/twice", "http://GALLERY@127.0.0.1:PORT/",
]  # fmt: skip


def urls(bad: Evil, pictures: Gallery) -> list[str]:
    found = [f"http://{host}:{bad.port}/x.png" for host in HOSTS]
    found += [f"http://{host}/x.png" for host in HOSTS[::9]]
    texts = (form.replace("PORT", str(bad.port)) for form in FORMS)
    return found + [text.replace("GALLERY", pictures.place) for text in texts]


CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
GEMINI = "/v1beta/models/m:generateContent"
WAYS = (CHAT, MESSAGES, RESPONSES, GEMINI)


def body(way: str, url: str) -> dict[str, Any]:
    """A request with a picture, in the words of the dialect."""
    if way == GEMINI:
        return {"contents": [{"role": "user", "parts": [
            {"text": "What is it?"}, {"fileData": {"mimeType": "image/png", "fileUri": url}},
        ]}]}  # fmt: skip
    image: dict[str, object] = {"type": "image_url", "image_url": {"url": url}}
    if way == MESSAGES:
        image = {"type": "image", "source": {"type": "url", "url": url}}
    if way == RESPONSES:
        image = {"type": "input_image", "image_url": url}
    text = {"type": "input_text" if way == RESPONSES else "text", "text": "What is it?"}
    turns = [{"role": "user", "content": [text, image]}]
    more = {"max_tokens": 9} if way == MESSAGES else {}
    return {"model": "m", "input" if way == RESPONSES else "messages": turns, **more}


@asynccontextmanager
async def stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Staged, Evil, Gallery]]:
    system = SystemLookup()  # which knows odd forms of addresses, if they ever get so far

    async def lookup(host: str) -> list[str]:
        rogue = ROGUE.get(host.rstrip("."))
        return await system(host) if rogue is None else rogue

    async with gallery() as pictures, evil() as bad:
        to = f"127.0.0.1:{bad.port}/x.png"
        pictures.leads("/go", f"http://{to}")
        pictures.leads("/relative", f"//{to}")
        pictures.leads("/userinfo", f"http://a:b@{to}")
        pictures.leads("/named", f"http://localhost:{bad.port}/x.png", 307)
        pictures.leads("/six", f"http://[::1]:{bad.port}/x.png", 308)
        pictures.leads("/decimal", f"http://2130706433:{bad.port}/x.png")
        pictures.leads("/twice", "/go", 301)
        route = ROUTE.replace("PLACE", pictures.place)
        async with staged(tmp_path, monkeypatch, {"one": route}) as on:
            chats = on.gateway.server.chats
            chats.ports = dataclasses.replace(chats.ports, web=PublicWeb(lookup))
            yield on, bad, pictures


async def test_no_url_leads_to_the_evil_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(tmp_path, monkeypatch) as (on, bad, pictures):
        tried = urls(bad, pictures)
        assert len(tried) >= 100
        surprises = []
        for at, url in enumerate(tried):
            way = WAYS[at % len(WAYS)]
            status, text = await on.call("POST", way, json.dumps(body(way, url)).encode(), HEADERS)
            if status != 400 or tells(text, bad):
                surprises.append((url, way, status, text[-300:]))
        assert [] == surprises
        assert 0 == bad.hits
        assert [] == on.echo.asked


REFUSED = "its URL may not be fetched from here, or its host is not known"
HEADERS = {"Authorization": f"Bearer {KEY}", "anthropic-version": "2023-06-01"}


def tells(text: str, bad: Evil) -> bool:
    """Whether an answer says more of the inside than that there is nothing to be had."""
    return any(word in text for word in (str(bad.port), "127.0.0.1", "169.254", "rogue", "refused"))


@pytest.mark.parametrize("way", WAYS)
async def test_each_dialect_says_so_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    async with stage(tmp_path, monkeypatch) as (on, bad, _):
        sent = json.dumps(body(way, f"http://localhost:{bad.port}/")).encode()
        status, text = await on.call("POST", way, sent, HEADERS)
        error = json.loads(text.partition("\n\n")[2])["error"]
        assert 400 == status
        assert f"image 1 of those named by URL: {REFUSED}" == error["message"]
        kinds = {
            GEMINI: ("status", "INVALID_ARGUMENT"),
            MESSAGES: ("type", "invalid_request_error"),
        }
        key, kind = kinds.get(way, ("code", "invalid_image_url"))
        assert kind == error[key]


@pytest.mark.parametrize("way", WAYS)
async def test_what_the_operator_allows_is_fetched_and_goes_as_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    async with stage(tmp_path, monkeypatch) as (on, bad, pictures):
        sent = json.dumps(body(way, f"{pictures.url}/x.png")).encode()
        await on.call("POST", way, sent, HEADERS)
        (asked,) = on.echo.asked
        assert "/api/chat" == asked.target
        assert [b64encode(PNG).decode()] == asked.json["messages"][-1]["images"]
        assert (["/x.png"], 0) == (pictures.asked, bad.hits)


async def test_a_file_of_gemini_that_is_a_picture_becomes_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gemini's clients need not say what a URL leads to."""
    async with stage(tmp_path, monkeypatch) as (on, _, pictures):
        asked = body(GEMINI, f"{pictures.url}/x")
        del asked["contents"][0]["parts"][1]["fileData"]["mimeType"]
        await on.call("POST", GEMINI, json.dumps(asked).encode(), HEADERS)
        assert [b64encode(PNG).decode()] == on.echo.asked[0].json["messages"][-1]["images"]


async def test_the_next_route_has_what_was_fetched_for_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ROUTE + "fallback: [two]\nerrors: { rules: [{ match: { id: x }, as: overloaded }] }\n"
    second = ROUTE.replace("ollama", "openai_chat").replace("%URL%", "%URL%/v1")
    second = second.replace("media: { fetch: needed", "media: { fetch: never")
    async with gallery() as pictures:
        routes = {
            "one": first.replace("PLACE", pictures.place),
            "two": second.replace("PLACE", pictures.place).replace("[m]", "[n]")
            + "profile: { stop_max: 4 }\n",
        }
        async with staged(tmp_path, monkeypatch, routes) as on:
            sent = json.dumps(body(CHAT, f"{pictures.url}/x.png")).encode()
            status, _ = await on.call("POST", CHAT, sent, HEADERS)
            assert (200, ["/x.png"]) == (status, pictures.asked)
            assert ["/api/chat", "/v1/chat/completions"] == [each.target for each in on.echo.asked]
            held = on.echo.asked[1].json["messages"][0]["content"][1]["image_url"]["url"]
            assert f"data:image/png;base64,{b64encode(PNG).decode()}" == held
