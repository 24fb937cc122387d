"""A model that can only write text, in the middle of a coding session.

It is told of tools by a prompt, looks at what the last one said, and writes the next call as it was
asked to. It calls nothing that was not offered, with no argument that is not in the tool's schema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.clients.text_stub import Turns

Fields = dict[str, Any]
_RESULT = re.compile(r'<tool_result name="([^"]*)"( error="true")?>\n(.*?)\n</tool_result>', re.S)


@dataclass(frozen=True, slots=True)
class Step:
    """A call, once the last result has `after` in it."""

    tool: str
    args: Fields
    after: str = ""


@dataclass(slots=True)
class Agent:
    """steps, one after the other; then `answer`, with the last result in the place of {}.

    offered: the tools of the last prompt by name, each with the JSON Schema of its arguments.
    """

    steps: Sequence[Step]
    answer: str
    last: str = ""
    offered: dict[str, Fields] = field(default_factory=dict)

    def __call__(self, turns: Turns) -> str:
        system = "\n".join(
            turn["content"] for turn in turns if turn["role"] in ("system", "developer")
        )
        self.offered = dict(_tool(line) for line in system.splitlines() if _is_tool(line))
        results = [_RESULT.findall(turn["content"]) for turn in turns if turn["role"] == "user"]
        done = [result for turn in results for result in turn]
        assert [step.tool for step in self.steps[: len(done)]] == [name for name, _, _ in done]
        said = done[-1][2] if done else ""
        if len(done) == len(self.steps):
            assert self.last in said, said
            return self.answer.format(said.strip())
        step = self.steps[len(done)]
        assert step.after in said, said
        schema = self.offered[step.tool]
        assert set(schema.get("required", ())) <= set(step.args) <= set(schema["properties"])
        return _written(step, system)


def _is_tool(line: str) -> bool:
    return line.startswith('{"name":') and '"parameters":' in line


def _tool(line: str) -> tuple[str, Fields]:
    found = json.loads(line)
    return found["name"], found["parameters"]


def _written(step: Step, system: str) -> str:
    """In the style that the prompt shows, as models write: with a word before it, and blanks."""
    call = {"name": step.tool, "arguments": step.args}
    if '```json\n{"tool_calls"' in system:
        text = json.dumps({"tool_calls": [call]}, indent=2, ensure_ascii=False)
        return f"Next step.\n\n```json\n{text}\n```"
    assert "<tool_call>" in system
    return f"Next step.\n\n<tool_call>\n{json.dumps(call, ensure_ascii=False)}\n</tool_call>\n"
