from __future__ import annotations

from typing import Any

from openai.types.responses import ResponseItemList

from engine.dialects import DIALECTS
from engine.dialects.openai_responses.kept import (
    continued,
    items_of,
    listed,
    not_found,
    page,
    previous,
    stores,
)
from engine.dialects.openai_responses.parse import parse_value
from engine.dialects.openai_responses.render import render
from engine.wire import dumps

from .bodies import ANSWER, CODEX, call, result, said, text


def test_the_conversation_stands_before_what_is_new() -> None:
    asked = {"model": "m", "instructions": "new", "previous_response_id": "resp_1", "input": "two",
             "x_new": 1}  # fmt: skip
    request = parse_value(asked)
    assert "resp_1" == previous(request)
    before: list[object] = [said("user", text("one")), call("c")]
    found = continued(request, [*before, result("c")])
    assert ["system", "user", "assistant", "tool", "user"] == [m.role for m in found.messages]
    assert previous(found) is None
    body = render(found, "m")
    assert (1, "new") == (body["x_new"], body["instructions"])
    assert not {"previous_response_id", "continued_response_id"} & set(body)


def test_a_result_goes_on_with_the_call_that_was_kept() -> None:
    request = parse_value({"model": "m", "previous_response_id": "r", "input": [result("c")]})
    (turn, answer) = continued(request, [call("c")]).messages
    assert ("assistant", "tool") == (turn.role, answer.role)


def test_what_is_kept_of_a_request() -> None:
    request = parse_value({"model": "m", "input": "hi"})
    assert [{"type": "message", "role": "user", "content": "hi"}] == items_of(request)
    assert stores(request)
    assert [] == items_of(parse_value({"model": "m", "previous_response_id": "r"}))
    assert not stores(parse_value(CODEX))
    assert CODEX["input"] == items_of(parse_value(CODEX))


def test_items_are_listed_with_ids_and_parts() -> None:
    items: list[object] = [
        {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
        {**ANSWER, "id": "msg_own"}, call("c"), result("c"),
        {"type": "reasoning", "summary": []},
    ]  # fmt: skip
    found: Any = listed(items, "resp_ab")
    assert ["msg_ab00", "msg_ab01", "msg_own", "fc_ab03", "fco_ab04", "rs_ab05"] == [
        item["id"] for item in found
    ]
    assert ["input_text", "output_text"] == [item["content"][0]["type"] for item in found[:2]]
    whole = page(found, after="", limit=20, ascending=True)
    ResponseItemList.model_validate_json(dumps(whole))


def test_pages() -> None:
    items: Any = [{"id": name} for name in "abc"]
    first = page(items, after="", limit=2, ascending=True)
    assert ([{"id": "a"}, {"id": "b"}], "a", "b", True) == (
        first["data"], first["first_id"], first["last_id"], first["has_more"],
    )  # fmt: skip
    second = page(items, after="b", limit=2, ascending=True)
    assert ([{"id": "c"}], False) == (second["data"], second["has_more"])
    backwards: Any = page(items, after="", limit=9, ascending=False)["data"]
    assert ["c", "b", "a"] == [item["id"] for item in backwards]
    assert [] == page([], after="", limit=9, ascending=False)["data"]


def test_an_answer_that_is_not_kept_has_a_code_of_its_own() -> None:
    status, body = DIALECTS["openai_responses"].refusal(not_found("resp_x"))
    assert 400 == status
    assert b'"code":"previous_response_not_found"' in body
    assert b"resp_x" in body


def test_where_the_endpoints_are() -> None:
    locate = DIALECTS["openai_responses"].locate
    assert locate is not None
    found = {
        where: (made[0], made[1].model) if (made := locate(*where)) else None
        for where in (
            ("GET", "/v1/responses/r"), ("DELETE", "/v1/responses/r"),
            ("GET", "/v1/responses/r/input_items"), ("POST", "/v1/responses/r"),
            ("POST", "/v1/responses/r/cancel"), ("GET", "/v1/responses/r/other"),
            ("GET", "/v1/responses/"), ("GET", "/v1/else"),
        )
    }  # fmt: skip
    assert [
        ("response", "r"), ("delete_response", "r"), ("input_items", "r"), None,
        ("cancel_response", "r"), None, None, None,
    ] == list(found.values())  # fmt: skip
