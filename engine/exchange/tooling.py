"""Tools of the operator's servers, as one request has them: offered, called, answered.

They are offered beside the client's own, which keep their names. What the model calls is run with
a bound on time and number, and the results go into the conversation. Whatever fails there is told
to the model as the call's result; it does not fail the request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial

from engine.chat import (
    ChatRequest,
    Media,
    Message,
    Part,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    text_of,
)
from engine.dialects import DIALECTS, Dialect
from engine.dialects.profile import Profile
from engine.dialects.tokens import estimate, estimate_text
from engine.errors import RequestError
from engine.events import Usage
from engine.kept.beside import Beside
from engine.ports import Ports, ServerTool, Sink, ToolAnswer
from engine.route.route import Route
from engine.route.spec import ToolsSpec
from engine.route.view import Asked
from engine.together import together
from engine.wire import JsonError, loads

from .rounds import Rounds

LONGEST_NAME = 100  # characters of a name in the log that the model made up


class Tooling:
    """What one request may have run. `sink` is where its attempts write."""

    def __init__(self, spec: ToolsSpec, route: Route, ports: Ports, sink: Sink) -> None:
        self.spec = spec
        self.sink = Rounds(sink)
        self.asked: Asked | None = None  # as it was before tools were offered
        self._route = route
        self._ports = ports
        self._beside = Beside(ports)
        self._ran = False  # what the answer calls beside the client's tools
        self._own: Mapping[str, ServerTool] = {}
        self._clients: list[Tool] = []

    async def offer(self, asked: Asked, profile: Profile) -> ChatRequest:
        """The conversation with the servers' tools, unless the client wants none called."""
        self.asked, chat = asked, await self._beside.restore(asked)
        if chat.tool_choice is not None and chat.tool_choice.mode == "none":
            return chat
        found = await self._ports.tools.offered(self.spec.mcp)
        self._clients, theirs = chat.tools, {tool.name for tool in chat.tools}
        self._own = named(theirs, found)
        if not self._own:
            return chat
        self.sink.own = self._own.keys()
        if not any(tool.kind == "hosted" for tool in chat.tools):  # its calls have other names
            self.sink.theirs = theirs
        if self._route.dialect is not None:
            chat = self._route.dialect.resumable(chat, profile)
        tools = [Tool(name, tool.description, tool.schema) for name, tool in self._own.items()]
        choice = chat.tool_choice if chat.tools else None
        return replace(chat, tools=[*chat.tools, *tools], tool_choice=choice)

    async def run(
        self, calls: tuple[ToolCall, ...], asked: Asked, usage: Usage | None
    ) -> ChatRequest:
        """Run the calls of the last attempt; the conversation with them and their results.

        usage: what that attempt cost, None if its upstream did not tell
        """
        dialect = self._route.dialect
        turn = self.sink.onward(self._cost(usage, asked), dialect.name if dialect else "")
        jobs = [partial(self._one, call, asked) for call in calls]
        made = await together(jobs, self.spec.parallel)
        self.sink.shown()
        results = [Message("tool", [sayable(result, dialect)]) for result in made]
        chat = asked.chat
        chat = replace(chat, messages=[*chat.messages, turn, *results])
        return chat if self.sink.rounds < self.spec.max_rounds else self._without(chat)

    async def run_beside(self, calls: tuple[ToolCall, ...], asked: Asked, left: float) -> None:
        """Run calls that stand beside the client's own, and keep what they bring for its next
        request. left: seconds that there are for it, less one to tell the client in.

        Not for a client that gives no ids back: its next request may be of another conversation.
        """
        before = self.asked or asked
        if not DIALECTS[before.chat.dialect].call_ids:
            return
        dialect, parts = self._route.dialect, self.sink.said()
        try:
            async with self._ports.clock.deadline(max(0.0, left - 1.0)):
                jobs = [partial(self._one, call, asked, shows=False) for call in calls]
                made = await together(jobs, self.spec.parallel)
        except TimeoutError:
            return
        results = [sayable(result, dialect) for result in made]
        self._ran = await self._beside.keep(before, parts, results)

    async def settle(self, asked: Asked) -> None:
        """The client goes on with its own calls, and nothing that was run beside them is kept."""
        if self.sink.called().others and not self._ran:
            theirs = [p for p in self.sink.said() if not self.sink.stops(p)]
            await self._beside.forget(self.asked or asked, theirs)

    def leave(self) -> None:
        """The answer is over: calls that it makes and whose results nobody will see are told."""
        called = self.sink.called()
        if called.own and not self._ran:
            self._ports.observer.saw(
                "tools_left",
                level="info",
                request=self.asked.id if self.asked else "",
                route=self._route.name,
                calls=len(called.own),
                others=called.others,
            )

    def usage(self, last: Usage | None, asked: Asked | None) -> Usage | None:
        """What all rounds cost. asked: what the last attempt was asked, None if it failed."""
        if self.sink.rounds and asked is not None:
            last = self._cost(last, asked)
        return self.sink.usage(last)

    def _cost(self, told: Usage | None, asked: Asked) -> Usage:
        """What the last attempt cost, by an estimate if need be."""
        if told is not None:
            return told
        said = "".join(map(_wording, self.sink.said()))
        return Usage(estimate(asked.chat), estimate_text(said), estimated=True)

    def _without(self, chat: ChatRequest) -> ChatRequest:
        """Enough was run: now the model has to answer, or to call what is the client's."""
        if self._clients:
            return replace(chat, tools=self._clients)
        return replace(chat, tool_choice=ToolChoice("none"))

    async def _one(self, call: ToolCall, asked: Asked, *, shows: bool = True) -> ToolResult:
        """shows: the client is told, if the route wants it."""
        show = self._show if shows else _nothing
        tool = self._own.get(call.name)
        if tool is None:
            return self._refused(call, asked, show)
        show(f"Calling {tool.name} of {tool.server}.\n")
        begun = self._ports.clock.monotonic()
        answer = await self._answer(tool, call)
        seconds = self._ports.clock.monotonic() - begun
        said = "answered" if answer.outcome == "ok" else f"failed ({answer.outcome})"
        show(f"{tool.name} {said}.\n")
        self._saw(call, asked, answer, tool, seconds)
        return ToolResult(call.id, answer.parts, answer.outcome != "ok", call.name)

    def _refused(self, call: ToolCall, asked: Asked, show: Callable[[str], None]) -> ToolResult:
        """A tool that nobody offered: the model is told so."""
        answer = ToolAnswer([Text(f"there is no tool `{call.name}` here")], "refused")
        show(f"{call.name} was called, and there is no such tool.\n")
        self._saw(call, asked, answer, ServerTool("", call.name, "", None), 0.0)
        return ToolResult(call.id, answer.parts, True, call.name)

    def _saw(
        self, call: ToolCall, asked: Asked, answer: ToolAnswer, tool: ServerTool, seconds: float
    ) -> None:
        self._ports.observer.saw(
            "tool_call",
            request=asked.id,
            client=asked.client[:12],
            route=self._route.name,
            server=tool.server,
            tool=tool.name[:LONGEST_NAME],
            outcome=answer.outcome,
            seconds=round(seconds, 3),
            sent=len(call.args),
            received=len(text_of(answer.parts)),
        )

    async def _answer(self, tool: ServerTool, call: ToolCall) -> ToolAnswer:
        arguments = read_arguments(call.args)
        if arguments is None:
            return ToolAnswer([Text("the arguments are not a JSON object")], "error")
        limit = float(self.spec.timeout)
        return await self._ports.tools.call(tool.server, tool.name, arguments, limit)

    def _show(self, text: str) -> None:
        if self.spec.show == "reasoning":
            self.sink.show(text)


def _nothing(text: str) -> None:
    """Where nothing is shown."""


def sayable(result: ToolResult, dialect: Dialect | None) -> ToolResult:
    """A tool's result with words in place of media that the upstream cannot be told."""
    if dialect is None or not any(isinstance(inner, Media) for inner in result.parts):
        return result
    try:
        dialect.messages([Message("tool", [result])])
    except RequestError:
        return replace(result, parts=[_in_words(inner) for inner in result.parts])
    return result


def _in_words(part: Part) -> Part:
    return Text(f"[{part.kind} left out]") if isinstance(part, Media) else part


def _wording(part: Part) -> str:
    """What there is to count of a part of an answer."""
    if isinstance(part, ToolCall):
        return part.name + part.args
    return part.text if isinstance(part, Text | Reasoning) else ""


def named(taken: Iterable[str], found: Iterable[ServerTool]) -> dict[str, ServerTool]:
    """Tools by the name that the model is told: the tool's own, if nobody else has it.

    Else its server's name stands before it, and if that is taken, too, a number behind.
    """
    tools = list(found)
    known, names = set(taken), [tool.name for tool in tools]
    out: dict[str, ServerTool] = {}
    for tool in tools:
        name = tool.name
        if name in known or names.count(name) > 1:
            name = base = f"{tool.server}__{tool.name}"
            number = 2
            while name in known:
                name, number = f"{base}_{number}", number + 1
        known.add(name)
        out[name] = tool
    return out


def read_arguments(text: str) -> Mapping[str, object] | None:
    """The arguments of a call; None if they are none."""
    if not text.strip():
        return {}
    try:
        found = loads(text.encode())
    except JsonError:
        return None
    return found if isinstance(found, dict) else None
