"""prompted_tools: tools offered by prompt, calls read out of text, however the text was cut."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, get_args

import pytest
import yaml

from engine.chat import Media, Part, ToolResult
from engine.events import Annotation
from engine.route.transforms import instantiate, load
from engine.transform import (
    ArgsDelta,
    ChatRequest,
    Close,
    Context,
    Event,
    Finish,
    Message,
    Open,
    ReasoningDelta,
    Template,
    Text,
    TextDelta,
    Tool,
    ToolCall,
    ToolChoice,
)

HERE = Path(__file__).parent
PATH = HERE.parents[1] / "transforms" / "prompted_tools.py"
SHIPPED = load("prompted_tools", PATH.read_bytes(), "transforms/prompted_tools.py")
CORPUS: list[dict[str, Any]] = yaml.safe_load((HERE / "tool_corpus.yaml").read_text("utf-8"))


def _tool(name: str, **properties: str) -> Tool:
    fields = {key: {"type": kind} for key, kind in properties.items()}
    return Tool(name, f"does {name}", {"type": "object", "properties": fields})


TOOLS = [
    _tool("read_file", path="string"),
    _tool("get_weather", city="string", days="integer"),
    _tool("run", command="string"),
    _tool("edit", path="string", old="string", new="string"),
    _tool("search", query="string", tags="array", exact="boolean"),
]
USER = Message("user", [Text("hi")])


def asked(messages: list[Message] | None = None, **fields: Any) -> ChatRequest:
    fields.setdefault("tools", TOOLS)
    return ChatRequest("openai_chat", "m", messages or [USER], **fields)


def made(request: ChatRequest | None = None, **options: Any) -> tuple[Any, ChatRequest]:
    assert SHIPPED.options is not None
    context = Context("route", random=Random(3))
    transform = instantiate(SHIPPED, SHIPPED.options(**options), context)
    return transform, transform.shape(request or asked())


def parts_of(events: list[Event]) -> list[ToolCall]:
    parts = [event.part for event in events if isinstance(event, Open)]
    return [part for part in parts if isinstance(part, ToolCall)]


def said(events: list[Event]) -> tuple[str, list[tuple[str, Any]]]:
    """The text and the calls of some events."""
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    names = {
        event.block: event.part.name
        for event in events
        if isinstance(event, Open) and isinstance(event.part, ToolCall)
    }
    args = {event.block: event.json for event in events if isinstance(event, ArgsDelta)}
    return text, [(name, json.loads(args[block])) for block, name in names.items()]


def answered(pieces: list[str], reason: str = "stop", **options: Any) -> list[Event]:
    transform, _ = made(**options)
    events = [event for piece in pieces for event in transform.feed(TextDelta(0, piece))]
    return [*events, *transform.feed(Finish(reason)), *transform.finish()]


def ways(text: str) -> Iterator[list[str]]:
    """Whole, by character, and in two pieces at every place."""
    yield [text]
    yield list(text)
    for at in range(1, len(text)):
        yield [text[:at], text[at:]]


def test_the_corpus_is_large_and_names_each_answer_once() -> None:
    assert len(CORPUS) >= 60
    assert len({case["id"] for case in CORPUS}) == len(CORPUS)


@pytest.mark.rows("K2-27", "FL-22")
@pytest.mark.parametrize("case", CORPUS, ids=[case["id"] for case in CORPUS])
def test_the_corpus_is_read_alike_however_it_is_cut(case: dict[str, Any]) -> None:
    expected = (case["text"], [(call["name"], call["args"]) for call in case["calls"]])
    for pieces in ways(case["answer"]):
        assert expected == said(answered(pieces)), pieces


def test_text_streams_while_nothing_in_it_can_begin_a_call() -> None:
    transform, _ = made()
    for word in ("It is ", "sunny, ", "and 3 < 4.", " `code` too."):
        assert [TextDelta(0, word)] == transform.feed(TextDelta(0, word))


def test_a_call_goes_out_as_soon_as_it_is_whole() -> None:
    transform, _ = made()
    assert [] == transform.feed(TextDelta(0, '<tool_call>{"name":"run","arguments":{}}'))
    events = transform.feed(TextDelta(0, "</tool_call>"))
    assert ("", [("run", {})]) == said(events)
    assert isinstance(events[-1], Close)


def test_half_a_call_in_an_answer_cut_for_its_length_is_text() -> None:
    whole = '<tool_call>{"name": "run", "arguments": {"command": "rm -rf /tmp/x'
    assert (whole, []) == said(answered([whole], "length"))
    assert ("", [("run", {"command": "rm -rf /tmp/x"})]) == said(answered([whole], "stop"))


def test_what_follows_a_call_keeps_its_place() -> None:
    transform, _ = made()
    events = transform.feed(TextDelta(0, 'a {"na'))
    events += transform.feed(Annotation({"note": 1}))
    events += transform.feed(TextDelta(0, 'me": "x"}'))
    events += transform.feed(Finish("stop"))
    kinds = [type(event) for event in events]
    assert 'a {"name": "x"}' == said(events)[0]
    assert [Finish] == kinds[-1:]
    assert kinds.index(Annotation) < len(kinds) - 2


def test_thinking_is_never_looked_into() -> None:
    transform, _ = made()
    thought = ReasoningDelta(0, '<tool_call>{"name":"run","arguments":{}}</tool_call>')
    assert [thought] == transform.feed(thought)


def test_further_calls_than_allowed_stay_text() -> None:
    one = '<tool_call>{"name":"run","arguments":{}}</tool_call>'
    text, calls = said(answered([one, one], max_calls=1))
    assert (one, [("run", {})]) == (text, calls)


def test_ids_differ() -> None:
    one = '<tool_call>{"name":"run","arguments":{}}</tool_call>'
    events = answered([one, one])
    ids = [
        event.part.id
        for event in events
        if isinstance(event, Open) and isinstance(event.part, ToolCall)
    ]
    assert len(set(ids)) == 2
    assert all(ident.startswith("call_") for ident in ids)


# ---- what is asked ----


def system(request: ChatRequest) -> str:
    return next((m.text for m in request.messages if m.role == "system"), "")


@pytest.mark.rows("K2-26", "KB-12")
def test_the_whole_schemas_are_in_the_prompt_however_long() -> None:
    deep = {"type": "object", "properties": {"deep": {"enum": ["a"] * 2_000}}}
    tools = [*TOOLS, Tool("long", "x" * 20_000, deep)]
    _, request = made(asked(tools=tools))
    lines = [line for line in system(request).splitlines() if '"parameters":' in line]
    told = [tuple(json.loads(line).values()) for line in lines]
    assert [(tool.name, tool.description, tool.schema) for tool in tools] == told
    assert ([], None) == (request.tools, request.tool_choice)


@pytest.mark.rows("K2-26")
@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        (ToolChoice("required"), "Now call at least one tool."),
        (ToolChoice("named", ["run"]), "Now call the tool `run`."),
    ],
)
def test_a_forced_choice_is_a_sentence_of_the_prompt(choice: ToolChoice, sentence: str) -> None:
    assert system(made(asked(tool_choice=choice))[1]).endswith(sentence)
    assert sentence not in system(made()[1])


@pytest.mark.rows("K2-26")
def test_without_a_choice_nothing_is_asked_and_nothing_read() -> None:
    transform, request = made(asked(tool_choice=ToolChoice("none")))
    assert [USER] == request.messages
    event = TextDelta(0, '<tool_call>{"name":"run","arguments":{}}</tool_call>')
    assert [event] == transform.feed(event)
    assert [] == transform.finish()


def test_without_tools_nothing_is_asked() -> None:
    assert [USER] == made(asked(tools=[]))[1].messages


@pytest.mark.rows("FL-21")
def test_tools_of_the_route_are_offered_to_clients_that_bring_none() -> None:
    assert SHIPPED.options is not None
    (kind,) = get_args(SHIPPED.options.__annotations__["offer"])
    offer = [kind(name="web_search", description="searches")]
    transform, request = made(asked(tools=[]), offer=offer)
    assert '"name":"web_search","description":"searches"' in system(request)
    said = TextDelta(0, '<tool_call name="web_search">{"q":"x"}</tool_call>')
    events = [*transform.feed(said), *transform.finish()]
    assert ["web_search"] == [call.name for call in parts_of(events)]
    assert "web_search" not in system(made(asked(), offer=offer)[1])
    assert [USER] == made(asked(tools=[], tool_choice=ToolChoice("none")), offer=offer)[1].messages


def test_the_prompt_follows_the_system_text_of_the_client() -> None:
    request = asked([Message("system", [Text("Be brief.")]), USER])
    _, shaped = made(request)
    assert system(shaped).startswith("Be brief.\n\nYou can use tools.")
    assert "Call one tool at a time." in system(made(asked(parallel=False))[1])


def test_a_prompt_of_the_routes_own() -> None:
    def say(env: Any) -> str:
        return f"{len(env['tools'])} tools, {env['choice']}"

    _, request = made(prompt=Template("{{ … }}", say).bind({}))
    assert "5 tools, auto" == system(request)


def test_hosted_tools_are_named_as_dropped() -> None:
    hosted = Tool("web_search", kind="hosted", raw={"type": "web_search"})
    assert ["tools.web_search"] == made(asked(tools=[*TOOLS, hosted]))[1].dropped


@pytest.mark.rows("K2-28", "KB-12")
@pytest.mark.parametrize(
    ("style", "call"),
    [
        ("xml", '<tool_call>\n{"name":"run","arguments":{"command":"ls"}}\n</tool_call>'),
        ("json", '```json\n{"tool_calls":[{"name":"run","arguments":{"command":"ls"}}]}\n```'),
    ],
)
def test_earlier_calls_and_results_are_retold(style: str, call: str) -> None:
    image = Media("image", url="https://images.example/x.png")
    history = [
        USER,
        Message("assistant", [Text("Looking."), ToolCall("c1", "run", '{"command":"ls"}')]),
        Message("tool", [ToolResult("c1", [Text("a.txt"), image])]),
        Message("tool", [ToolResult("c2", [Text("gone")], is_error=True, name="read_file")]),
        Message("user", [Text("and?")]),
    ]
    _, request = made(asked(history), style=style)
    turns = [m for m in request.messages if m.role != "system"]
    assert ["user", "assistant", "user", "user"] == [m.role for m in turns]
    assert f"Looking.\n{call}\n" == turns[1].text
    assert (
        '<tool_result name="run">\na.txt\n</tool_result>\n\n'
        '<tool_result name="read_file" error="true">\ngone\n</tool_result>'
    ) == turns[2].text
    parts: list[Part] = turns[2].parts
    assert image in parts
    assert [None] * 4 == [m.name for m in turns]


def test_what_the_prompt_asks_for_is_what_is_read() -> None:
    for style in ("xml", "json"):
        history = [
            Message("assistant", [ToolCall("c1", "edit", '{"path":"a","old":"<b>","new":"`x`"}')])
        ]
        _, request = made(asked(history), style=style)
        text = next(m.text for m in request.messages if m.role == "assistant")
        assert [("edit", {"path": "a", "old": "<b>", "new": "`x`"})] == said(answered([text]))[1]


def test_a_custom_tool_takes_free_text() -> None:
    tool = Tool("patch", "applies a patch", kind="custom")
    transform, request = made(asked(tools=[tool]))
    assert '"input"' in system(request)
    events = transform.feed(
        TextDelta(0, '<tool_call>{"name":"patch","arguments":{"input":"*** Begin"}}</tool_call>')
    )
    assert "*** Begin" == next(event.json for event in events if isinstance(event, ArgsDelta))
    assert "custom" == next(
        e.part.kind for e in events if isinstance(e, Open) and isinstance(e.part, ToolCall)
    )


# ---- rescue ----

LEAKED = '<tool_call>{"name":"run","arguments":{"command":"ls"}}</tool_call>'


def test_rescue_asks_nothing_and_reads_what_leaks() -> None:
    request = asked()
    transform, shaped = made(request, rescue=True)
    assert request is shaped
    events = transform.feed(TextDelta(0, f"ok {LEAKED}"))
    events += transform.feed(Finish("stop")) + transform.finish()
    assert ("ok ", [("run", {"command": "ls"})]) == said(events)


def test_rescue_does_not_double_a_call_that_the_upstream_makes_itself() -> None:
    transform, _ = made(rescue=True)
    own: list[Event] = [
        Open(1, ToolCall("c", "run", "")),
        ArgsDelta(1, '{"command": "ls"}'),
        Close(1),
    ]
    events = transform.feed(TextDelta(0, LEAKED))
    for event in own:
        events += transform.feed(event)
    events += transform.finish()
    assert own == events


def test_rescue_of_another_call_beside_one_of_the_upstreams_own() -> None:
    transform, _ = made(rescue=True)
    events = transform.feed(ArgsDelta(1, '{"command": "pwd"}', "c", "run"))
    events += transform.feed(TextDelta(0, LEAKED)) + transform.finish()
    assert [("run", {"command": "ls"})] == said(events)[1]
