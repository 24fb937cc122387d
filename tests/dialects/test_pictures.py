"""Pictures in answers, from every upstream to every client; and on their way back in a request."""

from __future__ import annotations

from typing import Any

import pytest

from engine.chat import ChatRequest, Media, Message, Text, ToolCall, ToolResult
from engine.dialects import DIALECTS
from engine.dialects.pictures import (
    from_text,
    from_url,
    handed_on,
    in_words,
    modalities,
    url_of,
)
from engine.errors import RequestError
from engine.events import Close, Event, Finish, Open, Start, TextDelta, Usage, UsageEvent, fold
from engine.wire import dumps, loads
from tests.answers import judge
from tests.dialects.crossing import RULES, answered, asks, parsed, said, sent, whole
from tests.dialects.wire import text
from tests.kit import cuts

PNG, JPEG = "iVBORw0KGgo=", "/9j/4AAQSkZJRg=="
URL = "https://a.example/b.png"
END: list[Event] = [UsageEvent(Usage(input=3, output=4)), Finish("stop", "stop")]
STREAMS = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
UPSTREAMS = ("openai_chat", "openai_responses", "gemini", "ollama", RULES)
HOLDERS = ("openai_chat", "openai_responses", "gemini")
WITHOUT = pytest.mark.parametrize("client", ["anthropic_messages", "ollama"])
LEFT = "left out: this API's answers cannot hold it"
LEFT_OUT = f"[image (image/png) of 8 bytes {LEFT}]"


def picture(at: int, data: str = PNG, **more: Any) -> list[Event]:
    part = Media("image", None if "url" in more else "image/png", **{"data": data} | more)
    return [Open(at, part), Close(at)]


def spoken(upstream: str, events: list[Event], stream: bool) -> bytes:
    if upstream == "ollama":
        return ollama(events, stream)
    return said(upstream, events) if stream else whole(upstream, events)


def ollama(events: list[Event], stream: bool) -> bytes:
    """Our own Ollama answers hold no pictures: clients cannot read them."""
    head = {"model": "up", "created_at": "2026-01-01T00:00:00Z"}
    end = {"done_reason": "stop", "prompt_eval_count": 3, "eval_count": 4}
    said: list[dict[str, Any]] = []
    for event in events:
        if isinstance(event, TextDelta):
            said.append({"content": event.text})
        elif isinstance(event, Open) and isinstance(event.part, Media):
            said.append({"content": "", "images": [event.part.data]})
    if not stream:
        texts, shown = [m["content"] for m in said], [d for m in said for d in m.get("images", [])]
        said = [{"content": "".join(texts), "images": shown}]
    lines = [{**head, "message": {"role": "assistant", **m}, "done": not stream} for m in said]
    lines = lines if stream else [{**lines[0], **end}]
    last = {**head, "message": {"role": "assistant", "content": ""}, "done": True, **end}
    return b"".join(dumps(line) + b"\n" for line in ([*lines, last] if stream else lines))


def media(parts: list[Any]) -> list[Media]:
    return [part for part in parts if isinstance(part, Media)]


# ---- answers ----


@STREAMS
@pytest.mark.parametrize("client", HOLDERS)
@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_a_picture_gets_from_every_upstream_to_every_client_with_a_place_for_it(
    upstream: str, client: str, stream: bool
) -> None:
    data = spoken(upstream, [*text(0, "see"), *picture(1), *END], stream)
    told = answered(upstream, data, client, stream=stream)
    assert [("image", "image/png", PNG)] == [
        (part.kind, part.mime, part.data) for part in media(told.reply.parts)
    ]
    assert ("see", "stop") == (told.reply.text, told.reply.finish)


@STREAMS
@WITHOUT
@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_where_there_is_no_place_the_answer_says_what_was_left_out(
    upstream: str, client: str, stream: bool
) -> None:
    data = spoken(upstream, [*text(0, "see"), *picture(1), *END], stream)
    told = answered(upstream, data, client, stream=stream)
    assert f"see{LEFT_OUT}" == told.reply.text.replace("\n", "")


@STREAMS
@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_what_was_left_out_is_a_block_of_its_own(upstream: str, stream: bool) -> None:
    data = spoken(upstream, [*text(0, "see"), *picture(1), *END], stream)
    told = answered(upstream, data, "anthropic_messages", stream=stream)
    assert [Text("see"), Text(LEFT_OUT)] == told.reply.parts


@STREAMS
def test_the_answer_to_a_prompt_has_a_place_for_one_picture(stream: bool) -> None:
    kind, request = DIALECTS["ollama"], parsed("ollama", {"stream": stream})
    request.extras["generate"] = True
    events: list[Event] = [Start("id", "m", 1), *text(0, "see"), *picture(1), *picture(2, JPEG)]
    if stream:
        out = kind.encoder("id", "m", 1, True, request).feed([*events, *END])
        lines: list[Any] = [loads(line) for line in out.splitlines()]
        assert [("see", None), ("", PNG), ("", JPEG)] == [
            (line["response"], line.get("image")) for line in lines[:-1]
        ]
    else:
        found: Any = loads(kind.reply(fold([*events, *END]), "id", "m", 1, request))
        left = f"see\n[image (image/jpeg) of 10 bytes {LEFT}]"
        assert (left, PNG) == (found["response"], found["image"])
    judge("/api/generate", {"stream": stream}, 200, out if stream else dumps(found))


@STREAMS
@pytest.mark.parametrize("client", HOLDERS)
@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_a_picture_alone_is_an_answer(upstream: str, client: str, stream: bool) -> None:
    told = answered(upstream, spoken(upstream, [*picture(0), *END], stream), client, stream=stream)
    assert ([PNG], "stop") == ([p.data for p in media(told.reply.parts)], told.reply.finish)


@STREAMS
@pytest.mark.parametrize("client", HOLDERS)
@pytest.mark.parametrize("upstream", UPSTREAMS[:4])
def test_several_pictures_keep_their_order(upstream: str, client: str, stream: bool) -> None:
    events = [*text(0, "a"), *picture(1), *text(2, "b"), *picture(3, JPEG), *END]
    told = answered(upstream, spoken(upstream, events, stream), client, stream=stream)
    assert [PNG, JPEG] == [part.data for part in media(told.reply.parts)]
    assert told.reply.text.replace("\n", "") == "ab"


@STREAMS
@pytest.mark.parametrize(
    ("client", "found"),
    [
        ("openai_chat", Media("image", url=URL)),
        ("openai_responses", f"![image]({URL})"),
        ("anthropic_messages", f"![image]({URL})"),
        ("ollama", f"![image]({URL})"),
    ],
)
def test_a_picture_by_url_is_carried_as_one_or_as_text(
    client: str, found: object, stream: bool
) -> None:
    data = spoken("openai_chat", [*picture(0, None, url=URL), *END], stream)  # type: ignore[arg-type]
    told = answered("openai_chat", data, client, stream=stream)
    (part,) = told.reply.parts
    assert found == (part.text if isinstance(part, Text) else part)


@STREAMS
def test_a_gemini_client_gets_a_url_as_file_data(stream: bool) -> None:
    data = spoken("openai_chat", [*picture(0, None, url=URL), *END], stream)  # type: ignore[arg-type]
    told = answered("openai_chat", data, "gemini", stream=stream)
    assert b'"fileData":{"fileUri":"https://a.example/b.png"}' in told.data


@STREAMS
@pytest.mark.parametrize("client", [name for name in DIALECTS if name != "gemini"])
def test_a_sound_is_named_where_there_is_no_place_for_it(client: str, stream: bool) -> None:
    sound: list[Event] = [Open(0, Media("audio", "audio/wav", "AAAA")), Close(0)]
    told = answered("gemini", spoken("gemini", [*sound, *END], stream), client, stream=stream)
    assert told.reply.text == f"[audio (audio/wav) of 3 bytes {LEFT}]"


def test_usage_that_nobody_tells_counts_a_picture() -> None:
    from engine.dialects.tokens import said as weight_of

    assert weight_of(Media("image", data=PNG)) == 1600


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_a_stream_with_a_picture_may_be_cut_anywhere(upstream: str) -> None:
    data = spoken(upstream, [*text(0, "a"), *picture(1), *END], True)
    for pieces in cuts(data):
        told = answered(upstream, pieces, "gemini").reply
        assert ("a", [PNG]) == (told.text, [part.data for part in media(told.parts)])


# ---- words ----


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (Media("image", data=PNG, mime="image/png"), LEFT_OUT),
        (Media("image", url=URL), f"![image]({URL})"),
        (Media("file", url=URL), URL),
        (Media("image", file_id="f"), "[image left out: only its id is known]"),
        (Media("audio", data="AAAA"), f"[audio of 3 bytes {LEFT}]"),
    ],
)
def test_what_cannot_be_held_is_told_in_words(part: Media, words: str) -> None:
    assert words == in_words(part)


def test_a_data_uri_is_the_bytes_of_a_picture() -> None:
    assert Media("image", "image/png", PNG) == from_url(f"data:image/png;base64,{PNG}")
    assert f"data:image/png;base64,{PNG}" == url_of(Media("image", "image/jpeg", PNG))
    assert Media("image", "image/jpeg", JPEG) == from_text(JPEG)
    assert url_of(Media("image", file_id="f")) is None


# ---- on the way back ----

DRAWN = Message("assistant", [Text("see"), Media("image", "image/png", PNG)], dialect="x")
ASK, NOTE = Message("user", [Text("more")]), Text("[image attached]")


def test_what_the_assistant_showed_goes_with_the_next_turn_of_the_user() -> None:
    found = handed_on([Message("user", [Text("draw")]), DRAWN, ASK], "y")
    assert [["draw"], ["see", NOTE.text], [PNG, "more"]] == [
        [part.text if isinstance(part, Text) else part.data for part in turn.parts]  # type: ignore[union-attr]
        for turn in found
    ]


def test_it_waits_for_results_of_tools() -> None:
    call, result = ToolCall("c", "look", "{}"), Message("tool", [ToolResult("c", [Text("ok")])])
    turn = Message("assistant", [*DRAWN.parts, call], dialect="x")
    roles = [
        turn.role for turn in handed_on([turn, result, Message("assistant", [Text("a")])], "y")
    ]
    assert ["assistant", "tool", "user", "assistant"] == roles
    assert ["assistant", "tool", "user"] == [t.role for t in handed_on([turn, result], "y")]


def test_turns_of_the_upstream_s_own_api_stay() -> None:
    turns = [DRAWN, ASK]
    assert handed_on(turns, "x") is turns


@pytest.mark.parametrize(
    ("client", "upstream"),
    [
        (client, upstream)
        for client in ("openai_chat", "openai_responses", "gemini", "ollama")
        for upstream in ("openai_chat", "openai_responses", "anthropic_messages")
        if client != upstream
    ],
)
def test_a_client_s_history_brings_the_picture_to_every_upstream(
    client: str, upstream: str
) -> None:
    body = sent(client, _history(client), upstream)
    turns = body["input" if upstream == "openai_responses" else "messages"]
    (turn,) = [turn for turn in turns if PNG in str(turn)]
    assert (turn, turn["role"]) == (turns[-1], "user")
    assert "[image attached]" in str(turns[1:-1])


@pytest.mark.parametrize("client", ["openai_chat", "openai_responses", "gemini", "ollama"])
@pytest.mark.parametrize("upstream", ["gemini", "ollama"])
def test_gemini_and_ollama_take_it_where_it_was_shown(client: str, upstream: str) -> None:
    body = sent(client, _history(client), upstream)
    turns = body["contents" if upstream == "gemini" else "messages"]
    assert [False, True, False] == [PNG in str(turn) for turn in turns]


def _history(client: str) -> dict[str, Any]:
    """What the client's program sends after an answer with a picture."""
    if client == "openai_chat":
        image = {"index": 0, "type": "image_url",
                 "image_url": {"url": f"data:image/png;base64,{PNG}"}}  # fmt: skip
        shown = {"role": "assistant", "content": "see", "images": [image]}
        ask = {"role": "user", "content": "more"}
        return {"messages": [{"role": "user", "content": "draw"}, shown, ask]}
    if client == "openai_responses":
        item = {"type": "image_generation_call", "id": "ig_1", "status": "completed",
                "result": PNG}  # fmt: skip
        say = {"type": "message", "role": "assistant",
               "content": [{"type": "output_text", "text": "see", "annotations": []}]}  # fmt: skip
        return {"input": [{"role": "user", "content": "draw"}, say, item,
                          {"role": "user", "content": "more"}]}  # fmt: skip
    drawn = Message("assistant", [Text("see"), Media("image", "image/png", PNG)], dialect=client)
    return asks(client, Message("user", [Text("draw")]), drawn, ASK)


@pytest.mark.parametrize("client", ["openai_chat", "openai_responses"])
def test_to_its_own_api_a_picture_goes_back_as_it_came(client: str) -> None:
    history = _history(client)
    field = "input" if client == "openai_responses" else "messages"
    body = sent(client, history, client)
    index = 2 if client == "openai_responses" else 1
    assert history[field][index] == body[field][index]


def test_a_picture_of_the_assistant_that_only_an_id_names_stays_what_it_was() -> None:
    item = {"type": "image_generation_call", "id": "ig_1"}
    history = {"input": [item, {"role": "user", "content": "more"}]}
    assert item == sent("openai_responses", history, "openai_responses")["input"][0]
    request = parsed("openai_responses", history)
    assert not media(request.messages[0].parts)


# ---- what an upstream says of a picture ----


@STREAMS
def test_what_responses_says_of_a_picture_gets_to_its_own_client(stream: bool) -> None:
    extras: dict[str, Any] = {
        "item": {"id": "ig_9", "status": "completed", "revised_prompt": "a cat"}
    }
    shown: list[Event] = [Open(0, Media("image", "image/png", PNG, extras=extras)), Close(0)]
    data = spoken("openai_responses", [*shown, *END], stream)
    told = answered("openai_responses", data, "openai_responses", stream=stream)
    response: Any = told.frames[-1]["response"] if stream else loads(told.data)
    assert [{"id": "ig_9", "status": "completed", "revised_prompt": "a cat",
             "type": "image_generation_call", "result": PNG}] == response["output"]  # fmt: skip


# ---- asking for pictures ----


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (["text", "image"], ["text", "image"]),
        (["IMAGE"], ["image"]),
        (["text"], []),
        (["text", "audio", "image"], []),
        (["image", 5], []),
        ("image", []),
        (None, []),
    ],
)
def test_pictures_are_asked_for_alone_or_with_text(said: object, found: list[str]) -> None:
    assert found == modalities(said)


def test_chat_and_gemini_ask_for_pictures_in_each_other_s_words() -> None:
    asked: list[ChatRequest] = []
    wish = {"modalities": ["image", "text"]}
    body: Any = sent("openai_chat", wish, "gemini", request=asked)
    assert ["IMAGE", "TEXT"] == body["generationConfig"]["responseModalities"]
    config = {"generationConfig": {"responseModalities": ["TEXT", "IMAGE"]}}
    assert ["text", "image"] == sent("gemini", config, "openai_chat", request=asked)["modalities"]
    assert [[], []] == [request.dropped for request in asked]
    assert ["image", "text"] == sent("openai_chat", wish, "openai_chat")["modalities"]
    same: Any = sent("gemini", config, "gemini")
    assert ["TEXT", "IMAGE"] == same["generationConfig"]["responseModalities"]


@pytest.mark.parametrize("upstream", ["openai_responses", "anthropic_messages", "ollama"])
def test_where_pictures_cannot_be_asked_for_the_wish_is_refused(upstream: str) -> None:
    with pytest.raises(RequestError, match="modalities: the upstream of this model cannot do"):
        sent("openai_chat", {"modalities": ["image"]}, upstream)
