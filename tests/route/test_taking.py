"""What later templates may read of an answer: found by paths and steps, or said to be missing."""

from __future__ import annotations

import pytest

from engine.errors import ExchangeError
from engine.options import Path
from engine.route.http_spec import StepSpec
from engine.route.pick import compile_path
from engine.route.taking import compile_takes, taken
from engine.route.values import compile_step
from engine.wire import HttpResponse

SAID = HttpResponse(201, (("Location", "/jobs/1"),), b'{"id":7,"empty":""}')


def found(spec: dict[str, Path | StepSpec], said: HttpResponse = SAID) -> dict[str, object]:
    takes = compile_takes(spec, lambda step: compile_step(step, None))
    return taken(takes, said, {}, "poll", "the answer")


def test_a_path_keeps_the_type_of_what_it_finds_and_a_step_gives_text() -> None:
    spec: dict[str, Path | StepSpec] = {
        "id": compile_path("$.id"),
        "next": StepSpec(header="location"),
    }
    assert {"id": 7, "next": "/jobs/1"} == found(spec)


@pytest.mark.parametrize("path", ["$.other", "$.empty"])
def test_what_is_not_there_is_named(path: str) -> None:
    with pytest.raises(ExchangeError) as caught:
        found({"id": compile_path(path)})
    error = caught.value
    assert ("retryable", "`poll.id` was not found in the answer") == (error.cls, error.message)


def test_in_what_is_no_json_a_path_finds_nothing() -> None:
    with pytest.raises(ExchangeError, match=r"poll\.id"):
        found({"id": compile_path("$.id")}, HttpResponse(200, (), b"<html>"))
