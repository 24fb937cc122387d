"""Runs all selected rows of the fault suite at once, before the tests that report them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from .answers import ANSWERS
from .contents import CONTENTS
from .endings import ENDINGS
from .rows import run, scripts
from .stage import stage
from .timing import TIMING

TABLES = (ENDINGS, TIMING, CONTENTS, ANSWERS)


@dataclass(slots=True)
class Verdicts:
    """What is wrong with each row, and how the gateway fared after all of them.

    descriptors   more than before the rows; connections: to the upstream, kept open for reuse
    """

    rows: dict[str, list[str]]
    descriptors: int
    connections: int
    exit_code: int
    log: str
    astray: list[bytes]


@pytest.fixture(scope="module")
def verdicts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    specs = [
        item.callspec
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
        if item.path == request.path
    ]
    found = [spec.params["rows"] for spec in specs if "rows" in spec.params]
    rows = [row for group in found if isinstance(group, list) for row in group]

    async def judge() -> Verdicts:
        home = tmp_path_factory.mktemp("gateway")
        async with stage(home, scripts(*TABLES)) as made:
            before = made.gateway.descriptors()
            found = await run(made, rows)
            await asyncio.sleep(0.2)
            more, kept = made.gateway.descriptors() - before, made.upstream.connections
            code = await made.gateway.stop()
            astray = made.upstream.astray
            return Verdicts(found, more, kept, code, made.gateway.log(), astray)

    return asyncio.run(judge())
