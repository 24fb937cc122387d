"""The conversation's words."""

from __future__ import annotations

from engine.chat import (
    ChatRequest,
    Media,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    text_of,
)


def test_the_text_of_a_message_joins_what_was_said_and_nothing_else() -> None:
    message = Message(
        "assistant",
        [
            Reasoning("thinking"),
            Text("one "),
            Media("image", url="https://a.example/x.png"),
            Refusal("two "),
            ToolCall("c1", "f", "{}"),
            ToolResult("c1", [Text("three "), ToolResult("c2", [Text("four")])]),
            Opaque("gemini", "x", {}),
        ],
    )
    assert message.text == "one two \nthree \nfour"
    assert text_of([]) == ""


def test_results_of_tools_have_lines_of_their_own() -> None:
    results: list[Part] = [ToolResult("c1", [Text("rain")]), ToolResult("c2", [Text("sun")])]
    said = [*results, Text("a"), Text("b")]
    assert "rain\nsun\nab" == Message("user", said).text


def test_texts_of_a_tools_result_are_things_of_their_own() -> None:
    parts: list[Part] = [Text("a"), Media("image"), Text(""), Text("b")]
    assert ToolResult("c1", parts).text == "a\nb"


def test_requests_do_not_share_their_lists() -> None:
    one, two = ChatRequest("d", "m", []), ChatRequest("d", "m", [])
    one.tools.append(None)  # type: ignore[arg-type]
    one.dropped.append("x")
    one.extras["a"] = 1
    assert (two.tools, two.dropped, two.extras, two.sampling) == ([], [], {}, one.sampling)
    assert one.sampling is not two.sampling
