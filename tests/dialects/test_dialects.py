from __future__ import annotations

import json
from typing import Any

import pytest

from engine.chat import Text, ToolCall
from engine.dialects import DIALECTS, Dialect, Target
from engine.errors import RequestError
from engine.events import Close, Event, Finish, Open, Reply, Start, TextDelta, fold
from engine.wire import Headers, Record, loads
from tests.grammar import (
    check_chat_stream,
    check_gemini_stream,
    check_messages_stream,
    check_ollama_stream,
    check_responses_stream,
)

RESPONSES = DIALECTS["openai_responses"]
CHAT, MESSAGES = DIALECTS["openai_chat"], DIALECTS["anthropic_messages"]
OLLAMA, GEMINI = DIALECTS["ollama"], DIALECTS["gemini"]
LEGACY = b'{"model":"m","messages":[{"role":"user","content":"hi"}],"functions":[]}'
CALL = Reply(parts=[ToolCall("a", "f", "{}")], finish="tool_calls")


def test_every_dialect_is_listed_under_its_name() -> None:
    assert all(name == dialect.name for name, dialect in DIALECTS.items())


def test_an_answer_goes_through_the_table() -> None:
    encoder = CHAT.encoder("req_1", "m", 7, False)
    data = encoder.feed([Start(), Open(0, Text("")), TextDelta(0, "a"), Close(0), Finish("stop")])
    chunks = check_chat_stream(data)
    reader = CHAT.stream_reader({}, lambda: "made")
    events = [event for chunk in chunks for event in reader.feed(Record("", b"", chunk))]
    answer = fold(events)
    assert (answer.text, answer.id) == ("a", "req_1")
    body = CHAT.reply(answer, "req_2", "m", 7)
    whole = CHAT.whole_reader({}, lambda: "made").feed(Record("", body, loads(body)))
    assert (fold(whole).text, fold(whole).id) == ("a", "req_2")


def test_a_legacy_client_is_answered_in_its_way() -> None:
    request = CHAT.parse(LEGACY, Headers())
    body = json.loads(CHAT.reply(CALL, "req_1", "m", 7, request))
    assert body["choices"][0]["finish_reason"] == "function_call"
    encoder = CHAT.encoder("req_1", "m", 7, False, request)
    assert b'"function_call"' in encoder.feed([Start(), Open(0, ToolCall("a", "f", ""))])
    assert b'"tool_calls"' in CHAT.reply(CALL, "req_1", "m", 7)


def test_a_request_that_is_not_served() -> None:
    status, body = CHAT.refusal(RequestError("model_not_found", "no model x", param="model"), "r")
    error = json.loads(body)["error"]
    assert (status, error["code"], error["param"]) == (404, "model_not_found", "model")


def test_an_answer_goes_through_the_table_of_messages() -> None:
    request = MESSAGES.parse(
        b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}', Headers()
    )
    encoder = MESSAGES.encoder("req_1", "m", 7, True, request)
    data = encoder.feed([Start(), Open(0, Text("")), TextDelta(0, "a"), Close(0), Finish("stop")])
    values = check_messages_stream(data)
    assert values[0]["message"]["usage"]["input_tokens"] > 0
    reader = MESSAGES.stream_reader({}, lambda: "made")
    events = [event for value in values for event in reader.feed(Record("", b"", value))]
    answer = fold(events)
    assert (answer.text, answer.id) == ("a", "msg_1")
    body = MESSAGES.reply(answer, "req_2", "m", 7)
    whole = MESSAGES.whole_reader({}, lambda: "made").feed(Record("", body, loads(body)))
    assert (fold(whole).text, fold(whole).id) == ("a", "msg_2")


def test_an_answer_goes_through_the_table_of_responses() -> None:
    request = RESPONSES.parse(b'{"model":"m","input":"hi"}', Headers())
    encoder = RESPONSES.encoder("req_1", "m", 7, True, request)
    data = encoder.feed([Start(), Open(0, Text("")), TextDelta(0, "a"), Close(0), Finish("stop")])
    values = check_responses_stream(data)
    reader = RESPONSES.stream_reader({}, lambda: "made")
    events = [event for value in values for event in reader.feed(Record("", b"-", value))]
    answer = fold(events)
    assert (answer.text, answer.id) == ("a", "resp_1")
    body = RESPONSES.reply(answer, "req_2", "m", 7)
    whole = RESPONSES.whole_reader({}, lambda: "made").feed(Record("", body, loads(body)))
    assert (fold(whole).text, fold(whole).id) == ("a", "resp_2")


def test_an_answer_goes_through_the_table_of_gemini() -> None:
    target = Target("m", True, {"alt": "sse"})
    request = GEMINI.parse(b'{"contents":[{"parts":[{"text":"hi"}]}]}', Headers(), target)
    assert (request.model, request.stream) == ("m", True)
    encoder = GEMINI.encoder("req_1", "m", 7, True, request)
    data = encoder.feed([Start(), Open(0, Text("")), TextDelta(0, "a"), Close(0), Finish("stop")])
    values = check_gemini_stream(data)
    reader = GEMINI.stream_reader({}, lambda: "made")
    answer = fold([event for value in values for event in reader.feed(Record("", b"", value))])
    assert (answer.text, answer.id) == ("a", "1")
    body = GEMINI.reply(answer, "req_2", "m", 7)
    whole = GEMINI.whole_reader({}, lambda: "made").feed(Record("", body, loads(body)))
    assert (fold(whole).text, fold(whole).id) == ("a", "2")
    assert ({"totalTokens": 3}, {"input_tokens": 3}) == (GEMINI.counted(3), MESSAGES.counted(3))


def test_a_gemini_request_passes_as_it_is() -> None:
    body = b'{"contents":[],"model":"models/x"}'
    found = GEMINI.scan(body, Target("m", True))
    assert found is not None
    assert ("m", True, True) == (found.model, found.stream, found.include_usage)
    assert GEMINI.splice(body, found, "up", True) == body
    for odd in (b"[]", b"{", b'{"generateContentRequest":{}}'):
        assert GEMINI.scan(odd, Target("m", True)) is None
    assert GEMINI.scan(body) is None


def test_a_conversation_with_a_foreign_signature_is_not_passed_to_anthropic() -> None:
    body = b'{"model":"m","messages":[{"thinking":"","signature":"penstock/gemini/s"}]}'
    assert MESSAGES.scan(body) is None
    assert MESSAGES.scan(body.replace(b"penstock/", b"")) is not None


def test_only_one_dialect_has_another_form_of_its_streams() -> None:
    others = {name: found.reframe for name, found in DIALECTS.items() if found.reframe is not None}
    assert ["gemini"] == [name for name, reframe in others.items() if reframe(Target("m"))]


def test_a_stream_of_messages_passes_without_an_option_for_its_usage() -> None:
    body = b'{"model":"m","stream":true,"messages":[]}'
    found = MESSAGES.scan(body)
    assert found is not None
    assert (True, True) == (found.stream, found.include_usage)
    assert MESSAGES.splice(body, found, "up", True) == body.replace(b'"m"', b'"up"')
    assert MESSAGES.scan(b"[]") is None


def test_an_answer_goes_through_the_table_of_ollama() -> None:
    request = OLLAMA.parse(b'{"model":"m","messages":[{"role":"user","content":"hi"}]}', Headers())
    encoder = OLLAMA.encoder("req_1", "m", 7, True, request)
    data = encoder.feed([Start(), Open(0, Text("")), TextDelta(0, "a"), Close(0), Finish("stop")])
    values = check_ollama_stream(data)
    reader = OLLAMA.stream_reader({}, lambda: "made")
    records = [Record("", b"{}", value) for value in values]
    answer = fold([event for record in records for event in reader.feed(record)])
    assert (answer.text, answer.model) == ("a", "m")
    body = OLLAMA.reply(answer, "req_2", "m", 7)
    whole = OLLAMA.whole_reader({}, lambda: "made").feed(Record("", body, loads(body)))
    assert fold(whole).text == "a"


def test_a_prompt_of_ollama_is_answered_in_its_form() -> None:
    assert OLLAMA.locate is not None
    found = OLLAMA.locate("POST", "/api/generate")
    assert found is not None
    action, target = found
    request = OLLAMA.parse(b'{"model":"m","prompt":"hi"}', Headers(), target)
    body = json.loads(OLLAMA.reply(Reply(parts=[Text("a")], finish="stop"), "r", "m", 7, request))
    assert (action, body["response"]) == ("chat", "a")
    assert OLLAMA.scan(b'{"model":"m","prompt":"hi"}', target) is None
    assert OLLAMA.locate("GET", "/api/generate") is None


def test_ollama_streams_unless_told_not_to() -> None:
    found = [OLLAMA.scan(b'{"model":"m"%b}' % more) for more in (b"", b',"stream":false')]
    assert [scan and scan.stream for scan in found] == [True, False]


@pytest.mark.parametrize("dialect", [CHAT, MESSAGES], ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("text", ["a", 'é"\\\n\x01', "\N{GRINNING FACE}"])
def test_a_text_is_said_alone_as_it_is_among_events(dialect: Dialect, text: str) -> None:
    opened: list[Event] = [Start(), Open(0, Text("")), TextDelta(0, "a")]
    alone, among = (dialect.encoder("r", "m", 7, True) for _ in range(2))
    assert alone.feed(opened) == among.feed(opened)
    said: Any = alone
    assert said.say(0, text) == among.feed([TextDelta(0, text)])
    assert alone.feed([Close(0), Finish("stop")]) == among.feed([Close(0), Finish("stop")])


def test_a_text_that_has_not_begun_is_begun() -> None:
    alone, among = (MESSAGES.encoder("r", "m", 7, True) for _ in range(2))
    for encoder in (alone, among):
        encoder.feed([Start(), Open(0, Text(""))])
    said: Any = alone
    assert b"content_block_start" in among.feed([TextDelta(0, "a")])
    assert b"content_block_start" in said.say(0, "a")
