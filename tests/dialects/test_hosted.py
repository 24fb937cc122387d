"""What a provider's own tools left in an answer, told to clients of every API."""

from __future__ import annotations

from typing import Any

import pytest

from engine.chat import ChatRequest, Media, Opaque, Output, Text
from engine.dialects import DIALECTS
from engine.dialects.hosted import instead, left_out, told, wants_json
from engine.events import Close, Event, Finish, Open, TextDelta, fold
from engine.wire import dumps

from .crossing import answered, parsed, read, said, whole

C, R, A, G, L = "openai_chat", "openai_responses", "anthropic_messages", "gemini", "ollama"


def result(kind: str, content: object) -> dict[str, Any]:
    return {"type": kind, "tool_use_id": "srvtoolu_1", "content": content}


def used(name: str, **given: object) -> dict[str, Any]:
    return {"type": "server_tool_use", "id": "srvtoolu_1", "name": name, "input": given}


def item(kind: str, **fields: object) -> dict[str, Any]:
    return {"id": "i_1", "type": kind, "status": "completed", **fields}


# dialect, the part as it came, what is said of it
TOLD: list[tuple[str, dict[str, Any], str]] = [
    (G, {"executableCode": {"language": "PYTHON", "code": "print(6*7)"}},
     "\n```python\nprint(6*7)\n```\n"),
    (G, {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "42\n"}}, "\n```\n42\n```\n"),
    (G, {"codeExecutionResult": {"outcome": "OUTCOME_FAILED", "output": "boom"}},
     "\n```\nboom\n```\n\n[code execution: failed]\n"),
    (A, used("code_execution", code="print(6*7)"), "\n```python\nprint(6*7)\n```\n"),
    (A, used("bash_code_execution", command="ls"), "\n```bash\nls\n```\n"),
    (A, used("text_editor_code_execution", command="create", path="a"),
     '\n[tool: text_editor_code_execution]\n\n```json\n{"command":"create","path":"a"}\n```\n'),
    (A, result("bash_code_execution_tool_result",
               {"type": "bash_code_execution_result", "stdout": "42\n", "stderr": "hm",
                "return_code": 1, "content": [{"file_id": "file_7"}]}),
     ("\n```\n42\n```\n\n```\nhm\n```\n\n[file left out: only its id is known: file_7]\n"
      "\n[exit status: 1]\n")),
    (A, result("code_execution_tool_result",
               {"type": "code_execution_tool_result_error", "error_code": "unavailable"}),
     "\n[the tool failed: unavailable]\n"),
    (A, result("text_editor_code_execution_tool_result",
               {"type": "text_editor_code_execution_view_result", "content": "words"}),
     "\n```\nwords\n```\n"),
    (A, result("text_editor_code_execution_tool_result",
               {"type": "text_editor_code_execution_str_replace_result", "lines": ["-a", "+b"]}),
     "\n```\n-a\n+b\n```\n"),
    (A, result("advisor_tool_result", {"type": "advisor_result", "text": "do"}),
     "\n```\ndo\n```\n"),
    (A, {"type": "mcp_tool_use", "id": "m", "name": "look", "server_name": "s",
         "input": {"at": 1}}, '\n[tool: look]\n\n```json\n{"at":1}\n```\n'),
    (A, {"type": "mcp_tool_result", "tool_use_id": "m", "is_error": False,
         "content": [{"type": "text", "text": "seen"}]}, "\n```\nseen\n```\n"),
    (A, {"type": "mcp_tool_result", "tool_use_id": "m", "is_error": False, "content": "seen"},
     "\n```\nseen\n```\n"),
    (A, {"type": "container_upload", "file_id": "file_7"},
     "\n[file left out: only its id is known: file_7]\n"),
    (R, item("code_interpreter_call", code="6*7", container_id="c",
             outputs=[{"type": "logs", "logs": "42"},
                      {"type": "image", "url": "https://a.example/b.png"}]),
     "\n```python\n6*7\n```\n\n```\n42\n```\n\n![image](https://a.example/b.png)\n"),
    (R, item("mcp_call", name="look", server_label="s", arguments='{"at":1}', output="seen"),
     '\n[tool: look]\n\n```json\n{"at":1}\n```\n\n```\nseen\n```\n'),
    (R, item("mcp_call", name="look", server_label="s", arguments="{}",
             error={"type": "x", "message": "down"}),
     "\n[tool: look]\n\n```json\n{}\n```\n\n[the tool failed: down]\n"),
    (R, item("shell_call", call_id="c", action={"commands": ["ls", "pwd"]}),
     "\n```bash\nls\npwd\n```\n"),
    (R, item("shell_call_output", call_id="c",
             output=[{"stdout": "a", "stderr": "", "outcome": {"type": "exit", "exit_code": 2}}]),
     "\n```\na\n```\n\n[exit status: 2]\n"),
    (R, item("program", call_id="c", code="f()"), "\n```javascript\nf()\n```\n"),
    (R, item("program_output", call_id="c", result="42"), "\n```\n42\n```\n"),
    (R, item("computer_call", call_id="c"),
     "\n[computer_call left out: this API's answers cannot hold it]\n"),
]  # fmt: skip
# What was only looked up: its sources come as citations.
LEFT: list[tuple[str, dict[str, Any]]] = [
    (G, {"toolCall": {"id": "x", "toolType": "GOOGLE_SEARCH_WEB"}}),
    (A, used("web_search", query="q")),
    (A, used("web_fetch", url="https://a.example")),
    (A, result("web_search_tool_result", [])),
    (A, result("web_fetch_tool_result", {"type": "web_fetch_result", "url": "https://a.example"})),
    (A, {"type": "compaction", "content": "so far"}),
    (R, item("web_search_call", action={"type": "search", "query": "q"})),
    (R, item("file_search_call", queries=["q"])),
    (R, item("mcp_list_tools", server_label="s", tools=[])),
]


def part(dialect: str, raw: dict[str, Any]) -> Opaque:
    return Opaque(dialect, next(iter(raw)) if dialect == G else raw["type"], raw)


def events(found: Opaque) -> list[Event]:
    between: list[Event] = [Open(0, found), Close(0)]
    return [*between, TextDelta(1, "so"), Finish("stop")]


def across(upstream: str, found: Opaque, client: str, *, stream: bool) -> Any:
    given = events(found)
    data = said(upstream, numbered(given)) if stream else whole(upstream, numbered(given))
    return answered(upstream, data, client, stream=stream)


def numbered(given: list[Event]) -> list[Event]:
    return [*given[:2], Open(1, Text("")), *given[2:-1], Close(1), given[-1]]


PAIRS = [(client, *row) for client in DIALECTS for row in TOLD if client != row[0]]


@pytest.mark.parametrize(("dialect", "raw", "words"), TOLD)
def test_code_its_outcome_and_files_have_words(
    dialect: str, raw: dict[str, Any], words: str
) -> None:
    assert words == told(part(dialect, raw)) == instead(part(dialect, raw))


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("client", "dialect", "raw", "words"), PAIRS)
def test_every_other_client_is_told_in_the_text(
    client: str, dialect: str, raw: dict[str, Any], words: str, stream: bool
) -> None:
    assert words + "so" == across(dialect, part(dialect, raw), client, stream=stream).reply.text


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("dialect", "raw"), [row[:2] for row in TOLD] + LEFT)
def test_a_client_of_the_same_api_gets_it_as_it_was(
    dialect: str, raw: dict[str, Any], stream: bool
) -> None:
    found = part(dialect, raw)
    data = (said if stream else whole)(dialect, numbered(events(found)))
    got = fold(read(dialect, data, stream=stream)[0])
    assert ([found], "so") == ([each for each in got.parts if isinstance(each, Opaque)], got.text)


@pytest.mark.parametrize(("dialect", "raw"), LEFT)
def test_what_was_only_looked_up_is_left_out_and_named(dialect: str, raw: dict[str, Any]) -> None:
    found = part(dialect, raw)
    assert "" == told(found)
    assert [found.kind] == left_out([found, found], None)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("client", "dialect", "raw"),
    [(client, *row) for client in DIALECTS for row in LEFT if client != row[0]],
)
def test_what_was_looked_up_is_no_text(
    client: str, dialect: str, raw: dict[str, Any], stream: bool
) -> None:
    assert "so" == across(dialect, part(dialect, raw), client, stream=stream).reply.text


CODE = Opaque(G, "executableCode", {"executableCode": {"language": "PYTHON", "code": "1"}})
FORM: dict[str, dict[str, Any]] = {
    C: {"response_format": {"type": "json_object"}},
    R: {"text": {"format": {"type": "json_object"}}},
    A: {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
    G: {"generationConfig": {"responseMimeType": "application/json"}},
    L: {"format": "json"},
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("client", sorted(set(DIALECTS) - {G}))
def test_nothing_stands_in_a_text_that_is_to_be_json(client: str, stream: bool) -> None:
    request = parsed(client, {**FORM[client], "stream": stream})
    data = (said if stream else whole)(G, numbered(events(CODE)))
    got = answered(G, data, client, stream=stream, request=request)
    assert "so" == got.reply.text
    assert ["executableCode"] == left_out([CODE], request)
    assert [] == left_out([CODE], None)


def test_gemini_clients_that_want_json_get_none_of_other_tools_either() -> None:
    found = part(A, used("code_execution", code="1"))
    request = parsed(G, FORM[G])
    data = whole(A, numbered(events(found)))
    assert "so" == answered(A, data, G, stream=False, request=request).reply.text


def test_who_wants_json() -> None:
    asked = ChatRequest(C, "m", [])
    assert [False, False, True, True] == [
        wants_json(None), wants_json(asked),
        wants_json(ChatRequest(C, "m", [], out=Output(format="json"))),
        wants_json(ChatRequest(C, "m", [], out=Output(format="schema"))),
    ]  # fmt: skip


def test_the_fence_is_longer_than_any_in_the_code() -> None:
    raw = {"executableCode": {"language": "PYTHON", "code": "s = '````'"}}
    assert "\n`````python\ns = '````'\n`````\n" == told(Opaque(G, "executableCode", raw))


def test_a_kind_that_nobody_knows_is_told_and_named() -> None:
    found = Opaque(R, "dream_call", {"type": "dream_call"})
    assert "\n[dream_call left out: this API's answers cannot hold it]\n" == told(found)
    assert ["dream_call"] == left_out([found], None)


@pytest.mark.parametrize("raw", [None, [], "x"])
def test_a_part_that_is_no_object_is_left_out_and_named(raw: object) -> None:
    assert ["mcp_call"] == left_out([Opaque(R, "mcp_call", raw)], None)


@pytest.mark.parametrize(("dialect", "raw"), [row[:2] for row in TOLD])
@pytest.mark.parametrize("nonsense", [None, 1, "x", [1], {"a": 1}])
def test_no_shape_of_a_part_fails_an_answer(
    dialect: str, raw: dict[str, Any], nonsense: object
) -> None:
    for holder in (raw, *(inner for inner in raw.values() if isinstance(inner, dict))):
        for name in list(holder):
            if name == "type":
                continue
            kept, holder[name] = holder[name], nonsense
            assert isinstance(told(part(dialect, raw)), str)
            holder[name] = kept
    assert dumps(raw)


def test_media_have_the_words_of_pictures() -> None:
    assert "https://a.example/a.wav" == instead(Media("audio", url="https://a.example/a.wav"))
