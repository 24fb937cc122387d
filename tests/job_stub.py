"""An upstream over a real socket that makes jobs and tells of them when it is asked.

What a job does is up to the script of a test: a function from the conversation to what each
question meets, the last of which holds for all that follow. A request without the key is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.faults.upstream import UPSTREAM_KEY

Turns = list[dict[str, str]]

ROUTE = """\
version: 1
base_url: "{url}"
auth: {{ bearer: "${{env:UPSTREAM_KEY}}" }}
models: [m]
transforms: [prompted_tools]
timeouts: {{ connect: 500ms, first_byte: 500ms, total: 4s, early_headers: 100ms }}
request:
  path: /jobs
  json: {{ messages: "{{{{ req.messages | as_text_messages }}}}" }}
  poll:
    extract: {{ id: $.id }}
    path: "/jobs/{{{{ poll.id | urlpath }}}}"
    until: {{ match: {{ state: done }} }}
    every: 20ms
    cancel: {{ method: DELETE, path: "/jobs/{{{{ poll.id | urlpath }}}}" }}
response:
  events:
    - {{ text: $.text, finish: stop, usage: {{ input: $.read, output: $.written }} }}
errors:
  message: [ $.why ]
  rules:
    - {{ match: {{ state: blocked }}, as: content_filter }}
    - {{ match: {{ state: failed }}, as: fatal }}
"""


@dataclass(frozen=True, slots=True)
class Tell:
    """What a question meets. silent: nothing is ever said; cut: the connection breaks off."""

    status: int = 200
    body: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    silent: bool = False
    cut: bool = False


RUNNING, BUSY = Tell(body={"state": "running"}), Tell(503)
SILENT, CUT = Tell(silent=True), Tell(cut=True)


def done(text: str) -> Tell:
    return Tell(body={"state": "done", "text": text, "read": 5, "written": 3})


@dataclass(slots=True)
class Job:
    """asked: how often; left: questions whose client hung up."""

    turns: Turns
    tells: list[Tell]
    asked: int = 0
    left: int = 0
    cancelled: int = 0


@dataclass(slots=True)
class JobStub:
    """jobs: in the order in which they were made, which takes `slow` seconds."""

    url: str = ""
    script: Callable[[Turns], list[Tell]] = lambda turns: [done("nothing")]
    slow: float = 0.0
    jobs: list[Job] = field(default_factory=list)

    async def make(self, request: web.Request) -> web.StreamResponse:
        self._known(request)
        turns: Turns = (await request.json())["messages"]
        self.jobs.append(Job(turns, self.script(turns)))
        await asyncio.sleep(self.slow)
        return web.json_response({"id": f"j/{len(self.jobs)}", "state": "new"}, status=202)

    async def tell(self, request: web.Request) -> web.StreamResponse:
        job = self._job(request)
        job.asked += 1
        tell = job.tells.pop(0) if len(job.tells) > 1 else job.tells[0]
        if tell.silent:
            try:
                await asyncio.sleep(60.0)
            finally:
                job.left += 1
        if tell.cut and request.transport is not None:
            request.transport.abort()
        return web.json_response(tell.body, status=tell.status, headers=tell.headers)

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        self._job(request).cancelled += 1
        return web.Response(status=204)

    async def plain(self, request: web.Request) -> web.StreamResponse:
        """An endpoint that answers at once."""
        return web.json_response({"text": "at once"})

    def _job(self, request: web.Request) -> Job:
        self._known(request)
        return self.jobs[int(request.match_info["id"].removeprefix("j/")) - 1]

    def _known(self, request: web.Request) -> None:
        if request.headers.get("Authorization") != f"Bearer {UPSTREAM_KEY}":
            raise web.HTTPForbidden


@asynccontextmanager
async def job_stub() -> AsyncIterator[JobStub]:
    stub = JobStub()
    app = web.Application()
    app.router.add_post("/jobs", stub.make)
    app.router.add_post("/plain", stub.plain)
    app.router.add_get("/jobs/{id}", stub.tell)
    app.router.add_delete("/jobs/{id}", stub.cancel)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    stub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield stub
    finally:
        await runner.cleanup()


async def until(holds: Callable[[], bool], limit: float = 5.0) -> None:
    """Wait until something holds; the test fails if it does not in time."""
    async with asyncio.timeout(limit):
        while not holds():
            await asyncio.sleep(0.01)
