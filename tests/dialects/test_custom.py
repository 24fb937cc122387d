from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.chat import ChatRequest, Message, Text, Tool, ToolCall
from engine.dialects import DIALECTS
from engine.dialects.custom import (
    Restorer,
    Unwrapper,
    as_function,
    calls_as_functions,
    restore,
    unwrap,
)
from engine.events import ArgsDelta, Close, Event, Finish, Open, Start, TextDelta, fold
from engine.wire import loads
from tests.grammar import check_chat_stream

PATCH = Tool("patch", "patches", kind="custom", extras={"format": {"definition": "start: x"}})
ASKED = ChatRequest("openai_chat", "m", [], [PATCH])


def test_a_custom_tool_becomes_a_function_of_one_string() -> None:
    made = as_function(PATCH)
    assert ("function", "patch") == (made.kind, made.name)
    assert made.description is not None
    assert made.description.startswith("patches\n")
    assert made.description.endswith("start: x")


def test_its_calls_become_calls_of_a_function() -> None:
    turn = Message("assistant", [Text("a"), ToolCall("c", "patch", 'x"', "custom")])
    assert [Text("a"), ToolCall("c", "patch", '{"input":"x\\""}')] == calls_as_functions(turn).parts
    plain = Message("assistant", [Text("a")])
    assert plain is calls_as_functions(plain)


def pieces(args: str, size: int) -> list[str]:
    unwrapper = Unwrapper()
    cut = [args[at : at + size] for at in range(0, len(args), size)]
    return [text for piece in cut if (text := unwrapper.feed(piece))] + [unwrapper.finish()]


@given(st.text(st.characters(codec="utf-8")), st.integers(1, 9), st.booleans(), st.booleans())
def test_row_22_any_text_comes_out_however_it_is_cut(
    text: str, size: int, ascii_only: bool, spaced: bool
) -> None:
    separators = (" , ", " : ") if spaced else (",", ":")
    args = json.dumps({"input": text}, ensure_ascii=ascii_only, separators=separators)
    assert text == "".join(pieces(args, size))


def test_the_text_streams() -> None:
    assert ["a", "b", "c", ""] == pieces('{"input":"abc"}', 1)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ("*** Begin Patch", "*** Begin Patch"),
        ('{"patch": "x"}', '{"patch": "x"}'),
        ('{"input": 1}', '{"input": 1}'),
        ('{"other": 1, "input": "x"}', "x"),
        ('{"input": "a\nb"}', "a\nb"),
        ('{"input": "a", "more": 1}', "a"),
        ("", ""),
        ("[]", "[]"),
    ],
)
def test_arguments_of_other_kinds_are_the_text(args: str, text: str) -> None:
    for size in (1, 3, 99):
        assert text == "".join(pieces(args, size))
    assert text == unwrap(args)


def test_a_call_that_is_cut_off_ends_where_it_ended() -> None:
    assert "abc" == "".join(pieces('{"input":"abc\\u00', 3))


def called(size: int = 4) -> list[Event]:
    args = '{"input":"*** 好"}'
    cut: list[Event] = [ArgsDelta(0, args[at : at + size]) for at in range(0, len(args), size)]
    return [Start(), Open(0, ToolCall("c", "patch", "")), *cut, Close(0), Finish("tool_calls")]


def test_events_of_other_blocks_pass() -> None:
    other: list[Event] = [Open(1, ToolCall("d", "f", "")), ArgsDelta(1, "{}"), TextDelta(2, "a")]
    assert other == Restorer(ASKED).feed(other)
    assert other is Restorer(None).feed(other)


def test_a_chat_client_gets_its_custom_calls_back() -> None:
    chat = DIALECTS["openai_chat"]
    chunks = check_chat_stream(chat.encoder("r", "m", 7, False, ASKED).feed(called()))
    calls = [c["choices"][0]["delta"].get("tool_calls", [{}])[0] for c in chunks]
    assert "custom" == calls[1]["type"]
    assert "*** 好" == "".join(call.get("custom", {}).get("input", "") for call in calls)
    body = loads(chat.reply(fold(called()), "r", "m", 7, ASKED))
    assert "*** 好" in str(body)
    assert "'custom'" in str(body)


def test_whole_answers() -> None:
    parts = fold(called()).parts
    assert [ToolCall("c", "patch", "*** 好", "custom")] == restore(parts, ASKED)
    assert parts is restore(parts, None)
