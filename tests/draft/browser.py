"""A browser, as far as its network panel goes: it asks over real sockets and saves a HAR file."""

from __future__ import annotations

import base64
import json
from typing import Any

import aiohttp

AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36"
OF_BROWSERS = {
    "accept-language": "en-US,en;q=0.9",
    "sec-ch-ua": '"Chromium";v="140"',
    "sec-fetch-mode": "cors",
    "priority": "u=1, i",
    "user-agent": AGENT,
}


class Browser:
    """Asks one site. coded: answers are in base64, as Firefox writes those it takes for binary."""

    def __init__(self, site: str, *, coded: bool = False) -> None:
        self.site, self.coded = site, coded
        self.entries: list[dict[str, Any]] = []

    async def __aenter__(self) -> Browser:
        jar = aiohttp.CookieJar(unsafe=True)
        self._session = aiohttp.ClientSession(self.site, cookie_jar=jar)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._session.close()

    async def ask(
        self, method: str, path: str, body: bytes = b"", kind: str = "", **headers: str
    ) -> str:
        """The answer's text."""
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {**OF_BROWSERS, "origin": self.site, "referer": f"{self.site}/", **told}
        sent |= {"content-type": kind} if kind else {}
        cookies = self._session.cookie_jar.filter_cookies(self._session._base_url)  # type: ignore[arg-type]
        async with self._session.request(method, path, data=body or None, headers=sent) as answer:
            raw = await answer.read()
        if cookies:
            sent["cookie"] = "; ".join(f"{each.key}={each.value}" for each in cookies.values())
        self._note(method, path, sent, body, kind, answer, raw)
        return raw.decode()

    async def post(self, path: str, value: object, **headers: str) -> str:
        body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        return await self.ask("POST", path, body, "application/json", **headers)

    def _note(
        self, method: str, path: str, sent: dict[str, str], body: bytes, kind: str,
        answer: aiohttp.ClientResponse, raw: bytes,
    ) -> None:  # fmt: skip
        post = {"postData": {"mimeType": kind, "text": body.decode()}} if body else {}
        told = {"encoding": "base64"} if self.coded else {}
        text = base64.b64encode(raw).decode() if self.coded else raw.decode()
        self.entries.append(
            {
                "startedDateTime": f"2026-01-01T00:00:{len(self.entries):02d}.000Z",
                "request": {
                    "method": method,
                    "url": self.site + path,
                    "headers": [
                        {"name": ":authority", "value": "x"},
                        *({"name": name, "value": value} for name, value in sent.items()),
                    ],
                    **post,
                },
                "response": {
                    "status": answer.status,
                    "headers": [{"name": n, "value": v} for n, v in answer.headers.items()],
                    "content": {"mimeType": answer.content_type, "text": text, **told},
                },
            }
        )

    def har(self) -> bytes:
        entries = list(reversed(self.entries))  # their order in a file says nothing
        return json.dumps({"log": {"version": "1.2", "entries": entries}}).encode()
