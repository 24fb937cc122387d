"""What becomes of what an upstream cannot be told, by the route's policy."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from engine.chat import ChatRequest, Media, Message, Output, Text, Tool, ToolChoice, ToolResult
from engine.dialects import DIALECTS
from engine.dialects.losses import WHY, Lost, Why, settle, why, without
from engine.dialects.profile import Profile, Unsupported
from engine.dialects.written import write
from engine.errors import RequestError

BY_ID = Media("image", file_id="file_1")
HOSTED = Tool("web_search", kind="hosted", raw={"type": "web_search"}, dialect="other")
LOOK = Tool("look", schema={"type": "object"})


def asked(*parts: Any, **fields: Any) -> ChatRequest:
    parts = parts or (Text("hi"),)
    return ChatRequest("other", "m", [Message("user", list(parts), dialect="other")], **fields)


def written(request: ChatRequest, policy: Unsupported | None, target: str = "openai_chat") -> Any:
    return write(DIALECTS[target], request, "up", Profile(on_unsupported=policy)).body


EACH = [
    (lambda: asked(out=Output(n=3)), "n"),
    (lambda: asked(extras={"background": True}), "background"),
    (lambda: asked(Text("see"), BY_ID), "image"),
    (lambda: asked(Text("see"), ToolResult("1", [BY_ID])), "image"),
    (lambda: asked(tools=[HOSTED, LOOK]), "tools.web_search"),
    (lambda: asked(tools=[HOSTED], tool_choice=ToolChoice("required")), "tools.web_search"),
]


@pytest.mark.parametrize("target", DIALECTS)
@pytest.mark.parametrize(("make", "name"), EACH, ids=[name for _, name in EACH])
def test_what_changes_the_meaning(target: str, make: Any, name: str) -> None:
    for policy in (None, "refuse"):
        with pytest.raises(RequestError) as caught:
            written(make(), policy, target)
        assert "unsupported" == caught.value.kind
    request = make()
    body = written(request, "warn", target)
    assert [name] == request.dropped
    assert "meaning" == request.dropped[0].why
    silent = make()
    assert body == written(silent, "silent", target)
    assert [] == silent.dropped


@pytest.mark.parametrize("target", DIALECTS)
def test_fields_that_mean_little(target: str) -> None:
    request = asked(extras={"x_new": 1})
    body = written(request, None, target)
    assert ["x_new"] == request.dropped
    for policy in ("warn", "silent"):
        other = asked(extras={"x_new": 1})
        assert body == written(other, policy, target)
        assert (["x_new"] if policy == "warn" else []) == other.dropped
    with pytest.raises(RequestError) as caught:
        written(asked(extras={"x_new": 1}), "refuse", target)
    assert ("unsupported", "x_new") == (caught.value.kind, caught.value.param)


@pytest.mark.parametrize("policy", [None, *get_args(Unsupported)])
def test_hints_are_left_out_without_a_word(policy: Unsupported | None) -> None:
    request = asked(extras={"store": True, "service_tier": "flex"})
    assert {"model", "messages"} == set(written(request, policy))
    assert [] == request.dropped


def test_a_refusal_that_names_nothing_to_take_out_stays_one() -> None:
    request = asked()
    for error in (
        RequestError("unsupported", "x"),
        RequestError("unsupported", "x", param="nothing"),
        RequestError("unsupported", "x", about=Tool("unknown")),
        RequestError("unsupported", "x", about=BY_ID),
        RequestError("bad_request", "x", param="n"),
    ):
        assert without(request, error) is None


def test_a_choice_of_a_tool_that_went_becomes_auto() -> None:
    request = asked(tools=[HOSTED, LOOK], tool_choice=ToolChoice("named", ["web_search"]))
    left = without(request, RequestError("unsupported", "x", about=HOSTED))
    assert left is not None
    assert ([LOOK], ToolChoice("auto")) == (left.tools, left.tool_choice)


def test_a_message_goes_whole() -> None:
    request = asked()
    last = Message("assistant", [Text("so")])
    request.messages.append(last)
    left = without(request, RequestError("unsupported", "x", about=last))
    assert left is not None
    assert (1, ["messages"]) == (len(left.messages), left.dropped)


def test_every_reason_has_its_words() -> None:
    assert set(get_args(Why)) == set(WHY)
    assert WHY["field"] == why("x")
    assert WHY["profile"] == why(Lost("x", "profile"))
    assert "x" == Lost("x")
    assert "meaning" == Lost("x").why


def test_settling_leaves_what_is_named() -> None:
    dropped = ["a"]
    settle(dropped, "warn")
    assert ["a"] == dropped
    settle(dropped, "silent")
    assert [] == dropped
    settle(dropped, "refuse")
