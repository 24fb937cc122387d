"""The baseline of every goal: a plain aiohttp pass-through that reads nothing and changes nothing.

`web.Application`, one `ClientSession`, the asyncio loop, no logging, bytes copied as they come. It
is what aiohttp itself costs; whatever a gateway adds shows as its ratio to this. No tuning belongs
here, since that would move all goals: the only settings are those without which the load fails
(no cap on upstream connections, none on the time of an answer).

Usage: python bare.py PORT UPSTREAM_PORT
"""

import sys
from collections.abc import AsyncIterator, Mapping

import aiohttp
from aiohttp import web

SESSION: web.AppKey[aiohttp.ClientSession] = web.AppKey("session", aiohttp.ClientSession)
UPSTREAM: web.AppKey[str] = web.AppKey("upstream", str)
CARRIED = ("Content-Type", "Content-Length")


def carried(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: headers[name] for name in CARRIED if name in headers}


async def forward(request: web.Request) -> web.StreamResponse:
    app = request.app
    body = await request.read()
    url = app[UPSTREAM] + request.path
    headers = {"Content-Type": request.content_type}
    async with app[SESSION].post(url, data=body, headers=headers) as upstream:
        answer = web.StreamResponse(status=upstream.status, headers=carried(upstream.headers))
        await answer.prepare(request)
        async for piece in upstream.content.iter_any():
            await answer.write(piece)
        await answer.write_eof()
        return answer


async def session(app: web.Application) -> AsyncIterator[None]:
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as opened:
        app[SESSION] = opened
        yield


def main(port: int, upstream_port: int) -> None:
    app = web.Application()
    app[UPSTREAM] = f"http://127.0.0.1:{upstream_port}"
    app.cleanup_ctx.append(session)
    app.router.add_post("/v1/chat/completions", forward)
    app.router.add_post("/custom", forward)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
