from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

import pytest

from engine.chat import Media
from engine.errors import RequestError
from engine.options import Blob
from engine.route.pieces import NAMES, piece_of

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)


def media(
    data: bytes, kind: str = "image", mime: str | None = None, name: str | None = None
) -> Media:
    return Media(kind, mime=mime, data=b64encode(data).decode(), name=name)  # type: ignore[arg-type]


def test_a_piece_is_known_by_its_bytes() -> None:
    piece = piece_of(media(PNG, mime="image/jpeg"))
    content = piece.view["content"]
    assert isinstance(content, Blob)
    assert sha256(PNG).hexdigest() == piece.digest == piece.view["sha256"]
    assert ("image", "image/png", 16) == tuple(piece.view[n] for n in ("kind", "mime", "size"))
    assert (PNG, "image/png") == (content.data, content.mime)
    assert NAMES == set(piece.view)


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (media(PNG, name="cat.png"), "cat.png"),
        (media(PNG), f"image-{sha256(PNG).hexdigest()[:8]}.png"),
        (media(b"\xff\xd8\xff", mime="image/jpg"), ".jpg"),
        (media(b"%PDF-1", "file"), ".pdf"),
        (media(b"words", "file", "text/plain"), ".txt"),
        (media(b"RIFF\x10\x00\x00\x00WAVEfmt ", "audio"), ".wav"),
        (media(b"?", "file", "application/x-tar"), ".tar"),
        (media(b"?", "file"), ".bin"),
    ],
)
def test_a_piece_has_a_name(part: Media, name: str) -> None:
    assert str(piece_of(part).view["name"]).endswith(name)


def test_bytes_are_not_shown() -> None:
    assert "«a, 16 bytes»" == repr(piece_of(media(PNG, name="a")).view["content"])


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (Media("image", url="https://a.example"), "image by URL cannot be sent"),
        (Media("file", file_id="f1"), "file by file id cannot be sent"),
        (Media("image", data="a"), "image: its bytes are not base64"),
    ],
)
def test_what_has_no_bytes_is_no_piece(part: Media, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        piece_of(part)
