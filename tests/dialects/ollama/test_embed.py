from __future__ import annotations

import json
from typing import Any

import pytest

from engine.dialects.ollama.embed import read_request
from engine.errors import RequestError
from engine.events import Usage
from engine.wire import dumps

ANSWER = dumps(
    {
        "object": "list", "model": "up", "usage": {"prompt_tokens": 4, "total_tokens": 4},
        "data": [{"object": "embedding", "index": 0, "embedding": "AAAAPwAAoL8AAEBA"},
                 {"object": "embedding", "index": 1, "embedding": [1, 2]}],
    }
)  # fmt: skip


def test_many_texts() -> None:
    body = {"model": "m", "input": ["a", "b"], "dimensions": 3, "truncate": True, "keep_alive": 0}
    asked = read_request(dumps(body), older=False)
    assert json.loads(asked.body("up", True)) == {
        "model": "up", "input": ["a", "b"], "dimensions": 3, "encoding_format": "float",
    }  # fmt: skip
    assert "encoding_format" not in json.loads(asked.body("up", False))
    said, usage = asked.read(ANSWER)
    assert json.loads(said) == {
        "model": "m", "embeddings": [[0.5, -1.25, 3.0], [1, 2]], "total_duration": 0,
        "load_duration": 0, "prompt_eval_count": 4,
    }  # fmt: skip
    assert usage == Usage(4, 0, raw={"prompt_tokens": 4, "total_tokens": 4})


def test_one_text_at_the_older_place() -> None:
    asked = read_request(dumps({"model": "m", "prompt": "a"}), older=True)
    assert json.loads(asked.body("up", False)) == {"model": "up", "input": "a"}
    assert json.loads(asked.read(ANSWER)[0]) == {"embedding": [0.5, -1.25, 3.0]}


@pytest.mark.parametrize(
    ("fields", "kind", "param"),
    [
        ({"input": ""}, "bad_request", "input"),
        ({"input": 7}, "bad_request", "input"),
        ({"truncate": False}, "unsupported", "options"),
        ({"options": {"num_ctx": 1}}, "unsupported", "options"),
        ({"model": ""}, "bad_request", "model"),
    ],
)
def test_what_cannot_be_asked(fields: dict[str, Any], kind: str, param: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_request(dumps({"model": "m", "input": "a", **fields}), older=False)
    assert (caught.value.kind, caught.value.param) == (kind, param)
