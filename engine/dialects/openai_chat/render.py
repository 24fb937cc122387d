"""ChatRequest -> Chat Completions request body.

What came from this dialect goes back as it came, up to key order: `extras` are written at their
own level and spellings are respected (`parse.SPELLINGS`). What came from another dialect is said
with the means of this one: tool results become messages of their own, their pictures follow in a
user message, and fields that have no place here are named in `request.dropped`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.chat import (
    ChatRequest,
    Extras,
    Media,
    Message,
    Opaque,
    Output,
    Part,
    Reasoning,
    Refusal,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    text_of,
)
from engine.dialects.filetypes import right_type, sound_format
from engine.dialects.foreign import (
    foreign_extras,
    native,
    native_tools,
    settle_system,
)
from engine.dialects.json_mode import named, wish
from engine.dialects.pictures import handed_on
from engine.dialects.profile import PROFILE, Profile
from engine.dialects.searching import OPTIONS
from engine.errors import RequestError

from .images import IMAGES, image_items, stood_there
from .parse import SPELLINGS, read_format
from .sealed import DETAILS, details

_NAME = "openai_chat"
_SYSTEM = ("system", "developer")


def render(request: ChatRequest, model: str, profile: Profile = PROFILE) -> dict[str, object]:
    """The body for an upstream that calls the model `model`. Fills `request.dropped`.

    Raises RequestError(unsupported) for what cannot be said here, as an image by a foreign id.
    """
    own = request.dialect == _NAME
    dropped: list[str] = []
    body: dict[str, object] = {
        "model": model,
        "messages": messages(_turns(request, own), profile, dropped),
    }
    if own:
        body |= {k: v for k, v in request.extras.items() if k not in SPELLINGS}
    else:
        body |= foreign_extras(request, profile, dropped, shows=True)
        _set(body, "modalities", request.out.modalities or None)
    search = [tool for tool in request.tools if tool.name == OPTIONS and tool.kind == "hosted"]
    if search:
        body[OPTIONS] = search[0].raw
    offered = [tool for tool in request.tools if tool not in search]
    if offered:
        body["tools"] = tools(offered)
        _set(body, "tool_choice", request.tool_choice and tool_choice(request.tool_choice))
        _set(body, "parallel_tool_calls", request.parallel)
    _sampling(body, request, own or "top_k" in profile.forward_extras, dropped)
    spelt = request.extras if own else {}
    _limits(body, request.out, spelt, own, profile)
    _format(body, request.out, spelt.get("response_format"))
    _think(body, request, profile)
    if own:
        _set(body, "user", request.user)
        _set(body, "metadata", request.metadata)
    _stream(body, request, spelt, profile)
    request.dropped += [name for name in dropped if name not in request.dropped]
    return body


def _turns(request: ChatRequest, own: bool) -> list[Message]:
    """The messages, with the wish for JSON where a foreign request does not say it."""
    turns = request.messages
    if own or request.out.format != "json" or named(turns):
        return turns
    lead = next((at for at, m in enumerate(turns) if m.role not in _SYSTEM), len(turns))
    return [*turns[:lead], wish(), *turns[lead:]]


def _set(body: Extras, name: str, value: object) -> None:
    if value is not None:
        body[name] = value


def _sampling(body: Extras, request: ChatRequest, top_k: bool, dropped: list[str]) -> None:
    sampling = request.sampling
    for name, value in (
        ("temperature", sampling.temperature),
        ("top_p", sampling.top_p),
        ("presence_penalty", sampling.presence),
        ("frequency_penalty", sampling.frequency),
        ("seed", sampling.seed),
        ("logit_bias", sampling.logit_bias),
    ):
        _set(body, name, value)
    if top_k:
        _set(body, "top_k", sampling.top_k)
    elif sampling.top_k is not None:
        dropped.append("top_k")


def _limits(body: Extras, out: Output, spelt: Extras, own: bool, profile: Profile) -> None:
    field = profile.max_tokens_field
    if field == "as_sent":
        old = "max_tokens" in spelt or not own
        field = "max_tokens" if old else "max_completion_tokens"
    _set(body, field, out.max_tokens)
    _set(body, "verbosity", out.verbosity)
    if out.stop:
        single = spelt.get("stop")
        body["stop"] = single if out.stop == [single] else out.stop
    if out.n != 1 or "n" in spelt:
        body["n"] = out.n
    if out.logprobs is not None or "logprobs" in spelt:
        body["logprobs"] = out.logprobs is not None
    _set(body, "top_logprobs", out.logprobs or spelt.get("top_logprobs"))


def _format(body: Extras, out: Output, spelt: object) -> None:
    said = (out.format, out.schema, out.schema_name, out.strict)
    if isinstance(spelt, dict) and read_format(spelt) == said:
        body["response_format"] = spelt
    elif out.format == "schema":
        spec: Extras = {"name": out.schema_name or "answer", "schema": out.schema}
        _set(spec, "description", out.schema_about)
        _set(spec, "strict", out.strict)
        body["response_format"] = {"type": "json_schema", "json_schema": spec}
    elif out.format is not None:
        body["response_format"] = {"type": "json_object" if out.format == "json" else "text"}


# Most tokens of thinking that count as each effort; more is xhigh.
_EFFORTS = ((1024, "low"), (8192, "medium"), (24576, "high"))


def _think(body: Extras, request: ChatRequest, profile: Profile) -> None:
    """How the upstream is asked for thinking; what the client wrote in its own words stands."""
    effort = _effort(request)
    if profile.reasoning_effort == "send" and profile.thinking_field != "thinking":
        _set(body, "reasoning_effort", effort)
    if effort is None or profile.thinking_field == "reasoning_effort":
        return
    on = effort != "none"
    if profile.thinking_field == "thinking":
        asked: Extras = {"type": "enabled" if on else "disabled"}
        if on and profile.reasoning_effort == "send":
            asked["effort"] = effort
        body.setdefault("thinking", asked)
    elif profile.thinking_field == "enable_thinking":
        body.setdefault("enable_thinking", on)
    else:
        body.setdefault("chat_template_kwargs", {"enable_thinking": on})


def _effort(request: ChatRequest) -> str | None:
    think = request.think
    if think.effort is not None:
        return think.effort
    if think.mode == "off":
        return "none"
    if think.budget is None:
        return "medium" if think.mode == "on" else None
    return next((word for most, word in _EFFORTS if think.budget <= most), "xhigh")


def _stream(body: Extras, request: ChatRequest, spelt: Extras, profile: Profile) -> None:
    if not request.stream:
        if "stream" in spelt:
            body["stream"] = False
        return
    body["stream"] = True
    options = spelt.get("stream_options")
    asked = dict(options) if isinstance(options, dict) else {}
    if profile.usage_in_stream:
        asked["include_usage"] = True
    if asked:
        body["stream_options"] = asked


# ---- tools ----


def tools(items: list[Tool]) -> list[object]:
    """`tools` of a request body. Hosted tools go back as they came."""
    found = native_tools(items, _NAME)
    return [tool.raw if tool.kind == "hosted" else _tool(tool) for tool in found]


def _tool(tool: Tool) -> Extras:
    inner: Extras = {"name": tool.name}
    _set(inner, "description", tool.description)
    _set(inner, "parameters", tool.schema)
    _set(inner, "strict", tool.strict)
    return {"type": tool.kind, **_nested(tool.extras, tool.kind, inner)}


def tool_choice(choice: ToolChoice) -> object:
    """`tool_choice` of a request body; what only another dialect can say becomes auto."""
    if choice.mode in ("auto", "none", "required"):
        return choice.mode
    raw = choice.raw
    kind = raw.get("type") if isinstance(raw, dict) else None
    if choice.mode == "named" and choice.names:
        kind = "custom" if kind == "custom" else "function"
        return {"type": kind, kind: {"name": choice.names[0]}}
    ours = isinstance(raw, str) or (isinstance(raw, dict) and isinstance(raw.get(kind), dict))
    return raw if ours else "auto"


def _nested(extras: Extras, name: str, inner: Extras) -> Extras:
    """An object's extras with `inner` under `name`, where extras may hold more of it."""
    more = extras.get(name)
    return {**extras, name: {**inner, **more} if isinstance(more, dict) else inner}


# ---- messages ----


def messages(
    items: list[Message], profile: Profile = PROFILE, dropped: list[str] | None = None
) -> list[object]:
    """`messages` of a request body. Parts that have no form here are named in `dropped`."""
    out: list[object] = []
    pictures: list[Part] = []  # of tool results: they follow when the last result is out
    lost = [] if dropped is None else dropped
    later = "keep" if profile.later_system == "as_sent" else profile.later_system
    for message in settle_system(handed_on(native(items, _NAME), _NAME), later):
        text = None if pictures else _sole_text(message)
        if text is not None:
            out.append({"role": message.role, "content": text})
            continue
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        out += [_result(result, message, pictures) for result in results]
        if results:
            parts: list[Part] = [p for p in message.parts if not isinstance(p, ToolResult)]
            if not parts:
                continue
            message = Message("user", pictures + parts)
            pictures = []
        elif pictures:
            out.append(_message(Message("user", pictures), profile, lost))
            pictures = []
        if message.dialect == _NAME or not _says_nothing(message):
            out.append(_message(message, profile, lost))
        else:
            lost += [part.kind for part in message.parts if isinstance(part, Opaque)]
    if pictures:
        out.append(_message(Message("user", pictures), profile, lost))
    return out


def _sole_text(message: Message) -> str | None:
    """The text of a message that says nothing else, as nearly all are."""
    parts = message.parts
    if len(parts) != 1 or message.extras or message.name or message.role not in _SPEAKERS:
        return None
    part = parts[0]
    return part.text if type(part) is Text and not part.extras else None


_SPEAKERS = ("user", "assistant", "system")


def _says_nothing(message: Message) -> bool:
    """An assistant's turn of thoughts, or of what another dialect's tools left."""
    thoughts = all(isinstance(part, Reasoning | Opaque) for part in message.parts)
    return message.role == "assistant" and thoughts


def _result(result: ToolResult, message: Message, pictures: list[Part]) -> Extras:
    """A `tool` message. It holds text only, so media are put aside and announced."""
    content: object
    if "content" in message.extras:
        content = [_part(part) for part in result.parts]
    else:
        media = [part for part in result.parts if isinstance(part, Media)]
        pictures += media
        notes = [f"[{part.kind} attached]" for part in media]
        text = "\n".join(filter(None, [result.text, *notes]))
        content = f"Error: {text}" if result.is_error else text
    out = {**message.extras, "role": "tool", "tool_call_id": result.call_id, "content": content}
    _set(out, "name", message.name)
    return out


def _message(message: Message, profile: Profile, dropped: list[str]) -> Extras:
    role: str = message.role
    if role == "developer" and profile.developer_role == "system":
        role = "system"
    out: Extras = {**message.extras, "role": role}
    _set(out, "name", message.name)
    parts = [part for part in message.parts if _sayable(part, dropped)]
    pictures = [part for part in parts if isinstance(part, Media) and stood_there(part)]
    parts = [part for part in parts if not stood_there(part)]
    content = [part for part in parts if not isinstance(part, Reasoning | Refusal | ToolCall)]
    if content and profile.join_text is not None and _bare(content):
        out["content"] = profile.join_text.join(text_of([part]) for part in content)
    elif "content" in message.extras:
        listed = [part for part in parts if not isinstance(part, Reasoning | ToolCall)]
        out["content"] = [_part(part) for part in listed]
    elif content or role != "assistant":
        out["content"] = _plain(content, role)
    elif profile.null_content in _NULLS:
        out["content"] = _NULLS[profile.null_content]
    if role == "assistant":
        _assistant(out, parts, profile)
        _set(out, IMAGES, image_items(pictures) or None)
        if message.dialect == _NAME or profile.reasoning_field == "reasoning":
            _set(out, DETAILS, details(parts) or None)
    return out


_NULLS: dict[str, object] = {"null": None, "empty": ""}


def _sayable(part: Part, dropped: list[str]) -> bool:
    if not isinstance(part, Opaque) or part.dialect == _NAME:
        return True
    dropped.append(part.kind)
    return False


def _bare(content: Sequence[Part]) -> bool:
    return all(isinstance(part, Text) and not part.extras for part in content)


def _plain(content: Sequence[Part], role: str) -> object:
    """Content in its natural form: a string where text is all there is to say."""
    if _bare(content) and (len(content) < 2 or role == "assistant"):
        return text_of(list(content))
    return [_part(part) for part in content]


def _assistant(out: Extras, parts: list[Part], profile: Profile) -> None:
    calls = [_call(part) for part in parts if isinstance(part, ToolCall)]
    if calls:
        out["tool_calls"] = calls
    refusals = [part.text for part in parts if isinstance(part, Refusal)]
    if refusals and not isinstance(out.get("content"), list):
        out["refusal"] = "".join(refusals)
    _reasoning(out, parts, profile)


def _reasoning(out: Extras, parts: list[Part], profile: Profile) -> None:
    thoughts = [part for part in parts if isinstance(part, Reasoning) and part.text]
    if not thoughts or profile.reasoning_field == "none":
        return
    field = profile.reasoning_field
    if field == "as_sent":
        sent = thoughts[0].extras.get("field")
        field = "reasoning" if sent == "reasoning" else "reasoning_content"
    out[field] = "".join(part.text for part in thoughts)


def _call(call: ToolCall) -> Extras:
    inner: Extras = {"name": call.name}
    if call.kind == "custom":
        inner["input"] = call.args
    else:
        inner["arguments"] = call.args or "{}"
    return {"id": call.id, "type": call.kind, **_nested(call.extras, call.kind, inner)}


# ---- parts ----


def _part(part: Part) -> object:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text, **part.extras}
    if isinstance(part, Media):
        kind, inner = _MEDIA[part.kind](part)
        return {"type": kind, **_nested(part.extras, kind, inner)}
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text}
    return part.raw if isinstance(part, Opaque) else {"type": "text", "text": text_of([part])}


def _url(part: Media) -> Extras:
    url = part.url
    if part.data is not None:
        url = f"data:{right_type(part.data, part.mime) or 'image/png'};base64,{part.data}"
    if url is None:
        message = f"{part.kind} by file id cannot be sent to this upstream"
        raise RequestError("unsupported", message, about=part)
    inner: Extras = {"url": url}
    _set(inner, "detail", part.detail)
    return inner


def _image(part: Media) -> tuple[str, Extras]:
    return "image_url", _url(part)


def _video(part: Media) -> tuple[str, Extras]:
    return "video_url", _url(part)


def _audio(part: Media) -> tuple[str, Extras]:
    if part.data is None:
        message = "audio by URL cannot be sent to this upstream"
        raise RequestError("unsupported", message, about=part)
    inner: Extras = {"data": part.data}
    _set(inner, "format", part.mime and sound_format(part.mime))
    return "input_audio", inner


def _file(part: Media) -> tuple[str, Extras]:
    if part.data is None and part.file_id is None and part.url is not None:
        message = "a file by URL cannot be sent to this upstream"
        raise RequestError("unsupported", message, about=part)
    inner: Extras = {}
    if part.data is not None:
        inner["file_data"] = f"data:{part.mime};base64,{part.data}" if part.mime else part.data
    _set(inner, "file_id", part.file_id)
    _set(inner, "filename", part.name)
    return "file", inner


_MEDIA: dict[str, Callable[[Media], tuple[str, Extras]]] = {
    "image": _image,
    "video": _video,
    "audio": _audio,
    "file": _file,
}
