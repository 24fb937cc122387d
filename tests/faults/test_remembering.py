"""What a conversation keeps of an answer whose client hangs up as soon as it has the end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .client import CLIENT_KEY, CLIENTS, call
from .rows import new_marker
from .stage import stage
from .upstream import Upstream

SESSION = "session: { key: [req.user], history: server, persist: true }\n"
EDITS = {"transforms: [think_tags]\n": f"transforms: [think_tags]\n{SESSION}"}
TURNS = 6


def told(upstream: Upstream, marker: str) -> list[int]:
    """How many messages each call of the upstream brought."""
    return [len(json.loads(each.body)["messages"]) for each in upstream.calls[marker]]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
async def test_a_turn_is_kept_before_its_client_has_the_end(tmp_path: Path, stream: bool) -> None:
    dialect, marker = CLIENTS["openai_chat"], new_marker()
    headers = {"Content-Type": "application/json", **dialect.key(CLIENT_KEY)}
    body = {**dialect.body("translated.healthy", f"say {marker}", stream), "user": "one"}
    async with stage(tmp_path, {}, ["translated"], edits=EDITS) as here:
        for _ in range(TURNS):  # each on a connection of its own, closed behind it
            sent = json.dumps(body).encode()
            assert (
                200 == (await call(here.gateway.port, "POST", dialect.path, headers, sent)).status
            )
        found = told(here.upstream, marker)
        await here.gateway.stop()
        log = [json.loads(line) for line in here.gateway.log().splitlines()]
    assert [2 * turn + 1 for turn in range(TURNS)] == found
    outcomes = [line["outcome"] for line in log if line["event"] == "request"]
    assert ["ok"] * TURNS == outcomes
