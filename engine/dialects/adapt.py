"""A request as the profile of its upstream demands, before the dialect's `render` writes it.

What holds for every dialect stands here: sampling, limits, effort, the order of the turns, images,
the ways a tool may be chosen. Nothing given is changed: each step makes a copy where it has to.
Names that are left out go to `request.dropped`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from engine.chat import (
    ChatRequest,
    Media,
    Message,
    Part,
    Reasoning,
    Sampling,
    Text,
    Think,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from engine.errors import RequestError
from engine.events import Usage

from .losses import Lost
from .nested import said_within
from .profile import PROFILE, Profile

_SYSTEM = ("system", "developer")
_DIALS = {"presence_penalty": "presence", "frequency_penalty": "frequency"}
Step = Callable[[ChatRequest, Profile], ChatRequest]


def thinks(request: ChatRequest) -> bool:
    """Whether the client asks for thinking, in whatever words."""
    think = request.think
    if think.mode in ("on", "adaptive") or think.budget:
        return True
    if think.effort not in (None, "none"):
        return True
    said = request.extras.get("thinking")
    return isinstance(said, dict) and said.get("type") not in (None, "disabled")


def adapt(request: ChatRequest, profile: Profile) -> ChatRequest:
    """The request as the profile wants it. Raises RequestError(unsupported), see losses.py."""
    if request.out.n > 1:
        message = "n: the upstream of this model gives one answer at a time"
        raise RequestError("unsupported", message, param="n")
    if profile is PROFILE:
        return request
    for step in _STEPS:
        request = step(request, profile)
    return request


def _lose(request: ChatRequest, name: str) -> None:
    if name not in request.dropped:
        request.dropped.append(Lost(name, "profile"))


# ---- beta flags ----

# Fields of a Messages request that an upstream takes only with a flag that begins so.
_TIED = {"context_management": "context-management-", "mcp_servers": "mcp-client-",
         "container": "code-execution-", "speed": "fast-mode-"}  # fmt: skip


def kept_betas(flags: str, profile: Profile) -> str:
    """The value of `anthropic-beta` without the flags that the profile does not let go on."""
    if profile.betas is None:
        return flags
    found = (flag.strip() for flag in flags.split(","))
    return ",".join(flag for flag in found if any(_fits(flag, glob) for glob in profile.betas))


def _fits(flag: str, glob: str) -> bool:
    return flag.startswith(glob[:-1]) if glob.endswith("*") else flag == glob


def _betas(request: ChatRequest, profile: Profile) -> ChatRequest:
    if profile.betas is None or request.dialect != "anthropic_messages":
        return request
    gone = {
        field
        for field, flag in _TIED.items()
        if field in request.extras and not any(_begins(glob, flag) for glob in profile.betas)
    }
    if not gone:
        return request
    for field in sorted(gone):
        _lose(request, field)
    extras = {name: value for name, value in request.extras.items() if name not in gone}
    return replace(request, extras=extras)


def _begins(glob: str, flag: str) -> bool:
    return glob.startswith(flag) or (glob.endswith("*") and flag.startswith(glob[:-1]))


# ---- dials and limits ----


def _sampling(request: ChatRequest, profile: Profile) -> ChatRequest:
    fixed = profile.sampling_fixed.values()
    if thinks(request):
        fixed |= profile.thinking_sampling.values()
    changes: dict[str, object] = {}
    for name in profile.sampling_refused:
        field = _DIALS.get(name, name)
        if getattr(request.sampling, field) is not None:
            changes[field] = None
            _lose(request, name)
    for dial, value in fixed.items():
        if getattr(request.sampling, dial) not in (None, value):
            _lose(request, dial)
        changes[dial] = value
    if not changes:
        return request
    return replace(request, sampling=_turned(request.sampling, changes))


def _turned(sampling: Sampling, changes: dict[str, object]) -> Sampling:
    return replace(sampling, **changes)  # type: ignore[arg-type]


def _limits(request: ChatRequest, profile: Profile) -> ChatRequest:
    out = request.out
    least = profile.min_output or 0
    if profile.thinking_min_output and thinks(request):
        least = max(least, profile.thinking_min_output)
    most = profile.default_output if out.max_tokens is None else out.max_tokens
    if most is not None and most > 0:
        most = max(most, least)
        most = min(most, profile.max_output or most)
    elif most is None and least > (profile.min_output or 0):
        most = least
    if most != out.max_tokens:
        out = replace(out, max_tokens=most)
    if profile.stop_max is not None and len(out.stop) > profile.stop_max:
        _lose(request, "stop")
        out = replace(out, stop=out.stop[: profile.stop_max])
    return request if out is request.out else replace(request, out=out)


def _thinking(request: ChatRequest, profile: Profile) -> ChatRequest:
    think = request.think
    if profile.thinking_off == "drop" and (think.mode == "off" or think.effort == "none"):
        _lose(request, "thinking")
        think = Think()
    if think.effort is not None and profile.efforts:
        told = profile.efforts.get(think.effort) or profile.efforts.get("*") or think.effort
        think = replace(think, effort=told) if told != think.effort else think
    return request if think is request.think else replace(request, think=think)


# ---- tools ----


def _tools(request: ChatRequest, profile: Profile) -> ChatRequest:
    takes = profile.tools
    if not takes.strict and any(tool.strict is not None for tool in request.tools):
        request = replace(request, tools=[replace(tool, strict=None) for tool in request.tools])
    if not takes.parallel and request.parallel is not None:
        if request.parallel is False:
            _lose(request, "parallel_tool_calls")
        request = replace(request, parallel=None)
    choice = request.tool_choice
    if choice is not None and choice.mode != "other" and choice.mode not in takes.choice:
        _lose(request, "tool_choice")
        if choice.mode == "none":  # no tool on offer, none called
            return replace(request, tools=[], tool_choice=None)
        request = replace(request, tool_choice=ToolChoice("auto"))
    return request


# ---- turns ----


def _turns(request: ChatRequest, profile: Profile) -> ChatRequest:
    messages = request.messages
    last = messages[-1] if messages else None
    if profile.prefill == "refuse" and last is not None and _is_prefill(last):
        message = "messages: the model does not go on with an assistant's turn"
        raise RequestError("unsupported", message, param="messages", about=last)
    if profile.single_system:
        messages = _single(messages)
    if profile.alternate:
        messages = _alternating(messages)
    if messages is request.messages:
        return request
    for name in said_within(request.messages) - said_within(messages):
        _lose(request, name)
    return replace(request, messages=messages)


def _is_prefill(message: Message) -> bool:
    calls = any(isinstance(part, ToolCall) for part in message.parts)
    return message.role == "assistant" and not calls


def _single(messages: list[Message]) -> list[Message]:
    count = next((at for at, m in enumerate(messages) if m.role not in _SYSTEM), len(messages))
    if count < 2:
        return messages
    text = "\n\n".join(message.text for message in messages[:count] if message.text)
    return [Message("system", [Text(text)]), *messages[count:]]


def _alternating(messages: list[Message]) -> list[Message]:
    """Neighbours of one role joined; not where thinking must stay with the turn it belongs to."""
    joined: list[Message] = []
    for message in messages:
        before = joined[-1] if joined else None
        if before is not None and _joins(before, message):
            joined[-1] = replace(
                before, parts=_run_on(before.parts, message.parts), extras=before.extras
            )
        else:
            joined.append(message)
    return joined


def _joins(one: Message, two: Message) -> bool:
    if one.role != two.role or one.role not in ("user", "assistant"):
        return False
    return not any(isinstance(part, Reasoning) for part in two.parts)


def _run_on(one: list[Part], two: list[Part]) -> list[Part]:
    """Parts after parts; two texts that meet have a blank line between them, and become one."""
    if one and two:
        last, first = one[-1], two[0]
        if isinstance(last, Text) and isinstance(first, Text):
            if last.extras or first.extras:
                return [*one, replace(first, text=f"\n\n{first.text}"), *two[1:]]
            return [*one[:-1], Text(f"{last.text}\n\n{first.text}"), *two[1:]]
    return [*one, *two]


# ---- images ----


def _images(request: ChatRequest, profile: Profile) -> ChatRequest:
    takes = profile.images
    if takes.url and takes.base64 and takes.in_tool_result:
        return request
    for message in request.messages:
        for part in message.parts:
            _takes_image(part, profile)
    if takes.in_tool_result or not any(map(_holds_image, request.messages)):
        return request
    return replace(request, messages=[_beside_results(m) for m in request.messages])


def _takes_image(part: Part, profile: Profile) -> None:
    if isinstance(part, ToolResult):
        for inner in part.parts:
            _takes_image(inner, profile)
    elif isinstance(part, Media) and part.kind == "image":
        takes = profile.images.url if part.data is None else profile.images.base64
        if not takes:
            how = "by URL" if part.data is None else "by its bytes"
            message = f"an image {how} cannot be sent to the upstream of this model"
            raise RequestError("unsupported", message, about=part)


def _holds_image(message: Message) -> bool:
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    return any(isinstance(part, Media) for result in results for part in result.parts)


def _beside_results(message: Message) -> Message:
    """A turn whose pictures stand after the results that showed them."""
    if not _holds_image(message):
        return message
    results: list[Part] = []
    pictures: list[Part] = []
    for part in message.parts:
        if isinstance(part, ToolResult):
            held = [inner for inner in part.parts if isinstance(inner, Media)]
            kept: list[Part] = [inner for inner in part.parts if not isinstance(inner, Media)]
            kept += [Text(f"[{inner.kind} attached]") for inner in held]
            results.append(replace(part, parts=kept))
            pictures += held
        else:
            pictures.append(part)
    return replace(message, role="user", parts=results + pictures)


_STEPS: tuple[Step, ...] = (_betas, _sampling, _limits, _thinking, _tools, _turns, _images)


# ---- answers ----


def counted(usage: Usage | None, profile: Profile) -> Usage | None:
    """Usage whose input counts cached tokens once, however the upstream counts them."""
    if usage is None or usage.input is None or profile.usage_input == "exclusive":
        return usage
    cached = (usage.cache_read or 0) + (usage.cache_write or 0)
    return replace(usage, input=max(usage.input - cached, cached))
