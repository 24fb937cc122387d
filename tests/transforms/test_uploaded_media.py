"""uploaded_media: ids and URLs in the place of what was uploaded."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from engine.dialects import DIALECTS
from engine.dialects.profile import PROFILE
from engine.dialects.written import write
from engine.errors import RequestError
from engine.options import OMIT, Template
from engine.route.transforms import instantiate, load
from engine.transform import ChatRequest, Context, Media, Message, Part, Text, ToolResult

PATH = Path(__file__).parents[2] / "transforms" / "uploaded_media.py"
SHIPPED = load("uploaded_media", PATH.read_bytes(), "transforms/uploaded_media.py")


def encoded(data: bytes) -> str:
    return b64encode(data).decode()


ONE = Media("image", "image/png", encoded(b"\x89PNG\r\n\x1a\none"), detail="low")
TWO = Media("image", "image/png", encoded(b"\x89PNG\r\n\x1a\ntwo"))
PDF = Media("file", "application/pdf", encoded(b"%PDF-1"), name="a.pdf")


def request_of(*parts: Part, dialect: str = "openai_chat") -> ChatRequest:
    return ChatRequest(dialect, "m", [Message("user", list(parts), dialect=dialect)])


def shaped(
    request: ChatRequest, found: object, asked: ChatRequest | None = None, **options: Any
) -> ChatRequest:
    assert SHIPPED.options is not None
    template = Template("", lambda env: found)
    made = SHIPPED.options(found=template.bind({}), **options)
    transform = instantiate(SHIPPED, made, Context("route", request=asked or request))
    shaped_: ChatRequest = transform.shape(request)
    return shaped_


def test_each_has_its_own_and_one_that_comes_twice_the_same() -> None:
    again, result = Media("image", data=TWO.data), ToolResult("c", [Text("so"), ONE])
    found = shaped(request_of(ONE, Text("x"), TWO, again, result, PDF), ["a", "b"])
    parts = found.messages[0].parts
    assert ["a", "b", "b"] == [p.file_id for p in parts[:4] if isinstance(p, Media)]
    assert (parts[0].data, parts[0].detail) == (None, "low")  # type: ignore[union-attr]
    assert isinstance(parts[4], ToolResult)
    assert "a" == parts[4].parts[1].file_id  # type: ignore[union-attr]
    assert parts[5] is PDF


def test_they_may_be_urls() -> None:
    (part,) = shaped(request_of(ONE), ["https://f.example/1"], by="url").messages[0].parts
    assert isinstance(part, Media)
    assert ("https://f.example/1", None, None) == (part.url, part.data, part.file_id)


def test_the_order_is_that_of_the_request_as_it_came() -> None:
    asked = request_of(ONE, TWO)
    (part,) = shaped(request_of(TWO), ["a", "b"], asked).messages[0].parts
    assert isinstance(part, Media)
    assert "b" == part.file_id


@pytest.mark.parametrize("found", [OMIT, None, "text", []])
def test_without_uploads_the_bytes_stay(found: object) -> None:
    request = request_of(ONE)
    assert shaped(request, found) is request


def test_a_list_of_other_kinds_is_a_mistake_of_the_route() -> None:
    with pytest.raises(ValueError, match="are not those of the value's `each`"):
        shaped(request_of(ONE, PDF), ["a", "b"])


@pytest.mark.parametrize(
    ("upstream", "part", "words"),
    [
        ("openai_responses", ONE, {"type": "input_image", "file_id": "a", "detail": "low"}),
        ("openai_responses", PDF, {"type": "input_file", "file_id": "a", "filename": "a.pdf"}),
        ("anthropic_messages", ONE, {"type": "image", "source": {"type": "file", "file_id": "a"}}),
        ("gemini", ONE, {"fileData": {"mimeType": "image/png", "fileUri": "a"}}),
        ("openai_chat", PDF, {"type": "file", "file": {"file_id": "a", "filename": "a.pdf"}}),
    ],
)
@pytest.mark.parametrize("client", ["openai_chat", "anthropic_messages"])
def test_the_upstream_gets_them_in_its_own_words(
    client: str, upstream: str, part: Media, words: dict[str, Any]
) -> None:
    request = shaped(request_of(Text("x"), part, dialect=client), ["a"], kinds=["image", "file"])
    body: Any = write(DIALECTS[upstream], request, "m", PROFILE).body
    turn = body.get("messages", body.get("input", body.get("contents")))[-1]
    assert words in turn.get("content", turn.get("parts"))


def test_pictures_by_id_are_refused_where_the_api_has_none() -> None:
    with pytest.raises(RequestError, match="image by file id cannot be sent"):
        write(DIALECTS["openai_chat"], shaped(request_of(ONE), ["a"]), "m", PROFILE)
