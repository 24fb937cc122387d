"""Whatever a browser sent, a drafted route sends again, and nothing of it is read as a template."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.draft.opaque import Exchange
from engine.draft.sketch import Draft, sketch
from engine.replay.composing import text_of
from engine.replay.fixtures import read_fixture
from engine.replay.play import play
from engine.replay.recorded import Recorded
from engine.shell.shelf import Shelf
from engine.shell.testing import WORLD
from engine.wire import HttpRequest, HttpResponse, loads

ASKED, REPLY = "Hello there", b'{"reply":"Well, hello."}'
SECRET = "qC7/x9+Lm2Zt4Wv8Rb1"
WORDS = [
    "{{ x }}", "{% if %}", "{#", "${env:X}", "$.a", "yes", "null", "a: b # c", "it's \"q\" \\d",
    f'{{"q":"{ASKED}","x":"{SECRET}"}}', f'["{ASKED}",null,1.5]', f"say {ASKED} now", SECRET,
    f"by {SECRET} only", "https://x/a?b", "user", "\n",
]  # fmt: skip
texts = st.one_of(st.text(max_size=12), st.sampled_from(WORDS))
keys = st.one_of(
    st.text(max_size=6), st.sampled_from(["type", "text", "token", "model", "{{ k }}"])
)
numbers = st.one_of(st.integers(-10, 10**6), st.floats(allow_nan=False, allow_infinity=False))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)


def sent(draft: Draft) -> Any:
    """The body that the route sends for the recorded question."""
    env = {name: value for name, value in draft.env.items() if value}
    found = Shelf([Path()], env=env).compile(draft.file.encode(), "x.yaml")
    assert found.route is not None, (draft.file, [str(problem) for problem in found.problems])
    exchange = {"reply": {"body": REPLY.decode()}}
    client = {"json": draft.client}
    tree = {"fixture": 1, "route": "x.yaml", "client": client, "exchanges": [exchange]}
    recorded = Recorded(read_fixture(text_of(tree).encode(), "f.yaml", lambda name: b""))
    seen = asyncio.run(play(found.route, recorded.fixture, WORLD, recorded))
    assert recorded.requests, (draft.file, seen[-1].error)
    return loads(recorded.requests[-1].body)


def opened(value: Any) -> Any:
    """The same with JSON in texts read: how it is spaced does not matter."""
    if isinstance(value, dict):
        return {key: opened(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [opened(inner) for inner in value]
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return ["as JSON", opened(json.loads(value))]
        except ValueError:
            return value
    return value


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(keys, values, max_size=5))
def test_every_body_is_sent_as_it_was(body: dict[str, Any]) -> None:
    raw = json.dumps({**body, "q": ASKED}).encode()
    kind = ("Content-Type", "application/json")
    request = HttpRequest("POST", "https://chat.example.com/ask", (kind,), body=raw)
    draft = sketch([Exchange(request, HttpResponse(200, (), REPLY))], 0, prompt=ASKED)
    assert SECRET not in draft.file
    assert opened(loads(raw)) == opened(sent(draft)), draft.file
