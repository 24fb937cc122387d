"""The filters and functions by themselves; how templates call them is in test_sandbox.py."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from engine.chat import Media, Message, Part, Text, Tool, ToolCall, ToolChoice, ToolResult
from engine.errors import Refuse
from engine.options import OMIT, Secret
from engine.route import filters
from engine.route.filters import CAP, FILTERS, FUNCTIONS, Absent, RenderError, text


def said(role: str, words: str) -> Message:
    return Message(role, [Text(words)])  # type: ignore[arg-type]


TALK = [
    said("system", "Be brief."),
    said("user", "Hi"),
    said("user", "there"),
    said("developer", "In French."),
    said("assistant", "Salut"),
]


def test_every_filter_and_function_has_one_line_for_the_docs() -> None:
    for name, call in (FILTERS | FUNCTIONS).items():
        assert call.__doc__, name
        assert "\n" not in call.__doc__.strip(), name
        assert call.__doc__.endswith("."), name


def test_the_tables_are_in_order() -> None:
    assert sorted(FILTERS) == list(FILTERS)
    assert sorted(FUNCTIONS) == list(FUNCTIONS)


@pytest.mark.parametrize(
    ("name", "value", "args", "expected"),
    [
        ("urlpath", "a/b c&ü", (), "a%2Fb%20c%26%C3%BC"),
        ("urlpath", 7, (), "7"),
        ("urlquery", "a b&c=d", (), "a%20b%26c%3Dd"),
        ("urlquery", {"a": "x y", "b": 2, "c": True}, (), "a=x%20y&b=2&c=true"),
        ("b64", "hällo", (), "aMOkbGxv"),
        ("b64d", "aMOkbGxv", (), "hällo"),
        ("b64d", "Pz8-Xw", (), "??>_"),
        ("json", {"a": [1, None, "<&'>", "é"]}, (), '{"a":[1,null,"<&\'>","é"]}'),
        ("json", None, (), "null"),
        ("from_json", '{"a": 12345678901234567890123}', (), {"a": 12345678901234567890123}),
        ("jwt_claim", "e30.eyJleHAiOjE3fQ.sig", ("exp",), 17),
        ("sha256", "", (), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("md5", "abc", (), "900150983cd24fb0d6963f7d28e17f72"),
        ("regex_search", "id=42;", (r"id=(\d+)",), "42"),
        ("regex_search", "id=42;", (r"\d+",), "42"),
        ("regex_search", "a1b2", (r"([a-z])(\d)", 2), "1"),
        ("regex_search", "a1b2", (r"(?P<n>\d)", "n"), "1"),
        ("regex_replace", "a-b-c", ("-", "_"), "a_b_c"),
        ("regex_replace", "a-b-c", (r"(\w)-", r"\1+", 1), "a+b-c"),
        ("truncate_chars", "你好吗", (2,), "你好"),
        ("truncate_chars", "ab", (5,), "ab"),
        ("split", "a,b,c", (",", 1), ["a", "b,c"]),
        ("split", " a  b ", (), ["a", "b"]),
        ("join", ["a", 1, True], ("-",), "a-1-true"),
        ("join", [], ("-",), ""),
        ("unescape_html", "&lt;b&gt; &amp;&#39;", (), "<b> &'"),
        ("strip", "  a ", (), "a"),
        ("strip", "xxaxx", ("x",), "a"),
        ("lower", "ÀB", (), "àb"),
        ("upper", "àb", (), "ÀB"),
        ("int", "42", (), 42),
        ("int", 3.9, (), 3),
        ("float", "1.5", (), 1.5),
        ("length", [1, 2], (), 2),
        ("length", "你好", (), 2),
        (
            "strftime",
            datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
            ("%Y-%m-%d %H:%M",),
            "2026-01-02 03:04",
        ),
        ("strftime", 0, ("%Y-%m-%d",), "1970-01-01"),
        ("default", "", ("x",), ""),
        ("default", "", ("x", True), "x"),
        ("default", None, ("x",), None),
        ("default", OMIT, ("x",), "x"),
        ("default", Absent(name="a"), (), ""),
        (
            "drop_empty",
            {"a": "", "b": [], "c": {"d": None}, "e": 0, "f": False},
            (),
            {"e": 0, "f": False},
        ),
        ("drop_empty", ["", [None], "x"], (), ["x"]),
        ("drop_empty", 5, (), 5),
    ],
)
def test_a_filter_gives(
    name: str, value: object, args: tuple[object, ...], expected: object
) -> None:
    assert expected == FILTERS[name](value, *args)


def test_the_signature_of_the_language_document_comes_out() -> None:
    message = "iFlow-Cli:session-00000000-0000-4000-8000-000000000000:1700000000000"
    expected = "a421ec34235883fcb8015c037b6f99c020ee1c4089079ae89b1f4fdc0823c640"
    assert expected == FILTERS["hmac_sha256"](message, "sk-test-0000")
    assert expected == FILTERS["hmac_sha256"](message, Secret("sk-test-0000"))


def test_a_claim_that_is_not_there_is_undefined() -> None:
    assert isinstance(FILTERS["jwt_claim"]("e30.e30.sig", "exp"), Absent)


def test_a_pattern_that_finds_nothing_is_undefined() -> None:
    assert isinstance(FILTERS["regex_search"]("abc", r"\d"), Absent)


@pytest.mark.parametrize("bad", ["a b$", "====x", "\ud800"])
def test_what_is_not_base64_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        FILTERS["b64d"](bad)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", "a"),
        (True, "true"),
        (False, "false"),
        (12, "12"),
        (0.5, "0.5"),
        (Secret("x"), "x"),
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00+00:00"),
    ],
)
def test_scalars_stand_inside_text(value: object, expected: str) -> None:
    assert expected == text(value)


@pytest.mark.parametrize(
    ("value", "named"),
    [(None, "null"), (OMIT, "`omit`"), ({}, "a map"), ([], "a list"), (b"", "type bytes")],
)
def test_other_values_do_not(value: object, named: str) -> None:
    with pytest.raises(RenderError, match=named):
        text(value)


def test_an_undefined_value_is_false_and_chains_and_is_no_text() -> None:
    absent = Absent(name="req.user")
    assert not absent
    assert absent[1:] is absent
    for use in (str, len, list):
        with pytest.raises(Exception, match=r"`req\.user` is not set"):
            use(absent)


def test_joining_refuses_what_would_be_too_long_before_it_is_built() -> None:
    with pytest.raises(RenderError, match="longer than"):
        FILTERS["join"](["x"] * 1000, "y" * CAP)


def test_strftime_takes_a_time() -> None:
    with pytest.raises(RenderError, match="`strftime` takes a time, not a list"):
        FILTERS["strftime"]([], "%Y")


# --- schemas --------------------------------------------------------------------------------------

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "additionalProperties": {"type": "string", "title": "T"},
        "list": {"type": "array", "items": {"type": "object", "additionalProperties": True}},
        "fixed": {"enum": [{"additionalProperties": 1}], "default": {"title": 2}},
    },
}
CLEAN = {
    "type": "object",
    "properties": {
        "additionalProperties": {"type": "string"},
        "list": {"type": "array", "items": {"type": "object"}},
        "fixed": {"enum": [{"additionalProperties": 1}], "default": {"title": 2}},
    },
}


def test_schema_keywords_go_but_properties_and_data_of_that_name_stay() -> None:
    expected = CLEAN
    assert expected == filters.schema_without(SCHEMA, "additionalProperties", "title")
    assert "additionalProperties" in SCHEMA


def test_schema_keywords_go_from_tools_and_from_what_was_rendered_of_them() -> None:
    def rendered(schema: object) -> object:
        return [{"type": "function", "function": {"name": "f", "parameters": schema}}]

    gone = ("additionalProperties", "title")
    assert filters.schema_without(rendered(SCHEMA), *gone) == rendered(CLEAN)
    assert filters.schema_without([Tool("f", schema=SCHEMA)], *gone) == [Tool("f", schema=CLEAN)]


# --- conversations --------------------------------------------------------------------------------


def test_text_messages_hold_nothing_but_text() -> None:
    talk = [
        Message("user", [Text("Look: "), Media("image", url="https://example.com/a.png")]),
        Message("assistant", [ToolCall("1", "f", "{}")]),
        Message("tool", [ToolResult("1", [Text("42")])]),
    ]
    expected = [("user", "Look: "), ("assistant", ""), ("tool", "42")]
    assert expected == [(t["role"], t["content"]) for t in filters.as_text_messages(talk)]


def test_parts_of_a_text_message_may_have_a_gap_between_them() -> None:
    talk = [Message("user", [Text("One"), Text("\n\n"), ToolResult("1", [Text("Two")])])]
    assert filters.as_text_messages(talk, gap=" / ") == [{"role": "user", "content": "One / Two"}]


def test_media_may_be_refused() -> None:
    picture = Media("image", url="https://example.com/a.png")
    cases: list[list[Part]] = [[picture], [ToolResult("1", [picture])]]
    for parts in cases:
        with pytest.raises(Refuse, match=r"text only.*\(image\)"):
            filters.as_text_messages([Message("user", parts)], media="refuse")


def test_messages_take_other_names() -> None:
    expected = [{"who": "human", "text": "Hi"}, {"who": "assistant", "text": "Salut"}]
    talk = [TALK[1], TALK[4]]
    assert expected == filters.as_messages(
        talk, role="who", content="text", roles={"user": "human"}
    )


def test_neighbours_of_one_role_are_merged() -> None:
    expected = [
        {"role": "user", "content": "Hi\n\nthere"},
        {"role": "assistant", "content": "Salut"},
    ]
    assert expected == filters.as_messages([TALK[1], TALK[2], TALK[4]], merge=True)


def test_roles_that_get_the_same_name_are_neighbours() -> None:
    expected = [{"role": "user", "content": "Be brief.\n\nHi"}]
    assert expected == filters.as_messages(TALK[:2], roles={"system": "user"}, merge=True)


@pytest.mark.parametrize(
    ("system", "roles"),
    [
        ("keep", ["system", "user", "user", "system", "assistant"]),
        ("drop", ["user", "user", "assistant"]),
        ("first", ["system", "user", "user", "assistant"]),
    ],
)
def test_system_turns_are_kept_dropped_or_put_first(system: Any, roles: list[str]) -> None:
    found = filters.as_messages(TALK, system=system)
    assert roles == [turn["role"] for turn in found]
    if system == "first":
        assert found[0]["content"] == "Be brief.\n\nIn French."


def test_without_system_turns_nothing_is_put_first() -> None:
    expected = [{"role": "user", "content": "Hi"}]
    assert expected == filters.as_messages([TALK[1]], system="first")


def test_tools_take_other_names() -> None:
    tools = [Tool("f", schema={"type": "object"})]
    expected = [{"name": "f", "about": "", "schema": {"type": "object"}}]
    assert expected == filters.as_tools(tools, description="about", schema="schema")


def test_text_and_empty_lists_need_no_dialect() -> None:
    assert FILTERS["as_openai"]("Be brief.") == "Be brief."
    assert FILTERS["as_openai"]([]) == []


def test_a_dialect_gives_its_form_to_messages_tools_and_tool_choice() -> None:
    talk = [Message("user", [Text("Hi")]), Message("assistant", [ToolCall("c1", "f", '{"a":1}')])]
    expected = [
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
            ],
        },
    ]
    assert expected == FILTERS["as_openai"](talk)
    assert FILTERS["as_openai"]([Tool("f", schema={})]) == [
        {"type": "function", "function": {"name": "f", "parameters": {}}}
    ]
    assert FILTERS["as_openai"](ToolChoice("required")) == "required"


@pytest.mark.parametrize("value", [5, [1], {"role": "user"}])
def test_a_dialect_refuses_other_things(value: object) -> None:
    with pytest.raises(RenderError, match="`as_openai` takes messages, tools or a tool choice"):
        FILTERS["as_openai"](value)


@pytest.mark.parametrize(
    ("name", "turn"),
    [
        ("as_ollama", {"role": "user", "content": "Hi"}),
        ("as_anthropic", {"role": "user", "content": "Hi"}),
        ("as_gemini", {"role": "user", "parts": [{"text": "Hi"}]}),
        ("as_bedrock", {"role": "user", "content": [{"text": "Hi"}]}),
    ],
)
def test_every_dialect_has_its_form(name: str, turn: object) -> None:
    assert FILTERS[name]([Message("user", [Text("Hi")])]) == [turn]


def test_a_profile_says_how_messages_are_written() -> None:
    talk = [
        Message("developer", [Text("Be brief.")]),
        Message("assistant", [ToolCall("c1", "f", "{}")]),
    ]
    made: Any = FILTERS["as_openai"](talk, developer_role="system", null_content="omit")
    first, second = made
    assert (first["role"], "content" in second) == ("system", False)
    with pytest.raises(RenderError, match="`as_openai` takes fields of a profile by their names"):
        FILTERS["as_openai"](talk, developer="system")


# --- functions ------------------------------------------------------------------------------------

ENV = {"_now": 1767225600.1239, "_random": Random(7)}


def test_now_is_the_clock_in_a_time_zone() -> None:
    assert datetime(2026, 1, 1, 0, 0, 0, 123900, UTC) == FUNCTIONS["now"](ENV)
    local = filters.now(ENV, "Asia/Shanghai")
    assert local.strftime("%H %z") == "08 +0800"


def test_milliseconds_are_whole() -> None:
    assert FUNCTIONS["now_ms"](ENV) == 1767225600124


def test_random_values_come_from_the_source_that_is_given() -> None:
    for name, args in (("uuid4", ()), ("rand_alnum", (9,))):
        env = {"_random": Random(7)}
        made = FUNCTIONS[name](env, *args)
        assert made == FUNCTIONS[name]({"_random": Random(7)}, *args)
        assert made != FUNCTIONS[name](env, *args)


def test_random_values_have_their_form() -> None:
    identifier = filters.uuid4(ENV)
    assert re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", identifier
    )
    word = filters.rand_alnum(ENV, 200)
    assert len(word) == 200
    assert word.isalnum()
    assert word == word.lower()
    assert word.isascii()


@pytest.mark.parametrize("size", [-1, 1001])
def test_random_words_have_a_sane_length(size: int) -> None:
    with pytest.raises(RenderError, match="0 to 1000"):
        filters.rand_alnum(ENV, size)


def test_without_clock_and_random_source_the_functions_say_so() -> None:
    with pytest.raises(RenderError, match="no clock"):
        filters.now_ms({})
    with pytest.raises(RenderError, match="no random source"):
        filters.uuid4({})


def test_developers_are_the_system_to_upstreams_that_take_text() -> None:
    talk = [Message("developer", [Text("Be brief.")]), Message("user", [Text("Hi")])]
    roles = ["system", "user"]
    assert roles == [turn["role"] for turn in filters.as_text_messages(talk)]
    assert roles == [turn["role"] for turn in filters.as_messages(talk)]
    for names, who in (({"system": "S"}, "S"), ({"developer": "D", "system": "S"}, "D")):
        assert who == filters.as_messages(talk, roles=names)[0]["role"]
