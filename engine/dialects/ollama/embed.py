"""Embeddings as Ollama's clients ask for them: /api/embed for one or many texts, and the older
/api/embeddings for one. Both go to an upstream as the OpenAI API has it.
"""

from __future__ import annotations

from functools import partial

from engine.dialects.embedding import Embedding, vectors
from engine.dialects.reading import body_fields, model_of, read_body, take
from engine.errors import RequestError
from engine.wire import dumps

Fields = dict[str, object]


def read_request(body: bytes, *, older: bool) -> Embedding:
    """Raises RequestError: bad_request, or unsupported for `truncate: false` and options."""
    rest = body_fields(read_body(body))
    model = model_of(rest)
    field = "prompt" if older else "input"
    given = rest.get(field)
    if given in (None, "", []) or not isinstance(given, str | list):
        raise RequestError("bad_request", f"{field}: must not be empty", param=field)
    if rest.get("options") or take(rest, "truncate", bool) is False:
        message = "options, truncate: the upstream of this model cannot be told"
        raise RequestError("unsupported", message, param="options")
    wanted: Fields = {"input": given}
    size = take(rest, "dimensions", int)
    if size is not None:
        wanted["dimensions"] = size
    return Embedding(
        model, "float", partial(_sent, wanted), partial(_older if older else _reply, model)
    )


def _sent(wanted: Fields, upstream: str, told: bool) -> bytes:
    form = {"encoding_format": "float"} if told else {}
    return dumps({"model": upstream, **wanted, **form})


def _reply(model: str, answer: Fields) -> object:
    usage = answer.get("usage")
    read = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return {
        "model": model,
        "embeddings": [item["embedding"] for item in vectors(answer)],
        "total_duration": 0,
        "load_duration": 0,
        "prompt_eval_count": read or 0,
    }


def _older(model: str, answer: Fields) -> object:
    found = [item["embedding"] for item in vectors(answer)]
    return {"embedding": found[0] if found else []}
