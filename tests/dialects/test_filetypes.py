from __future__ import annotations

from base64 import b64encode

import pytest

from engine.dialects.filetypes import heard_type, right_type, sound_format, split_data, type_of
from tests.dialects.crossing import sent


@pytest.mark.parametrize(
    ("start", "mime"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"RIFF\x10\x00\x00\x00WAVEfmt ", None),
        (b"%PDF-1.7", "application/pdf"),
        (b"hello", None),
        (b"", None),
    ],
)
def test_the_first_bytes_show_the_type(start: bytes, mime: str | None) -> None:
    assert mime == type_of(b64encode(start).decode())


def test_what_is_no_base64_is_nothing_known() -> None:
    assert type_of("UklGR*") is None


def test_parameters_of_a_type_are_for_sounds_and_films() -> None:
    assert "text/plain" == right_type("aGk=", "text/plain;charset=utf-8")
    assert "audio/l16;rate=24000" == right_type("AAAA", "audio/l16;rate=24000")


@pytest.mark.parametrize(
    ("url", "mime", "data"),
    [
        ("data:image/png;base64,aGk=", "image/png", "aGk="),
        ("data:text/plain;charset=utf-8;base64,aGk=", "text/plain;charset=utf-8", "aGk="),
        ("DATA:application/pdf;name=a b.pdf;base64,aGk=", None, None),
        ("data:application/pdf;name=a.pdf;BASE64,aGk=", "application/pdf;name=a.pdf", "aGk="),
        ("data:text/plain,hi", None, None),
        ("https://a.example/;base64,aGk=", None, None),
    ],
)
def test_the_bytes_of_a_data_uri(url: str, mime: str | None, data: str | None) -> None:
    assert (mime, data) == split_data(url)


@pytest.mark.parametrize(
    ("mime", "name"),
    [
        ("audio/mpeg", "mp3"),
        ("audio/x-wav", "wav"),
        ("audio/vnd.wave;codec=1", "wav"),
        ("audio/mp3", "mp3"),
        ("audio/flac", "flac"),
    ],
)
def test_sounds_by_the_names_that_openai_has(mime: str, name: str) -> None:
    assert name == sound_format(mime)


@pytest.mark.parametrize(
    ("start", "mime"),
    [
        (b"RIFF\x10\x00\x00\x00WAVEfmt ", "audio/wav"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", None),
        (b"ID3\x04", "audio/mp3"),
        (b"\xff\xfb\x90\x64", "audio/mp3"),
        (b"fLaC\x00", "audio/flac"),
        (b"OggS\x00", "audio/ogg"),
        (b"\x00\x00\x00\x18ftypmp42", "video/mp4"),
        (b"\x00\x00\x00\x18ftypM4A ", "audio/mp4"),
        (b"\x1aE\xdf\xa3", "video/webm"),
        (b"\x89PNG\r\n", None),
        (b"", None),
    ],
)
def test_sounds_and_films_are_known_too(start: bytes, mime: str | None) -> None:
    assert mime == heard_type(start)


@pytest.mark.parametrize(
    ("data", "said", "mime"),
    [
        ("iVBORw0KGgo=", "image/jpeg", "image/png"),
        ("iVBORw0KGgo=", None, "image/png"),
        ("AAAA", "image/jpg", "image/jpeg"),
        ("AAAA", "image/x-png", "image/png"),
        ("AAAA", "image/bmp", "image/bmp"),
        ("AAAA", None, None),
    ],
)
def test_a_type_is_put_right(data: str, said: str | None, mime: str | None) -> None:
    assert mime == right_type(data, said)


def test_bytes_with_parameters_arrive_as_bytes() -> None:
    url = "data:image/png;charset=utf-8;base64,iVBORw0KGgo="
    file = {"filename": "a.txt", "file_data": "data:text/plain;charset=utf-8;base64,aGk="}
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "file", "file": file}]
    turn = {"role": "user", "content": content}
    body = sent("openai_chat", {"messages": [turn]}, "anthropic_messages")
    image, text = (block["source"] for block in body["messages"][0]["content"])
    assert {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="} == image
    assert {"type": "text", "media_type": "text/plain", "data": "hi"} == text


@pytest.mark.parametrize("upstream", ["openai_chat", "openai_responses"])
def test_a_sound_is_named_as_its_upstream_names_it(upstream: str) -> None:
    part = {"inlineData": {"mimeType": "audio/mpeg", "data": "AAAA"}}
    body = sent("gemini", {"contents": [{"role": "user", "parts": [part]}]}, upstream)
    (turn,) = body["messages"] if "messages" in body else body["input"]
    assert {"data": "AAAA", "format": "mp3"} == turn["content"][0]["input_audio"]
