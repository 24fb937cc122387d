"""Runs cases on every route of ROUTES and prints a JSON line of each: {"route", "name", "wrong"}.

A case gets a function that makes a model's name of a stub's, and the route.
"""

import asyncio
import json
import os
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from typing import Any

BASE_URL, API_KEY = os.environ["BASE_URL"], os.environ["API_KEY"]
TEXT, CITIES = json.loads(os.environ["TEXT"]), ["Paris", "Zürich"]
PERSON = {"name": "Žofia 王", "age": 34}
ERRORS = (400, 401, 404, 429, 500)
QUESTION = "weather in Paris and Zürich"
Model = Callable[[str], str]
Case = Callable[[Model, str], Awaitable[None]]


def shown(status: int) -> int:
    """The status that a client gets for an upstream's."""
    return {401: 502, 500: 502}.get(status, status)


def has_all(text: str | None) -> None:
    """What both calls of the tool came to."""
    for city in CITIES:
        assert f"21° in {city}" in (text or ""), text


def makes_objects(route: str) -> bool:
    """Whether the stub behind a route writes JSON where it is asked to."""
    return route.partition("_")[0] in ("chat", "responses", "ollama")


async def joined(pieces: AsyncIterator[Any], text: Callable[[Any], str | None]) -> str:
    return "".join([text(piece) or "" async for piece in pieces])


async def fails(asked: Awaitable[Any]) -> Exception:
    """The error of what has to fail."""
    try:
        got = await asked
    except Exception as error:
        return error
    raise AssertionError(f"no error, but {got!r}")


async def _run(cases: dict[str, Case]) -> None:
    for route in json.loads(os.environ["ROUTES"]):
        for name, case in cases.items():
            wrong = ""
            try:
                await case(lambda model, route=route: f"{route}.{model}", route)
            except Exception:
                wrong = traceback.format_exc()
            print(json.dumps({"route": route, "name": name, "wrong": wrong}), flush=True)


def run(*cases: Case) -> None:
    """Each by its name."""
    asyncio.run(_run({case.__name__: case for case in cases}))


def run_kinds(kinds: Iterable[str], cases: Iterable[Callable[..., Awaitable[None]]]) -> None:
    """Each on every kind of the client, which is its first argument."""
    every = {f"{kind}: {case.__name__}": partial(case, kind) for kind in kinds for case in cases}
    asyncio.run(_run(every))
