"""Upstreams whose API is one of the dialects: their answers need no rules."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from engine.dialects import DIALECTS, Target
from engine.errors import RequestError
from engine.wire import Headers, HttpRequest, HttpResponse, JsonError, loads

from .framing import framed
from .infer import read_answer
from .layout import written

_PATHS = {
    "openai": re.compile(r"/chat/completions$"),
    "anthropic": re.compile(r"/messages$"),
    "openai-responses": re.compile(r"/responses$"),
    "gemini": re.compile(r"/models/([^/:]+):(?:streamG|g)enerateContent$"),
    "ollama": re.compile(r"/api/chat$"),
}
_REASONS = re.compile(rb'"reasoning(?:_content)?"')
_DIALECTS = {
    "openai": "openai_chat", "anthropic": "anthropic_messages", "gemini": "gemini",
    "openai-responses": "openai_responses", "ollama": "ollama",
}  # fmt: skip
# Fields that clients of these APIs send, and the engine writes by itself, or may leave out.
_USUAL = {
    "input", "thinking", "output_config", "metadata", "service_tier", "store", "include", "text",
    "betas", "reasoning", "truncation", "keep_alive", "options", "think", "format",
    "safetySettings", "generationConfig", "context_management", "user", "prompt_cache_key",
    "verbosity", "logprobs", "top_logprobs", "modalities",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Known:
    """preset: what the route extends. base: the URL it counts paths from.

    plain   the request is the dialect's own, so that the engine can write it
    usual   it stands at the dialect's own path
    model   where the path names it
    """

    preset: str
    base: str
    plain: bool
    usual: bool
    model: str = ""

    @property
    def filter(self) -> str:
        """The filter that writes messages as this API has them."""
        return f"as_{self.preset.partition('-')[0]}"


def known(request: HttpRequest, answer: HttpResponse | None, prompt: str = "") -> Known | None:
    """The API that an exchange speaks: by its answer, or by its path where there is none."""
    parts = urlsplit(request.url)
    by_path = next((name for name, form in _PATHS.items() if form.search(parts.path)), None)
    preset = by_path
    if answer is not None and answer.body and answer.status < 400:
        preset = _spoken(answer, prompt)
    if preset is None:
        return None
    hit = _PATHS[preset].search(parts.path)
    model = unquote(hit[1]) if hit and hit.groups() else ""
    plain = _is_plain(request, _DIALECTS[preset], model)
    if answer is None and not plain:
        return None
    path = parts.path[: hit.start()] if hit else ""
    host = parts.netloc.rpartition("@")[2]
    return Known(preset, f"{parts.scheme}://{host}{path}", plain, hit is not None, model)


def _spoken(answer: HttpResponse, prompt: str) -> str | None:
    found = framed(answer)
    values: list[Any] = [record.value for record in found.records] if found else []
    dicts = [value for value in values if isinstance(value, dict)]
    names = [name for value in dicts if (name := _named(value))]
    if not names or len(set(names)) > 1 or 2 * len(names) < len(values):
        return None
    if names[0] == "openai":  # some say all so far in each piece, or have a phase in it
        reading = read_answer(answer, prompt)
        odd = reading and ("reduce" in reading.tree or "reasoning: " in written(reading.tree))
        return None if odd and not _REASONS.search(answer.body) else "openai"
    return names[0]


def _named(value: dict[str, Any]) -> str | None:
    """The API that one record is of."""
    kind, choices = str(value.get("type", "")), value.get("choices")
    if isinstance(choices, list) and (not choices or {"delta", "message"} & set(choices[0])):
        return "openai"
    if kind.startswith("response.") or value.get("object") == "response":
        return "openai-responses"
    if kind in ("message_start", "message_delta", "content_block_start", "content_block_delta"):
        return "anthropic"
    if kind == "message" and isinstance(value.get("content"), list) and "stop_reason" in value:
        return "anthropic"
    if isinstance(value.get("candidates"), list):
        return "gemini"
    return "ollama" if isinstance(value.get("message"), dict) and "done" in value else None


def _is_plain(request: HttpRequest, dialect: str, model: str) -> bool:
    """Whether a client of the dialect could have sent this: nothing in it is unknown."""
    try:
        chat = DIALECTS[dialect].parse(request.body, Headers(), Target(model or "m", True))
        body = loads(request.body)
    except (RequestError, JsonError):
        return False
    return isinstance(body, dict) and not set(chat.extras) - _USUAL and bool(chat.messages)
