from __future__ import annotations

import pytest

from engine.chat import ChatRequest, Citation, Opaque, Output, Text, ToolCall
from engine.dialects import DIALECTS
from engine.dialects.gemini.decode import grounding
from engine.dialects.unsaid import PARTS, Beside, beside, unsaid
from engine.events import Annotation, CitationDelta, Reply

C, R, A, G, L = "openai_chat", "openai_responses", "anthropic_messages", "gemini", "ollama"
CODE = {"executableCode": {"language": "PYTHON", "code": "1"}}
PAGE = Citation("web", url="https://a.example")
PLACE = Citation("char_location", text="x", raw={"type": "char_location", "cited_text": "x"})
FILE = Citation("file_citation", raw={"type": "file_citation", "file_id": "f", "index": 0})


@pytest.mark.parametrize(
    ("found", "clients"),
    [
        (PAGE, {L}),
        (PLACE, {C, R, G, L}),
        (FILE, {C, A, G, L}),
    ],
)
def test_a_citation_that_the_clients_api_has_no_place_for_is_named(
    found: Citation, clients: set[str]
) -> None:
    lost = {name for name, kind in DIALECTS.items() if unsaid([found], kind, None)}
    assert clients == lost
    assert ["citations"] == unsaid([found, found], DIALECTS[L], None)


@pytest.mark.parametrize(("stream", "clients"), [(True, {R, A, L}), (False, {L})])
def test_a_citation_whose_text_is_over_has_no_place_in_some_streams(
    stream: bool, clients: set[str]
) -> None:
    late, request = CitationDelta(0, PAGE), ChatRequest(C, "m", [], stream=stream)
    lost = {name for name, kind in DIALECTS.items() if unsaid([late], kind, request)}
    assert clients == lost


def test_only_chat_has_a_place_for_what_the_engine_notes() -> None:
    found = {name: unsaid([Annotation(1)], kind, None) for name, kind in DIALECTS.items()}
    assert {C: [], R: ["annotations"], A: ["annotations"], G: ["annotations"],
            L: ["annotations"]} == found  # fmt: skip


def test_what_is_told_in_words_is_not_named_and_the_apis_own_neither() -> None:
    parts: list[Beside] = [Opaque(G, "executableCode", CODE), Opaque(A, "compaction", {})]
    assert ["compaction"] == unsaid(parts, DIALECTS[C], None)
    assert [] == unsaid(parts[1:], DIALECTS[A], None)


def test_where_json_is_wanted_nothing_is_told_and_all_is_named() -> None:
    request = ChatRequest(C, "m", [], out=Output(format="json"))
    assert ["executableCode"] == unsaid([Opaque(G, "executableCode", CODE)], DIALECTS[C], request)


def test_what_a_whole_answer_has_beside_its_text() -> None:
    part = Opaque(A, "compaction", {})
    reply = Reply(parts=[part, Text("a", [PAGE])], annotations=[1])
    assert [Annotation(1), part, PAGE] == beside(reply)


def test_the_names_that_are_known_beforehand() -> None:
    assert {"citations", "annotations", "web_search_call", "computer_call"} <= PARTS


ONE, TWO = ToolCall("a", "look", "{}"), ToolCall("b", "see", "{}")


@pytest.mark.parametrize("client", DIALECTS)
def test_a_second_call_is_named_where_the_client_has_room_for_one(client: str) -> None:
    reply, legacy = Reply(parts=[ONE, TWO]), ChatRequest(client, "m", [], extras={"functions": []})
    due = ["tool_calls"] if client == C else []
    assert due == unsaid(beside(reply), DIALECTS[client], legacy)
    assert [] == unsaid(beside(reply), DIALECTS[client], ChatRequest(client, "m", []))
    assert [] == unsaid(beside(Reply(parts=[ONE])), DIALECTS[client], legacy)


def test_a_source_without_an_address_is_told_to_clients_of_the_api_that_has_it() -> None:
    chunk: dict[str, object] = {"retrievedContext": {"title": "notes", "text": "so"}}
    (found,) = grounding({"groundingChunks": [chunk]})
    lost = {name for name, kind in DIALECTS.items() if unsaid([found], kind, None)}
    assert {C, R, A, L} == lost
