"""The five example routes that replace a program each, before their stubs, to be asked alike."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.clients.cli.agent import Agent, Step
from tests.clients.text_stub import Script
from tests.shell import kimi_site
from tests.upstreams import flowith, iflow, k2think, zenmux
from tests.upstreams.front import Front, front
from tests.upstreams.stand import until

REFUSED = "This is a 400."
THOUGHT = {"type": "thinking", "thinking": "They want it.", "signature": "kimi-1"}


@dataclass(frozen=True, slots=True)
class Stand:
    """A route that serves.

    model    one that it has
    asked    what came to the upstream's chat so far, as it was sent
    say      what the upstream answers from now on
    work     (steps, answer): it has tools run, one after the other, then answers; None where the
             route has no way to tell of tools
    refuse   it answers 400 from now on; `refusal` are its words
    """

    on: Front
    model: str
    asked: Callable[[], list[Any]]
    say: Callable[[str], None]
    work: Callable[[Sequence[Step], str], None] | None
    refuse: Callable[[], None]
    refusal: str = REFUSED


@asynccontextmanager
async def _k2think(home: Path) -> AsyncIterator[Stand]:
    site = k2think.Site()

    def script(made: Script) -> None:
        site.answer = lambda body: k2think.THOUGHT.format(made(body["messages"]))

    files = {"accounts.txt": k2think.people(1)}
    async with (
        k2think.running(site) as url,
        front(home, "k2think", env={"K2THINK_BASE_URL": url}, files=files) as on,
    ):
        yield Stand(
            on,
            "k2think",
            asked=lambda: site.asked,
            say=lambda text: script(lambda turns: text),
            work=lambda steps, answer: script(Agent(steps, answer)),
            refuse=lambda: site.next.extend([(400, {"detail": REFUSED})] * 9),
        )


@asynccontextmanager
async def _flowith(home: Path) -> AsyncIterator[Stand]:
    site = flowith.Flowith()

    def script(made: Script) -> None:
        def pieces(seen: flowith.Seen) -> list[str]:
            text = made(seen.body["messages"])
            return [text[at : at + 7] for at in range(0, len(text), 7)]

        site.answer = pieces

    model = flowith.MODELS[0]
    async with flowith.running(site) as url:
        env = {"FLOWITH_BASE": url, "FLOWITH_AUTH_TOKENS": ",".join(flowith.TOKENS)}
        async with front(home, "flowith", env=env) as on:
            await until(lambda: on.running.models.book.find(model) is not None)
            yield Stand(
                on,
                model,
                asked=lambda: [seen.body for seen in site.asked],
                say=lambda text: script(lambda turns: text),
                work=lambda steps, answer: script(Agent(steps, answer)),
                refuse=lambda: site.moods.extend([400] * 9),
                refusal="refused with 400",
            )


@asynccontextmanager
async def _zenmux(home: Path) -> AsyncIterator[Stand]:
    service = zenmux.Zenmux()

    def say(text: str) -> None:
        service.content = [THOUGHT, {"type": "text", "text": text}]

    def work(steps: Sequence[Step], answer: str) -> None:
        say(answer)
        service.first = [
            [THOUGHT, {"type": "tool_use", "id": f"tu{at}", "name": step.tool, "input": step.args}]
            for at, step in enumerate(steps)
        ]

    error = {"type": "error", "error": {"type": "invalid_request_error", "message": REFUSED}}
    async with zenmux.running(service) as url:
        env = {"MOONSHOT_BASE_URL": url, "ZENMUX_API_KEY": "sk-zen-0001"}
        async with front(home, "zenmux-kimi", env=env) as on:
            yield Stand(
                on,
                "kimi-k2.5",
                asked=lambda: service.asked,
                say=say,
                work=work,
                refuse=lambda: service.next.extend([(400, error)] * 9),
            )


@asynccontextmanager
async def _iflow(home: Path) -> AsyncIterator[Stand]:
    service = iflow.Iflow(packed=True)

    def say(text: str) -> None:
        service.parts = [text]

    def work(steps: Sequence[Step], answer: str) -> None:
        say(answer)
        service.first = [(step.tool, step.args) for step in steps]

    login = home / "login"
    login.mkdir()
    (login / "settings.json").write_text('{"apiKey": "sk-test-0000"}')
    async with iflow.running(service) as url:
        env = {"IFLOW_BASE_URL": f"{url}/v1", "IFLOW_LOGIN_URL": url, "IFLOW_HOME": str(login)}
        async with front(home, "iflow", env=env) as on:
            yield Stand(
                on,
                "glm-4.6",
                asked=lambda: service.asked,
                say=say,
                work=work,
                refuse=lambda: service.next.extend([(400, {"msg": REFUSED})] * 9),
            )


@asynccontextmanager
async def _kimi_ai(home: Path) -> AsyncIterator[Stand]:
    site = kimi_site.Site()

    def say(text: str) -> None:
        site.answer = lambda message: text

    def refuse() -> None:
        site.broken = lambda: web.json_response({"data": {"message": REFUSED}}, status=400)

    async with (
        kimi_site.running(site) as url,
        front(home, "kimi-ai", env={"KIMI_AI_BASE_URL": url}) as on,
    ):
        yield Stand(
            on,
            "kimi-k2-instruct",
            asked=lambda: site.forms,
            say=say,
            work=None,
            refuse=refuse,
        )


FIVE: dict[str, Callable[[Path], AbstractAsyncContextManager[Stand]]] = {
    "k2think": _k2think,
    "zenmux-kimi": _zenmux,
    "flowith": _flowith,
    "kimi-ai": _kimi_ai,
    "iflow": _iflow,
}
