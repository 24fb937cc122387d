from __future__ import annotations

import pytest

from engine.chat import ToolCall
from engine.dialects.arguments import arguments, object_of, unsaid


def call(args: str) -> ToolCall:
    return ToolCall("a", "look", args)


@pytest.mark.parametrize("args", ["", " \n", "{}", "null", " null\n"])
def test_no_arguments_are_an_empty_object(args: str) -> None:
    assert {} == object_of(call(args)) == arguments(call(args))


def test_an_object_stays_what_it_is() -> None:
    assert {"x": 1} == object_of(call(' {"x": 1}')) == arguments(call(' {"x": 1}'))


@pytest.mark.parametrize(("args", "held"), [("[1]", [1]), ("nul", "nul"), ('{"x', '{"x')])
def test_what_is_no_object_is_put_into_one_only_in_a_history(args: str, held: object) -> None:
    assert object_of(call(args)) is None
    assert {"arguments": held} == arguments(call(args))


def test_a_number_too_large_to_keep_stays_in_the_text_of_the_arguments() -> None:
    assert {"arguments": '{"x":1e400}'} == arguments(ToolCall("c", "f", '{"x":1e400}'))


def test_free_text_is_the_input() -> None:
    assert {"input": "null"} == arguments(ToolCall("a", "patch", "null", "custom"))


def test_a_beginning_may_turn_out_to_be_nothing() -> None:
    assert [True] * 4 == [unsaid(text) for text in ("", " \n", " nu", "null ")]
    assert [False] * 3 == [unsaid(text) for text in (" {", "nulls", "1")]
