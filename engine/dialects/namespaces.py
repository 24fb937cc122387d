"""What Responses say of a namespace of tools, for APIs that have none.

There a tool's name holds its namespace (`crm__find`), and the first tool of each tells what the
client said of it. Where that would be too long it is named in `dropped`.
"""

from __future__ import annotations

from dataclasses import replace

from engine.chat import ChatRequest, Tool

_MOST = 1024  # characters that a tool's description may have in Chat Completions


def explained(request: ChatRequest) -> ChatRequest:
    """The request of another dialect, its namespaces told of. Fills `dropped`."""
    told: set[object] = set()
    tools = [_told(tool, told, request.dropped) for tool in request.tools]
    return replace(request, tools=tools) if told else request


def _told(tool: Tool, told: set[object], dropped: list[str]) -> Tool:
    space = tool.extras.get("namespace")
    words = space.get("description") if isinstance(space, dict) else None
    if not isinstance(space, dict) or not isinstance(words, str) or not words:
        return tool
    if space.get("name") in told:
        return tool
    told.add(space.get("name"))
    lead = f"All tools of `{space.get('name')}`: {words}"
    said = f"{lead}\n\n{tool.description}" if tool.description else lead
    if len(said) <= _MOST:
        return replace(tool, description=said)
    if "namespace.description" not in dropped:
        dropped.append("namespace.description")
    return tool
