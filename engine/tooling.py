"""Tools of the operator's servers, as one request has them: offered, called, answered.

They are offered beside the client's own, which keep their names. What the model calls is run with
a bound on time and number, and the results go into the conversation. Whatever fails there is told
to the model as the call's result; it does not fail the request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace

from .chat import ChatRequest, Message, Text, Tool, ToolCall, ToolChoice, ToolResult, text_of
from .events import Usage
from .ports import Ports, ServerTool, Sink, ToolAnswer
from .rounds import Rounds
from .route.route import Route
from .route.spec import ToolsSpec
from .route.view import Asked
from .wire import JsonError, loads


class Tooling:
    """What one request may have run. `sink` is where its attempts write."""

    def __init__(self, spec: ToolsSpec, route: Route, ports: Ports, sink: Sink) -> None:
        self.spec = spec
        self.sink = Rounds(sink)
        self.asked: Asked | None = None  # as it was before tools were offered
        self._route = route
        self._ports = ports
        self._own: Mapping[str, ServerTool] = {}
        self._clients: list[Tool] = []

    async def offer(self, asked: Asked) -> ChatRequest:
        """The conversation with the servers' tools, unless the client wants none called."""
        self.asked, chat = asked, asked.chat
        if chat.tool_choice is not None and chat.tool_choice.mode == "none":
            return chat
        found = await self._ports.tools.offered(self.spec.mcp)
        self._clients = chat.tools
        self._own = self.sink.own = named({tool.name for tool in chat.tools}, found)
        if not self._own:
            return chat
        tools = [Tool(name, tool.description, tool.schema) for name, tool in self._own.items()]
        choice = chat.tool_choice if chat.tools else None
        return replace(chat, tools=[*chat.tools, *tools], tool_choice=choice)

    async def run(
        self, calls: tuple[ToolCall, ...], asked: Asked, usage: Usage | None
    ) -> ChatRequest:
        """Run the calls of the last attempt; the conversation with them and their results.

        usage: what that attempt cost
        """
        dialect = self._route.dialect
        turn = self.sink.onward(usage, dialect.name if dialect else "")
        gate = asyncio.Semaphore(self.spec.parallel)
        async with asyncio.TaskGroup() as group:
            work = [group.create_task(self._one(call, asked, gate)) for call in calls]
        self.sink.shown()
        results = [Message("tool", [task.result()]) for task in work]
        chat = asked.chat
        chat = replace(chat, messages=[*chat.messages, turn, *results])
        return chat if self.sink.rounds < self.spec.max_rounds else self._without(chat)

    def _without(self, chat: ChatRequest) -> ChatRequest:
        """Enough was run: now the model has to answer, or to call what is the client's."""
        if self._clients:
            return replace(chat, tools=self._clients)
        return replace(chat, tool_choice=ToolChoice("none"))

    async def _one(self, call: ToolCall, asked: Asked, gate: asyncio.Semaphore) -> ToolResult:
        tool = self._own[call.name]
        async with gate:
            self._show(f"Calling {tool.name} of {tool.server}.\n")
            begun = self._ports.clock.monotonic()
            answer = await self._answer(tool, call)
            seconds = self._ports.clock.monotonic() - begun
        said = "answered" if answer.outcome == "ok" else f"failed ({answer.outcome})"
        self._show(f"{tool.name} {said}.\n")
        self._ports.observer.saw(
            "tool_call",
            request=asked.id,
            client=asked.client[:12],
            route=self._route.name,
            server=tool.server,
            tool=tool.name,
            outcome=answer.outcome,
            seconds=round(seconds, 3),
            sent=len(call.args),
            received=len(text_of(answer.parts)),
        )
        return ToolResult(call.id, answer.parts, answer.outcome != "ok", call.name)

    async def _answer(self, tool: ServerTool, call: ToolCall) -> ToolAnswer:
        arguments = read_arguments(call.args)
        if arguments is None:
            return ToolAnswer([Text("the arguments are not a JSON object")], "error")
        limit = float(self.spec.timeout)
        return await self._ports.tools.call(tool.server, tool.name, arguments, limit)

    def _show(self, text: str) -> None:
        if self.spec.show == "reasoning":
            self.sink.show(text)


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
