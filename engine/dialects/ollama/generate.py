"""Generate request body -> ChatRequest: a prompt, perhaps with a system text and pictures.

Without prompt and pictures nothing is asked, see idle.py. `extras` keep `generate` to tell the
encoder. What bypasses the model's own template (`raw`, `template`, `suffix`), and tokens of an
earlier answer (`context`), no chat request can say.
"""

from __future__ import annotations

from engine.chat import ChatRequest, Message, Part, Text
from engine.dialects.reading import body_fields, model_of, read_body, take
from engine.errors import RequestError

from .parse import NAME, images, settings

MARK = "generate"


def parse(body: bytes) -> ChatRequest:
    """Raises RequestError: bad_request that names the field, or unsupported."""
    rest = body_fields(read_body(body))
    model = model_of(rest)
    for name in ("raw", "template", "suffix", "context"):
        if rest.pop(name, None):
            message = f"{name}: a prompt is sent as a conversation here"
            raise RequestError("unsupported", message, param=name)
    system, prompt = take(rest, "system", str), take(rest, "prompt", str)
    parts: list[Part] = [Text(prompt)] if prompt else []
    parts += images(rest, "")
    messages = [Message("system", [Text(system)], dialect=NAME)] if system and parts else []
    messages += [Message("user", parts, dialect=NAME)] if parts else []
    request = settings(ChatRequest(NAME, model, messages), rest)
    request.extras[MARK] = True
    return request
