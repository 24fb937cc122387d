from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from engine.chat import Citation, Media, Opaque, Reasoning, Text, ToolCall
from engine.dialects.gemini.decode import StreamDecoder, WholeDecoder, decode_whole, read_usage
from engine.events import (
    CitationDelta,
    ErrorEvent,
    Event,
    Finish,
    Reply,
    Start,
    TextDelta,
    Usage,
    UsageEvent,
    fold,
)
from engine.wire import Record
from tests.grammar import check_events

NAME = "gemini"
HEAD = {"responseId": "r", "modelVersion": "up"}
COUNTS = {"promptTokenCount": 9, "candidatesTokenCount": 2, "totalTokenCount": 11}


def chunk(*parts: object, finish: str | None = None, **more: object) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], **HEAD, **more}


def events(*chunks: object) -> list[Event]:
    numbers = count()
    decoder = StreamDecoder(lambda: f"made_{next(numbers)}")
    found = [event for value in chunks for event in decoder.feed(Record("", b"x", value))]
    found += decoder.finish()
    check_events(found, source=True)
    return found


def answer(*chunks: object) -> Reply:
    return fold(events(*chunks))


def text(*pieces: str) -> list[dict[str, Any]]:
    return [{"text": piece} for piece in pieces]


def test_text_in_pieces_is_one_block() -> None:
    found = events(chunk(*text("Hé")), chunk(*text("l", "lo")), chunk(*text(""), finish="STOP"))
    assert [TextDelta(0, "Hé"), TextDelta(0, "l"), TextDelta(0, "lo")] == [
        event for event in found if isinstance(event, TextDelta)
    ]
    assert (Start("r", "up"), Finish("stop", "STOP")) == (found[0], found[-1])


def test_a_call_is_whole_and_has_an_id() -> None:
    calls = [
        {"functionCall": {"name": "f", "args": {"a": 1}}},
        {"functionCall": {"name": "g", "id": "own"}},
    ]
    found = answer(chunk(*text("so "), *calls, finish="STOP"))
    assert [
        Text("so "), ToolCall("made_0", "f", '{"a":1}'), ToolCall("own", "g", "{}")
    ] == found.parts  # fmt: skip


def test_row_11_stop_with_calls_is_tool_calls() -> None:
    assert answer(chunk({"functionCall": {"name": "f"}}, finish="STOP")).finish == "tool_calls"


def test_thoughts_and_signatures() -> None:
    found = answer(
        chunk({"text": "well, ", "thought": True}),
        chunk({"text": "so", "thought": True}),
        chunk({"functionCall": {"name": "f"}, "thoughtSignature": "s0"}),
        chunk({"functionCall": {"name": "f"}}),
        chunk({"text": "", "thoughtSignature": "s1"}, finish="STOP"),
    )
    assert [
        Reasoning("well, so", origin=NAME),
        Reasoning(signature="s0", origin=NAME),
        ToolCall("made_0", "f", "{}"),
        ToolCall("made_1", "f", "{}"),
        Reasoning(signature="s1", origin=NAME, extras={"text": ""}),
    ] == found.parts


def test_a_signed_thought_and_a_signed_text() -> None:
    found = answer(
        chunk({"text": "hm", "thought": True, "thoughtSignature": "s0"}),
        chunk({"text": "a", "thoughtSignature": "s1"}, finish="STOP"),
    )
    assert [
        Reasoning("hm", signature="s0", origin=NAME),
        Reasoning(signature="s1", origin=NAME),
        Text("a"),
    ] == found.parts


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("RECITATION", "content_filter"),
        ("OTHER", "other"),
        ("X_NEW", "other"),
        ("MALFORMED_FUNCTION_CALL", "other"),
    ],
)
def test_why_an_answer_ended(raw: str, reason: str) -> None:
    found = answer(chunk(*text("a"), finish=raw))
    assert (reason, raw) == (found.finish, found.raw_finish)


def test_a_malformed_call_and_nothing_else_is_an_error() -> None:
    value = chunk(finish="MALFORMED_FUNCTION_CALL")
    value["candidates"][0]["finishMessage"] = "Malformed function call: print("
    assert answer(value).error == ErrorEvent(
        "retryable", "Malformed function call: print(", code="MALFORMED_FUNCTION_CALL"
    )


def test_nor_are_thoughts_before_a_malformed_call_an_answer() -> None:
    for thoughts in ([{"text": "hm", "thought": True}], [{"text": "", "thoughtSignature": "c2ln"}]):
        found = answer(chunk(*thoughts), chunk(finish="MALFORMED_FUNCTION_CALL"))
        assert found.error is not None
        assert ("retryable", "") == (found.error.cls, found.finish)


def test_a_refused_prompt_has_no_candidates() -> None:
    found = answer({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": COUNTS, **HEAD})
    assert ("content_filter", "SAFETY", 9) == (
        found.finish, found.raw_finish, found.usage and found.usage.input
    )  # fmt: skip


def test_only_the_first_candidate_is_read() -> None:
    value = chunk(*text("a"), finish="STOP")
    other = {"content": {"parts": text("b")}, "index": 1, "finishReason": "MAX_TOKENS"}
    value["candidates"].insert(0, other)
    assert ("a", "stop") == (answer(value).text, answer(value).finish)


def test_chunks_without_content_say_nothing() -> None:
    found = answer(
        {**HEAD, "usageMetadata": COUNTS}, {"candidates": []}, {"candidates": [{}]},
        {"candidates": [{"content": {"role": "model"}}]}, chunk(None, {}, *text("a")),
        chunk(finish="STOP"),
    )  # fmt: skip
    assert ([Text("a")], "stop") == (found.parts, found.finish)


def test_pictures_and_what_the_providers_tools_left() -> None:
    code = {"executableCode": {"language": "PYTHON", "code": "1"}}
    image = {"inlineData": {"mimeType": "image/png", "data": "A-_="}}
    found = answer(chunk(code, image, finish="STOP"))
    assert [Opaque(NAME, "executableCode", code), Media("image", "image/png", "A+/=")] == (
        found.parts
    )


def test_row_53_pages_that_were_searched_are_citations() -> None:
    value = chunk(*text("a"), finish="STOP")
    value["candidates"][0]["groundingMetadata"] = {
        "groundingChunks": [{"web": {"uri": "https://a", "title": "A"}}, {"web": {}}],
        "groundingSupports": [{"segment": {"text": "a"}, "groundingChunkIndices": [0]}],
    }
    value["candidates"][0]["citationMetadata"] = {"citationSources": [{"uri": "https://b"}]}
    found = [event.citation for event in events(value) if isinstance(event, CitationDelta)]
    assert [Citation("web", "https://a", "A", "a"), Citation("web", "https://b")] == found


def test_what_is_said_of_a_prompt_that_was_blocked_stays_with_the_finish() -> None:
    feedback = {"blockReason": "SAFETY", "blockReasonMessage": "not that"}
    (*_, last) = events({"promptFeedback": feedback})
    assert Finish("content_filter", "SAFETY", details={"finishMessage": "not that"}) == last


def test_documents_places_and_pictures_are_citations_too() -> None:
    value = chunk(*text("a"), finish="STOP")
    value["candidates"][0]["groundingMetadata"] = {
        "groundingChunks": [
            {"retrievedContext": {"uri": "gs://a", "title": "A", "text": "x"}},
            {"retrievedContext": {"title": "only a name"}},
            {"maps": {"uri": "https://maps", "title": "M"}},
            {"image": {"sourceUri": "https://page", "imageUri": "https://picture"}},
            {"new": {"uri": "https://n"}},
        ]
    }
    found = [event.citation for event in events(value) if isinstance(event, CitationDelta)]
    assert [
        ("gs://a", "A"),
        (None, "only a name"),
        ("https://maps", "M"),
        ("https://page", None),
    ] == [(each.url, each.title) for each in found]


def test_a_file_by_its_address_is_media() -> None:
    raw = {"fileData": {"mimeType": "image/png", "fileUri": "https://a", "displayName": "x.png"}}
    assert [Media("image", "image/png", url="https://a", name="x.png")] == (
        answer(chunk(raw, finish="STOP")).parts
    )
    nameless = {"fileData": {"mimeType": "image/png"}}
    assert [Opaque(NAME, "fileData", nameless)] == answer(chunk(nameless, finish="STOP")).parts


def test_sources_belong_to_the_text_though_a_signature_comes_with_them() -> None:
    pages = {"groundingChunks": [{"web": {"uri": "https://a", "title": "A"}}]}
    signed = chunk({"text": "", "thoughtSignature": "c2ln"}, finish="STOP")
    signed["candidates"][0]["groundingMetadata"] = pages
    for values in (
        [chunk(*text("a")), signed],
        [{**signed, "candidates": [{**signed["candidates"][0], "content": {
            "role": "model", "parts": [*text("a"), {"text": "", "thoughtSignature": "c2ln"}]}}]}],
    ):  # fmt: skip
        found = [event.citation for event in events(*values) if isinstance(event, CitationDelta)]
        assert [Citation("web", "https://a", "A")] == found


def test_sources_that_a_stream_repeats_are_told_once() -> None:
    """Chunks may carry all that was found so far."""
    first, last = chunk(*text("a")), chunk(*text("b"), finish="STOP")
    for value, found in ((first, "a"), (last, "ab")):
        pages = [{"web": {"uri": f"https://{name}", "title": name}} for name in found]
        value["candidates"][0]["groundingMetadata"] = {"groundingChunks": pages}
    cited = [event.citation.url for event in events(first, last)
             if isinstance(event, CitationDelta)]  # fmt: skip
    assert ["https://a", "https://b"] == cited


def test_sources_that_come_with_a_call_are_told() -> None:
    value = chunk({"functionCall": {"name": "f", "args": {}}}, finish="STOP")
    value["candidates"][0]["citationMetadata"] = {"citationSources": [{"uri": "https://b"}]}
    assert CitationDelta(-1, Citation("web", "https://b")) in events(value)


# ---- usage ----


def test_counts() -> None:
    raw: dict[str, object] = {
        "promptTokenCount": 10, "toolUsePromptTokenCount": 5, "cachedContentTokenCount": 3,
        "candidatesTokenCount": 7, "thoughtsTokenCount": 2, "totalTokenCount": 24,
    }  # fmt: skip
    assert Usage(15, 9, cache_read=3, reasoning=2, raw=raw) == read_usage(raw)
    assert Usage(raw={}) == read_usage({})
    assert Usage(0, 0, raw={"promptTokenCount": -1, "candidatesTokenCount": -4}) == read_usage(
        {"promptTokenCount": -1, "candidatesTokenCount": -4}
    )


def test_row_48_counts_of_the_last_chunk_hold() -> None:
    grown = {**COUNTS, "candidatesTokenCount": 5}
    found = answer(
        chunk(*text("a"), usageMetadata=COUNTS), chunk(finish="STOP", usageMetadata=grown)
    )
    assert (9, 5) == (found.usage.input, found.usage.output)  # type: ignore[union-attr]


def test_usage_may_follow_the_finish() -> None:
    found = events(chunk(*text("a"), finish="STOP"), {"usageMetadata": COUNTS})
    assert isinstance(found[-1], UsageEvent)


# ---- errors ----

ERROR = {"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}


@pytest.mark.parametrize("value", [ERROR, [ERROR]])
def test_row_19_an_error_ends_the_answer(value: object) -> None:
    found = events(chunk(*text("a")), value, chunk(*text("b"), finish="STOP"))
    assert ErrorEvent("overloaded", "busy", code="503") == found[-1]


def test_after_the_finish_nothing_fails_any_more() -> None:
    assert events(chunk(*text("a"), finish="STOP"), ERROR, chunk(*text("b")))[-1] == Finish(
        "stop", "STOP"
    )


def test_what_is_no_chunk_is_an_error() -> None:
    (found,) = events("words")
    assert isinstance(found, ErrorEvent)
    assert StreamDecoder(str).feed(Record("", b" ", None)) == []


def test_an_answer_that_breaks_off_has_no_finish() -> None:
    assert not any(isinstance(event, Finish) for event in events(chunk(*text("a"))))


# ---- whole answers ----


def whole(value: object) -> Reply:
    found = decode_whole(value, lambda: "made")
    check_events(found)
    return fold(found)


def test_a_whole_answer() -> None:
    found = whole(chunk(*text("a"), finish="MAX_TOKENS", usageMetadata=COUNTS))
    assert ("a", "length", 9) == (found.text, found.finish, found.usage and found.usage.input)


def test_a_whole_answer_without_a_reason_has_stopped() -> None:
    assert whole(chunk(*text("a"))).finish == "stop"


def test_a_list_of_chunks_is_a_stream_that_came_at_once() -> None:
    found = whole([chunk(*text("a")), chunk(*text("b"), finish="STOP", usageMetadata=COUNTS)])
    assert ("ab", "stop") == (found.text, found.finish)
    cut = whole([chunk(*text("a"))])
    assert cut.error is not None
    assert cut.error.cls == "truncated"


@pytest.mark.parametrize(
    ("value", "cls"),
    [
        (ERROR, "overloaded"),
        ([ERROR], "overloaded"),
        ({}, "empty_response"),
        ({"candidates": []}, "empty_response"),
        ("words", "retryable"),
        ([], "truncated"),
    ],
)
def test_what_is_no_answer(value: object, cls: str) -> None:
    found = whole(value)
    assert found.error is not None
    assert cls == found.error.cls


def test_a_page_is_no_answer() -> None:
    (found,) = WholeDecoder(str).feed(Record("", b"<html>", None))
    assert isinstance(found, ErrorEvent)
    assert WholeDecoder(str).finish() == []


def test_a_picture_among_the_thoughts_is_told_in_words() -> None:
    part = {"thought": True, "inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
    answer = {"candidates": [{"content": {"parts": [part, {"text": "a"}]}, "finishReason": "STOP"}]}
    reply = fold(decode_whole(answer, lambda: "c"))
    words = "[image (image/png) of 8 bytes left out: this API's answers cannot hold it]"
    assert (words, "a") == (reply.reasoning, reply.text)
