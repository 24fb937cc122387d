"""Pictures of an answer as items: `image_generation_call`, the one place this API has for them.

Its `result` is base64, so a picture known by its URL is a text. What an upstream says of one beside
its bytes (the prompt it used, its size) stays with it for clients of this API.
"""

from __future__ import annotations

from engine.chat import Extras, Media, Opaque, Part, Text
from engine.dialects.filetypes import right_type
from engine.dialects.hosted import instead

KIND = "image_generation_call"
_ITEM = "item"  # extra of a picture: its item without the bytes
_FORMATS = ("png", "webp", "jpeg", "gif")


def picture_of(item: Extras) -> Media | None:
    """The picture of an item; None where it holds none, as one that failed or is known by id."""
    data = item.get("result")
    if not isinstance(data, str) or not data:
        return None
    said = item.get("output_format")
    mime = right_type(data, f"image/{said}" if isinstance(said, str) else "image/png")
    kept = {name: value for name, value in item.items() if name not in ("type", "result")}
    return Media("image", mime, data, extras={_ITEM: kept})


def sayable(part: Part, *, quiet: bool = False) -> Part:
    """The part as this API can say it, an Opaque of another API's too.

    quiet: nothing may be said in the place of what has none
    """
    drawn = isinstance(part, Media) and part.kind == "image" and part.data is not None
    if drawn or not isinstance(part, Media | Opaque):
        return part
    words = instead(part, quiet=quiet)
    return Text(words) if words else part


def item_of(part: Media, ident: str, status: str = "completed") -> Extras:
    """The item of a picture, which has its bytes once it is completed."""
    kept = part.extras.get(_ITEM)
    known = kept if isinstance(kept, dict) else {"id": ident, **_form(part)}
    begun = status == "in_progress"
    return {
        **known,
        "type": KIND,
        "status": "in_progress" if begun else "completed",
        "result": None if begun else part.data,
    }


def ident_of(part: Media) -> str:
    """The id that the upstream gave it, "" if there is none."""
    kept = part.extras.get(_ITEM)
    ident = kept.get("id") if isinstance(kept, dict) else None
    return ident if isinstance(ident, str) else ""


def sent_back(part: Media) -> object:
    """The item of a turn, for the API that it came from."""
    return item_of(part, "") if ident_of(part) else None


def _form(part: Media) -> Extras:
    name = (right_type(part.data or "", part.mime) or "").removeprefix("image/")
    return {"output_format": name} if name in _FORMATS else {}
