"""trim_history: old turns go whole, calls and results together, the newest never."""

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.route.transforms import instantiate, load
from engine.transform import (
    OMIT,
    ChatRequest,
    Context,
    Media,
    Message,
    Part,
    Reasoning,
    Refuse,
    Role,
    Template,
    Text,
    ToolCall,
    ToolResult,
)

PATH = Path(__file__).parents[2] / "transforms" / "trim_history.py"
SHIPPED = load("trim_history", PATH.read_bytes(), "transforms/trim_history.py")


def say(role: Role, text: str) -> Message:
    return Message(role, [Text(text)])


def call(*ids: str) -> Message:
    return Message("assistant", [ToolCall(i, "look", "{}") for i in ids])


def result(call_id: str, text: str = "seen", role: Role = "tool") -> Message:
    return Message(role, [ToolResult(call_id, [Text(text)])])


S = say("system", "sys")
U1, A1 = say("user", "u1"), say("assistant", "a1")
U2, A2 = say("user", "u2"), say("assistant", "a2")
U3 = say("user", "u3")
TALK = [S, U1, A1, U2, A2, U3]


def trim(talk: list[Message], /, *, previous: str | None = None, **options: Any) -> list[Message]:
    assert SHIPPED.options is not None
    context = Context("route", previous=previous)
    transform = instantiate(SHIPPED, SHIPPED.options(**options), context)
    shaped: ChatRequest = transform.shape(ChatRequest("openai_chat", "m", list(talk)))
    return shaped.messages


def test_without_a_limit_nothing_goes() -> None:
    assert trim(TALK) == TALK
    assert trim([]) == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"turns": 3}, TALK),
        ({"turns": 2}, [S, U2, A2, U3]),
        ({"turns": 1}, [S, U3]),
        ({"messages": 5}, [S, U2, A2, U3]),
        ({"messages": 1}, [S, U3]),
        ({"chars": 13}, TALK),
        ({"chars": 12}, [S, U2, A2, U3]),
        ({"tokens": 3}, [S, U2, A2, U3]),
        ({"turns": 3, "chars": 5}, [S, U3]),
        ({"turns": 2, "keep": ["last"]}, [U2, A2, U3]),
        ({"messages": 1, "keep": ["system", "last", "first"]}, [S, U1, U3]),
        ({"turns": 2, "keep": ["system", "last", "first"]}, [S, U1, U2, A2, U3]),
        ({"turns": 1, "keep": ["system", "last", "first"]}, [S, U1, U3]),
    ],
)
def test_the_oldest_turns_go_until_the_limit_holds(
    options: dict[str, Any], expected: list[Message]
) -> None:
    assert trim(TALK, **options) == expected


def test_tokens_are_utf8_bytes_by_four() -> None:
    talk = [say("user", "你好"), say("assistant", "好"), say("user", "abc")]  # 12 bytes
    assert trim(talk, tokens=3) == talk
    assert trim([*talk, say("user", "d")], tokens=3) == [talk[2], say("user", "d")]


def test_all_text_of_a_message_counts_and_media_do_not() -> None:
    parts: list[Part] = [Reasoning("12"), ToolCall("c", "34", "56"), Media("image", data="x" * 99)]
    old = Message("assistant", parts)
    talk = [say("user", ""), old, result("c", "78"), U3]
    assert trim(talk, chars=10) == talk
    assert trim(talk, chars=9) == [U3]


def test_the_newest_is_sent_even_when_it_is_too_long() -> None:
    assert trim([*TALK, say("user", "x" * 50)], chars=10) == [S, say("user", "x" * 50)]


def test_without_keep_last_it_is_refused_instead() -> None:
    with pytest.raises(Refuse) as caught:
        trim([*TALK, say("user", "x" * 50)], chars=10, keep=["system"])
    assert caught.value.cls == "context_length"
    assert trim(TALK, chars=10, keep=["system"]) == [S, U2, A2, U3]


def test_inside_the_newest_turn_old_tool_rounds_go_before_the_question() -> None:
    rounds = [call("a", "b"), result("b"), result("a"), call("c"), result("c")]
    turn = [U3, *rounds, call("d"), result("d")]
    assert trim([S, U1, A1, *turn], messages=6) == [S, U3, *turn[4:]]
    assert trim([S, U1, A1, *turn], messages=1) == [S, U3, *turn[6:]]


def test_results_in_user_messages_begin_no_turn() -> None:
    turn = [U1, call("a"), result("a", role="user"), A1]
    assert trim([*turn, U2], turns=1) == [U2]
    assert trim([*turn, U2], turns=2) == [*turn, U2]


def test_a_late_result_keeps_its_call_and_all_between() -> None:
    late = [call("a"), say("user", "wait"), A1, result("a")]
    assert trim([U1, *late, U2], messages=5) == [U2]
    assert trim([U1, A2, U1, *late, U2], messages=6) == [U1, *late, U2]


def test_an_overflow_halves_what_was_sent() -> None:
    talk = [say("user", "x" * 10)] * 8
    assert trim(talk) == talk
    assert trim(talk, previous="context_length") == talk[4:]
    assert trim(talk, previous="context_length", turns=4) == talk[6:]
    assert trim(talk, previous="rate_limited", turns=4) == talk[4:]
    assert trim(talk, previous="context_length", on_overflow="nothing") == talk


def test_an_overflow_that_cannot_be_halved_is_refused_without_another_call() -> None:
    with pytest.raises(Refuse) as caught:
        trim([S, U3], previous="context_length")
    assert caught.value.cls == "context_length"


@pytest.mark.parametrize("name", ["turns", "messages", "chars", "tokens"])
def test_a_limit_below_one_is_refused(name: str) -> None:
    options: dict[str, Any] = {name: 0}
    with pytest.raises(ValueError, match=name):
        trim(TALK, **options)


def test_the_loader_knows_that_context_length_is_worth_a_retry() -> None:
    assert SHIPPED.retries == ("context_length",)


def pieces(step: tuple[str, int]) -> list[Message]:
    """Some messages of one kind; the number makes ids and texts differ."""
    kind, n = step
    match kind:
        case "ask":
            return [say("user", f"u{n}")]
        case "say":
            return [say("assistant", f"a{n}")]
        case "tool":
            return [call(f"c{n}", f"d{n}"), result(f"d{n}"), result(f"c{n}")]
        case "user tool":
            return [call(f"c{n}"), result(f"c{n}", role="user")]
        case "late":
            return [call(f"c{n}"), say("user", f"w{n}"), result(f"c{n}")]
        case _:
            return [say("system", f"s{n}")]


def ids(messages: list[Message], kind: type[ToolCall] | type[ToolResult]) -> set[str]:
    parts = [part for message in messages for part in message.parts if isinstance(part, kind)]
    return {part.id if isinstance(part, ToolCall) else part.call_id for part in parts}


@given(
    kinds=st.lists(
        st.sampled_from(["ask", "say", "tool", "user tool", "late", "system"]),
        min_size=1,
        max_size=14,
    ),
    options=st.dictionaries(
        st.sampled_from(["turns", "messages", "chars", "tokens"]), st.integers(1, 20), max_size=2
    ),
    previous=st.sampled_from([None, "context_length"]),
)
def test_calls_and_results_are_never_parted(
    kinds: list[str], options: dict[str, Any], previous: str | None
) -> None:
    talk = [message for n, kind in enumerate(kinds) for message in pieces((kind, n))]
    try:
        sent = trim(talk, previous=previous, **options)
    except Refuse:
        assert previous == "context_length"
        return
    assert ids(sent, ToolCall) == ids(sent, ToolResult)
    assert sent == [message for message in talk if message in sent]  # order kept, nothing invented
    assert talk[-1] in sent
    assert [m for m in talk if m.role == "system"] == [m for m in sent if m.role == "system"]


def test_a_very_long_conversation_costs_linear_time() -> None:
    talk = [m for n in range(5000) for m in pieces(("tool", n))]
    start = time.perf_counter()
    assert len(trim([U1, *talk], tokens=100)) < 70
    assert time.perf_counter() - start < 5  # measured: 0.1 s; the budget on the loop is 0.5 s


def test_a_summary_stands_in_the_place_of_what_went() -> None:
    told = Template("{{ … }}", lambda env: " earlier \n").bind({})
    summary = say("system", "earlier")
    assert [S, summary, U3] == trim(TALK, turns=1, summary=told)
    assert TALK == trim(TALK, turns=3, summary=told)


@pytest.mark.parametrize("said", ["", " ", OMIT])
def test_a_summary_that_says_nothing_is_none(said: object) -> None:
    assert [S, U3] == trim(TALK, turns=1, summary=Template("{{ … }}", lambda env: said).bind({}))
