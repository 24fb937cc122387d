from __future__ import annotations

from base64 import b64encode

import pytest

from engine.dialects.filetypes import heard_type, right_type, type_of


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
