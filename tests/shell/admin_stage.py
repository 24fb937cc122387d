"""A gateway with an admin key in front of the identity service, and how an operator asks it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.pools.identity import Identity, person, route
from tests.security.stage import Staged, staged

KEY = "sk-admin-Zq8Lw2Rt5Yv7"
KEYED = """
version: 1
base_url: %URL%
models: [keyed]
auth: { from: { env: KEYS, split: "," }, bearer: "{{ account.key }}" }
session: { key: [req.user], history: server, state: { id: "{{ uuid4() }}" } }
request: { path: /talk, json: { prompt: "{{ req.prompt }}" } }
response: { events: [ { text: $.text, finish: stop } ] }
errors: { rules: [ { status: 401, as: auth_invalid } ] }
"""
KEYS = ("flo_first_0123456789abcdef", "flo_second_0123456789abcdef")


@dataclass
class Desk:
    """An operator's place."""

    on: Staged
    identity: Identity
    url: str

    async def get(self, path: str, **query: str) -> Any:
        """The answer; an error as (status, message)."""
        return await self._call("GET", path, params=query)

    async def post(self, path: str, **body: object) -> Any:
        return await self._call("POST", path, json=body)

    async def _call(self, method: str, path: str, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {KEY}", "X-Penstock-Admin": "1"}
        url = f"{self.url}/admin/{path}"
        async with self.on.session.request(method, url, headers=headers, **more) as answer:
            told = json.loads(await answer.read())
            return told if answer.status == 200 else (answer.status, told["error"]["message"])

    async def pool(self, name: str = "people") -> dict[str, Any]:
        """The accounts of a route by their names in logs."""
        (found,) = (await self.get("accounts", route=name))["pools"]
        return {each["id"]: each for each in found["accounts"]}


@asynccontextmanager
async def desk(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    texts: Mapping[str, str] | None = None,
    people: int = 3,
    identity: Identity | None = None,
    **over: object,
) -> AsyncIterator[Desk]:
    identity = identity or Identity()
    (tmp_path / "routes").mkdir(exist_ok=True)
    (tmp_path / "routes/accounts.jsonl").write_text("".join(map(person, range(people))))
    texts = texts or {"people": route(), "keyed": KEYED}
    over = {"admin.key": KEY, **{name.replace("__", "."): value for name, value in over.items()}}
    env = {"KEYS": ",".join(KEYS)}
    async with staged(tmp_path, monkeypatch, texts, env=env, overrides=over, echo=identity) as on:
        yield Desk(on, identity, on.gateway.admin_url or on.gateway.url)
