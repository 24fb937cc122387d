"""Tools of free text (`custom`) for upstreams that know functions only.

Such a tool goes out as a function of one string, `input`, and its calls come back as what the
client offered: the string is taken out of the arguments while they stream.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace

from engine.chat import ChatRequest, Message, Part, Tool, ToolCall
from engine.dialects.contract import Encoder
from engine.events import ArgsDelta, Close, Event, Open
from engine.wire import dumps, scrub

_HINT = "Give the whole text of the call in `input`, as it is."
_BEGIN = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_PREFIX = re.compile(r'\s*(?:\{\s*(?:"(?:i(?:n(?:p(?:u(?:t(?:"\s*(?::\s*)?)?)?)?)?)?)?)?)?')
# Characters of a JSON string of which nothing is missing: a pair of surrogates is one of them.
_WHOLE = re.compile(
    r'(?:[^"\\]|\\["\\/bfnrt]|\\u(?![dD][89abAB])[0-9a-fA-F]{4}'
    r"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*"
)


def as_function(tool: Tool) -> Tool:
    """The tool as a function; the grammar that its text must follow goes into the description."""
    words = [tool.description or "", _HINT]
    form = tool.extras.get("format")
    grammar = form.get("definition") if isinstance(form, dict) else None
    if isinstance(grammar, str):
        words.append(f"The text must follow this grammar:\n{grammar}")
    schema = {
        "type": "object",
        "properties": {"input": {"type": "string"}},
        "required": ["input"],
        "additionalProperties": False,
    }
    text = "\n".join(filter(None, words))
    return Tool(tool.name, text, schema, dialect=tool.dialect)


def calls_as_functions(message: Message) -> Message:
    """The message with its calls of custom tools as calls of functions."""
    if not any(isinstance(part, ToolCall) and part.kind == "custom" for part in message.parts):
        return message
    return replace(message, parts=[_as_function(part) for part in message.parts])


def _as_function(part: Part) -> Part:
    if not isinstance(part, ToolCall) or part.kind != "custom":
        return part
    return replace(part, kind="function", args=dumps({"input": part.args}).decode())


def unwrap(args: str) -> str:
    """The text in the arguments of a whole call; the arguments themselves if there is none."""
    value = _loads(args)
    text = value.get("input") if isinstance(value, dict) else None
    return text if isinstance(text, str) else args


def _loads(text: str) -> object:
    """JSON as models write it, with bare line ends in strings; None if it is none."""
    try:
        return scrub(json.loads(text, strict=False))
    except (ValueError, RecursionError):
        return None


class Unwrapper:
    """Arguments of one call in, the text they hold out, as far as it is certain."""

    def __init__(self) -> None:
        self._said = 0  # characters given out
        self._args: list[str] = []
        self._rest = ""  # not decoded yet
        self._state = "before"  # before, inside, over, unknown

    def feed(self, piece: str) -> str:
        self._args.append(piece)
        if self._state in ("over", "unknown"):
            return ""
        self._rest += piece
        if self._state == "before":
            begun = _BEGIN.match(self._rest)
            if begun is None:
                if not _PREFIX.fullmatch(self._rest):
                    self._state = "unknown"
                return ""
            self._rest, self._state = self._rest[begun.end() :], "inside"
        return self._inside()

    def _inside(self) -> str:
        whole = _WHOLE.match(self._rest)
        assert whole is not None  # it matches nothing at all, too
        found, self._rest = whole.group(), self._rest[whole.end() :]
        if self._rest.startswith('"'):
            self._state = "over"
        text = _loads(f'"{found}"')
        assert isinstance(text, str)
        self._said += len(text)
        return text

    def finish(self) -> str:
        """What was held back. The call is over, or it was cut off in the middle of its text."""
        if self._state == "over" or (self._state == "inside" and self._said):
            return ""
        return unwrap("".join(self._args))


class Restorer:
    """Events of an answer, in which calls of the client's custom tools become such again."""

    def __init__(self, request: ChatRequest | None) -> None:
        self.names = custom_names(request)
        self._open: dict[int, Unwrapper] = {}

    def feed(self, events: list[Event]) -> list[Event]:
        if not self.names:
            return events
        return [made for event in events for made in self._one(event)]

    def _one(self, event: Event) -> list[Event]:
        if isinstance(event, Open) and _wrapped(event.part, self.names):
            assert isinstance(event.part, ToolCall)
            unwrapper = self._open[event.block] = Unwrapper()
            text = unwrapper.feed(event.part.args) if event.part.args else ""
            return [Open(event.block, replace(event.part, kind="custom", args=text))]
        if isinstance(event, ArgsDelta) and event.block in self._open:
            return _args(event.block, self._open[event.block].feed(event.json))
        if isinstance(event, Close) and event.block in self._open:
            return [*_args(event.block, self._open.pop(event.block).finish()), event]
        return [event]


def _args(block: int, text: str) -> list[Event]:
    return [ArgsDelta(block, text)] if text else []


def _wrapped(part: Part, names: frozenset[str]) -> bool:
    return isinstance(part, ToolCall) and part.kind == "function" and part.name in names


def custom_names(request: ChatRequest | None) -> frozenset[str]:
    """Names of the custom tools that a client offered."""
    tools = request.tools if request is not None else []
    return frozenset(tool.name for tool in tools if tool.kind == "custom")


def restore(parts: list[Part], request: ChatRequest | None) -> list[Part]:
    """`Restorer` for the parts of a whole answer."""
    names = custom_names(request)
    return [_restored(part, names) for part in parts] if names else parts


def _restored(part: Part, names: frozenset[str]) -> Part:
    if not isinstance(part, ToolCall) or not _wrapped(part, names):
        return part
    return replace(part, kind="custom", args=unwrap(part.args))


class Restoring:
    """An encoder that gets calls of custom tools as such."""

    def __init__(self, encoder: Encoder, request: ChatRequest) -> None:
        self._encoder = encoder
        self._restorer = Restorer(request)

    def feed(self, events: list[Event]) -> bytes:
        return self._encoder.feed(self._restorer.feed(events))

    def finish(self) -> bytes:
        return self._encoder.finish()

    def ping(self) -> bytes | None:
        return self._encoder.ping()
