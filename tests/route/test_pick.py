"""Paths and selectors: what they find, what they refuse, and that data cannot break them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.options import Path
from engine.route.pick import (
    PathError,
    compile_match,
    compile_path,
    compile_selector_path,
    discriminator,
)

CHUNK: dict[str, Any] = {
    "choices": [
        {"index": 0, "delta": {"content": "Hel", "role": None}},
        {"index": 1, "delta": {"content": ""}},
        {"index": 2, "delta": {"content": "lo", "tool_calls": []}},
        "odd",
    ],
    "usage": None,
    "data": {"html": " &lt;b&gt; ", "a-b": {"it's": 1}, "n": "42", "zero": 0, "no": False},
    "0": "key",
    "用户": {"名": "x"},
    "MISS": {"MISSING": 1},
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$", [CHUNK]),
        ("$.choices[0].delta.content", ["Hel"]),
        ("$.choices[-1]", ["odd"]),
        ("$.choices[-4].index", [0]),
        ("$.choices[4]", []),
        ("$.choices[-5]", []),
        ("$.choices[1].delta.content", [""]),
        ("$.choices[0].delta.role", []),
        ("$.choices.delta", []),
        ("$.choices[3].x", []),
        ("$.choices[3][0]", []),
        ("$.usage.prompt_tokens", []),
        ("$[0]", []),
        ("$['0']", ["key"]),
        ("$.data['a-b'][\"it's\"]", [1]),
        ("$['data']['a-b']['it\\'s']", [1]),
        ("$.data.zero", [0]),
        ("$.data.no", [False]),
        ("$.用户.名", ["x"]),
        ("$.MISS.MISSING", [1]),
        ("$.choices[*].delta.content", ["Hel", "", "lo"]),
        ("$.choices[*].index", [0, 1, 2]),
        ("$.choices[*].delta.role", []),
        ("$.choices[*]", CHUNK["choices"]),
        ("$.usage[*]", []),
        ("$.用户.*", ["x"]),
        ("$.choices[*].delta[*]", ["Hel", "", "lo", []]),
        ("$..content", ["Hel", "", "lo"]),
        ("$..['a-b']", [{"it's": 1}]),
        ("$.choices[?(@.index == 2)].delta.content", ["lo"]),
        ("$.choices[?(@.delta.content == 'Hel')].index", [0]),
        ("$.choices[?(@.index > 0)].index", [1, 2]),
        ("$.choices[?(@.delta.tool_calls)].index", [2]),
        ("$..choices[0].index", [0]),
        ("$.choices[*].delta..content", ["Hel", "", "lo"]),
        ("$.data['a-b']..*", [1]),
    ],
)
def test_a_path_finds(path: str, found: list[object]) -> None:
    compiled = compile_path(path)
    assert found == compiled.all(CHUNK)
    assert next((item for item in found if item != ""), None) == compiled.first(CHUNK)
    assert path == compiled.source


def test_the_first_of_several_alternatives_that_finds_anything_wins() -> None:
    path = compile_path(["$.usage", "$.choices[1].delta.content", "$.choices[*].index", "$.data"])
    assert path.first(CHUNK) == 0
    assert path.all(CHUNK) == [""]
    assert compile_path(["$.x", "$.y"]).first(CHUNK) is None
    assert compile_path(["$.x", "$.y"]).all(CHUNK) == []
    assert compile_path(["$.data.n"]).first(CHUNK) == "42"


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$.data.html | unescape_html | strip", ["<b>"]),
        ("$.data.html|unescape_html|strip|regex_replace('[<>]', '')", ["b"]),
        ("$.data.n | int", [42]),
        ("$.data.html | int", []),
        ("$.choices[*].delta.content | upper", ["HEL", "", "LO"]),
        ("$.choices[?(@.index == 2)].delta.content | upper", ["LO"]),
        ("$.nothing | default('d')", ["d"]),
        ("$.nothing | strip", []),
        ("$.data.n | regex_search('x')", []),
        ("$['a | b'] | default('|')", ["|"]),
    ],
)
def test_filters_may_follow(path: str, found: list[object]) -> None:
    compiled = compile_path(path)
    assert found == compiled.all(CHUNK)
    assert next((item for item in found if item != ""), None) == compiled.first(CHUNK)


@pytest.mark.parametrize(
    ("path", "message", "at"),
    [
        ("", "a path begins with `$`", 0),
        ("delta.type", "a path begins with `$`: write `$.delta.type`", 0),
        ("header.retry-after", "a path begins with `$`", 0),
        ("$x", "unexpected `x`: after `$` comes `.` or `[`", 1),
        ("$.", "a name is missing after the dot", 1),
        ("$.a. | strip", "a name is missing after the dot", 3),
        ("$..", "a name is missing after the dot", 1),
        ("$.retry-after.x", "a name with `-` is quoted: `['retry-after']`", 1),
        ("$.a.b-", "a name with `-` is quoted: `['b-']`", 3),
        ("$.3d", "a name that begins with a digit is quoted: `['3d']`", 1),
        ("$.choices.0.x", "an index is written in brackets: `[0]`", 9),
        ("$.a[b]", "a name in brackets is quoted: `['b']`", 3),
        ("$.a[]", "a name, an index or `*` is missing in the brackets", 3),
        ("$.a[", "`]` is missing", 3),
        ("$.a['b]", "a quoted name ends with its quote and `]`", 3),
        ("$.a[0:2]", "slices are not supported", 3),
        ("$.a[?(x)]", "a condition is written `[?(@.name == 'value')]`", 3),
        ("$.a[?@.x]", "a condition is written `[?(@.name == 'value')]`", 3),
        ("$.a b", "unexpected ` `", 3),
        ("$.a]", "unexpected `]`", 3),
        ("$.a | nope", "the filter `nope` does not exist", 6),
        ("$.a  |  strip | join(x)", "`x` does not exist here", 21),
        ("$.a | strip ~ 'x'", "only filters may follow a path", 6),
        ("$.a | ", "a filter is missing after `|`", 5),
    ],
)
def test_a_wrong_path_is_told_with_its_place(path: str, message: str, at: int) -> None:
    with pytest.raises(PathError) as caught:
        compile_path(path)
    assert (message, at) == (caught.value.message, caught.value.at)


def test_a_list_needs_paths() -> None:
    with pytest.raises(PathError, match="at least one path"):
        compile_path([])
    with pytest.raises(PathError, match="a path is text"):
        compile_path(["$.a", 5])  # type: ignore[list-item]


def test_what_jsonpath_cannot_read_is_an_error_of_the_path() -> None:
    with pytest.raises(PathError, match="cannot be used"):
        compile_path("$.a[?(@.名 == 1)]")


DOCUMENT = [
    "$.candidates[0].content.parts[*]",
    "$.choices[*]",
    "$.choices[0].message.content",
    "$.content[*]",
    "$.content_block.id",
    "$.delta.reasoningContent.text",
    "$.delta.tool_calls[*]",
    "$.detail",
    "$.error.details[*].retryDelay",
    "$.message.usage.cache_creation_input_tokens",
    "$.models[*].name",
    "$.output.message.content[*]",
    "$.usage.completion_tokens_details.reasoning_tokens",
    "$.usageMetadata.promptTokenCount",
    "$[0].error.message",
]


def test_the_paths_of_the_language_document_compile_without_jsonpath() -> None:
    code = (
        "import sys; from engine.route.pick import compile_path\n"
        f"for path in {DOCUMENT!r}: compile_path(path)\n"
        "assert not [name for name in sys.modules if name.startswith('jsonpath')]\n"
        "compile_path('$..x'); assert 'jsonpath_ng' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abx"), inner),
    max_leaves=20,
)
steps = st.sampled_from(
    [".a", ".b", "['x']", "[0]", "[1]", "[-1]", "[*]", ".*", "..a", "[?(@.a == 1)]"]
)


@given(st.lists(steps, max_size=5).map(lambda parts: "$" + "".join(parts)), json_values)
def test_data_never_makes_a_path_fail(path: str, value: object) -> None:
    compiled = compile_path(path)
    found = compiled.all(value)
    assert None not in found
    assert next((item for item in found if item != ""), None) == compiled.first(value)


_HOLDER: dict[type, type] = {str: dict, int: list}
parts_of: st.SearchStrategy[Any] = st.sampled_from(["a", "b", "x", 0, 1, -1])
simple = st.lists(parts_of, max_size=4)


@given(simple, json_values)
def test_a_simple_path_is_a_chain_of_subscripts(parts: list[Any], value: object) -> None:
    expected: Any = value
    for part in parts:
        try:
            fits = type(expected) is _HOLDER[type(part)]
            expected = expected[part] if fits else None
        except LookupError:
            expected = None
    path = "$" + "".join(f"['{p}']" if isinstance(p, str) else f"[{p}]" for p in parts)
    assert repr([] if expected is None else [expected]) == repr(compile_path(path).all(value))


def test_deep_data_ends_in_nothing_found() -> None:
    value: object = 1
    for _ in range(100_000):
        value = [value]
    assert compile_path("$..x").all(value) == []


def test_a_walk_that_breaks_finds_nothing() -> None:
    class Broken(dict[str, object]):
        def __contains__(self, key: object) -> bool:
            raise RuntimeError

        __iter__ = keys = items = values = __getitem__ = __contains__  # type: ignore[assignment]

    assert compile_path("$..x").all(Broken(x=1)) == []


# --- selectors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("delta.type", "t"),
        ("$.delta.type", "t"),
        ("content[0].kind", "k"),
        ("content.0.kind", "k"),
        ("['a-b']", 1),
        ("error", None),
    ],
)
def test_a_selector_path_needs_no_beginning(path: str, found: object) -> None:
    value = {"delta": {"type": "t"}, "content": [{"kind": "k"}], "a-b": 1}
    assert found == compile_selector_path(path).first(value)


def test_a_selector_path_can_begin_with_an_index() -> None:
    for path in ("0.tag", "[0].tag", "$[0].tag"):
        assert compile_selector_path(path).first([{"tag": "x"}]) == "x"


@pytest.mark.parametrize(
    ("path", "message", "at"),
    [
        ("delta.x-y", "a name with `-` is quoted: `['x-y']`", 5),
        ("x-y", "a name with `-` is quoted: `['x-y']`", 0),
        ("a[b]", "a name in brackets is quoted: `['b']`", 1),
        ("", "a path begins with `$`", 0),
    ],
)
def test_a_wrong_selector_path_is_told_with_its_place(path: str, message: str, at: int) -> None:
    with pytest.raises(PathError) as caught:
        compile_selector_path(path)
    assert (message, at) == (caught.value.message, caught.value.at)


@pytest.mark.parametrize(
    ("selector", "fits", "fits_not"),
    [
        ({"type": "ping"}, [{"type": "ping"}], [{"type": "pong"}, {}, [], None, "ping"]),
        (
            {"a": "x", "b.c": "y"},
            [{"a": "x", "b": {"c": "y"}}],
            [{"a": "x"}, {"a": "x", "b": {"c": 1}}],
        ),
        ({"a": True}, [{"a": True}], [{"a": 1}, {"a": "true"}, {"a": 1.0}]),
        ({"a": False}, [{"a": False}], [{"a": 0}, {}, {"a": None}]),
        ({"a": 1}, [{"a": 1}], [{"a": True}, {"a": "1"}, {"a": 1.0}]),
        ({"a": 1.0}, [{"a": 1.0}], [{"a": 1}]),
        ({"a": "1"}, [{"a": "1"}], [{"a": 1}]),
        ({"a": ""}, [{"a": ""}], [{"a": None}, {}]),
        ({"a": None}, [{"a": None}, {}, []], [{"a": 0}, {"a": ""}]),
        ({"a": ["x", 2, None]}, [{"a": "x"}, {"a": 2}, {}], [{"a": "2"}, {"a": ["x"]}, {"a": {}}]),
        ({"a": "/^err/i"}, [{"a": "ERROR"}], [{"a": "an error"}, {"a": 5}, {}]),
        ({"a": ["/x$/", "y"]}, [{"a": "ax"}, {"a": "y"}], [{"a": "xa"}]),
        ({"a": "/"}, [{"a": "/"}], [{"a": "x"}]),
        ({"a": "/a.b/"}, [{"a": "a\nb"}], [{"a": "ab"}]),
        ({"a[*].b": "x"}, [{"a": [{"b": 1}, {"b": "x"}]}], [{"a": []}, {"a": [{"b": "y"}]}]),
        ({"a[*].b": ["x", 1]}, [{"a": [{"b": 1}]}], [{"a": [{"b": "1"}]}]),
        ({"a | lower": "x"}, [{"a": "X"}], [{"a": "Y"}]),
        ({}, [{}, None], []),
    ],
)
def test_a_selector_compares_with_the_type(
    selector: dict[str, object], fits: list[object], fits_not: list[object]
) -> None:
    match = compile_match(selector)
    assert [True] * len(fits) == [match(value) for value in fits]
    assert [False] * len(fits_not) == [match(value) for value in fits_not]


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ({"a": {"b": 1}}, "a selector compares with text, a number, true, false, null or a list"),
        ({"a": []}, "a selector compares with"),
        ({"a": [["x"]], "b": [[]]}, "a selector compares with"),
        ({"a": "/(/"}, "bad regular expression /(/"),
        ({"a": "/(a+)+$/"}, "a repeated group that repeats inside may take for ever"),
        ({"a-b": 1}, "a name with `-` is quoted"),
        ({5: 1}, "a path is text"),
    ],
)
def test_a_wrong_selector_is_refused(selector: Any, message: str) -> None:
    with pytest.raises(PathError) as caught:
        compile_match(selector)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        (
            {"delta.type": "text_delta", "type": "content_block_delta"},
            ("type", {"content_block_delta"}),
        ),
        ({"type": ["ping", "pong"]}, ("type", {"ping", "pong"})),
        ({"a": True, "b.c": "x"}, ("b.c", {"x"})),
        ({"a": ["x", 1]}, None),
        ({"a": "/x/"}, None),
        ({"a": ["x", "/y/"]}, None),
        ({"a[*]": "x"}, None),
        ({"a": {"b": 1}}, None),
        ({}, None),
    ],
)
def test_the_discriminator_is_the_shortest_path_with_constant_words(
    selector: dict[str, object], found: object
) -> None:
    assert found == discriminator(selector)


def test_equal_paths_share_their_code() -> None:
    one, two = compile_path("$.a.b"), compile_path("$.a.b")
    assert isinstance(one, Path)
    assert one.first is two.first
