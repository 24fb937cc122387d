"""What becomes of each field of a request, by the dialect of its upstream: docs/translated.md.

The table is found out by writing a request with the field and one without; `python -m tests.dropped
--write` writes the page.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from engine.chat import ChatRequest, Media
from engine.dialects import DIALECTS
from engine.dialects.profile import PROFILE, Profile
from engine.dialects.written import write
from engine.errors import RequestError
from engine.events import Close, Event, Finish, Open, Start, fold
from tests.dialects.crossing import parsed
from tests.dialects.maximal import MAXIMAL
from tests.left import answers

PAGE = Path(__file__).parents[1] / "docs" / "translated.md"
TARGETS = ("openai_chat", "openai_responses", "anthropic_messages", "gemini", "ollama")

LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
OPEN = {"type": "object"}  # any object at all
SCHEMA = {"type": "object", "properties": {"x": {"type": "string"}}}

MARK, MARKED = "cache_control", {"type": "ephemeral"}
PNG, PDF = "iVBORw0KGgo=", "JVBERi0="


def _form(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


def _asked(*parts: Any) -> dict[str, Any]:
    content = [{"type": "text", "text": "see"}, *parts]
    return {"messages": [{"role": "user", "content": content}]}


def _turn(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "see", **fields}]}


def _source(kind: str, **source: str) -> dict[str, Any]:
    return {"type": kind, "source": source}


CHAT: dict[str, dict[str, Any]] = {
    "max_tokens": {"max_tokens": 77},
    "temperature": {"temperature": 0.5},
    "top_p": {"top_p": 0.5},
    "presence_penalty": {"presence_penalty": 0.5},
    "frequency_penalty": {"frequency_penalty": 0.5},
    "logit_bias": {"logit_bias": {"1": 2}},
    "seed": {"seed": 7},
    "stop": {"stop": ["END"]},
    "n: 2": {"n": 2},
    "logprobs": {"logprobs": True},
    "tools": {"tools": [LOOK]},
    "tools, custom": {"tools": [{"type": "custom", "custom": {"name": "apply"}}]},
    "tool_choice": {"tools": [LOOK], "tool_choice": "required"},
    "parallel_tool_calls: false": {"tools": [LOOK], "parallel_tool_calls": False},
    "response_format json_object": {"response_format": {"type": "json_object"}},
    "response_format json_schema": {"response_format": _form(SCHEMA)},
    "response_format json_schema, any object": {"response_format": _form(OPEN)},
    "reasoning_effort": {"reasoning_effort": "high"},
    "verbosity": {"verbosity": "low"},
    "user": {"user": "u"},
    "metadata": {"metadata": {"a": "b"}},
    "service_tier": {"service_tier": "flex"},
    "store": {"store": True},
    "prompt_cache_key": {"prompt_cache_key": "k"},
    "cache_control": {MARK: MARKED},
    "cache_control of a message": _turn(cache_control=MARKED),
    "cache_control of a part": _asked({"type": "text", "text": "b", MARK: MARKED}),
    "cache_control of a tool": {"tools": [{**LOOK, MARK: MARKED}]},
    "modalities, audio": {"modalities": ["text", "audio"]},
    "modalities, image": {"modalities": ["text", "image"]},
    "web_search_options": {"web_search_options": {}},
    "a field nobody knows": {"x_new": 1},
    "image by URL": _asked({"type": "image_url", "image_url": {"url": "https://a.example/x.png"}}),
    "image by bytes": _asked(
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    ),
    "file by bytes (PDF)": _asked(
        {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}"}}
    ),
    "filename of a file": _asked(
        {
            "type": "file",
            "file": {"file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"},
        }
    ),
    "file by id": _asked({"type": "file", "file": {"file_id": "file-1"}}),
    "audio": _asked({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}),
}
MESSAGES: dict[str, dict[str, Any]] = {
    "temperature": {"temperature": 0.5},
    "top_k": {"top_k": 7},
    "stop_sequences": {"stop_sequences": ["END"]},
    "thinking": {"thinking": {"type": "enabled", "budget_tokens": 2000}},
    "output_config.effort": {"output_config": {"effort": "low"}},
    "output_config.format": {
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}
    },
    "metadata.user_id": {"metadata": {"user_id": "u"}},
    "service_tier": {"service_tier": "auto"},
    "inference_geo": {"inference_geo": "eu"},
    "container": {"container": "c"},
    "mcp_servers": {"mcp_servers": [{"name": "x"}]},
    "context_management": {"context_management": {"edits": []}},
    "tools": {"tools": [{"name": "look", "input_schema": {"type": "object"}}]},
    "tools, web_search": {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
    "image by URL": _asked(_source("image", type="url", url="https://a.example/x.png")),
    "image by bytes": _asked(_source("image", type="base64", media_type="image/png", data=PNG)),
    "image by id": _asked(_source("image", type="file", file_id="file_1")),
    "document by bytes (PDF)": _asked(
        _source("document", type="base64", media_type="application/pdf", data=PDF)
    ),
    "title of a document": _asked(
        {
            **_source("document", type="base64", media_type="application/pdf", data=PDF),
            "title": "a.pdf",
        }
    ),
    "document as text": _asked(
        _source("document", type="text", media_type="text/plain", data="words")
    ),
}


PLACE = {"type": "approximate", "city": "Bern"}
# Searches of the web: the bare one of a client, and with each field beside it.
SEARCHES: dict[str, tuple[str, dict[str, Any]]] = {
    "openai_chat": (
        "web_search_options",
        {
            "search_context_size": "low",
            "user_location": {"type": "approximate", "approximate": {"city": "Bern"}},
        },
    ),
    "openai_responses": (
        "web_search",
        {
            "filters": {"allowed_domains": ["a.example"]},
            "search_context_size": "low",
            "user_location": PLACE,
        },
    ),
    "anthropic_messages": (
        "web_search_20250305",
        {
            "allowed_domains": ["a.example"],
            "blocked_domains": ["a.example"],
            "max_uses": 3,
            "user_location": PLACE,
        },
    ),
    "gemini": (
        "googleSearch",
        {"excludeDomains": ["a.example"], "timeRangeFilter": {"startTime": "2025-01-01T00:00:00Z"}},
    ),
}


def _search(client: str, **fields: object) -> dict[str, Any]:
    """A request for a search of the web."""
    name = SEARCHES[client][0]
    if client == "openai_chat":
        return {name: fields}
    if client == "gemini":
        return {"tools": [{name: fields}]}
    called = {"name": "web_search"} if client == "anthropic_messages" else {}
    return {"tools": [{"type": name, **called, **fields}]}


def _fields(client: str, holder: str, *skipped: str) -> dict[str, dict[str, Any]]:
    """The fields of the maximal request, those of one object in it one by one."""
    body = MAXIMAL[client]
    found = {name: {name: value} for name, value in body.items() if name not in (*skipped, holder)}
    return found | {
        f"{holder}.{name}": {holder: {name: value}} for name, value in body.get(holder, {}).items()
    }


CLIENTS = {
    "openai_chat": CHAT,
    "anthropic_messages": MESSAGES,
    "openai_responses": _fields("openai_responses", "", "model", "input", "stream", "tools",
                                "tool_choice", "parallel_tool_calls"),
    "gemini": _fields("gemini", "generationConfig", "contents", "tools"),
    "ollama": _fields("ollama", "options", "model", "messages", "stream"),
}  # fmt: skip
NAMES = {"openai_chat": "Chat Completions", "anthropic_messages": "Messages",
         "openai_responses": "Responses", "gemini": "Gemini", "ollama": "Ollama"}  # fmt: skip

HEAD = """\
# What is translated, and what is not

A client of one dialect, an upstream of another: what becomes of each field of the request, with an
empty `profile` and no `on_unsupported`. A client of the upstream's own dialect is not translated.
This page is written by `make docs`.

- **sent**: in the upstream's own words
- **named**: left out, and named in the answer's header `x-penstock-dropped`
- **hint**: left out without a word, as it changes nothing of what is meant
- **refused**: status 400, as leaving it out would change what is meant

Fields inside messages, parts and tools that only the client's dialect has are named by their place:
`messages.x`, `text.x`, `tools.x`. Cache marks, names, details of images and states of items are
hints. `cache_control` in the requests of Chat clients, as OpenRouter and LiteLLM have it, is none:
Messages get it at its place, others have it named.
"""


def fate(
    client: str,
    fields: dict[str, Any],
    target: str,
    base: dict[str, Any] | None = None,
    profile: Profile = PROFILE,
) -> str:
    """One of sent, named, hint, refused. base: the request that the field is added to."""
    if base is None:
        base = _asked() if "messages" in fields else {}
        if "tools" in fields and len(fields) > 1:
            base = {"tools": fields["tools"]}
    request = parsed(client, fields)
    try:
        plain = write(DIALECTS[target], parsed(client, base), "m", profile).body
        body = write(DIALECTS[target], request, "m", profile).body
    except RequestError:
        return "refused"
    if request.dropped:
        return "named" if body == plain else "sent, named"
    return "hint" if body == plain else "sent"


def without(value: Any, name: str) -> Any:
    """The value without any field of this name."""
    if isinstance(value, list):
        return [without(item, name) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: without(item, name) for key, item in value.items() if key != name}


def page() -> str:
    out = [HEAD]
    for client, fields in CLIENTS.items():
        targets = [name for name in TARGETS if name != client]
        columns = " | ".join(NAMES[name] for name in targets)
        out.append(f"\n## Clients of {NAMES[client]}\n\n| field | {columns} |\n")
        out.append("|---|" + "---|" * len(targets) + "\n")
        for name, sample in fields.items():
            field, _, holder = name.partition(" of ")
            base = without(sample, field) if holder else None
            cells = " | ".join(fate(client, sample, target, base) for target in targets)
            out.append(f"| {name} | {cells} |\n")
    return "".join(out) + searches() + pictures() + answers()


SEARCH_HEAD = """
## Searches of the web

Where the profile of the upstream's model says `web_search: with_tools`; Ollama has none. What was
found comes as citations.
"""


def searches() -> str:
    profile, out = Profile(web_search="with_tools"), [SEARCH_HEAD]
    for client, (search, fields) in SEARCHES.items():
        targets = [name for name in SEARCHES if name != client]
        columns = " | ".join(NAMES[name] for name in targets)
        out.append(f"\n| of {NAMES[client]} | {columns} |\n")
        out.append("|---|" + "---|" * len(targets) + "\n")
        rows: list[tuple[str, dict[str, Any], dict[str, Any]]] = [(search, {}, _search(client))]
        rows += [
            (name, _search(client), _search(client, **{name: value}))
            for name, value in fields.items()
        ]
        for name, base, sample in rows:
            cells = [fate(client, sample, target, base, profile) for target in targets]
            out.append(f"| {name} | {' | '.join(cells)} |\n")
    return "".join(out)


PICTURE_HEAD = """
## Media in answers

What a model draws goes where the client's API has a place for it, in streams and in whole answers.
Where it has none the answer has words in its place: `[image (image/png) of 81 bytes left out: …]`.

- **sent**: Chat Completions in `images` of message and delta, as OpenRouter has it, Gemini as
  `inlineData` or `fileData`, Responses as an `image_generation_call`, Ollama's `/api/generate` as
  `image` (the first one of a whole answer)
- **address**: its URL, as Markdown in the text
- **words**: what it was and how large

Clients send it back in turns of the assistant. Gemini and Ollama take it there; to other upstreams
it goes with the user's next turn, after a note where it was (`[image attached]`), unless it came
from their own API.
"""
SHOWN: dict[str, Media] = {
    "picture": Media("image", "image/png", PNG),
    "picture by URL": Media("image", url="https://a.example/b.png"),
    "sound, film, file": Media("audio", "audio/wav", "AAAA"),
}


def pictures() -> str:
    columns = [NAMES[name] for name in TARGETS[:-1]] + ["Ollama: chat", "Ollama: prompt"]
    out = [PICTURE_HEAD, f"\n| of the upstream | {' | '.join(columns)} |\n"]
    out.append("|---|" + "---|" * len(columns) + "\n")
    for name, part in SHOWN.items():
        cells = [told(client, part) for client in (*TARGETS, "generate")]
        out.append(f"| {name} | {' | '.join(cells)} |\n")
    return "".join(out)


def told(client: str, part: Media) -> str:
    """What becomes of a part of an answer, streamed and whole. client: a dialect, or `generate`."""
    kind = DIALECTS["ollama" if client == "generate" else client]
    request = ChatRequest(
        kind.name, "m", [], extras={"generate": True} if client == "generate" else {}
    )
    events: list[Event] = [Start("id", "m", 1), Open(0, part), Close(0), Finish("stop")]
    made = kind.encoder("id", "m", 1, False, request).feed(events)
    found = {_fate(made, part), _fate(kind.reply(fold(events), "id", "m", 1, request), part)}
    (one,) = found
    return one


def _fate(answer: bytes, part: Media) -> str:
    held = (part.data or part.url or "").encode()
    if held not in answer:
        assert b"left out" in answer
        return "words"
    return "address" if b"![image](" in answer else "sent"


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(page(), "utf-8")
    sys.stdout.write(page())
