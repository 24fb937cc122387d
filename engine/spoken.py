"""Calls of tools that stand in an answer's text: where one may begin, where it ends, what it says.

`SpokenCalls` is fed text and gives pieces of text and calls, in order. It holds back only what may
still become a call; each decision hangs on the text alone, never on how it was cut. Code in fences
of other languages is not looked into, and text that merely talks about a call (with more words on
its line) is none. What is refused goes out as the text it was.

A grammar is one line of GRAMMARS: its opener, and a function from a Candidate to (end, calls), or
None while that is undecided. Grammars as models are known to write them: fenced and free JSON, tags
of several families, Kimi's and GLM's own tokens, and "调用函数: name 参数: {…}".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from .wire import JsonError, dumps, loads

MOST_HELD = 262_144  # characters of what may be a call; more is text


class Loose(str):
    """A value written as text between tags: its tool's schema says what it is."""

    __slots__ = ()


@dataclass(slots=True)
class SpokenCall:
    """args: a dict (whose values may be Loose), other JSON, or text that is yet to be decoded."""

    name: str
    args: Any


Calls = list[SpokenCall]
Found = tuple[int, Calls] | None
NO_CALL = [SpokenCall("", None)]


def repair_json(text: str) -> object:
    """What JSON text says, mended if it has to be; None if nothing can be made of it.

    Mending is the work of the library json-repair, the extra `repair`; without it JSON must be
    right. It is imported when it is first needed: few routes have such calls.
    """
    try:
        return loads(text.strip())
    except JsonError:
        if not text.strip():
            return None
    try:
        import json_repair
    except ImportError:
        return None
    mended: object = json_repair.loads(text)
    return mended if isinstance(mended, dict | list) and mended else None


# ---- text that grows ----

_BRACKET = re.compile(r'["{}\[\]]')
_INSIDE = re.compile(r'(?:[^"\\]|\\.)*+', re.S)


@dataclass(slots=True)
class Balance:
    """Finds the end of the object or list that begins at `at`, going on where it stopped."""

    at: int
    depth: int = 0
    quoted: bool = False
    end: int | None = None

    def look(self, text: str) -> int | None:
        while self.end is None:
            if self.quoted:
                inside = _INSIDE.match(text, self.at)
                self.at = inside.end() if inside else self.at
                if text[self.at : self.at + 1] != '"':
                    return None
                self.at, self.quoted = self.at + 1, False
            hit = _BRACKET.search(text, self.at)
            if hit is None:
                self.at = len(text)
                return None
            self._pass(hit[0], hit.end())
        return self.end

    def _pass(self, sign: str, at: int) -> None:
        self.at = at
        if sign == '"':
            self.quoted = True
            return
        self.depth += 1 if sign in "{[" else -1
        self.end = at if self.depth == 0 else None


@dataclass(slots=True)
class Candidate:
    """Text from an opener on. over: no more follows; seen: how much of it was there before."""

    text: str
    over: bool = False
    seen: int = 0
    balances: dict[int, Balance] = field(default_factory=dict)

    def balanced(self, at: int) -> int | None:
        """Where the JSON value that begins at `at` ends."""
        return self.balances.setdefault(at, Balance(at)).look(self.text)

    def fence_end(self, at: int, value: int | None) -> re.Match[str] | None:
        """The line that ends a fence, once it is known to be one, and not a string's in `value`."""
        for hit in FENCE_END.finditer(self.text, max(at, self.seen - 64)):
            if hit.end() == len(self.text) and not self.over:
                return None
            if value is None or not self._quotes(value, hit.start()):
                return hit
        return None

    def mark_end(self, mark: str, value: re.Match[str] | None) -> int | None:
        """Where the mark that ends a call ends; a mark in a string of the call's JSON is none.

        value: what stands before that JSON. Broken JSON may hide its mark in a string that it
        never ends: so once one mark was passed over, only JSON that is right has an end, and the
        first mark counts after all if none has.
        """
        first, at = self.text.find(mark), max(0, self.seen - len(mark))
        while (at := self.text.find(mark, at)) >= 0:
            if value is None or self._ends(value.end(), at, first):
                return at + len(mark)
            at += 1
        return first + len(mark) if self.over and first >= 0 else None

    def _ends(self, value: int, at: int, first: int) -> bool:
        if at == first:
            return not self._quotes(value, at)
        with suppress(JsonError):
            loads(self.text[value:at].strip().removesuffix("</function>"))
            return True
        return False

    def _quotes(self, value: int, at: int) -> bool:
        """Whether text up to `at` is in the middle of a string of the value."""
        balance = Balance(value)
        return balance.look(self.text[:at]) is None and balance.quoted


# ---- finding ----

FENCES = ("", "json", "json5", "tool_call", "tool_calls", "tool_code", "tool_use")
FENCE_END = re.compile(r"\n[ \t]{0,32}```[ \t]{0,32}(?=\n|\Z)")
_TAIL = re.compile(r"\n[ \t]{0,32}`{0,3}[ \t]{0,32}\Z")
_INFO = re.compile(r"```([^\n`]*)\n\s*(\S?)")


class SpokenCalls:
    """accept(calls) says whether all of some calls are ones; else they stay text."""

    def __init__(self, accept: Callable[[Calls], bool]) -> None:
        self._accept = accept
        self._held = ""
        self._candidate: Candidate | None = None
        self._in_fence = False  # in a fence of another language
        self._behind = False  # nothing was said since the last call
        self._mark = ""  # what opens a section of calls, until one of them comes
        self._out: list[str | SpokenCall] = []

    def feed(self, text: str, *, over: bool = False) -> list[str | SpokenCall]:
        """What is decided so far. over: no text follows."""
        self._held += text
        while self._held and self._step(over):
            pass
        if over:
            self._say(0)
        return self._given()

    def rest(self) -> list[str | SpokenCall]:
        """What is held back, as text: the answer was cut off, and half a call is none."""
        self._say(len(self._held))
        return self._given()

    def _given(self) -> list[str | SpokenCall]:
        out, self._out = self._out, []
        return out

    def _step(self, over: bool) -> bool:
        """Decide a piece of what is held. False: more must come."""
        if self._in_fence:
            return self._code(over)
        hit = OPENERS.search(self._held)
        if hit is None:
            return self._say(len(self._held))
        if hit.start():
            return self._say(hit.start())
        if hit.lastindex is None:  # it may become an opener
            return over and self._say(hit.end())
        return self._call(hit[0], over)

    def _call(self, opener: str, over: bool) -> bool:
        held = self._held
        info = _INFO.match(held) if opener == "```" else None
        if info is not None and (
            info[1].strip().lower() not in FENCES or info[2] not in ("", *"{[")
        ):
            self._in_fence = True
            return self._say(held.index("\n"))
        if opener == "{" and _no_call(held):
            return self._say(1)
        candidate = self._candidate = self._candidate or Candidate(held)
        candidate.text, candidate.over = held, over
        found = GRAMMARS[opener](candidate)
        candidate.seen = len(held)
        if found is None:
            return len(held) > MOST_HELD and self._say(len(opener))
        return self._judge(*found)

    def _judge(self, end: int, calls: Calls) -> bool:
        if not all(call.name for call in calls) or not self._accept(calls):
            return self._say(end)
        if calls or self._behind:
            self._mark, self._behind = "", True
        else:
            self._mark += self._held[:end]
        self._drop(end)
        self._out += calls
        return True

    def _code(self, over: bool) -> bool:
        """Let code through, up to the end of its fence. What is held begins with a line's end."""
        ended = FENCE_END.search(self._held)
        if ended is not None and (over or ended.end() < len(self._held)):
            self._in_fence = False
            return self._say(ended.end())
        tail = None if over else _TAIL.search(self._held)
        length = tail.start() if tail else len(self._held)
        return length > 0 and self._say(length)

    def _say(self, length: int) -> bool:
        text = self._held[:length]
        if self._mark and text and text.isspace():
            self._mark += text
        elif self._mark or text:
            self._out.append(self._mark + text)
            self._mark = ""
            self._behind = self._behind and text.isspace()
        self._drop(length)
        return True

    def _drop(self, length: int) -> None:
        self._candidate = None
        self._held = self._held[length:]


# ---- grammars ----

KEYS = (
    "tool_calls", "tool_call", "function_call", "name", "tool", "function", "arguments", "id",
    "type",
)  # fmt: skip
_LINE = re.compile(r"[ \t]*(\n|[^ \t\n]|\Z)")
_HEAD = re.compile(r"```[^\n`{\[]*")
_BODY = re.compile(r"\s*[{\[]")
_SHORT = re.compile(r"\s*```")
_SPOKEN = re.compile(r"调用函数\s*[:：]\s*([\w.-]+)\s*参数\s*[:：]\s*(?=\{)")
_ARG = re.compile(r"<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)(?:</arg_value>|\Z)", re.S)
_PARAMETER = re.compile(
    r"<parameter=([^>\s]+)>\n?(.*?)\n?(?:</parameter>|(?=<parameter=)|\Z)", re.S
)
_NAMED = re.compile(
    r"<parameter\s+name\s*=\s*[\"']([^\"']+)[\"'][^>]*>\n?(.*?)\n?"
    r"(?:</parameter>|(?=<parameter\s)|\Z)",
    re.S,
)
_TOOL_CALL = re.compile(r"<tool_call(?:\s+name\s*=\s*[\"']([^\"'>]*)[\"'])?\s*>")
_FUNCTION = re.compile(r"<function=([^>\s]+)>")
_INVOKE = re.compile(r"<invoke\s+name\s*=\s*[\"']([^\"']+)[\"']\s*>")
_VALUE = re.compile(  # what stands before a call's JSON, where its arguments are no loose text
    r"(?:<tool_call[^>]*>\s*|<function=[^>]+>\s*"
    r"|<\|tool_call_begin\|>[^<]*<\|tool_call_argument_begin\|>\s*)+(?=\{)"
)
_KIMI, _KIMI_ARGS = "<|tool_call_begin|>", "<|tool_call_argument_begin|>"


def _no_call(text: str) -> bool:
    """Whether an object cannot become a call, by its first key."""
    rest = text[1:].lstrip()
    if not rest or rest[0] != '"':
        return bool(rest)
    key, quote, _ = rest[1:].partition('"')
    return key not in KEYS if quote else not any(known.startswith(key) for known in KEYS)


def _free(found: Candidate) -> Found:
    """`{"name": …, "arguments": …}` and its kin, with nothing behind it on its line."""
    text, end = found.text, found.balanced(0)
    if end is None:
        return (len(text), calls_of(repair_json(text))) if found.over else None
    behind = _LINE.match(text, end)
    if behind is None or (not behind[1] and not found.over):
        return None
    alone = behind[1] in ("", "\n", "{", "<")
    return end, calls_of(repair_json(text[:end])) if alone else NO_CALL


def _fenced(found: Candidate) -> Found:
    """A fence of JSON: one value, or one on each line."""
    text, head = found.text, _HEAD.match(found.text)
    start = head.end() if head else 3
    if start == len(text) and not found.over:
        return None
    body = _BODY.match(text, start)
    at = body.end() - 1 if body else None
    ended = found.fence_end(start, at)
    end = None if at is None else found.balanced(at)
    if end is not None and (ended is None or end <= ended.start()):
        short = _SHORT.match(text, end)
        if short is not None:
            return short.end(), calls_of(repair_json(text[start:end]))
    if ended is not None:
        return ended.end(), _lines(text[start : ended.start()])
    return (len(text), _lines(text[start:])) if found.over else None


def _lines(body: str) -> Calls:
    """One JSON value, or one on each line; mended only if it is neither."""
    values: list[object] = []
    try:
        values = [loads(body.strip())]
    except JsonError:
        with suppress(JsonError):
            values = [loads(line) for line in body.splitlines() if line.strip()]
    return calls_of(values or [repair_json(body)])


def _spoken(found: Candidate) -> Found:
    """`调用函数: name 参数: {…}`."""
    text, head = found.text, _SPOKEN.match(found.text)
    if head is None:
        hopeless = found.over or "\n\n" in text or len(text) > 256
        return (4, NO_CALL) if hopeless else None
    end = found.balanced(head.end())
    if end is None:
        return (len(text), [SpokenCall(head[1], text[head.end() :])]) if found.over else None
    return end, [SpokenCall(head[1], text[head.end() : end])]


def _tagged(
    close: str, head: re.Pattern[str], read: Callable[[str], Calls]
) -> Callable[[Candidate], Found]:
    """A grammar with an opening tag and a closing mark."""

    def find(found: Candidate) -> Found:
        text = found.text
        if ">" in text and not head.match(text):
            return 1, NO_CALL
        end = found.mark_end(close, _VALUE.match(text))
        if end is None:
            return (len(text), read(text)) if found.over else None
        return end, read(text[: end - len(close)])

    return find


def _tool_call(text: str) -> Calls:
    """`<tool_call name="x">{…}`, `<tool_call>{…}`, `<tool_call>name<arg_key>k</arg_key>…`."""
    head = _TOOL_CALL.match(text)
    if head is None:
        return NO_CALL
    body = text[head.end() :].strip()
    if head[1]:
        return [SpokenCall(head[1], body)]
    if body.startswith("{"):
        return calls_of(repair_json(body))
    if "<arg_key>" in body or re.fullmatch(r"[\w.-]+", body):
        name = body.partition("<arg_key>")[0].strip()
        return [SpokenCall(name, _pairs(_ARG, body))]
    return _function(body) if body.startswith("<function=") else calls_of(repair_json(body))


def _function(text: str) -> Calls:
    """`<function=name><parameter=k>v</parameter>`, or JSON in it."""
    head = _FUNCTION.match(text)
    if head is None:
        return NO_CALL
    body = text[head.end() :].strip().removesuffix("</function>")
    return [SpokenCall(head[1], body if body.startswith("{") else _pairs(_PARAMETER, body))]


def _invoke(text: str) -> Calls:
    """`<invoke name="x"><parameter name="k">v</parameter>`."""
    head = _INVOKE.match(text)
    return [SpokenCall(head[1], _pairs(_NAMED, text[head.end() :]))] if head else NO_CALL


def _kimi(text: str) -> Calls:
    """`<|tool_call_begin|>functions.name:0<|tool_call_argument_begin|>{…}`."""
    name, mark, args = text.removeprefix(_KIMI).partition(_KIMI_ARGS)
    name = name.strip()
    return [SpokenCall(re.sub(r":\d+$", "", name), args)] if mark else NO_CALL


def _pairs(pattern: re.Pattern[str], text: str) -> dict[str, Any]:
    return {key.strip(): Loose(value) for key, value in pattern.findall(text)}


def _mark(found: Candidate) -> Found:
    """What stands around several calls: no text, if it is next to one."""
    return found.text.index(">") + 1, []


def calls_of(value: object) -> Calls:
    """The calls that a decoded value makes; one without a name where it is something else."""
    if isinstance(value, list) and value:
        return [call for item in value for call in calls_of(item)]
    if not isinstance(value, dict):
        return NO_CALL
    for key in ("tool_calls", "tool_call", "function_call"):
        if key in value:
            return calls_of(value[key])
    inner = value.get("function")
    if isinstance(inner, dict):
        return calls_of(inner)
    name = value.get("name") or value.get("tool") or inner
    for key in ("arguments", "parameters", "args", "input"):
        if isinstance(name, str) and isinstance(value.get(key), dict | str):
            return [SpokenCall(name, value[key])]
    return NO_CALL


_MARKS = (
    "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>", "<function_calls>",
    "</function_calls>", "<tool_calls>", "</tool_calls>",
)  # fmt: skip
GRAMMARS: dict[str, Callable[[Candidate], Found]] = {
    "```": _fenced,
    "{": _free,
    "调用函数": _spoken,
    "<tool_call": _tagged("</tool_call>", _TOOL_CALL, _tool_call),
    "<function=": _tagged("</function>", _FUNCTION, _function),
    "<invoke": _tagged("</invoke>", _INVOKE, _invoke),
    _KIMI: _tagged("<|tool_call_end|>", re.compile(""), _kimi),
    **dict.fromkeys(_MARKS, _mark),
}
_WHOLE = [re.escape(mark) for mark in sorted(GRAMMARS, key=len, reverse=True)]
_BEGUN = [re.escape(mark[:n]) + r"\Z" for mark in GRAMMARS for n in range(1, len(mark))]
OPENERS = re.compile("|".join([*(f"({mark})" for mark in _WHOLE), *_BEGUN]))


def written(name: str, args: object, style: str) -> str:
    """A call as a model is asked to write it. style: `xml` or `json`."""
    body = {"name": name, "arguments": args}
    if style == "json":
        return f"```json\n{dumps({'tool_calls': [body]}).decode()}\n```"
    return f"<tool_call>\n{dumps(body).decode()}\n</tool_call>"
