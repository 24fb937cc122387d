from __future__ import annotations

import pytest

from engine.chat import Media, Text
from engine.dialects.openai_responses.shown import (
    ident_of,
    item_of,
    picture_of,
    sayable,
    sent_back,
)

PNG = "iVBORw0KGgo="
ITEM = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": PNG}


def test_an_item_is_a_picture_and_again_the_item() -> None:
    held = picture_of({**ITEM, "revised_prompt": "a cat"})
    assert held is not None
    assert ("image", "image/png", PNG) == (held.kind, held.mime, held.data)
    assert ident_of(held) == "ig_1"
    assert {**ITEM, "revised_prompt": "a cat"} == sent_back(held)


@pytest.mark.parametrize("result", [None, "", 5])
def test_an_item_without_bytes_is_no_picture(result: object) -> None:
    assert picture_of({**ITEM, "result": result}) is None


@pytest.mark.parametrize(
    ("data", "said", "mime"),
    [(PNG, "jpeg", "image/png"), ("AAAA", "webp", "image/webp"), ("AAAA", None, "image/png")],
)
def test_the_type_is_what_the_bytes_show_or_the_item_says(
    data: str, said: str | None, mime: str
) -> None:
    held = picture_of({**ITEM, "result": data, "output_format": said})
    assert held is not None
    assert mime == held.mime


def test_an_item_has_its_bytes_when_it_is_done() -> None:
    held = Media("image", "image/jpeg", "/9j/4AAQSkZJRg==")
    begun = item_of(held, "ig_2", "in_progress")
    assert ("in_progress", None) == (begun["status"], begun["result"])
    for status in ("completed", "incomplete"):
        done = item_of(held, "ig_2", status)
        assert {"id": "ig_2", "type": "image_generation_call", "status": "completed",
                "output_format": "jpeg", "result": held.data} == done  # fmt: skip


def test_a_format_that_the_api_does_not_name_is_left_out() -> None:
    assert "output_format" not in item_of(Media("image", "image/bmp", "AAAA"), "ig_2")


def test_what_is_no_picture_by_its_bytes_is_a_text() -> None:
    held = Media("image", "image/png", PNG)
    assert sayable(held) is held
    assert Text("![image](https://a/b)") == sayable(Media("image", url="https://a/b"))
    assert isinstance(sayable(Media("audio", "audio/wav", "AAAA")), Text)


def test_a_picture_of_others_is_no_item_of_a_request() -> None:
    assert sent_back(Media("image", "image/png", PNG)) is None
