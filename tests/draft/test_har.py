"""HAR files: their exchanges, and which of them was the chat."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from engine.draft.asking import fields_of
from engine.draft.curl import DraftError
from engine.draft.har import chat_of, read_har


def entry(
    path: str, sent: str = "", came: str = "", kind: str = "application/json", **more: Any
) -> Any:
    post = {"postData": {"mimeType": "application/json", "text": sent}} if sent else {}
    return {
        "startedDateTime": more.get("at", "2026-01-01T00:00:00Z"),
        "request": {
            "method": "POST" if sent else "GET", "url": f"https://chat.example.com{path}",
            "headers": [{"name": ":path", "value": path}, {"name": "x-a", "value": "1"}], **post,
        },
        "response": {
            "status": more.get("status", 200), "headers": [],
            "content": {"mimeType": kind, "text": came},
        },
    }  # fmt: skip


def har(*entries: Any) -> bytes:
    return b"\xef\xbb\xbf" + json.dumps({"log": {"entries": list(entries)}}).encode()


def test_exchanges_come_in_the_order_of_their_time() -> None:
    late, early = entry("/b", at="2026-01-02"), entry("/a", at="2026-01-01")
    found = read_har(har(late, early))
    assert ["/a", "/b"] == [each.request.url[-2:] for each in found]
    assert (("x-a", "1"),) == found[0].request.headers
    answer = found[0].answer
    assert answer is not None
    assert "application/json" == answer.header("content-type")


def test_pictures_fonts_and_styles_are_passed_over() -> None:
    assert [] == read_har(har(entry("/a", kind="image/png"), entry("/b", kind="text/css")))


def test_base64_is_opened_and_no_answer_is_none() -> None:
    coded = entry("/a", came=base64.b64encode("Grüße".encode()).decode())
    coded["response"]["content"]["encoding"] = "base64"
    first, second = read_har(har(coded, entry("/b", status=0)))
    assert first.answer is not None
    assert ("Grüße".encode(), None) == (first.answer.body, second.answer)


def test_forms_may_be_told_by_their_fields_alone() -> None:
    form, parts = entry("/a", "x"), entry("/b", "x")
    fields = [{"name": "q", "value": "a%20b"}, {"name": "n", "value": "1"}]
    form["request"]["postData"] = {
        "mimeType": "application/x-www-form-urlencoded",
        "params": fields,
    }
    parts["request"]["postData"] = {"mimeType": "multipart/form-data; boundary=x", "params": fields}
    first, second = read_har(har(form, parts))
    assert b"q=a%20b&n=1" == first.request.body
    assert [("q", "a%20b"), ("n", "1")] == fields_of(second.request)
    fields[0]["fileName"] = "me.png"
    with pytest.raises(DraftError, match="sends a file"):
        read_har(har(parts))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"{", "it is not JSON"),
        (b"[]", "it has no `log.entries`"),
        (b'{"log":{}}', "it has no `log.entries`"),
        (b'{"log":{"entries":[{}]}}', "an entry of the HAR file is not as HAR 1.2 has it"),
    ],
)
def test_what_is_no_har_file_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(DraftError, match=said):
        read_har(data)


STREAM = 'data: {"t":"a"}\n\ndata: {"t":"b"}\n\n'


def test_the_chat_is_what_streamed() -> None:
    long = json.dumps({"text": "word " * 99})
    entries = [
        entry("/page", came="<html>", kind="text/html"),
        entry("/list", sent="{}", came=long),
        entry("/ask", sent="{}", came=STREAM, kind="text/event-stream"),
        entry("/log", sent="{}", came="{}"),
    ]
    assert 2 == chat_of(read_har(har(*entries)))
    del entries[2]
    assert 1 == chat_of(read_har(har(*entries)))


def test_the_chat_is_what_sent_the_words() -> None:
    entries = [
        entry("/title", sent='{"q":"\\u0047r\\u00fc\\u00dfe"}', came='{"title":"A greeting"}'),
        entry("/ask", sent='{"q":"Hello"}', came=STREAM, kind="text/event-stream"),
    ]
    found = read_har(har(*entries))
    assert 1 == chat_of(found, "Hello")
    with pytest.raises(DraftError, match="no request in the HAR file sends the words"):
        chat_of(found, "Goodbye")
    with pytest.raises(DraftError, match="looks like a chat"):
        chat_of(read_har(har(entry("/a", came="<html>", kind="text/html"))))


def test_a_websocket_is_told() -> None:
    with pytest.raises(DraftError, match=r"websocket-chat\.yaml"):
        chat_of(read_har(har(entry("/socket", status=101))))
