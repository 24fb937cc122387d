"""Many clients over few accounts: nobody gets what is another's, whatever goes wrong meanwhile.

PENSTOCK_CROSSING sets the number of requests; the release runs fifty thousand.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import aiohttp
import pytest
from aiohttp import web

from tests.pools.identity import Identity, person, route
from tests.security.stage import Received, staged

REQUESTS = int(os.environ.get("PENSTOCK_CROSSING", "2000"))
CLIENTS, ACCOUNTS = 200, 5
KEYS = [f"sk-client-{number:03}-w8Zt3KpQ" for number in range(CLIENTS)]
POISON = json.dumps({"text": json.dumps({"who": "nobody", "jar": "nobody", "asked": "poison"})})

CHAT = """
  chat:
    scope: session
    request: { method: POST, path: /chat, headers: { Authorization: "Bearer {{ values.token }}" } }
    extract: [ { json: $.id } ]
    refresh_for: [session_lost]
"""


def text() -> str:
    made = route(
        "pick: sticky\n  park: { after: 3, for: 50ms }", more="session: { key: req.user }\n"
    )
    made = made.replace("\nrequest: { path: /talk", CHAT + "request: { path: /talk", 1)
    made = made.replace(
        'prompt: "{{ req.prompt }}"', 'prompt: "{{ req.prompt }}", chat: "{{ values.chat }}"'
    )
    lost = (
        "{ status: 404, as: session_lost }, { status: 403, as: quota_exhausted, retry_after: 20ms }"
    )
    made = made.replace("rules: [", f"rules: [ {lost},", 1)
    return made + "retry: { attempts: 4, backoff: { initial: 1ms, max: 5ms } }\n"


@dataclass
class Town(Identity):
    """Spoils connections, forgets chats, ends tokens, loses its quota: a little of everything."""

    random: Random = field(default_factory=lambda: Random(5))
    chats: dict[str, str] = field(default_factory=dict)
    seen: dict[str, set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    crossed: list[str] = field(default_factory=list)
    spoiled: int = 0

    async def serve(self, request: web.BaseRequest, got: Received) -> web.StreamResponse:
        if got.target == "/chat":
            return self.open_chat(got)
        answer = await super().serve(request, got)
        if got.target == "/talk" and self.random.random() < 0.1 and request.transport is not None:
            await answer.prepare(request)
            await answer.write_eof()
            head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
            request.transport.write(f"{head}{len(POISON)}\r\n\r\n{POISON}".encode())
            self.spoiled += 1
        return answer

    def open_chat(self, got: Received) -> web.StreamResponse:
        who = self.whose(got)
        if who is None:
            return web.Response(status=401)
        ident = f"chat-{len(self.chats)}"
        self.chats[ident] = who
        return web.json_response({"id": ident})

    async def talk(self, got: Received) -> web.StreamResponse:
        who, chance = self.whose(got), self.random.random()
        if who is None or chance < 0.01:
            self.expire(who or "nobody")
            return web.json_response({"detail": "expired"}, status=401)
        chat, prompt = got.json["chat"], got.json["prompt"]
        if self.chats.get(chat) != who:
            self.crossed.append(f"{who} speaks in {chat} of {self.chats.get(chat)}")
        self.seen[chat].add(tuple(prompt.split("|")[:2]))
        if chance < 0.02:
            return web.json_response({"detail": "no such chat"}, status=404)
        if chance < 0.03:
            return web.json_response({"detail": "no quota"}, status=403)
        return await super().talk(got)


@pytest.mark.timeout(1800)
async def test_two_hundred_clients_over_five_accounts_never_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    town = Town()
    (tmp_path / "routes").mkdir()
    (tmp_path / "routes/accounts.jsonl").write_text("".join(map(person, range(ACCOUNTS))))
    over = {"clients.keys": KEYS, "log.level": "error"}
    async with staged(tmp_path, monkeypatch, {"people": text()}, echo=town, overrides=over) as on:
        wrong: list[str] = []
        served = 0

        async def client(number: int) -> None:
            nonlocal served
            for at in range(REQUESTS // CLIENTS):
                session = f"s{at % 3}"
                prompt = f"c{number}|{session}|{at}"
                status, answer = await on.ask("people", prompt, key=KEYS[number], user=session)
                if status != 200:
                    continue
                body = json.loads(answer.partition("\n\n")[2])
                said = json.loads(body["choices"][0]["message"]["content"])
                served += 1
                if said["asked"] != prompt or said["who"] != said["jar"]:
                    wrong.append(f"{prompt}: {said}")

        own = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
        )
        async with own as on.session:
            await asyncio.gather(*map(client, range(CLIENTS)))
    assert (wrong, town.crossed) == ([], [])
    assert [chat for chat, owners in town.seen.items() if len(owners) > 1] == []
    assert len(set(town.chats.values())) == ACCOUNTS
    assert town.spoiled > REQUESTS / 20
    assert served > REQUESTS * 0.95
