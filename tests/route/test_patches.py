"""Streams that patch one document: what each record means, and the document it leads to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.route.patches import path_patch
from engine.wire import Record
from tests.kit import sse
from tests.route.test_pipeline import HEAD, read


def patched(*values: object) -> tuple[list[tuple[Any, Any, Any]], Any]:
    """(where, how, what) of each patch the rules would see, and the document in the end."""
    feed = path_patch()
    seen, doc = [], None
    for value in values:
        for record in feed(Record("", b"", value)):
            found: Any = record.value
            seen.append((found["p"], found["o"], found["v"]))
            doc = found["doc"]
    return seen, doc


def test_each_patch_changes_the_document() -> None:
    seen, doc = patched(
        {"p": "", "o": "add", "v": {"message": {"parts": [""]}, "id": 1}},
        {"p": "/message/parts/0", "o": "append", "v": "Hel"},
        {"p": "/message/parts/0", "o": "append", "v": "lo"},
        {"p": "message/done", "o": "set", "v": True},
        {"p": "id", "o": "remove"},
    )
    assert doc == {"message": {"parts": ["Hello"], "done": True}}
    assert seen[1:3] == [
        ("/message/parts/0", "append", "Hel"),
        ("/message/parts/0", "append", "lo"),
    ]


def test_what_is_left_out_is_as_before() -> None:
    seen, doc = patched(
        {"p": "/text", "o": "append", "v": "a"}, {"v": "b"}, {"v": "c"}, {"p": "/other", "v": "x"}
    )
    assert [where for where, _, _ in seen] == ["/text", "/text", "/text", "/other"]
    assert [how for _, how, _ in seen] == ["append"] * 4
    assert doc == {"text": "abc", "other": "x"}


@pytest.mark.parametrize("how", ["batch", "patch", "BATCH"])
def test_a_batch_is_several_patches_below_one_place(how: str) -> None:
    seen, doc = patched(
        {
            "p": "/r",
            "o": how,
            "v": [
                {"p": "a", "v": 1},
                {"p": "/b", "o": "APPEND", "v": "x"},
                "junk",
                {"v": {"c": 2}},
            ],
        }
    )
    assert [(where, what) for where, _, what in seen] == [
        ("/r/a", 1),
        ("/r/b", "x"),
        ("/r", {"c": 2}),
    ]
    assert doc == {"r": {"c": 2}}


def test_lists_are_reached_by_index_from_both_ends_and_grow() -> None:
    _, doc = patched(
        {"p": "/l", "o": "add", "v": [{"t": "a"}]},
        {"p": "/l/-1/t", "o": "append", "v": "b"},
        {"p": "/l", "o": "append", "v": [{"t": "c"}]},
        {"p": "/l", "o": "append", "v": "d"},
        {"p": "/l/0/t", "o": "replace", "v": "z"},
        {"p": "/l/-", "o": "add", "v": "e"},
        {"p": "/l/1", "o": "remove"},
    )
    assert doc == {"l": [{"t": "z"}, "d", "e"]}


def test_what_leads_nowhere_does_no_harm() -> None:
    _, doc = patched(
        {"p": "/a", "o": "set", "v": "text"},
        {"p": "/a/b/c", "o": "set", "v": 1},
        {"p": "/l", "o": "set", "v": []},
        {"p": "/l/5/x", "o": "set", "v": 1},
        {"p": "/none", "o": "remove"},
        {"p": "/l/9", "o": "remove"},
        {"p": "", "o": "set", "v": "not a map"},
    )
    assert doc == {"a": "text", "l": []}


@pytest.mark.parametrize("value", [{"other": 1}, "text", 5, None, [{"p": 1}]])
def test_what_is_no_patch_passes_through(value: object) -> None:
    record = Record("ping", b"x", value)
    assert path_patch()(record) == [record]


def test_a_patch_as_deep_as_any_json_is_followed_so_far_as_is_sane() -> None:
    nested: Any = {"v": 1}
    for _ in range(300):
        nested = {"p": "a", "o": "batch", "v": [nested]}
    seen, _ = patched(nested)
    assert len(seen) <= 1
    patched({"p": "/a" * 10_000, "o": "set", "v": 1})


def test_rules_read_patches() -> None:
    text = (
        HEAD
        + """
stream:
  format: sse
  reduce: path_patch
  events:
    - { match: { p: /response/content }, text: $.v }
    - { match: { p: /response/status }, finish: { path: $.v, map: { DONE: stop } } }
    - { match: { p: /response }, text: $.v.content }
"""
    )
    body = sse(
        {"v": {"response": {"content": ""}}},
        {"p": "response", "o": "set", "v": {"content": "He"}},
        {"p": "response/content", "o": "APPEND", "v": "l"},
        {"v": "lo"},
        {"p": "response/status", "o": "SET", "v": "DONE"},
        done=False,
    )
    done = read(text, body)
    assert (done.reply.text, done.verdict.__class__.__name__) == ("Hello", "Finish")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("pova01"), inner),
    max_leaves=8,
)
PATH = st.lists(st.sampled_from(["a", "b", "0", "-1", "1", "-", ""]), max_size=4).map("/".join)
HOW = st.sampled_from(["add", "append", "set", "replace", "remove", "batch", "patch", "odd", "", 5])
PATCH = st.fixed_dictionaries({}, optional={"p": PATH | JSON, "o": HOW, "v": JSON})


@given(st.lists(PATCH | JSON, max_size=10))
def test_any_records_keep_the_document_json(values: list[Any]) -> None:
    _, doc = patched(
        *(value for value in values if isinstance(value, dict) and value.keys() & {"p", "o", "v"})
    )
    assert json.loads(json.dumps(doc)) == doc
