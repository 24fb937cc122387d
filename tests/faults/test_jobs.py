"""Jobs over real sockets: what asking for them meets, how they are given up, what is noted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.job_stub import (
    BUSY,
    CUT,
    ROUTE,
    RUNNING,
    SILENT,
    Job,
    JobStub,
    Tell,
    done,
    job_stub,
    until,
)

from .client import CLIENT_KEY, CLIENTS, Reply, call, wire
from .stage import Gateway, gateway

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]


class Here:
    """A gateway in front of a stub that makes jobs."""

    def __init__(self, stub: JobStub, running: Gateway) -> None:
        self.stub, self.running = stub, running

    async def ask(self, client: str, *tells: Tell, stream: bool) -> tuple[Reply, Job]:
        """One request, and the one job it made."""
        before = len(self.stub.jobs)
        self.stub.script = lambda turns: list(tells)
        dialect = CLIENTS[client]
        body = json.dumps(dialect.body("m", "hi", stream)).encode()
        reply = await call(self.running.port, "POST", dialect.path, self.headers(client), body)
        assert 1 == len(self.stub.jobs) - before
        return reply, self.stub.jobs[-1]

    def headers(self, client: str) -> dict[str, str]:
        return {"Content-Type": "application/json", **CLIENTS[client].key(CLIENT_KEY)}

    def attempts(self) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.running.log().splitlines()]
        return [line for line in lines if line["event"] == "attempt"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Here]:
    async with job_stub() as stub:
        route = ROUTE.format(url=stub.url) + "retry: { attempts: 1 }\n"
        async with gateway(tmp_path_factory.mktemp("gateway"), {"jobs": route}) as running:
            yield Here(stub, running)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("stream", [False, True])
async def test_questions_that_fail_are_put_again_and_it_is_one_attempt(
    here: Here, client: str, stream: bool
) -> None:
    before = len(here.attempts())
    tells = (RUNNING, BUSY, BUSY, CUT, SILENT, RUNNING, done("Good day."))
    reply, job = await here.ask(client, *tells, stream=stream)
    assert (reply.status, reply.whole) == (200, True)
    assert b"Good day." in reply.body
    assert (7, 1, 0) == (job.asked, job.left, job.cancelled)
    await until(lambda: len(here.attempts()) > before)
    assert ["ok"] == [line["outcome"] for line in here.attempts()[before:]]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_job_that_is_never_done_ends_in_an_error_and_is_cancelled(
    here: Here, client: str, stream: bool
) -> None:
    reply, job = await here.ask(client, RUNNING, stream=stream)
    assert (reply.status, reply.whole) == (200 if stream else 504, True)
    assert b"no whole answer within 4 s" in reply.body
    await until(lambda: job.cancelled == 1)


async def test_a_streaming_client_is_kept_while_the_job_is_under_way(here: Here) -> None:
    here.stub.script = lambda turns: [RUNNING] * 100 + [done("Good day.")]
    dialect = CLIENTS["openai_chat"]
    async with wire(here.running.port) as line:
        body = json.dumps(dialect.body("m", "hi", True)).encode()
        await line.ask("POST", dialect.path, here.headers("openai_chat"), body)
        head = await line.head()
        asked = here.stub.jobs[-1].asked
        pieces = [piece async for piece in line.rest(head)]
    assert (head.status, asked < 100) == (200, True)
    assert b": keepalive\n\n" == pieces[0]
    assert b"Good day." in b"".join(pieces)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("tell", [RUNNING, SILENT], ids=["between", "silent"])
async def test_a_client_that_leaves_has_its_job_cancelled(
    here: Here, stream: bool, tell: Tell
) -> None:
    before, dialect = len(here.stub.jobs), CLIENTS["openai_chat"]
    here.stub.script = lambda turns: [tell]
    async with wire(here.running.port) as line:
        body = json.dumps(dialect.body("m", "hi", stream)).encode()
        await line.ask("POST", dialect.path, here.headers("openai_chat"), body)
        await until(lambda: len(here.stub.jobs) > before and here.stub.jobs[-1].asked > 0)
    job = here.stub.jobs[-1]
    await until(lambda: job.cancelled == 1)
    asked = job.asked
    await asyncio.sleep(0.1)
    assert (asked, 1, before + 1) == (job.asked, job.cancelled, len(here.stub.jobs))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_job_that_is_made_while_its_client_leaves_is_cancelled(
    here: Here, stream: bool
) -> None:
    before, dialect = len(here.stub.jobs), CLIENTS["openai_chat"]
    here.stub.script, here.stub.slow = lambda turns: [RUNNING], 0.3
    try:
        async with wire(here.running.port) as line:
            body = json.dumps(dialect.body("m", "hi", stream)).encode()
            await line.ask("POST", dialect.path, here.headers("openai_chat"), body)
            await until(lambda: len(here.stub.jobs) > before)
        job = here.stub.jobs[-1]
        await until(lambda: job.cancelled == 1)
    finally:
        here.stub.slow = 0.0
    assert (0, before + 1) == (job.asked, len(here.stub.jobs))


SPARE = """\
version: 1
base_url: "{url}"
models: [m]
priority: -1
request: {{ path: /plain, json: {{ q: "{{{{ req.prompt }}}}" }} }}
response: {{ events: [{{ text: $.text, finish: stop }}] }}
"""


@pytest.mark.parametrize("stream", [False, True])
async def test_a_job_that_failed_is_left_to_another_route(tmp_path: Path, stream: bool) -> None:
    async with job_stub() as stub:
        routes = {"jobs": ROUTE + "fallback: [spare]\n", "spare": SPARE}
        texts = {name: text.format(url=stub.url) for name, text in routes.items()}
        async with gateway(tmp_path, texts) as running:
            here = Here(stub, running)
            failed = Tell(body={"state": "failed", "why": "out of memory"})
            reply, job = await here.ask("openai_chat", RUNNING, failed, stream=stream)
    assert (reply.status, b"at once" in reply.body) == (200, True)
    assert (2, 0) == (job.asked, job.cancelled)
    assert stream or reply.headers["x-penstock-route"] == "spare"
