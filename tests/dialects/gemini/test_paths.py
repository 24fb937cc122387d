from __future__ import annotations

import json

import pytest

from engine.dialects.contract import Target
from engine.dialects.gemini.paths import locate, reframe


@pytest.mark.parametrize("version", ["/v1beta", "/v1", "/v1alpha"])
@pytest.mark.parametrize("model", ["gemini-2.5-pro", "route/model", "llama3:8b"])
def test_model_and_method_stand_in_the_path(version: str, model: str) -> None:
    path = f"{version}/models/{model}:"
    assert ("chat", Target(model, False)) == locate("POST", path + "generateContent")
    assert ("chat", Target(model, True)) == locate("POST", path + "streamGenerateContent")
    assert ("count_tokens", Target(model, False)) == locate("POST", path + "countTokens")


def test_a_model_may_be_escaped() -> None:
    found = locate("POST", "/v1beta/models/a%2Fb:generateContent")
    assert ("chat", Target("a/b", False)) == found


def test_models_are_listed() -> None:
    assert ("models", Target()) == locate("GET", "/v1beta/models")
    assert ("model", Target("m")) == locate("GET", "/v1beta/models/m")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models"),  # answered for all clients elsewhere
        ("GET", "/v1/models/m"),
        ("GET", "/v1beta/models/"),
        ("GET", "/v1beta/models/m:generateContent".replace("models", "files")),
        ("POST", "/v1beta/models/m"),
        ("POST", "/v1beta/models/m:embedContent"),
        ("POST", "/v1beta/models/:generateContent"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/models/m:generateContent"),
        ("PUT", "/v1beta/models/m:generateContent"),
    ],
)
def test_everything_else_is_not_here(method: str, path: str) -> None:
    assert locate(method, path) is None


def test_a_stream_is_an_array_unless_events_are_asked_for() -> None:
    assert reframe(Target("m", True, {"alt": "sse"})) is None
    form = reframe(Target("m", True, {"alt": "json"}))
    assert form is not None
    pieces = [b"", b'data: {"a":1}\n\ndata: {"b":2}\r\n\r\n', b"", b'data: {"c":3}\n\n']
    data = b"".join(map(form.feed, pieces)) + form.end()
    assert [{"a": 1}, {"b": 2}, {"c": 3}] == json.loads(data)
    assert data == b'[{"a":1},\n{"b":2},\n{"c":3}]'


def test_an_array_of_nothing_is_empty() -> None:
    form = reframe(Target())
    assert form is not None
    assert form.feed(b"") + form.end() == b"[]"
