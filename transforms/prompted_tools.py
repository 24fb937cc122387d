"""Tool calls for upstreams without them: a prompt offers the tools, the answer is read for calls.

The conversation is retold in text: calls as the model is asked to write them, results as the user's
turns. Of an answer, text streams on while nothing in it can begin a call. A call counts only if it
names a tool of the request; what else looks like one goes out as the text it was, to the last
character.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

from engine.transform import (
    OMIT,
    Annotation,
    ArgsDelta,
    ChatRequest,
    Close,
    Context,
    Event,
    Finish,
    Loose,
    Message,
    Open,
    Part,
    Ping,
    ReasoningDelta,
    SpokenCall,
    SpokenCalls,
    Template,
    Text,
    TextDelta,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    UsageEvent,
    dumps,
    option,
    repair_json,
    written,
)

API = 1
SYSTEM = ("system", "developer")
UNORDERED = (UsageEvent, Ping, Annotation, ReasoningDelta)  # they may overtake held-back text
RESULTS = "\0results"  # marks turns that results went into; no client can send this name


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    name: str = option(doc="what it is called")
    description: str = option("", "what it is good for")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    style: Literal["xml", "json"] = option(
        "xml", "how the prompt asks for calls: in `<tool_call>` tags, or in a fence of JSON"
    )
    prompt: Template | None = option(
        None, "the prompt, instead of the usual one", roots=("tools", "choice")
    )
    offer: list[Offer] = option(
        [], "tools offered to clients that bring none; their calls go to the client all the same"
    )
    max_calls: int = option(64, "most calls taken from one answer; further ones stay text")
    rescue: bool = option(
        False, "only read answers, for upstreams that have tools but let calls slip into the text"
    )


PROMPT = """\
You can use tools. To call one, write this, with its arguments as one JSON object:

{example}

Several calls are written one after the other. Stop after the calls: the results come with the next
message. Never make a result up. When you need no tool, answer as usual.

The tools, with the JSON Schema of their arguments:

{tools}
"""
DEMANDS = MappingProxyType(
    {"required": "Now call at least one tool.", "named": "Now call the tool {names}."}
)


class Transform:
    def __init__(self, options: Options, context: Context) -> None:
        self.options = options
        self._random = context.random
        self._tools: dict[str, Tool] = {}
        self._calls = SpokenCalls(self._accept)
        self._block = 0
        self._taken = 0
        self._blank = False  # after a call: white space is dropped until something is said
        self._kept: list[SpokenCall] = []  # rescue: calls found in the text, told at the end
        self._told: dict[int, list[str]] = {}  # rescue: the upstream's own, as name and arguments

    def shape(self, request: ChatRequest) -> ChatRequest:
        choice = request.tool_choice or ToolChoice("auto")
        offered = [tool for tool in request.tools if tool.kind != "hosted"]
        if not request.tools:
            offered = [Tool(each.name, each.description) for each in self.options.offer]
        if choice.mode != "none":
            self._tools = {tool.name: tool for tool in offered}
        if self.options.rescue:
            return request
        said = _retold(request.messages, self.options.style)
        if self._tools:
            said = _with_system(said, self._prompt(offered, choice, request.parallel))
        hosted = [f"tools.{tool.name}" for tool in request.tools if tool.kind == "hosted"]
        return replace(
            request,
            messages=said,
            tools=[],
            tool_choice=None,
            parallel=None,
            dropped=[*request.dropped, *hosted],
        )

    def _prompt(self, tools: list[Tool], choice: ToolChoice, parallel: bool | None) -> str:
        schemas = [
            {"name": tool.name, "description": tool.description, "parameters": _schema(tool)}
            for tool in tools
        ]
        if self.options.prompt is not None:
            said = self.options.prompt(tools=schemas, choice=choice.mode)
            return "" if said is OMIT else str(said).strip()
        example = written("NAME", {}, self.options.style).replace("{}", "{…}")
        listed = "\n".join(dumps(schema).decode() for schema in schemas)
        text = PROMPT.format(example=example, tools=listed)
        if parallel is False:
            text += "\nCall one tool at a time."
        names = " or ".join(f"`{name}`" for name in choice.names)
        return f"{text}\n{DEMANDS.get(choice.mode, '').format(names=names)}".strip()

    # ---- what is answered ----

    def feed(self, event: Event) -> list[Event]:
        if not self._tools:
            return [event]
        if isinstance(event, TextDelta):
            self._block = event.block
            return self._pieces(self._calls.feed(event.text))
        if self.options.rescue:
            self._note(event)
        if isinstance(event, UNORDERED):
            return [event]
        cut = isinstance(event, Finish) and event.reason == "length"
        said = self._calls.rest() if cut else self._calls.feed("", over=True)
        return [*self._pieces(said), event]

    def finish(self) -> list[Event]:
        if not self._tools:
            return []
        out = self._pieces(self._calls.feed("", over=True))
        known = [(name, repair_json(args or "{}")) for name, args in self._told.values()]
        kept, self._kept = self._kept, []
        for call in kept:
            name, args = self._fitted(call) or ("", None)
            if (name, args) not in known:
                out += self._events(name, args)
        return out

    def _pieces(self, pieces: list[str | SpokenCall]) -> list[Event]:
        out: list[Event] = []
        for piece in pieces:
            if isinstance(piece, str):
                piece = piece.lstrip() if self._blank else piece
                self._blank = self._blank and not piece
                if piece:
                    out.append(TextDelta(self._block, piece))
                continue
            self._blank = True
            if self.options.rescue:
                self._kept.append(piece)
            else:
                name, args = self._fitted(piece) or ("", None)
                out += self._events(name, args)
        return out

    def _accept(self, calls: list[SpokenCall]) -> bool:
        """Whether all of these are calls of tools that were offered, and there is room for them."""
        room = self._taken + len(calls) <= self.options.max_calls
        if not room or not all(self._fitted(call) for call in calls):
            return False
        self._taken += len(calls)
        return True

    def _fitted(self, call: SpokenCall) -> tuple[str, Any] | None:
        """A call's tool and arguments as that tool takes them; None if it is none of ours."""
        tool = self._tools.get(call.name) or self._tools.get(call.name.removeprefix("functions."))
        args = call.args
        if tool is None:
            return None
        if isinstance(args, str):
            args = repair_json(args) if args.strip() else {}
        if tool.kind == "custom":
            args = args.get("input") if isinstance(args, dict) else args
            return (tool.name, str(args)) if isinstance(args, str) else None
        if not isinstance(args, dict):
            return None
        return tool.name, {key: _fit(value, tool, key) for key, value in args.items()}

    def _note(self, event: Event) -> None:
        """Remember the calls that the upstream makes in its own way."""
        if isinstance(event, Open) and isinstance(event.part, ToolCall):
            self._told[event.block] = [event.part.name, event.part.args]
        elif isinstance(event, ArgsDelta):
            told = self._told.setdefault(event.block, [event.name, ""])
            told[0], told[1] = told[0] or event.name, told[1] + event.json

    def _events(self, name: str, args: Any) -> list[Event]:
        hint = -1 - self._random.getrandbits(48)  # no block of the upstream's has such a number
        custom = self._tools[name].kind == "custom"
        text = args if custom else dumps(args).decode()
        ident = f"call_{self._random.getrandbits(96):024x}"
        part = ToolCall(ident, name, "", "custom" if custom else "function")
        return [Open(hint, part), ArgsDelta(hint, text), Close(hint)]


def _fit(value: Any, tool: Tool, key: str) -> Any:
    """A value between tags as the schema wants it; any other value as it is."""
    if not isinstance(value, Loose):
        return value
    known = _schema(tool).get("properties")
    about = known.get(key) if isinstance(known, dict) else None
    kind = about.get("type") if isinstance(about, dict) else None
    if kind in (None, "string"):
        return str(value)
    found = repair_json(value)
    return str(value) if found is None and value.strip() != "null" else found


def _schema(tool: Tool) -> dict[str, Any]:
    if tool.kind == "custom":
        text = {"type": "string", "description": "free text"}
        return {"type": "object", "properties": {"input": text}, "required": ["input"]}
    return tool.schema if isinstance(tool.schema, dict) else {"type": "object", "properties": {}}


# ---- the history, retold ----


def _retold(messages: list[Message], style: str) -> list[Message]:
    """Calls and results of earlier turns as text: calls by the assistant, results by the user."""
    names = {part.id: part.name for m in messages for part in m.parts if isinstance(part, ToolCall)}
    out: list[Message] = []
    for message in messages:
        parts = [new for part in message.parts for new in _part(part, names, style)]
        if not any(isinstance(part, ToolResult) for part in message.parts):
            out.append(replace(message, parts=parts))
        elif out and out[-1].name == RESULTS:
            out[-1] = replace(out[-1], parts=[*out[-1].parts, Text("\n\n"), *parts])
        else:
            out.append(Message("user", parts, name=RESULTS))
    return [_plain(m) if m.name == RESULTS else m for m in out]


def _plain(message: Message) -> Message:
    return replace(message, name=None, parts=_joined(message.parts))


def _joined(parts: list[Part]) -> list[Part]:
    """Neighbouring texts as one: some upstreams read no list of them."""
    out: list[Part] = []
    for part in parts:
        last = out[-1] if out else None
        if isinstance(last, Text) and isinstance(part, Text) and not (last.extras or part.extras):
            out[-1] = replace(last, text=last.text + part.text)
        else:
            out.append(part)
    return out


def _part(part: Part, names: dict[str, str], style: str) -> Iterator[Part]:
    if isinstance(part, ToolCall):
        args = {"input": part.args} if part.kind == "custom" else repair_json(part.args or "{}")
        yield Text(f"\n{written(part.name, args, style)}\n")
    elif isinstance(part, ToolResult):
        name = part.name or names.get(part.call_id, "")
        failed = ' error="true"' if part.is_error else ""
        yield Text(f'<tool_result name="{name}"{failed}>\n')
        yield from part.parts
        yield Text("\n</tool_result>")
    else:
        yield part


def _with_system(messages: list[Message], text: str) -> list[Message]:
    """The first system message with this text behind its own, or a new one in front."""
    place = next((at for at, m in enumerate(messages) if m.role in SYSTEM), None)
    if place is None:
        return [Message("system", [Text(text)]), *messages]
    old = messages[place]
    joined = replace(old, parts=[*old.parts, *([Text("\n\n")] if old.text else []), Text(text)])
    return [*messages[:place], joined, *messages[place + 1 :]]
