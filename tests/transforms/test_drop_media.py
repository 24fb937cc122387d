"""drop_media: images and other media taken out of the conversation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.route.transforms import instantiate, load
from engine.transform import ChatRequest, Context, Media, Message, Part, Text, ToolResult

PATH = Path(__file__).parents[2] / "transforms" / "drop_media.py"
SHIPPED = load("drop_media", PATH.read_bytes(), "transforms/drop_media.py")
IMAGE, AUDIO, HI = Media("image", data="aGk="), Media("audio", data="aGk="), Text("hi")


def shaped(parts: list[Part], **options: Any) -> list[Part]:
    assert SHIPPED.options is not None
    transform = instantiate(SHIPPED, SHIPPED.options(**options), Context("route"))
    asked = ChatRequest("openai_chat", "m", [Message("user", list(parts))])
    request: ChatRequest = transform.shape(asked)
    assert list(parts) == asked.messages[0].parts
    return request.messages[0].parts


@pytest.mark.parametrize(
    ("parts", "options", "expected"),
    [
        ([HI], {}, [HI]),
        ([HI, IMAGE], {}, [HI, Text("[image]")]),
        ([IMAGE, AUDIO], {}, [Text("[image]"), AUDIO]),
        ([IMAGE, AUDIO], {"kinds": ["image", "audio"]}, [Text("[image]"), Text("[audio]")]),
        ([HI, IMAGE], {"instead": ""}, [HI]),
        ([IMAGE], {"instead": ""}, [Text("[omitted]")]),
        ([IMAGE], {"instead": "a {kind} {was} here"}, [Text("a image {was} here")]),
        ([ToolResult("c", [HI, IMAGE])], {}, [ToolResult("c", [HI, Text("[image]")])]),
    ],
)
def test_what_is_named_goes_and_a_text_takes_its_place(
    parts: list[Part], options: dict[str, Any], expected: list[Part]
) -> None:
    assert expected == shaped(parts, **options)
