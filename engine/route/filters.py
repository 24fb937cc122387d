"""The filters and functions of route expressions, and the values that they meet.

Closed (transforms add none), pure and deterministic: clock and random come in by the environment,
under `_now` (epoch seconds) and `_random` (a `random.Random`). Every callable's docstring is its
line in the docs. A filter takes the piped value first, a function takes the environment first.

What is undefined, `omit` or null is handed on and never reaches a filter (`sandbox.passing`), but
for `default`, which takes all of them, and `json`, which takes null.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import string
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, lru_cache
from html import unescape
from importlib import import_module
from random import Random
from typing import Any, Literal
from urllib.parse import quote, urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

from jinja2.runtime import Undefined

from engine.chat import Media, Message, Part, Tool, ToolChoice, ToolResult, text_of
from engine.dialects.profile import PROFILE, Profile
from engine.errors import PenstockError, Refuse
from engine.options import Env, Omit, Secret
from engine.wire import dumps, loads

from .turns import newest, older

CAP = 4 * 1024 * 1024  # characters that one rendering may build

Turn = tuple[str, str]
Filter = Callable[..., object]
_DIALECTS = "engine.dialects"


class RenderError(PenstockError):
    """A template cannot be rendered. The message names variables and filters, never values."""


class Absent(Undefined):
    """What an expression reads and nobody has set: false, chains, and is an error as text."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        return f"`{self._undefined_name}` is not set"

    def __getitem__(self, key: object) -> Absent:  # type: ignore[override]
        return self

    __str__ = __iter__ = __len__ = Undefined._fail_with_undefined_error


def text(value: object) -> str:
    """A value as it stands inside text. Only strings, numbers, booleans and times can."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case datetime():
            return value.isoformat()
        case Secret():
            return value.reveal()
        case Absent():
            return str(value)
    raise RenderError(f"{kind(value)} cannot stand inside text")


def kind(value: object) -> str:
    """The type of a value, as messages call it."""
    names = {type(None): "null", Omit: "`omit`", dict: "a map", list: "a list", tuple: "a list"}
    return names.get(type(value), f"a value of type {type(value).__name__}")


# --- text -----------------------------------------------------------------------------------------


def urlpath(value: object) -> str:
    """Percent-encode for one segment of a path (`/` is encoded too)."""
    return quote(text(value), safe="")


def urlquery(value: object) -> str:
    """Percent-encode for a query; a map becomes `a=1&b=2`."""
    if isinstance(value, dict):
        pairs = [(name, text(item)) for name, item in value.items()]
        return urlencode(pairs, quote_via=quote, safe="")
    return quote(text(value), safe="")


def b64(value: object) -> str:
    """Base64 of the text's UTF-8 bytes."""
    return base64.b64encode(text(value).encode()).decode()


def b64d(value: object) -> str:
    """Decode base64 (also the URL alphabet, also without padding) to UTF-8 text."""
    return _unbase64(text(value)).decode()


def _unbase64(data: str) -> bytes:
    data = data.strip().translate({ord("-"): "+", ord("_"): "/"}).rstrip("=")
    return base64.b64decode(data + "=" * (-len(data) % 4), validate=True)


def json(value: object) -> str:
    """Compact JSON text of any value."""
    return dumps(value).decode()


def from_json(value: object) -> object:
    """The value that a JSON text holds."""
    return loads(text(value))


def jwt_claim(value: object, name: str) -> object:
    """One claim of a JSON Web Token, unverified; undefined if it is not there."""
    claims: Any = loads(_unbase64(text(value).split(".")[1]))
    return claims.get(name, Absent(name=name))


def sha256(value: object) -> str:
    """SHA-256 of the text, in hex."""
    return hashlib.sha256(text(value).encode()).hexdigest()


def md5(value: object) -> str:
    """MD5 of the text, in hex."""
    return hashlib.md5(text(value).encode(), usedforsecurity=False).hexdigest()


def hmac_sha256(value: object, key: object) -> str:
    """HMAC-SHA-256 of the text under a key, in hex."""
    return hmac.new(text(key).encode(), text(value).encode(), hashlib.sha256).hexdigest()


def regex_search(value: object, pattern: str, group: int | str | None = None) -> object:
    """The first match: the named or numbered group, else the first one, else all of it."""
    found = compile_pattern(pattern).search(text(value))
    if found is None:
        return Absent(name="regex_search")
    if group is None:
        group = 1 if found.re.groups else 0
    return found[group]


def regex_replace(value: object, pattern: str, put: str, count: int = 0) -> str:
    r"""Replace each match of a pattern; `\1` and `\g<name>` in the replacement are groups."""
    return compile_pattern(pattern).sub(put, text(value), count=count)


_NESTED = re.compile(r"\((?:[^()\\]|\\.)*[+*](?:[^()\\]|\\.)*\)[+*{]")


@lru_cache(maxsize=1024)
def compile_pattern(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """A compiled pattern. Raises ValueError for nested quantifiers, re.error for bad syntax."""
    if _NESTED.search(pattern):
        raise ValueError("a repeated group that repeats inside may take for ever")
    return re.compile(pattern, flags)


def truncate_chars(value: object, most: int) -> str:
    """At most so many characters from the beginning."""
    return text(value)[:most]


def split(value: object, separator: str | None = None, most: int = -1) -> list[str]:
    """Split text at a separator, or at white space."""
    return text(value).split(separator, most)


def join(value: Iterable[object], separator: str = "") -> str:
    """Join the items of a list to one text."""
    items = [text(item) for item in value]
    room(sum(map(len, items)) + len(separator) * len(items))
    return separator.join(items)


def unescape_html(value: object) -> str:
    """Turn HTML entities into the characters they stand for."""
    return unescape(text(value))


def strip(value: object, chars: str | None = None) -> str:
    """Remove white space, or the given characters, at both ends."""
    return text(value).strip(chars)


def lower(value: object) -> str:
    """Lower case."""
    return text(value).lower()


def upper(value: object) -> str:
    """Upper case."""
    return text(value).upper()


def room(size: int) -> None:
    """Refuse to build a text or list of more than CAP."""
    if size > CAP:
        raise RenderError(f"the result is longer than {CAP} characters")


# --- numbers, times, containers -------------------------------------------------------------------


def to_int(value: Any) -> int:
    """A whole number, from text or by cutting off decimals."""
    return int(value)


def to_float(value: Any) -> float:
    """A number with decimals, from text or a whole number."""
    return float(value)


def length(value: Any) -> int:
    """How many characters, items or entries."""
    return len(value)


def strftime(value: object, form: str) -> str:
    """Format a time (what `now()` gives, or epoch seconds taken as UTC), as in `'%Y-%m-%d'`."""
    if isinstance(value, int | float):
        value = datetime.fromtimestamp(value, UTC)
    if not isinstance(value, datetime):
        raise RenderError(f"`strftime` takes a time, not {kind(value)}")
    return value.strftime(form)


def default(value: object, fallback: object = "", empty: bool = False) -> object:
    """Another value for what is undefined or `omit`; with `true` also for what is empty or null."""
    unset = isinstance(value, Absent | Omit)
    return fallback if unset or (empty and not value) else value


def drop_empty(value: object) -> object:
    """Without entries that are null, empty text, empty maps or empty lists, at any depth."""
    if isinstance(value, dict):
        pairs = ((key, drop_empty(item)) for key, item in value.items())
        return {key: item for key, item in pairs if not _is_empty(item)}
    if isinstance(value, list | tuple):
        return [item for item in map(drop_empty, value) if not _is_empty(item)]
    return value


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, str | dict | list | Omit | Absent) and not value)


# Below these the keys of a JSON Schema are names of the user's, or plain data.
_NAMES = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_DATA = frozenset({"enum", "const", "default", "examples", "example"})


def schema_without(value: object, *keywords: str) -> object:
    """Without these keywords, at any depth of a JSON Schema; also for tools that hold one."""
    if isinstance(value, list):
        return [schema_without(item, *keywords) for item in value]
    if isinstance(value, Tool):
        return replace(value, schema=schema_without(value.schema, *keywords))
    if not isinstance(value, dict):
        return value
    kept: dict[object, object] = {}
    for key, item in value.items():
        if key in _NAMES and isinstance(item, dict):
            kept[key] = {name: schema_without(inner, *keywords) for name, inner in item.items()}
        elif key not in keywords:
            kept[key] = item if key in _DATA else schema_without(item, *keywords)
    return kept


# --- conversations --------------------------------------------------------------------------------


def as_text_messages(
    value: Sequence[Message], gap: str = "", media: Literal["drop", "refuse"] = "drop"
) -> list[dict[str, str]]:
    """Messages as `{role, content}`, text only: media are named as dropped, or (media) refused."""
    if media == "refuse":
        for message in value:
            _refuse_media(message.parts)
    return [{"role": _plain_role(m.role), "content": _text(m, gap)} for m in value]


def _plain_role(role: str) -> str:
    """Few upstreams know developers."""
    return "system" if role == "developer" else role


def _refuse_media(parts: Sequence[Part]) -> None:
    for part in parts:
        if isinstance(part, ToolResult):
            _refuse_media(part.parts)
        elif isinstance(part, Media):
            raise Refuse(f"this route takes text only, and a message holds more ({part.kind})")


def _text(message: Message, gap: str) -> str:
    if not gap:
        return message.text
    said = [text_of([part]) for part in message.parts]
    return gap.join(text for text in said if text.strip())


def as_messages(
    value: Sequence[Message],
    role: str = "role",
    content: str = "content",
    roles: dict[str, str] | None = None,
    merge: bool = False,
    system: Literal["keep", "drop", "first"] = "keep",
) -> list[dict[str, str]]:
    """Text messages under other names; neighbours merged, system turns dropped or put first."""
    turns: list[Turn] = [(message.role, message.text) for message in value]
    if system != "keep":
        turns = _SYSTEM[system](turns)
    turns = [(_called(who, roles or {}), said) for who, said in turns]
    return [{role: who, content: said} for who, said in (_merged(turns) if merge else turns)]


def _called(role: str, names: dict[str, str]) -> str:
    """The name of a role; developers go by that of the system unless they have their own."""
    role = role if role in names else _plain_role(role)
    return names.get(role, role)


def _without_system(turns: list[Turn]) -> list[Turn]:
    return [turn for turn in turns if turn[0] not in ("system", "developer")]


def _system_first(turns: list[Turn]) -> list[Turn]:
    rest = _without_system(turns)
    head = [said for who, said in turns if who in ("system", "developer")]
    return [("system", "\n\n".join(head)), *rest] if head else rest


_SYSTEM = {"drop": _without_system, "first": _system_first}


def _merged(turns: list[Turn]) -> list[Turn]:
    out: list[Turn] = []
    for who, said in turns:
        if out and out[-1][0] == who:
            out[-1] = (who, f"{out[-1][1]}\n\n{said}")
        else:
            out.append((who, said))
    return out


def as_tools(
    value: Sequence[Tool],
    name: str = "name",
    description: str = "description",
    schema: str = "parameters",
) -> list[dict[str, object]]:
    """Tools as flat maps under other names."""
    return [
        {name: tool.name, description: tool.description or "", schema: tool.schema}
        for tool in value
    ]


def _as_dialect(filter_name: str, module: str, title: str) -> Filter:
    def convert(value: object, **profile: object) -> object:
        if isinstance(value, str) or value == []:
            return value
        render = _render_of(module)
        if isinstance(value, ToolChoice):
            return render.tool_choice(value)
        first = value[0] if isinstance(value, list) else None
        if isinstance(first, Message):
            return render.messages(value, _profile(filter_name, profile))
        if isinstance(first, Tool):
            return render.tools(value)
        raise RenderError(f"`{filter_name}` takes messages, tools or a tool choice")

    form = f"Messages, tools or a tool choice in the form of {title}"
    convert.__doc__ = f"{form}; fields of a `profile` may follow."
    return convert


def _profile(filter_name: str, fields: dict[str, object]) -> Profile:
    try:
        return replace(PROFILE, **fields) if fields else PROFILE  # type: ignore[arg-type]
    except TypeError:
        raise RenderError(f"`{filter_name}` takes fields of a profile by their names") from None


@cache
def _render_of(module: str) -> Any:
    # Not at the top: a dialect is loaded when the first route speaks it.
    return import_module(module)


# --- functions ------------------------------------------------------------------------------------


def now(env: Env, tz: str = "UTC") -> datetime:
    """The time in a time zone; format it with `strftime`."""
    return datetime.fromtimestamp(_clock(env), ZoneInfo(tz))


def now_ms(env: Env) -> int:
    """Milliseconds since 1970."""
    return round(_clock(env) * 1000)


def uuid4(env: Env) -> str:
    """A random UUID."""
    return str(UUID(int=_random(env).getrandbits(128), version=4))


def rand_alnum(env: Env, size: int) -> str:
    """Random lower-case letters and digits, at most 1000."""
    if not 0 <= size <= 1000:
        raise RenderError("`rand_alnum` gives 0 to 1000 characters")
    return "".join(_random(env).choices(string.ascii_lowercase + string.digits, k=size))


def _clock(env: Env) -> float:
    seconds = env.get("_now")
    if not isinstance(seconds, int | float):
        raise RenderError("there is no clock here")
    return seconds


def _random(env: Env) -> Random:
    source = env.get("_random")
    if not isinstance(source, Random):
        raise RenderError("there is no random source here")
    return source


FILTERS: dict[str, Filter] = {
    "as_anthropic": _as_dialect(
        "as_anthropic", f"{_DIALECTS}.anthropic_messages.render", "Anthropic Messages"
    ),
    "as_bedrock": _as_dialect("as_bedrock", "engine.route.converse", "Bedrock's Converse API"),
    "as_gemini": _as_dialect("as_gemini", f"{_DIALECTS}.gemini.render", "Gemini"),
    "as_messages": as_messages,
    "as_ollama": _as_dialect("as_ollama", f"{_DIALECTS}.ollama.render", "Ollama"),
    "as_openai": _as_dialect(
        "as_openai", f"{_DIALECTS}.openai_chat.render", "OpenAI Chat Completions"
    ),
    "as_text_messages": as_text_messages,
    "as_tools": as_tools,
    "b64": b64,
    "b64d": b64d,
    "default": default,
    "drop_empty": drop_empty,
    "float": to_float,
    "from_json": from_json,
    "hmac_sha256": hmac_sha256,
    "int": to_int,
    "join": join,
    "json": json,
    "jwt_claim": jwt_claim,
    "length": length,
    "lower": lower,
    "md5": md5,
    "newest": newest,
    "older": older,
    "regex_replace": regex_replace,
    "regex_search": regex_search,
    "schema_without": schema_without,
    "sha256": sha256,
    "split": split,
    "strftime": strftime,
    "strip": strip,
    "truncate_chars": truncate_chars,
    "unescape_html": unescape_html,
    "upper": upper,
    "urlpath": urlpath,
    "urlquery": urlquery,
}

FUNCTIONS: dict[str, Filter] = {
    "now": now,
    "now_ms": now_ms,
    "rand_alnum": rand_alnum,
    "uuid4": uuid4,
}

__all__ = [
    "CAP",
    "FILTERS",
    "FUNCTIONS",
    "Absent",
    "Filter",
    "RenderError",
    "compile_pattern",
    "kind",
    "room",
    "text",
]
