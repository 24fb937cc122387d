"""Which fields are text, thinking, end and counts, in streams of many shapes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.draft.infer import Reading, read_answer
from engine.draft.layout import bare, notes
from engine.wire import HttpResponse

ASKED = "Why is the sky blue?"
SAID = ["Because ", "air scatters ", "blue light ", "more than red."]
TEXT = "".join(SAID)


def read(*values: Any, body: str = "", done: str = "") -> Reading:
    lines = body or "".join(
        f"data: {json.dumps(value, ensure_ascii=False)}\n\n" for value in values
    )
    lines += f"data: {done}\n\n" if done else ""
    found = read_answer(HttpResponse(200, (), lines.encode()), ASKED)
    assert found is not None
    return found


def rules(reading: Reading) -> Any:
    return bare(reading.tree)["events"]


def test_pieces_stand_in_any_field() -> None:
    found = read(*({"id": "m-1", "n": at, "x": {"bit": piece}} for at, piece in enumerate(SAID)))
    assert ([{"text": "$.x.bit"}], TEXT) == (rules(found), found.text)
    assert ["guess: nothing in the answer tells that it is whole"] == list(notes(found.tree))


@pytest.mark.parametrize(
    ("texts", "reduce"),
    [
        (["Good", "Good day", "Good day to you."], "snapshot"),
        (["G", "Go", "Goo", "Good", "Good ,", "Good, day", "Good, day t", "Good, day to you."],
         "snapshot_tolerant"),
        (["你", "你好", "你好！"], "snapshot"),
    ],
)  # fmt: skip
def test_growing_texts_are_snapshots(texts: list[str], reduce: str) -> None:
    found = read(*({"answer": text} for text in texts), done="[DONE]")
    assert (reduce, "[DONE]", texts[-1]) == (found.tree["reduce"], found.tree["done"], found.text)


def test_two_snapshots_are_a_guess() -> None:
    found = read({"answer": "Good"}, {"answer": "Good day."}, done="[DONE]")
    assert ["guess: from two records only"] == list(notes(found.tree))


def test_repeated_pieces_are_no_snapshots() -> None:
    found = read(*({"piece": piece} for piece in ("ha", " ha", " ha", ", that is", " funny")))
    assert ("ha ha ha, that is funny", False) == (found.text, "reduce" in found.tree)


def test_a_field_that_names_the_kind_tells_records_apart() -> None:
    found = read(
        {"type": "meta", "content": ASKED},
        {"type": "thinking", "content": "Hm, the sky. "},
        *({"type": "answer", "content": piece} for piece in SAID),
        {"type": "end", "usage": {"input_tokens": 3, "output_tokens": 4}},
    )
    assert [
        {"match": {"type": "thinking"}, "reasoning": "$.content"},
        {"match": {"type": "answer"}, "text": "$.content"},
        {
            "match": {"type": "end"},
            "usage": {"input": "$.usage.input_tokens", "output": "$.usage.output_tokens"},
            "finish": "stop",
        },
        {"match": {"type": "meta"}, "ignore": True},
    ] == rules(found)
    assert (TEXT, "Hm, the sky. ") == (found.text, found.reasoning)


def test_a_flag_may_say_what_is_thinking() -> None:
    found = read(
        {"result": {"token": "Hm, the sky. ", "isThinking": True}},
        *({"result": {"token": piece, "isThinking": False}} for piece in SAID),
    )
    assert [
        {"match": {"result.isThinking": True}, "reasoning": "$.result.token"},
        {"match": {"result.isThinking": False}, "text": "$.result.token"},
    ] == rules(found)


def test_the_end_may_be_a_reason_a_flag_a_word_or_a_mark_in_the_text() -> None:
    why = read(*({"t": piece} for piece in SAID), {"t": "", "stop_reason": "eos"})
    assert [
        {
            "text": "$.t",
            "finish": {
                "path": "$.stop_reason",
                "map": {"length": "length", "max_tokens": "length", "*": "stop"},
            },
        }
    ] == rules(why)
    flag = read(*({"t": piece, "done": False} for piece in SAID), {"t": "", "done": True})
    assert [{"match": {"done": True}, "text": "$.t", "finish": "stop"}, {"text": "$.t"}] == rules(
        flag
    )
    word = read(*({"t": p, "status": "running"} for p in SAID), {"t": "", "status": "finished"})
    assert {"match": {"status": "finished"}, "text": "$.t", "finish": "stop"} == rules(word)[0]
    mark = read(*({"tag": "final", "content": piece} for piece in [*SAID, "[DONE]"]))
    assert [
        {"match": {"content": "[DONE]"}, "end": True},
        {"text": "$.content"},
    ] == rules(mark)
    assert TEXT == mark.text


def test_text_of_another_kind_at_the_same_place_is_named() -> None:
    first = {"type": "first", "text": "Well, "}
    found = read(first, *({"type": "more", "text": piece} for piece in SAID))
    assert "guess: `$.text` of first reads like text, too" in list(notes(found.tree))


def test_what_is_said_in_pieces_counts_not_its_repetition() -> None:
    pieces = [{"type": "answer", "content": piece} for piece in SAID]
    whole = {"type": "done", "content": f"{TEXT} What about sunsets, which are red?"}
    found = read(*pieces, whole)
    assert ({"match": {"type": "answer"}, "text": "$.content"}, TEXT) == (
        rules(found)[0],
        found.text,
    )
    assert ["guess: `$.content` of done reads like text, too"] == list(notes(found.tree))


def test_what_nothing_selects_comes_last() -> None:
    notes_ = [{"n": at, "type": "xy"[at % 2]} for at in range(8)]
    found = read({"t": SAID[0]}, *notes_, *({"t": piece} for piece in SAID[1:]))
    assert [{"match": {"type": ["x", "y"]}, "ignore": True}, {"text": "$.t"}] == rules(found)
    assert TEXT == found.text


def test_thinking_in_pieces_of_another_kind_is_a_guess() -> None:
    thoughts = ["The user asks ", "about scattering. "]
    grown = [{"thoughts": thought, "answer": ""} for thought in thoughts]
    grown += [{"answer": "".join(SAID[:at])} for at in range(1, 5)]
    found = read(*grown)
    assert "snapshot" == found.tree["reduce"]
    assert "guess: its pieces are of another kind than those of the text" in list(notes(found.tree))


def test_json_in_strings_is_opened_by_a_transform() -> None:
    def inside(text: str) -> dict[str, str]:
        return {"data": json.dumps({"parts": [json.dumps({"text": text})]}), "args": '{"a":1}'}

    found = read(*map(inside, SAID))
    assert [{"nested_json": {"at": ["data", "data.parts.0"]}}] == found.transforms
    assert ([{"text": "$.data.parts[0].text"}], TEXT) == (rules(found), found.text)


def test_lines_with_letters_are_opened() -> None:
    lines = ['f:{"messageId":"m-1"}', 'g:"Hm, let me see."', '0:"Not "', '0:"much."']
    lines += ['d:{"finishReason":"stop","usage":{"promptTokens":5,"completionTokens":9}}']
    found = read(body="\n".join(lines))
    inside = "$ | regex_search('^{}:(.*)') | from_json"
    assert [
        {"match": {"$": "/^g:/"}, "reasoning": inside.format("g")},
        {"match": {"$": "/^0:/"}, "text": inside.format("0")},
    ] == rules(found)[:2]
    assert inside.format("d") == rules(found)[2]["each"]
    assert ("Not much.", "Hm, let me see.") == (found.text, found.reasoning)


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ({"success": True, "data": {"message": "你好！"}},
         {"match": {"success": True}, "text": "$.data.message", "finish": "stop"}),
        ({"id": "a1", "question": ASKED, "answer": TEXT, "took": "12 ms"},
         {"text": "$.answer", "finish": "stop"}),
        ({"choices": [{"text": TEXT, "finish_reason": "length"}], "usage": {"prompt_tokens": 1}},
         {"text": "$.choices[0].text", "usage": {"input": "$.usage.prompt_tokens"},
          "finish": {"path": "$.choices[0].finish_reason",
                     "map": {"length": "length", "max_tokens": "length", "*": "stop"}}}),
    ],
)  # fmt: skip
def test_a_whole_answer(body: Any, rule: Any) -> None:
    found = read(body=json.dumps(body))
    assert ("response", [rule]) == (found.part, rules(found))


def test_how_a_whole_answer_fails_is_a_guess() -> None:
    found = read(body='{"ok":true,"reply":"Well, hello."}')
    assert [{"match": {"ok": False}, "as": "retryable"}] == bare(found.errors)
    assert ["guess: how a failure looks"] == list(notes(found.errors))


def test_thinking_between_tags_is_taken_out_by_a_transform() -> None:
    found = read(body=json.dumps({"text": "<think>Hm.</think>Well, hello."}))
    assert [{"think_tags": {"tags": {"think": "reasoning"}}}] == found.transforms
    assert ("Well, hello.", "Hm.") == (found.text, found.reasoning)


def test_plain_text_is_the_answer() -> None:
    found = read(body="Well, hello.\nHow are you?")
    assert ("text", [{"text": "$"}]) == (found.tree["format"], rules(found))


def test_a_second_text_is_named_in_a_comment() -> None:
    found = read(body=json.dumps({"message": "Because air scatters.", "reply": "It is scattered."}))
    assert ["guess: `$.reply` reads like text, too"] == list(notes(found.tree))


@pytest.mark.parametrize(
    "body", ["{}", '{"id":"2c9c29b4-0000-4000-8000-1234567890ab"}', '{"n":1}', ""]
)
def test_what_says_nothing_is_not_read(body: str) -> None:
    assert read_answer(HttpResponse(200, (), body.encode()), ASKED) is None
