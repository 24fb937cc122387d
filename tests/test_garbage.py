"""Nothing of a request is left for the garbage collector.

It looks only when tens of thousands of objects have come (`engine/shell/tune.py`); a request that
is part of a cycle would be kept until then, conversation and all.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.replay.fixtures import Fixture
from engine.route.route import Route
from engine.shell import testing
from engine.shell.loopback import through_sockets

OF_A_REQUEST = frozenset(
    ("Asked", "Attempt", "Call", "ChatRequest", "Client", "Memory", "Pipeline", "PlainSink",
     "StreamSink")
)  # fmt: skip
# Errors that some value or job keeps for those that wait for it: a traceback is a cycle then.
KEPT = frozenset(
    ("iflow/login_is_over", "iflow/refresh_refused", "k2think/login_refused",
     "kimi-ai/page_broken_off", "kimi-ai/page_without_nonce", "kimi-ai/unavailable_page",
     "replicate/failed", "websocket-chat/broken_off", "websocket-chat/refused")
)  # fmt: skip
FIXTURES = [
    file
    for file in testing.find_fixtures([Path("tests/fixtures")])
    if "bad" not in file.parts and f"{file.parent.name}/{file.stem}" not in KEPT
]


@pytest.fixture
def uncollected() -> Iterator[None]:
    gc.collect()
    gc.freeze()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()
    gc.unfreeze()


@pytest.mark.parametrize("file", FIXTURES, ids=lambda file: f"{file.parent.name}-{file.stem}")
async def test_a_request_is_no_part_of_a_cycle(
    file: Path, uncollected: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: set[str] = set()

    async def over_http(route: Route, fixture: Fixture) -> list[str]:
        gc.collect()  # what making the fixture has left
        gc.garbage.clear()
        await through_sockets(route, fixture, testing.Silent())
        await asyncio.sleep(0)
        gc.collect()
        found.update(type(each).__name__ for each in gc.garbage)
        return []

    monkeypatch.setattr(testing, "_over_http", over_http)
    await testing.Bench([], depth="off", http=True).attempt(file)
    assert set() == found & OF_A_REQUEST
