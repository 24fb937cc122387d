"""Text and nothing else: tools by `prompted_tools`, usage by estimate."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .words import Body, Heard, Say

PATH = "/plain"
ROUTE = """\
base_url: %URL%
transforms: [prompted_tools]
request:
  path: /plain
  json: { messages: "{{ req.messages | as_text_messages }}" }
stream:
  use: always
  format: text
  finish_optional: true
  events:
    - text: $
"""
_NAMES = re.compile(r'^\{"name":"(\w+)"', re.MULTILINE)
_RESULTS = re.compile(r'<tool_result name="\w+"( error="true")?>\n(.*?)\n</tool_result>', re.DOTALL)


def hear(body: Body, path: str) -> Heard:
    turns = body["messages"]
    heard = Heard(body, True)
    if turns[0]["role"] == "system":
        heard.offered = _NAMES.findall(turns[0]["content"])
    heard.results = [
        f"Error: {text}" if failed else text
        for turn in turns
        if turn["role"] == "user"
        for failed, text in _RESULTS.findall(turn["content"])
    ]
    return heard


def whole(say: Say, n: int) -> str:
    return "".join(frames(say, n))


def frames(say: Say, n: int) -> Iterator[str]:
    yield from say.pieces
    for name, args in say.calls:
        yield f'<tool_call>\n{{"name": "{name}", "arguments": {args}}}\n</tool_call>\n'


def refusal(status: int) -> Body:
    return {"error": "scripted"}
