from __future__ import annotations

from typing import Any

import pytest

from engine.chat import Media
from engine.dialects.openai_chat.images import (
    holds,
    image_items,
    read_images,
    stood_there,
    take_images,
)

PNG = "iVBORw0KGgo="
DATA = f"data:image/png;base64,{PNG}"
HELD = Media("image", "image/png", PNG)


@pytest.mark.parametrize(
    ("found", "pictures"),
    [
        ([{"type": "image_url", "image_url": {"url": DATA}}], [HELD]),
        ([{"type": "image_url", "image_url": DATA}], [HELD]),
        ([{"image_url": {"url": "https://a/b.png"}}], [Media("image", url="https://a/b.png")]),
        ([{"type": "image_url", "image_url": {}}, 5, None, {"image_url": {"url": 5}}], []),
        (None, []),
        ({"image_url": {"url": DATA}}, []),
    ],
)
def test_pictures_are_read_as_they_are_documented_and_as_they_are_seen(
    found: object, pictures: list[Media]
) -> None:
    assert pictures == read_images(found)


def test_items_are_numbered_through_the_answer() -> None:
    items = image_items([HELD, Media("image", url="https://a/b.png")], 2)
    assert [
        {"index": 2, "type": "image_url", "image_url": {"url": DATA}},
        {"index": 3, "type": "image_url", "image_url": {"url": "https://a/b.png"}},
    ] == items


def test_a_turn_s_pictures_are_taken_only_if_all_can_be_read() -> None:
    rest: dict[str, Any] = {"images": [{"image_url": {"url": DATA}}], "x": 1}
    (taken,) = take_images(rest)
    assert {"x": 1} == rest
    assert stood_there(taken)
    assert not stood_there(HELD)
    rest = {"images": [{"image_url": {"url": DATA}}, "odd"]}
    assert [] == take_images(rest)
    assert "images" in rest


def test_only_pictures_with_bytes_or_a_url_have_a_place() -> None:
    assert holds(HELD)
    assert not holds(Media("audio", "audio/wav", "AAAA"))
    assert not holds(Media("image", file_id="f"))
