"""Which lines of a route read a path of an answer."""

from __future__ import annotations

import pytest

from engine.replay.readings import Readings
from engine.route.compile import Sources, compile_route

ROUTE = """\
version: 1
base_url: https://example.com
models: [m]
values:
  t:
    request: { path: /t }
    extract: [ { json: $.token } ]
request: { headers: { X: "{{ values.t }}" }, json: { q: "{{ req.prompt }}" } }
stream:
  events:
    - match: { delta.kind: word }
      text: [$.delta.text, $.old]
    - each: $.choices[*]
      match: { mood: calm }
      tool_calls:
        each: $.calls[*]
        name: $.fn['the name']
    - has: $..deep
      reasoning: "$.items[?(@.k == 'v')].said | strip"
    - { match: { s: "/x/" }, finish: stop }
errors: { message: $.error.message }
"""


def readings() -> Readings:
    found = compile_route(ROUTE.encode(), "r.yaml", Sources())
    assert found.tree is not None
    assert found.route is not None, found.problems
    return Readings(found.tree)


@pytest.mark.parametrize(
    ("way", "places"),
    [
        ("delta kind", ["stream.events[0].match:11"]),
        ("delta text", ["stream.events[0].text[0]:12"]),
        ("delta", ["stream.events[0].match:11", "stream.events[0].text[0]:12"]),
        ("delta text more", []),
        ("old", ["stream.events[0].text[1]:12"]),
        ("choices [*] mood", ["stream.events[1].match:14"]),
        ("mood", []),
        ("choices [*] calls [*] fn", ["stream.events[1].tool_calls.name:17"]),
        ("any where deep", ["stream.events[2].has:18"]),
        ("items [*] said", ["stream.events[2].reasoning:19"]),
        ("error message", ["errors.message:21"]),
        ("token", []),
    ],
)
def test_a_path_is_read_by_what_leads_to_it_or_below(way: str, places: list[str]) -> None:
    found = readings().of(tuple(way.split()), fetched=False)
    assert places == [f"{each.place}:{each.line}" for each in found]


def test_answers_to_fetches_are_read_by_values_alone() -> None:
    assert ["values.t.extract[0].json"] == [
        each.place for each in readings().of(("token",), fetched=True)
    ]
    assert [] == readings().of(("delta", "text"), fetched=True)


def test_an_item_of_a_list_has_its_place() -> None:
    found = readings().at("stream.events", 2)
    assert found is not None
    assert ("stream.events[2]", "r.yaml", 18) == (found.place, found.file, found.line)
    assert None is readings().at("stream.events", 9)
    assert None is readings().at("response.events", 0)


def test_texts_that_a_route_opens_are_known() -> None:
    text = ROUTE.replace("$.delta.text, $.old", "$.delta.text | from_json, $.old")
    found = compile_route(text.encode(), "r.yaml", Sources())
    assert found.tree is not None
    opens = Readings(found.tree).opens
    assert [True, False, False] == [
        opens(way) for way in (("delta", "text"), ("old",), ("delta", "text", "more"))
    ]
