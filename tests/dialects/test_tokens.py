from __future__ import annotations

import pytest

from engine.chat import (
    ChatRequest,
    Media,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from engine.dialects.tokens import FACTOR, estimate, estimate_text, said, weight

# Real counts of the o200k vocabulary for these texts.
ENGLISH = "The quick brown fox jumps over the lazy dog. " * 20  # 10 a sentence
CHINESE = "今天天气很好，我们去公园散步。" * 20  # about 11 a sentence


def chat(*parts: object, **more: object) -> int:
    message = Message("user", list(parts))  # type: ignore[arg-type]
    return estimate(ChatRequest("openai_chat", "m", [message], **more))  # type: ignore[arg-type]


@pytest.mark.rows("TR-54")
@pytest.mark.parametrize(("text", "real"), [(ENGLISH, 200), (CHINESE, 220)])
def test_text_is_never_undercounted_and_not_far_over(text: str, real: int) -> None:
    assert real <= estimate_text(text) <= 1.6 * real


@pytest.mark.parametrize("text", ["Ünïcödé Wörter überall", "Привет, мир", "👍👍", "a\ud83d"])
def test_other_scripts_count_more_than_ascii_of_the_same_length(text: str) -> None:
    assert estimate_text(text) >= estimate_text("x" * len(text))


def test_nothing_is_nothing() -> None:
    assert estimate_text("") == 0


def test_the_factor_is_the_routes() -> None:
    assert estimate_text("x" * 400, 1.0) == 100
    assert estimate_text("x" * 400) == 100 * FACTOR


def test_every_message_costs_something() -> None:
    assert chat() == 4


@pytest.mark.parametrize(
    "part",
    [
        Text("x" * 400),
        Reasoning("x" * 400),
        Reasoning(summary=["x" * 200, "x" * 200]),
        Refusal("x" * 400),
        ToolCall("i", "f", "x" * 400),
        ToolResult("i", [Text("x" * 400)]),
        Opaque("d", "k", {"text": "x" * 400}),
    ],
)
def test_text_counts_wherever_it_stands(part: object) -> None:
    assert 120 <= chat(part) <= 150


def test_base64_is_not_text() -> None:
    small, large = Media("image", data="A" * 400), Media("image", data="A" * 4_000_000)
    assert chat(small) == chat(large) == 1604


def test_files_go_by_their_size() -> None:
    assert chat(Media("file", mime="application/pdf", data="A" * 400)) == 1604
    assert chat(Media("file", mime="text/plain", data="A" * 53_333)) == 10_004
    assert chat(Media("file", mime="application/pdf", data="A" * 40_000_000)) == 60_004
    assert chat(Media("file", file_id="f")) == 1604


def test_tools_count_with_their_schema() -> None:
    tool = Tool("f", "d" * 200, {"type": "object", "x": "y" * 200})
    hosted = Tool("web_search", kind="hosted", raw={"type": "web_search", "x": "y" * 400})
    assert 130 <= chat(tools=[tool]) - chat() <= 160
    assert 120 <= chat(tools=[hosted]) - chat() <= 160


def test_the_pieces_of_a_text_weigh_what_it_weighs() -> None:
    for text in (ENGLISH, CHINESE):
        assert weight(text) == pytest.approx(sum(map(weight, text)))


def test_calls_and_thinking_of_an_answer_count_as_its_text_does() -> None:
    parts: list[Part] = [
        Text("x" * 40),
        Reasoning("x" * 40),
        Refusal("x" * 40),
        ToolCall("i", "f", "x" * 39),
    ]
    assert [10, 10, 10, 10] == list(map(said, parts))
    assert 0 == said(Opaque("d", "k", {}))
