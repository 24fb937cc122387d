"""What a request asks for and its upstream cannot be told: the one place that decides its fate.

There are three kinds of loss. A hint is left out without a word (`foreign.py` knows them). A field
that means little more is left out and named in `dropped`. What would change the meaning is refused.
A route's `on_unsupported` overrules the last two: `warn` names both, `refuse` refuses both,
`silent` leaves both out without a word.

Renderers do not look at it. They append names to `dropped` and raise RequestError(unsupported);
its `about` or `param` says what to take out for the request to be said without.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from engine.chat import ChatRequest, Media, Message, Part, Tool, ToolChoice, ToolResult
from engine.errors import RequestError

from .profile import Profile

Why = Literal["field", "meaning", "profile"]
WHY: dict[str, str] = {
    "field": "the upstream has no field for it",
    "meaning": "the upstream cannot do it",
    "profile": "the route's profile says that the model does not take it",
}


class Lost(str):
    """A name in `dropped` with the reason, a key of `WHY`. A plain str is of the reason `field`."""

    why: Why

    def __new__(cls, name: str, why: Why = "meaning") -> Lost:
        made = super().__new__(cls, name)
        made.why = why
        return made


def why(name: str) -> str:
    """Why a name stands in `dropped`, for people."""
    return WHY[name.why if isinstance(name, Lost) else "field"]


def render(
    request: ChatRequest, write: Callable[[ChatRequest], dict[str, object]], profile: Profile
) -> dict[str, object]:
    """The body that `write` makes of the request, or of what may be said of it.

    Raises RequestError(unsupported) for what the profile's `on_unsupported` does not let go.
    """
    policy = profile.on_unsupported
    while True:
        try:
            body = write(request)
        except RequestError as error:
            left = None if policy in (None, "refuse") else without(request, error)
            if left is None:
                raise
            request = left
        else:
            settle(request.dropped, policy)
            return body


def settle(dropped: list[str], policy: str | None) -> None:
    """Refuse or forget what was left out, if the route wants that."""
    if policy == "refuse" and dropped:
        message = f"{dropped[0]}: {why(dropped[0])}"
        raise RequestError("unsupported", message, param=str(dropped[0]))
    if policy == "silent":
        dropped.clear()


def without(request: ChatRequest, error: RequestError) -> ChatRequest | None:
    """The request without what could not be said of it; None if the error does not tell what."""
    if error.kind != "unsupported":
        return None
    about, name = error.about, error.param
    if isinstance(about, Tool):
        return _without_tool(request, about)
    if about is not None:
        return _without_part(request, about)
    left = None
    if name in request.extras:
        extras = {key: value for key, value in request.extras.items() if key != name}
        left = replace(request, extras=extras)
    elif name == "n" and request.out.n > 1:
        left = replace(request, out=replace(request.out, n=1))
    elif name == "tool_choice" and request.tool_choice is not None:
        left = replace(request, tool_choice=None)
    elif name is not None and name.startswith(_IN_MESSAGES):
        left = _without_field(request, name.removeprefix(_IN_MESSAGES))
    return left and _named(left, name or "")


_IN_MESSAGES = "messages."


def _without_field(request: ChatRequest, name: str) -> ChatRequest:
    """The request without an extra of its messages."""
    messages = [
        replace(m, extras={key: value for key, value in m.extras.items() if key != name})
        for m in request.messages
    ]
    return replace(request, messages=messages)


def _named(request: ChatRequest, name: str) -> ChatRequest:
    if name not in request.dropped:
        request.dropped.append(Lost(name))
    return request


def _without_tool(request: ChatRequest, tool: Tool) -> ChatRequest | None:
    tools = [item for item in request.tools if item is not tool]
    if len(tools) == len(request.tools):
        return None
    choice = request.tool_choice
    if choice is not None and (not tools or tool.name in choice.names):
        choice = ToolChoice("auto") if tools else None
    return _named(replace(request, tools=tools, tool_choice=choice), f"tools.{tool.name}")


def _without_part(request: ChatRequest, about: object) -> ChatRequest | None:
    messages = [_left(message, about) for message in request.messages if message is not about]
    if messages == request.messages:
        return None
    kind = "messages" if isinstance(about, Message) else str(getattr(about, "kind", "part"))
    return _named(replace(request, messages=messages), kind)


def _left(message: Message, about: object) -> Message:
    parts = _parts(message.parts, about)
    return message if parts == message.parts else replace(message, parts=parts)


def _parts(parts: list[Part], about: object) -> list[Part]:
    left: list[Part] = []
    for part in parts:
        if isinstance(part, ToolResult):
            part = replace(part, parts=_parts(part.parts, about))
        if not _same(part, about):
            left.append(part)
    return left


def _same(part: Part, about: object) -> bool:
    """Renderers work on copies: media are known again by what they hold."""
    if not isinstance(part, Media) or not isinstance(about, Media):
        return part is about
    one, two = ((m.kind, m.data, m.url, m.file_id) for m in (part, about))
    return one == two
