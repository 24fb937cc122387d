"""Marks for the prompt cache that a Chat client makes in the words of Messages.

SDKs of Chat Completions reach Claude through OpenRouter and LiteLLM, and both take `cache_control`
of Messages there: on a part, a message, a call, a tool (or its `function`). Upstreams of Messages
get each mark at the same place: one of a message on the last block of its own, one inside of what a
tool said on its result, one of an empty text on the block before. Nobody else has such marks: there
`nested.py` names them.
"""

from __future__ import annotations

from dataclasses import replace

from engine.chat import ChatRequest, Extras, Media, Message, Part, Text, Tool, ToolCall, ToolResult

from .answered import in_place
from .foreign import bare

MARK = "cache_control"
BORROWED = frozenset({MARK})  # fields of Messages that clients of Chat may say
LENDER, _BORROWER = "anthropic_messages", "openai_chat"
_SYSTEM = ("system", "developer")


def lends(dialect: str, target: str) -> bool:
    """Whether marks in the words of Messages go from a client of this dialect to the target."""
    return (dialect, target) == (_BORROWER, LENDER)


def lent_by(dialect: str, target: str) -> frozenset[str]:
    """Fields at the top of a request that go to the target although it speaks another dialect."""
    return BORROWED if lends(dialect, target) else frozenset()


def carry_borrowed(request: ChatRequest, target: str) -> ChatRequest:
    """The request with its borrowed marks where Messages has them. Fills `dropped`."""
    if not lends(request.dialect, target):
        return request
    turns, tools = request.messages, request.tools
    if any(map(_marked, turns)):
        turns = in_place([_carried(turn, request.dropped) for turn in turns])
    if any(mark_of(tool.extras) is not None for tool in tools):
        tools = [_lent(tool) for tool in tools]
    if turns is request.messages and tools is request.tools:
        return request
    return replace(request, messages=turns, tools=tools)


def mark_of(extras: Extras) -> object:
    """A mark beside a thing or in its `function` or `custom`; None if there is none."""
    if not extras:
        return None
    inner = (extras.get(kind) for kind in ("function", "custom"))
    held = (each.get(MARK) for each in inner if isinstance(each, dict))
    return next((mark for mark in (extras.get(MARK), *held) if mark is not None), None)


def only_mark(extras: Extras) -> Extras:
    """Of these extras the mark alone."""
    mark = mark_of(extras)
    return {} if mark is None else {MARK: mark}


def _lent(tool: Tool) -> Tool:
    found = only_mark(tool.extras)
    return tool if not found or tool.kind == "hosted" else replace(tool, extras=found, dialect="")


def _marked(turn: Message) -> bool:
    if turn.dialect != _BORROWER:
        return False
    return mark_of(turn.extras) is not None or any(_mark(part) is not None for part in turn.parts)


def _mark(part: Part) -> object:
    if isinstance(part, ToolResult):
        inner = [mark for mark in map(_mark, part.parts) if mark is not None]
        return inner[-1] if inner else None
    return mark_of(part.extras) if isinstance(part, Text | Media | ToolCall) else None


def _carried(turn: Message, dropped: list[str]) -> Message:
    """The turn in nobody's words but for its marks."""
    if not _marked(turn):
        return turn
    marks = [_mark(part) for part in turn.parts]
    plain = bare(turn)
    if turn.role in _SYSTEM:  # a mark parts what is one text else
        said = [(p, m) for p, m in zip(turn.parts, marks, strict=True) if isinstance(p, Text)]
        marks = [mark for _, mark in said]
        plain = replace(plain, parts=[Text(part.text) for part, _ in said])
    found = _placed(plain.parts, marks)
    lost = [] if found or not any(marks) else [f"text.{MARK}"]
    whole, last = mark_of(turn.extras), _last(plain.parts)
    if whole is not None and last >= 0:
        found.setdefault(last, whole)
    elif whole is not None:
        lost.append(f"messages.{MARK}")
    dropped += [name for name in lost if name not in dropped]
    parts = [_with(part, found.get(at)) for at, part in enumerate(plain.parts)]
    return replace(plain, parts=[part for part in parts if not _blank(part)])


def _placed(parts: list[Part], marks: list[object]) -> dict[int, object]:
    """Which part gets which mark."""
    found: dict[int, object] = {}
    for at, mark in enumerate(marks):
        place = _last(parts[: at + 1])
        if mark is not None and place >= 0:
            found[place] = mark
    return found


def _last(parts: list[Part]) -> int:
    """The last part that can be marked, -1 if there is none."""
    can = [at for at, part in enumerate(parts) if _can(part)]
    return can[-1] if can else -1


def _can(part: Part) -> bool:
    return isinstance(part, Text | Media | ToolCall | ToolResult) and not _blank(part)


def _blank(part: Part) -> bool:
    return isinstance(part, Text) and not part.text.strip()


def _with(part: Part, mark: object) -> Part:
    if mark is None or not isinstance(part, Text | Media | ToolCall | ToolResult):
        return part
    return replace(part, extras={MARK: mark})
