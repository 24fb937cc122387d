"""Search on the web by the provider, asked for in the words of one API and told in another's.

    openai_chat          web_search_options: {search_context_size, user_location: {approximate}}
    openai_responses     {type: web_search, search_context_size, user_location, filters}
    anthropic_messages   {type: web_search_20250305, name, max_uses, …_domains, user_location}
    gemini               {googleSearch: {excludeDomains}}

Ollama has none. It is turned only where the profile says that the upstream searches: one that
speaks a dialect seldom does. What the other API has no field for is named in `dropped`. A search
that may not leave the provider's cache is not turned into one that does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from engine.chat import ChatRequest, Extras, Tool, ToolChoice
from engine.errors import RequestError

from .losses import Lost
from .profile import Profile

OPTIONS = "web_search_options"  # field of Chat Completions, and name of the tool it becomes
_NAME = "web_search"
SEARCH: Extras = {"type": _NAME}  # how Responses chooses it
_PLACE = ("city", "region", "country", "timezone")


@dataclass(frozen=True, slots=True)
class Search:
    """What is asked of the search. others: fields that only the client's API has."""

    allowed: object = None
    blocked: object = None
    place: object = None
    uses: object = None
    size: object = None
    others: tuple[str, ...] = ()


def searched(request: ChatRequest, dialect: str, profile: Profile) -> ChatRequest:
    """The request with its search in the words of the upstream's dialect, where it has some.

    Fills `dropped`. Raises RequestError(unsupported) for a search that is forced where none can be.
    """
    write = _WRITERS.get(dialect)
    if profile.web_search == "none" or write is None or request.dialect == dialect:
        return request
    found = [tool for tool in request.tools if _is_search(tool)]
    asked = _asked(request, found)
    others = [tool for tool in request.tools if tool not in found]
    if asked is None or (profile.web_search == "alone" and others):
        return request
    tool, lost = write(asked)
    names = [f"{_NAME}.{name}" for name in (*lost, *asked.others)]
    request.dropped += [Lost(name, "field") for name in names if name not in request.dropped]
    return replace(
        request,
        tools=[*others, replace(tool, dialect=dialect)],
        tool_choice=_choice(request.tool_choice, found, dialect),
        extras={name: value for name, value in request.extras.items() if name != OPTIONS},
    )


def searches(request: ChatRequest | None) -> bool:
    """Whether a client asks its own API to search."""
    if request is None:
        return False
    return OPTIONS in request.extras or any(map(_is_search, request.tools))


def _is_search(tool: Tool) -> bool:
    starts = _TOOLS.get(tool.dialect)
    return tool.kind == "hosted" and starts is not None and tool.name.startswith(starts)


_TOOLS = {"openai_chat": _NAME, "openai_responses": _NAME, "anthropic_messages": f"{_NAME}_",
          "gemini": "googleSearch"}  # fmt: skip


def _asked(request: ChatRequest, found: list[Tool]) -> Search | None:
    """None if no search is asked for, or one that nobody else can do."""
    if found:
        return _READERS[found[0].dialect](_object(found[0].raw))
    options = request.extras.get(OPTIONS)
    return _read_openai(options) if isinstance(options, dict) else None


def _choice(choice: ToolChoice | None, found: list[Tool], dialect: str) -> ToolChoice | None:
    """A search that is forced."""
    if choice is None or not _forces(choice, found):
        return choice
    if dialect not in _FORCED:
        message = "tool_choice: the upstream of this model cannot be made to search"
        raise RequestError("unsupported", message, param="tool_choice")
    return ToolChoice("named", [_NAME], _FORCED[dialect])


def _forces(choice: ToolChoice, found: list[Tool]) -> bool:
    kind = _object(choice.raw).get("type")
    if choice.mode == "named":
        return any(_object(tool.raw).get("name") in choice.names for tool in found)
    return choice.mode == "other" and isinstance(kind, str) and kind.startswith(_NAME)


_FORCED: dict[str, Extras] = {
    "openai_responses": SEARCH,
    "anthropic_messages": {"type": "tool", "name": _NAME},
}


def _object(value: object) -> Extras:
    return value if isinstance(value, dict) else {}


# ---- how each API says it ----


def _rest(raw: Extras, *known: str) -> tuple[str, ...]:
    """Fields that say something and are not known."""
    return tuple(name for name, value in raw.items() if name not in known and value is not None)


def _place(given: object) -> object:
    """A location without what says how exact it is."""
    raw = _object(given)
    inner = _object(raw.get("approximate")) or raw
    return {name: inner[name] for name in _PLACE if inner.get(name) is not None} or None


def _read_openai(raw: Extras) -> Search | None:
    if raw.get("external_web_access") is False:
        return None
    filters = _object(raw.get("filters"))
    return Search(
        allowed=filters.get("allowed_domains"),
        blocked=filters.get("blocked_domains"),
        place=_place(raw.get("user_location")),
        size=raw.get("search_context_size"),
        others=_rest(
            raw, "type", "external_web_access", "filters", "user_location", "search_context_size"
        ),
    )


def _read_messages(raw: Extras) -> Search:
    return Search(
        allowed=raw.get("allowed_domains"),
        blocked=raw.get("blocked_domains"),
        place=_place(raw.get("user_location")),
        uses=raw.get("max_uses"),
        others=_rest(
            raw, "type", "name", "allowed_domains", "blocked_domains", "user_location", "max_uses",
            "cache_control", "defer_loading", "allowed_callers", "strict",
        ),
    )  # fmt: skip


def _read_gemini(raw: Extras) -> Search:
    ((_, given),) = raw.items()
    inner = _object(given)
    blocked = inner.get("excludeDomains")
    return Search(blocked=blocked, others=_rest(inner, "excludeDomains"))


_READERS: dict[str, Callable[[Extras], Search | None]] = {
    "openai_chat": _read_openai,
    "openai_responses": _read_openai,
    "anthropic_messages": _read_messages,
    "gemini": _read_gemini,
}

_Written = tuple[Tool, list[str]]


def _made(name: str, raw: Extras) -> Tool:
    said = {field: value for field, value in raw.items() if value is not None}
    return Tool(name, kind="hosted", raw=said)


def _lost(**fields: object) -> list[str]:
    return [name for name, value in fields.items() if value is not None]


def _location(search: Search) -> object:
    return {"type": "approximate", **_object(search.place)} if search.place else None


def _write_chat(search: Search) -> _Written:
    place = {"type": "approximate", "approximate": search.place} if search.place else None
    raw = {"search_context_size": search.size, "user_location": place}
    lost = _lost(
        allowed_domains=search.allowed, blocked_domains=search.blocked, max_uses=search.uses
    )
    return _made(OPTIONS, raw), lost


def _write_responses(search: Search) -> _Written:
    filters = {"allowed_domains": search.allowed} if search.allowed else None
    raw = {
        "type": _NAME,
        "filters": filters,
        "user_location": _location(search),
        "search_context_size": search.size,
    }
    return _made(_NAME, raw), _lost(blocked_domains=search.blocked, max_uses=search.uses)


def _write_messages(search: Search) -> _Written:
    raw = {
        "type": f"{_NAME}_20250305",
        "name": _NAME,
        "max_uses": search.uses,
        "allowed_domains": search.allowed,
        "blocked_domains": None if search.allowed else search.blocked,
        "user_location": _location(search),
    }
    both = search.blocked if search.allowed else None
    return _made(f"{_NAME}_20250305", raw), _lost(
        search_context_size=search.size, blocked_domains=both
    )


def _write_gemini(search: Search) -> _Written:
    """The API itself takes no domains: only its twin on Vertex does."""
    lost = _lost(
        allowed_domains=search.allowed, blocked_domains=search.blocked, max_uses=search.uses,
        user_location=search.place, search_context_size=search.size,
    )  # fmt: skip
    return _made("googleSearch", {"googleSearch": {}}), lost


_WRITERS: dict[str, Callable[[Search], _Written]] = {
    "openai_chat": _write_chat,
    "openai_responses": _write_responses,
    "anthropic_messages": _write_messages,
    "gemini": _write_gemini,
}
