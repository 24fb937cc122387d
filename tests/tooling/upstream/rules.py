"""An API of its own, that a route's rules read."""

from __future__ import annotations

import json
from collections.abc import Iterator

from .chat import hear as hear_chat
from .chat import thought
from .words import INPUT, OUTPUT, Body, Heard, Say, sse

PATH = "/talk"
ROUTE = """\
base_url: %URL%
request:
  path: /talk
  json:
    messages: "{{ req.messages | as_openai }}"
    tools: "{{ req.tools | as_openai }}"
    tool_choice: "{{ req.tool_choice | as_openai }}"
    stream: "{{ req.stream }}"
stream:
  format: sse
  events: &events
    - each: "$.said[*]"
      reasoning: $.think
      text: $.say
      tool_calls: { each: "$.calls[*]", id: $.id, name: $.name, arguments: $.args }
      continue: true
    - has: $.ended
      finish: $.ended
      usage: { input: $.read, output: $.written }
response:
  events: *events
"""


def hear(body: Body, path: str) -> Heard:
    return hear_chat(body, path)


def _said(say: Say, n: int) -> Iterator[Body]:
    if say.thought:
        yield {"think": thought(say, n)}
    yield from ({"say": piece} for piece in say.pieces)
    if say.calls:
        yield {
            "calls": [
                {"id": ident, "name": name, "args": json.loads(args)}
                for ident, name, args in say.numbered(n)
            ]
        }


def _ending(say: Say) -> Body:
    return {"ended": say.reason, "read": INPUT, "written": OUTPUT}


def whole(say: Say, n: int) -> Body:
    return {"said": list(_said(say, n)), **_ending(say)}


def frames(say: Say, n: int) -> Iterator[str]:
    for said in _said(say, n):
        yield sse({"said": [said]})
    yield sse(_ending(say))


def refusal(status: int) -> Body:
    return {"error": {"message": "scripted"}}
