"""What a provider's own tools left in an answer, for clients whose API has no place for it.

The code that was run, what came of it, and files are told in words, in the text: a stream has no
other place. What was only looked up on the way (searches, pages that were read, lists of tools) is
no part of what the model says, and its sources come as citations: it is left out and named. So is
everything where a client has asked for JSON, which words in between would break.

Shapes are those of the official SDKs:

    gemini              executableCode {language, code}, codeExecutionResult {outcome, output}
    anthropic_messages  server_tool_use {name, input}, *_tool_result {content}, mcp_tool_use, …
    openai_responses    code_interpreter_call {code, outputs}, mcp_call {arguments, output}, …
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from engine.chat import ChatRequest, Media, Opaque
from engine.wire import dumps

from .pictures import in_words

Fields = dict[str, object]

_LOOKED_UP = frozenset(
    {
        "compaction", "fallback", "mcp_tool_listing", "tool_search_tool_result",
        "web_fetch_tool_result", "web_search_tool_result",
        "additional_tools", "file_search_call", "mcp_list_tools", "tool_search_call",
        "tool_search_output", "web_search_call",
        "toolCall", "toolResponse",
        "executed_tools",
    }
)  # fmt: skip
_SEARCHES = ("web_search", "web_fetch", "tool_search")
_TICKS = re.compile("`{3,}")


def told(part: Opaque, *, quiet: bool = False) -> str:
    """What an answer of another API says in the part's place; "" for what is left out.

    quiet: nothing may be said, see `wants_json`
    """
    if quiet or part.kind in _LOOKED_UP or not isinstance(part.raw, dict):
        return ""
    say = _SAYERS.get(part.kind)
    return _unsaid(part.kind) if say is None else say(part.raw)


def instead(part: Media | Opaque, *, quiet: bool = False) -> str:
    """What is said in the place of something that has none."""
    return in_words(part) if isinstance(part, Media) else told(part, quiet=quiet)


def left_out(parts: Iterable[Opaque], request: ChatRequest | None) -> list[str]:
    """The kinds of those parts that a client is not told of. request: the client's."""
    quiet = wants_json(request)
    return sorted({p.kind for p in parts if told(p, quiet=quiet) in ("", _unsaid(p.kind))})


def wants_json(request: ChatRequest | None) -> bool:
    """Whether the text of the answer is to be JSON, and nothing else may stand in it."""
    return request is not None and request.out.format in ("json", "schema")


def _unsaid(kind: str) -> str:
    return f"\n[{kind} left out: this API's answers cannot hold it]\n"


def _fenced(text: object, language: str = "") -> str:
    """A block of code, behind a fence that is longer than any in it; "" for nothing."""
    if not isinstance(text, str) or not text:
        return ""
    fence = "`" * max((len(found) + 1 for found in _TICKS.findall(text)), default=3)
    return f"\n{fence}{language}\n{text.rstrip()}\n{fence}\n"


def _json(value: object) -> str:
    return _fenced(dumps(value).decode(), "json") if value else ""


def _fields(value: object) -> Fields:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Fields]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _noted(what: str, told: object) -> str:
    return f"\n[{what}: {told}]\n" if told else ""


# ---- Gemini ----


def _gemini_code(raw: Fields) -> str:
    code = _fields(raw.get("executableCode"))
    return _fenced(code.get("code"), _text(code.get("language")).lower())


def _gemini_result(raw: Fields) -> str:
    result = _fields(raw.get("codeExecutionResult"))
    outcome = _text(result.get("outcome")).removeprefix("OUTCOME_")
    failed = "" if outcome in ("", "OK") else _noted("code execution", outcome.lower())
    return _fenced(result.get("output")) + failed


# ---- Messages ----


def _used(raw: Fields) -> str:
    """A call: of code that was run, of a server of tools; none of a search."""
    name, given = _text(raw.get("name")), _fields(raw.get("input"))
    if name.startswith(_SEARCHES):
        return ""
    for field, language in (("code", "python"), ("command", "bash")):
        if len(given) == 1 and isinstance(given.get(field), str):
            return _fenced(given[field], language)
    return _noted("tool", name) + _json(given)


def _came(raw: Fields) -> str:
    """A result: an object of its own type, a text, or a list of texts."""
    content = raw.get("content")
    if isinstance(content, dict):
        return _result(content)
    if isinstance(content, str):
        return _fenced(content)
    return _fenced("\n".join(_text(item.get("text")) for item in _list(content)))


def _result(found: Fields) -> str:
    if "error_code" in found:
        return _noted("the tool failed", found["error_code"])
    texts = [found.get(name) for name in ("stdout", "stderr", "content", "text")]
    lines = found.get("lines")
    if isinstance(lines, list):
        texts.append("\n".join(_text(line) for line in lines))
    files = "".join(_file(item) for item in _list(found.get("content")))
    status = found.get("return_code")
    return "".join(map(_fenced, texts)) + files + _noted("exit status", status)


def _file(raw: Fields) -> str:
    return _noted("file left out: only its id is known", raw.get("file_id"))


# ---- Responses ----


def _interpreted(raw: Fields) -> str:
    said = [_fenced(raw.get("code"), "python")]
    for output in _list(raw.get("outputs")):
        link = output.get("url")
        said.append(_fenced(output.get("logs")))
        said.append(f"\n{in_words(Media('image', url=link))}\n" if isinstance(link, str) else "")
    return "".join(said)


def _remote(raw: Fields) -> str:
    failed = raw.get("error")
    return (
        _noted("tool", raw.get("name"))
        + _fenced(raw.get("arguments"), "json")
        + _fenced(raw.get("output"))
        + _noted("the tool failed", failed if isinstance(failed, str) else _words(failed))
    )


def _words(failed: object) -> str:
    return _text(_fields(failed).get("message")) or (dumps(failed).decode() if failed else "")


def _commanded(raw: Fields) -> str:
    commands = _fields(raw.get("action")).get("commands")
    said = [_text(each) for each in commands] if isinstance(commands, list) else []
    return _fenced("\n".join(said), "bash") or _unsaid(_text(raw.get("type")))


def _printed(raw: Fields) -> str:
    outputs = _list(raw.get("output"))
    return "".join(
        _fenced(item.get(name)) for item in outputs for name in ("stdout", "stderr")
    ) + "".join(
        _noted("exit status", _fields(item.get("outcome")).get("exit_code")) for item in outputs
    )


_SAYERS: dict[str, Callable[[Fields], str]] = {
    "executableCode": _gemini_code,
    "codeExecutionResult": _gemini_result,
    "server_tool_use": _used,
    "mcp_tool_use": _used,
    "mcp_tool_result": _came,
    "code_execution_tool_result": _came,
    "bash_code_execution_tool_result": _came,
    "text_editor_code_execution_tool_result": _came,
    "advisor_tool_result": _came,
    "container_upload": _file,
    "code_interpreter_call": _interpreted,
    "mcp_call": _remote,
    "shell_call": _commanded,
    "shell_call_output": _printed,
    "program": lambda raw: _fenced(raw.get("code"), "javascript"),
    "program_output": lambda raw: _fenced(raw.get("result")),
}
_FOR_CLIENTS = {  # calls that the client is to make, which one of another API cannot
    "apply_patch_call", "computer_call", "local_shell_call", "mcp_approval_request",
}  # fmt: skip
KINDS = frozenset({*_LOOKED_UP, *_SAYERS, *_FOR_CLIENTS})
