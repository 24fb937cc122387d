"""Sources that vendors tell beside the answer. Over sockets: tests/upstreams/test_sources.py."""

from __future__ import annotations

from typing import Any

import pytest

from engine.chat import Citation, Opaque
from engine.dialects.openai_chat.sources import Sources, executed, referred

A, B = "https://a.example", "https://b.example"
PAGE = {"url": A, "title": "A", "content": "so it is", "score": 0.9}


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ({"search_results": [{**PAGE, "date": None}]}, [(A, "A")]),
        ({"citations": [A, B]}, [(A, None), (B, None)]),
        ({"citations": [A, B], "search_results": [PAGE]}, [(A, "A"), (B, None)]),
        ({"executed_tools": [{"type": "search", "search_results": {"results": [PAGE]}},
                             {"type": "visit", "browser_results": [{"url": B, "title": "B"}]}]},
         [(A, "A"), (B, "B")]),
        ({"web_search": [{"title": "A", "link": A, "refer": "ref_1"}]}, [(A, "A")]),
        ({"search_info": {"search_results": [{"index": 1, "title": "B", "url": B}]}}, [(B, "B")]),
        ({"web_search": {"x": 1}, "search_info": [1]}, []),
        ({"context": {"citations": [{"url": None, "title": "notes.txt"}]}}, [(None, "notes.txt")]),
        ({"citations": None, "search_results": "x", "executed_tools": [1], "context": []}, []),
        ({"citations": [{"url": 1}, "", None], "search_results": [{}]}, []),
    ],
)  # fmt: skip
def test_sources_are_found_where_each_vendor_has_them(
    told: dict[str, Any], found: list[tuple[str | None, str | None]]
) -> None:
    assert [Citation("web", url, title) for url, title in found] == Sources().read(told)


def test_a_source_that_is_told_again_is_known() -> None:
    sources = Sources()
    assert [Citation("web", A, "A")] == sources.read({"search_results": [PAGE]})
    assert [Citation("web", B)] == sources.read({"search_results": [PAGE], "citations": [A, B]})


def test_tools_that_the_vendor_ran_are_kept_whole() -> None:
    tool = {"index": 0, "type": "search", "arguments": "{}"}
    assert [Opaque("openai_chat", "executed_tools", tool)] == executed({"executed_tools": [tool]})
    assert [] == executed({"executed_tools": None})


def test_a_part_of_the_content_may_be_a_reference() -> None:
    numbers: dict[str, object] = {"type": "reference", "reference_ids": [0, 2]}
    page: dict[str, object] = {
        "type": "tool_reference",
        "tool": "web_search",
        "title": "A",
        "url": A,
    }
    assert Citation("reference", raw=numbers) == referred(numbers)
    assert Citation("web", A, "A", raw=page) == referred(page)
    assert referred({"type": "text", "text": "a"}) is None
