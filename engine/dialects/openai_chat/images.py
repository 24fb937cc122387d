"""Pictures beside the text of an assistant's message: `images`, in answers and in turns sent back.

    {"index": 0, "type": "image_url", "image_url": {"url": "data:image/png;base64,…"}}

OpenRouter documents it, Vercel's gateway and LiteLLM do the same; the API of OpenAI itself has no
place for them. OpenAI's SDK adds up the deltas of a stream and breaks at an item without `index`.
"""

from __future__ import annotations

from engine.chat import Extras, Media
from engine.dialects.pictures import from_url, url_of

IMAGES = "images"
_PLACE: Extras = {IMAGES: True}  # extras of a picture that stood there


def read_images(found: object) -> list[Media]:
    """The pictures of a list; what is none in it is passed over."""
    items = found if isinstance(found, list) else []
    return [from_url(url) for item in items if (url := _url(item))]


def _url(item: object) -> str:
    """The URL of an item: in an object, as it is documented, or bare."""
    inner = item.get("image_url") if isinstance(item, dict) else None
    url = inner.get("url") if isinstance(inner, dict) else inner
    return url if isinstance(url, str) else ""


def take_images(rest: Extras) -> list[Media]:
    """Pop the pictures of a turn that a client sends back; what cannot be read stays."""
    items = rest.get(IMAGES)
    if not isinstance(items, list) or not all(map(_url, items)):
        return []
    del rest[IMAGES]
    pictures = read_images(items)
    for picture in pictures:
        picture.extras = dict(_PLACE)
    return pictures


def stood_there(part: object) -> bool:
    """Whether a part is a picture that a client of this API sent in `images`."""
    return isinstance(part, Media) and IMAGES in part.extras


def image_items(pictures: list[Media], first: int = 0) -> list[Extras]:
    """The items for pictures. first: how many there were before in this answer."""
    return [
        {"index": at, "type": "image_url", "image_url": {"url": url_of(picture)}}
        for at, picture in enumerate(pictures, first)
    ]


def holds(part: Media) -> bool:
    """Whether it has a place among them."""
    return part.kind == "image" and url_of(part) is not None
