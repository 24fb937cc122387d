"""Searches of the web by the provider, between the official SDKs and upstreams of every dialect
that has some: asked for in the upstream's words, found as citations, never as calls of tools."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
import pytest_asyncio

from tests.faults.client import CLIENT_KEY
from tests.faults.stage import gateway

from . import google
from .search_stub import CITED, SPEAKERS, TEXT, TITLE, URL, Stub, search_stub

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession"),  # Google's own
]
UPSTREAMS = tuple(SPEAKERS)
DIALECTS = {"chat": "openai_chat", "messages": "anthropic_messages",
            "responses": "openai_responses", "gemini": "gemini"}  # fmt: skip
STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
PLACE = {"city": "Bern", "country": "CH"}
APPROXIMATE = {"type": "approximate", **PLACE}
ROUTE = """\
version: 1
dialect: {dialect}
base_url: "{url}"
models: [{model}]
profile: {{ web_search: {search} }}
"""


@dataclass(slots=True)
class World:
    url: str
    stub: Stub


@asynccontextmanager
async def world(home: Path) -> AsyncIterator[World]:
    async with search_stub() as stub:
        routes = {
            f"{name}-{search}": ROUTE.format(
                dialect=DIALECTS[name], url=stub.url, model=f"{name}-{search}", search=search
            )
            for name in UPSTREAMS
            for search in ("none", "alone", "with_tools")
        }
        async with gateway(home, routes) as running:
            yield World(f"http://127.0.0.1:{running.port}", stub)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("gateway")) as made:
        yield made


@dataclass(slots=True)
class Told:
    """links: (url, title) of citations; kinds: of what else there was but thoughts.

    cited   the words that citations stand at, for APIs that tell
    """

    text: str
    links: list[tuple[str, str]]
    kinds: list[str]
    finish: str
    cited: list[str] = field(default_factory=list)


Ask = Callable[[World, str, bool], Awaitable[Told]]


async def by_chat(on: World, model: str, stream: bool) -> Told:
    options: Any = {
        "search_context_size": "low",
        "user_location": {"type": "approximate", "approximate": PLACE},
    }
    said: list[Any] = [{"role": "user", "content": "Which river?"}]
    async with openai.AsyncOpenAI(base_url=f"{on.url}/v1", api_key=CLIENT_KEY) as client:
        made: Any = await client.chat.completions.create(
            model=model, messages=said, web_search_options=options, stream=stream
        )
        answers = [chunk async for chunk in made] if stream else [made]
    choices = [choice for answer in answers for choice in answer.choices]
    parts = [choice.delta if stream else choice.message for choice in choices]
    notes = [note for part in parts for note in getattr(part, "annotations", None) or ()]
    links = [note["url_citation"] if isinstance(note, dict) else note.url_citation.to_dict()
             for note in notes]  # fmt: skip
    text = "".join(part.content or "" for part in parts)
    return Told(
        text,
        [(link["url"], link["title"]) for link in links],
        [call.function.name for part in parts for call in part.tool_calls or ()],
        next(choice.finish_reason for choice in reversed(choices) if choice.finish_reason),
        [text[link["start_index"] : link["end_index"]] for link in links],
    )


async def by_messages(on: World, model: str, stream: bool) -> Told:
    tool: Any = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2,
                 "allowed_domains": ["a.example"], "user_location": APPROXIMATE}  # fmt: skip
    fields: Any = {"model": model, "max_tokens": 99, "tools": [tool]}
    fields["messages"] = [{"role": "user", "content": "Which river?"}]
    async with anthropic.AsyncAnthropic(base_url=on.url, api_key=CLIENT_KEY) as client:
        if stream:
            async with client.messages.stream(**fields) as made:
                answer: Any = await made.get_final_message()
        else:
            answer = await client.messages.create(**fields)
    texts = [block for block in answer.content if block.type == "text"]
    return Told(
        "".join(block.text for block in texts),
        [(note.url, note.title) for block in texts for note in block.citations or ()],
        [block.type for block in answer.content if block.type not in ("text", "thinking")],
        "stop" if answer.stop_reason == "end_turn" else answer.stop_reason,
    )


async def by_responses(on: World, model: str, stream: bool) -> Told:
    tool: Any = {"type": "web_search", "search_context_size": "low",
                 "filters": {"allowed_domains": ["a.example"]},
                 "user_location": APPROXIMATE}  # fmt: skip
    async with openai.AsyncOpenAI(base_url=f"{on.url}/v1", api_key=CLIENT_KEY) as client:
        fields: Any = {"model": model, "input": "Which river?", "tools": [tool]}
        if stream:
            async with client.responses.stream(**fields) as made:
                answer: Any = await made.get_final_response()
        else:
            answer = await client.responses.create(**fields)
    said = [part for item in answer.output if item.type == "message" for part in item.content]
    notes = [(part, note) for part in said for note in part.annotations]
    return Told(
        "".join(part.text for part in said),
        [(note.url, note.title) for _, note in notes],
        [item.type for item in answer.output if item.type not in ("message", "reasoning")],
        "stop" if answer.status == "completed" else answer.status,
        [part.text[note.start_index : note.end_index] for part, note in notes],
    )


async def by_gemini(on: World, model: str, stream: bool) -> Told:
    fields: Any = {
        "model": model,
        "contents": "Which river?",
        "config": {"tools": [{"google_search": {}}]},
    }
    async with google.client(on.url).aio as client:
        if stream:
            made = await client.models.generate_content_stream(**fields)
            answers: list[Any] = [chunk async for chunk in made]
        else:
            answers = [await client.models.generate_content(**fields)]
    told = google.said(answers)
    found = [answer.candidates[0].grounding_metadata for answer in answers]
    pages = [page.web for one in found if one for page in one.grounding_chunks or ()]
    return Told(
        told.text,
        [(page.uri, page.title) for page in pages],
        [name for _, name, _ in told.calls],
        told.finish.lower(),
    )


ASK: dict[str, Ask] = {
    "chat": by_chat, "messages": by_messages, "responses": by_responses, "gemini": by_gemini,
}  # fmt: skip
PAIRS = pytest.mark.parametrize(
    ("who", "upstream"), [(who, name) for who in ASK for name in UPSTREAMS if name != who]
)


@PAIRS
@STREAMS
async def test_what_was_found_is_cited(
    served: World, who: str, upstream: str, stream: bool
) -> None:
    """Row 53 of the translation bugs: a search of the provider is no call of the client's."""
    told = await ASK[who](served, f"{upstream}-with_tools", stream)
    cited = [CITED] if who in ("chat", "responses") else []
    assert Told(TEXT, [(URL, TITLE)], [], "stop", cited) == told


SEARCH: dict[str, Any] = {
    "messages": {"type": "web_search_20250305", "name": "web_search"},
    "responses": {"type": "web_search"},
    "gemini": {"googleSearch": {}},
}


def searched(body: dict[str, Any]) -> Any:
    """How the upstream was asked to search."""
    tools = body.get("tools") or []
    return body.get("web_search_options", tools[0] if tools else None)


LOCATED: Any = {"user_location": APPROXIMATE}
DOMAINS: Any = {"allowed_domains": ["a.example"]}
ASKED: dict[tuple[str, str], tuple[Any, list[str]]] = {
    ("chat", "messages"): (
        {**SEARCH["messages"], **LOCATED}, ["search_context_size"],
    ),
    ("chat", "responses"): ({**SEARCH["responses"], **LOCATED, "search_context_size": "low"}, []),
    ("chat", "gemini"): (SEARCH["gemini"], ["search_context_size", "user_location"]),
    ("messages", "chat"): (
        {"user_location": {"type": "approximate", "approximate": PLACE}},
        ["allowed_domains", "max_uses"],
    ),
    ("messages", "responses"): (
        {**SEARCH["responses"], **LOCATED, "filters": DOMAINS}, ["max_uses"],
    ),
    ("messages", "gemini"): (SEARCH["gemini"], ["allowed_domains", "max_uses", "user_location"]),
    ("responses", "chat"): (
        {"search_context_size": "low",
         "user_location": {"type": "approximate", "approximate": PLACE}},
        ["allowed_domains"],
    ),
    ("responses", "messages"): (
        {**SEARCH["messages"], **LOCATED, **DOMAINS}, ["search_context_size"],
    ),
    ("responses", "gemini"): (
        SEARCH["gemini"], ["allowed_domains", "search_context_size", "user_location"],
    ),
    ("gemini", "chat"): ({}, []),
    ("gemini", "messages"): (SEARCH["messages"], []),
    ("gemini", "responses"): (SEARCH["responses"], []),
}  # fmt: skip


@PAIRS
async def test_the_search_is_asked_for_in_the_upstreams_words(
    served: World, who: str, upstream: str
) -> None:
    await ASK[who](served, f"{upstream}-with_tools", False)
    assert ASKED[who, upstream][0] == searched(served.stub.asked[-1])


@PAIRS
async def test_where_none_is_known_it_is_named_or_refused(
    served: World, who: str, upstream: str
) -> None:
    before = len(served.stub.asked)
    if who in ("chat", "responses"):  # such clients offer it in every request
        told = await ASK[who](served, f"{upstream}-none", False)
        assert TEXT == told.text
        assert searched(served.stub.asked[-1]) is None
        return
    with pytest.raises(Exception, match=r"does not run the tool|web_search|googleSearch"):
        await ASK[who](served, f"{upstream}-none", False)
    assert before == len(served.stub.asked)
