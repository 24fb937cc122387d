from __future__ import annotations

from typing import Any

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
    ToolChoice,
    ToolResult,
)
from engine.dialects.foreign import (
    foreign_extras,
    native,
    native_tools,
    settle_system,
    understood,
)
from engine.dialects.profile import PROFILE, Profile
from engine.errors import RequestError

X: dict[str, object] = {"x": 1}


def extras(
    given: dict[str, object], profile: Profile = PROFILE
) -> tuple[dict[str, Any], list[str]]:
    dropped: list[str] = []
    request = ChatRequest("other", "m", [], extras=given)
    return foreign_extras(request, profile, dropped), dropped


def test_fields_nobody_knows_are_named_and_hints_are_not() -> None:
    given: dict[str, object] = {"x_new": 1, "store": True, "betas": ["a"], "thinking": {}}
    assert extras(given) == ({}, ["x_new"])
    assert extras({"modalities": ["text"]}) == ({}, [])


def test_the_profile_sends_fields_on() -> None:
    given: dict[str, object] = {"x_new": 1, "thinking": {}, "container": "c"}
    profile = Profile(forward_extras=["x_new", "thinking", "container"])
    assert extras(given, profile) == (given, [])


@pytest.mark.parametrize("name", ["audio", "background", "container", "inference_geo",
                                  "mcp_servers", "modalities"])  # fmt: skip
def test_fields_that_mean_something_are_refused(name: str) -> None:
    with pytest.raises(RequestError) as caught:
        extras({name: ["audio"]})
    assert ("unsupported", name) == (caught.value.kind, caught.value.param)


def message(*parts: Part, role: Any = "user", dialect: str = "other") -> Message:
    return Message(role, list(parts), "bob", X, dialect)


def test_extras_go_no_further_than_their_dialect() -> None:
    parts: list[Part] = [
        Text("a", extras=X), Media("image", url="https://a", extras=X),
        Reasoning("r", extras=X), Refusal("no"), Opaque("other", "x", {}),
        ToolCall("i", "f", "{}", extras=X),
    ]  # fmt: skip
    result = message(ToolResult("i", [Text("b", extras=X)], extras=X))
    assert native([message(*parts), result], "mine") == [
        Message(
            "user",
            [Text("a"), Media("image", url="https://a"), Reasoning("r"), Refusal("no"),
             Opaque("other", "x", {}), ToolCall("i", "f", "{}")],
            "bob",
        ),
        Message("user", [ToolResult("i", [Text("b")])], "bob"),
    ]  # fmt: skip


@pytest.mark.parametrize("dialect", ["mine", ""])
def test_what_is_native_stays_as_it_is(dialect: str) -> None:
    given = [message(Text("a", extras=X), dialect=dialect)]
    assert given[0] is native(given, "mine")[0]


def test_a_foreign_system_message_is_one_text() -> None:
    given = [
        message(Text("a", extras=X), Opaque("other", "x", {}), Text("b"), role="system"),
        message(Opaque("other", "x", {}), role="system"),
    ]
    assert [Message("system", [Text("a\n\nb")])] == native(given, "mine")


def test_a_pdf_without_a_name_gets_one() -> None:
    given = [message(Media("file", mime="application/pdf", data="JVBE"))]
    (part,) = native(given, "mine")[0].parts
    assert Media("file", mime="application/pdf", data="JVBE", name="document.pdf") == part


def test_files_of_another_provider_cannot_be_sent() -> None:
    with pytest.raises(RequestError) as caught:
        native([message(Media("image", file_id="f"))], "mine")
    assert caught.value.kind == "unsupported"


def test_tools() -> None:
    given = [Tool("f", extras=X, dialect="other"), Tool("g", extras=X, dialect="mine")]
    assert [Tool("f"), Tool("g", extras=X)] == native_tools(given, "mine")
    with pytest.raises(RequestError, match="web_search"):
        native_tools([Tool("web_search", kind="hosted", dialect="other")], "mine")


SYSTEM, USER = Message("system", [Text("S")]), Message("user", [Text("u")])
LATE = Message("developer", [Text("D")])


def test_later_system_messages_go_where_the_upstream_takes_them() -> None:
    given = [SYSTEM, USER, LATE]
    assert settle_system(given, "keep") == given
    assert [SYSTEM, LATE, USER] == settle_system(given, "lift")
    told = Message("user", [Text("<system>\nD\n</system>")])
    assert [SYSTEM, USER, told] == settle_system(given, "user")


# ---- tools and choice ----

SEARCH = Tool("web_search", kind="hosted", dialect="openai_responses")
F, G = Tool("f"), Tool("g")


def settled(choice: ToolChoice | None, dialect: str = "openai_responses") -> tuple[Any, Any, Any]:
    request = ChatRequest(dialect, "m", [], [F, G, SEARCH], choice)
    found = understood(request, "mine")
    assert found == understood(request, "mine")
    return found.tools, found.tool_choice, request.dropped


def test_what_a_client_offers_as_a_matter_of_course_is_left_out_and_named() -> None:
    assert ([F, G], None, ["tools.web_search"]) == settled(None)
    request = ChatRequest("mine", "m", [], [SEARCH])
    assert request is understood(request, "mine")


@pytest.mark.parametrize(
    "raw",
    [
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]},
        {"type": "allowed_tools", "allowed_tools": {
            "mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]}},
    ],
)  # fmt: skip
def test_a_choice_among_some_tools_leaves_only_these(raw: Any) -> None:
    tools, choice, _ = settled(ToolChoice("other", raw=raw))
    assert ([F], ToolChoice("required")) == (tools, choice)


def test_a_choice_among_no_tools_is_none() -> None:
    tools, choice, _ = settled(ToolChoice("other", raw={"type": "allowed_tools"}))
    assert ([F, G], ToolChoice("auto")) == (tools, choice)


def test_the_choice_of_a_tool_that_nobody_runs_is_refused() -> None:
    forced = ToolChoice("other", raw={"type": "web_search"})
    with pytest.raises(RequestError, match="web_search"):
        settled(forced)
    assert forced is settled(forced, "openai_chat")[1]


def test_a_field_that_is_switched_off_is_not_refused() -> None:
    assert ({}, []) == extras({"background": False})


def test_a_client_with_room_for_one_call_gets_one_at_a_time() -> None:
    legacy = ChatRequest("openai_chat", "m", [], [Tool("f")], extras={"functions": []})
    assert understood(legacy, "anthropic_messages").parallel is False
    assert understood(legacy, "openai_chat").parallel is None
