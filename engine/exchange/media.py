"""Pictures and files that a request names by URL, fetched before the first attempt.

They are fetched once for all attempts, and enter the conversation as bytes. What cannot be had, or
may not be, refuses the request: the client is told which one and why, and nothing of where its URL
led. What a thing is, its first bytes say.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from functools import partial

from engine.chat import ChatRequest, Media, Message, Part, ToolResult, media_parts
from engine.dialects.filetypes import heard_type, type_of
from engine.dialects.profile import Profile
from engine.errors import ExchangeError
from engine.ports import Page, Ports, Unfetched
from engine.route.reach import FetchPlan
from engine.route.route import Route
from engine.together import together

from .attempt import Call

AT_ONCE = 4  # fetches of one request


def wanted(route: Route, profile: Profile, chat: ChatRequest) -> list[Media]:
    """What is to be fetched of a conversation, each URL once."""
    plan, found = route.media.fetch, dict[str, Media]()
    if plan is None:
        return []
    uploaded = {kind for name in route.wanted for kind in route.values[name].each}
    for part in media_parts(chat.messages):
        url = part.url if part.data is None else None
        if url is None or not url.lower().startswith(_HTTP):
            continue
        if plan.always or part.kind in uploaded or not route.by_url(part, profile):
            found.setdefault(url, part)
    return list(found.values())


def pretended(route: Route, profile: Profile, chat: ChatRequest) -> tuple[ChatRequest, int]:
    """The conversation as if all had been fetched, and how many that were: nothing is asked."""
    had = {
        part.url or "": replace(part, mime=_LIKE[part.kind][0], data=_LIKE[part.kind][1], url=None)
        for part in wanted(route, profile, chat)
    }
    messages = [_with(message, had) for message in chat.messages]
    return (replace(chat, messages=messages) if had else chat), len(had)


_HTTP = ("http://", "https://")
# Beginnings of files, which stand for whole ones.
_LIKE = {
    "image": ("image/png", "iVBORw0KGgo="),
    "file": ("application/pdf", "JVBERi0="),
    "audio": ("audio/wav", "UklGRgAAAABXQVZF"),
    "video": ("video/mp4", "AAAAGGZ0eXBtcDQy"),
}


async def bring_media(route: Route, call: Call, env: dict[str, object], ports: Ports) -> None:
    """From here on the conversation has bytes for URLs, where the route fetches any.

    Raises ExchangeError (invalid_request) for what is not to be had.
    """
    plan = route.media.fetch
    if plan is None or call.errand is not None:
        return
    parts = wanted(route, call.offer.profile, call.asked.chat)
    if not parts:
        return
    had = await _brought(route, plan, parts, ports)
    chat = call.asked.chat
    messages = [_with(message, had) for message in chat.messages]
    call.turn_to(replace(chat, messages=messages), env, route.names)


async def _brought(
    route: Route, plan: FetchPlan, parts: list[Media], ports: Ports
) -> dict[str, Media]:
    begun = ports.clock.monotonic()
    try:
        if len(parts) > plan.most:
            message = f"more than {plan.most} pictures or files are named by URL"
            raise ExchangeError("invalid_request", message, code="too_many_media")
        async with ports.clock.deadline(plan.timeout):
            had = await _all(parts, plan, ports)
    except TimeoutError:
        message = f"what the request names by URL could not be had within {plan.timeout:g} s"
        error = ExchangeError("invalid_request", message, code=_CODES["failed"].format("image"))
        _tell(route, ports, begun, parts, error.code)
        raise error from None
    except ExchangeError as error:
        _tell(route, ports, begun, parts, error.code)
        raise
    _tell(route, ports, begun, parts, "ok")
    return had


def _tell(route: Route, ports: Ports, begun: float, parts: list[Media], outcome: str) -> None:
    seconds = round(ports.clock.monotonic() - begun, 3)
    ports.observer.saw(
        "media_fetched", route=route.name, count=len(parts), outcome=outcome, seconds=seconds
    )


async def _all(parts: list[Media], plan: FetchPlan, ports: Ports) -> dict[str, Media]:
    """The media by their URLs. The first failure ends it."""
    left = plan.together

    async def one(number: int, part: Media) -> Media:
        nonlocal left
        try:
            page = await ports.web.get(part.url or "", plan.reach)
            left -= len(page.body)
            if left < 0:
                raise Unfetched("large")
        except Unfetched as error:
            raise _error(error.why, part, number) from None
        return _made(part, page, number)

    jobs = [partial(one, number, part) for number, part in enumerate(parts, 1)]
    made = await together(jobs, AT_ONCE)
    return {part.url or "": each for part, each in zip(parts, made, strict=True)}


# Codes of the OpenAI API for pictures by URL (its specification, ResponseErrorCode).
_CODES = {
    "refused": "invalid_{}_url",
    "failed": "failed_to_download_{}",
    "large": "{}_file_too_large",
    "type": "unsupported_{}_media_type",
}
_WORDS = {
    "refused": "its URL may not be fetched from here, or its host is not known",
    "failed": "it could not be fetched from its URL",
    "large": "it is too large to be fetched",
    "type": "its URL leads to something else",
}


def _error(why: str, part: Media, number: int) -> ExchangeError:
    message = f"{part.kind} {number} of those named by URL: {_WORDS[why]}"
    code = _CODES[why].format(part.kind).replace("file_file", "file")
    return ExchangeError("invalid_request", message, code=code)


def _made(part: Media, page: Page, number: int) -> Media:
    """The same media with its bytes; what was called a file and is a picture becomes one."""
    data = b64encode(page.body).decode()
    mime = type_of(data) or heard_type(page.body[:16])
    if mime is None and part.kind == "file" and _is_text(page):
        mime = page.kind
    family = (mime or "").partition("/")[0]
    kind = part.kind
    if kind == "file" and family == "image":
        kind = "image"
    if mime is None or family != (kind if kind != "file" else family):
        raise _error("type", part, number)
    return replace(part, kind=kind, mime=mime, data=data, url=None)


def _is_text(page: Page) -> bool:
    """Declared as text, and it is."""
    if not (page.kind.startswith("text/") or page.kind == "application/json"):
        return False
    try:
        return "\0" not in page.body.decode()
    except UnicodeDecodeError:
        return False


def _with(message: Message, had: dict[str, Media]) -> Message:
    parts = [_put(part, had) for part in message.parts]
    same = all(new is old for new, old in zip(parts, message.parts, strict=True))
    return message if same else replace(message, parts=parts)


def _put(part: Part, had: dict[str, Media]) -> Part:
    if isinstance(part, ToolResult):
        inner = [_put(each, had) for each in part.parts]
        return part if inner == part.parts else replace(part, parts=inner)
    if isinstance(part, Media) and part.data is None and part.url in had:
        made = had[part.url]
        return replace(part, kind=made.kind, mime=made.mime, data=made.data, url=None)
    return part
