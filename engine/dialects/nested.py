"""What stands inside messages, parts and tools and that only the client's own dialect knows.

Fields at the top of a request are named by `foreign.py` where they have no place in the upstream's
dialect; these are the fields below: `messages.x`, `tools.x`, `text.x`, `tool_result.x` and so on.
Hints are left out without a word, as at the top.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from engine.chat import ChatRequest, Extras, Message, Opaque, Part, Text, ToolResult, media_parts
from engine.errors import RequestError

from .borrowed import BORROWED, LENDER, lends

# Hints, ids of what an API keeps, and what only notes how the client spelt a thing that is sent.
_QUIET = frozenset(
    {
        "annotations", "cache_control", "citations", "detail", "displayName", "extra_content", "id",
        "index", "logprobs", "mediaResolution", "partMetadata", "phase",
        "prompt_cache_breakpoint", "status", "title", "tool_call_id",
        "block", "content", "encrypted_content", "field", "instructions", "media_type",
        "namespace", "output", "response", "text", "type",
    }
)  # fmt: skip
_QUIET_IN_TOOLS = frozenset(
    {"cache_control", "eager_input_streaming", "format", "namespace", "parameters", "type"}
)
_SAID_OF_SPACES = frozenset({"type", "name", "description"})  # see namespaces.py
# A mark in the words of Messages is a hint of its own clients, and a wish of others.
_LOUD, _LOUD_IN_TOOLS = _QUIET - BORROWED, _QUIET_IN_TOOLS - BORROWED
# Objects in which a dialect holds the fields of a part or a tool.
_HOLDERS = frozenset(
    {"custom", "file", "fileData", "function", "functionCall", "functionResponse", "image_url",
     "inlineData", "input_audio", "item", "source", "video_url"}
)  # fmt: skip
# The API's FileData and Blob have a displayName, which it refuses (googleapis/js-genai issue 1369).
_NAMELESS = frozenset({"gemini"})
_NAME_IN = {"anthropic_messages": "title"}  # of a file; elsewhere `filename`
# Left out, they would change what is meant: the words that the model has spoken.
_REFUSED = {"openai_chat": frozenset({"audio"})}
_LINE_OF_A_CLIENT = "billing_header"
_SYSTEM = ("system", "developer")
_KINDS = {"Text": "text", "ToolCall": "tool_call", "ToolResult": "tool_result",
          "Reasoning": "reasoning"}  # fmt: skip


def name_nested(request: ChatRequest, target: str) -> None:
    """Fill `request.dropped`. Raises RequestError(unsupported) for what cannot be left out."""
    found: dict[str, None] = {}
    for message in request.messages:
        if message.dialect not in ("", target):
            quiet = _QUIET if _lent(message.dialect, target) else _LOUD
            found.update(dict.fromkeys(_of_message(message, quiet)))
            if target in _NAMELESS:
                found.update(dict.fromkeys(_names(message)))
    for tool in request.tools:
        if tool.extras and tool.dialect not in ("", target):
            quiet = _QUIET_IN_TOOLS if _lent(tool.dialect, target) else _LOUD_IN_TOOLS
            found.update((f"tools.{name}", None) for name in _unknown(tool.extras, quiet))
            found.update(dict.fromkeys(_of_namespace(tool.extras.get("namespace"))))
    request.dropped += [name for name in found if name not in request.dropped]


def _names(message: Message) -> Iterator[str]:
    field = _NAME_IN.get(message.dialect, "filename")
    yield from (f"{m.kind}.{field}" for m in media_parts([message]) if m.name is not None)


def _lent(dialect: str, target: str) -> bool:
    return dialect == LENDER or lends(dialect, target)


def _of_namespace(space: object) -> Iterator[str]:
    """What is said of a namespace of tools and has no other place."""
    if isinstance(space, dict):
        yield from (f"namespace.{name}" for name in _unknown(space, _SAID_OF_SPACES))


def said_within(messages: list[Message]) -> Counter[str]:
    """What stands inside messages besides their texts, by the names it is dropped with."""
    return Counter(
        name
        for message in messages
        for name in _held(message, _QUIET if message.dialect == LENDER else _LOUD)
    )


def _of_message(message: Message, quiet: frozenset[str]) -> Iterator[str]:
    for name in _REFUSED.get(message.dialect, ()):
        if message.extras.get(name) is not None:
            what = f"messages.{name}: the upstream of this model cannot be told of it"
            raise RequestError("unsupported", what, param=f"messages.{name}")
    yield from _held(message, quiet)


def _held(message: Message, quiet: frozenset[str]) -> Iterator[str]:
    if message.extras:
        yield from (f"messages.{name}" for name in _unknown(message.extras, quiet))
    system = message.role in _SYSTEM
    for part in message.parts:
        yield from _of_part(part, quiet)
        if system and not isinstance(part, Text) and _kind(part) != _LINE_OF_A_CLIENT:
            yield _kind(part)


def _of_part(part: Part, quiet: frozenset[str]) -> Iterator[str]:
    extras = getattr(part, "extras", None)
    if extras:
        kind = _kind(part)
        yield from (f"{kind}.{name}" for name in _unknown(extras, quiet))
    if isinstance(part, ToolResult):
        for inner in part.parts:
            if isinstance(inner, Opaque):
                yield inner.kind
            else:
                yield from _of_part(inner, quiet)


def _kind(part: Part) -> str:
    return _KINDS.get(type(part).__name__) or str(getattr(part, "kind", "part"))


def _unknown(extras: Extras, quiet: frozenset[str]) -> Iterator[str]:
    for name, value in extras.items():
        if name in quiet or value is None:
            continue
        if name not in _HOLDERS:
            yield name
        elif isinstance(value, dict):
            yield from _unknown(value, quiet)
