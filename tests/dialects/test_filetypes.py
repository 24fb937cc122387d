from __future__ import annotations

from base64 import b64encode

import pytest

from engine.dialects.filetypes import image_type, type_of


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
    ("data", "said", "mime"),
    [
        ("/9j/4AAQ", "image/png", "image/jpeg"),
        ("Qk0=", "image/jpg", "image/jpeg"),
        ("Qk0=", "image/bmp", "image/bmp"),
        ("Qk0=", None, None),
    ],
)
def test_an_image_is_what_its_bytes_show(data: str, said: str | None, mime: str | None) -> None:
    assert mime == image_type(data, said)
