"""Pictures, sounds and files that a model answers with.

Where a client's API has a place for them they go there; where it has none the answer says in words
what was left out, since a stream has no other place for it. A picture given by URL is never lost:
its address is a text.

Later requests bring them back in turns of the assistant, which most APIs let hold text only. There
they go to the upstream with the user's next turn, as pictures in results of tools do.
"""

from __future__ import annotations

from dataclasses import replace

from engine.chat import Media, Message, Part, Text, ToolResult

from .filetypes import right_type, split_data

SPOKEN = "transcript"  # extra of a sound: the words that are said in it
_MODALITIES = ("text", "image")


def modalities(value: object) -> list[str]:
    """What an answer is to be made of, where that is pictures, perhaps with text; else nothing."""
    words = [word.lower() if isinstance(word, str) else "" for word in _list(value)]
    return words if "image" in words and all(word in _MODALITIES for word in words) else []


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def from_url(url: str) -> Media:
    """A picture by its URL; a `data:` URI is its bytes."""
    mime, data = split_data(url)
    return Media("image", url=url) if data is None else Media("image", mime, data)


def from_text(found: str) -> Media:
    """A picture by its URL, or by its bytes in base64."""
    if found[:5].lower() in ("data:", "http:", "https"):
        return from_url(found)
    return Media("image", right_type(found, "image/png"), found)


def url_of(part: Media) -> str | None:
    """The URL of a picture, a `data:` URI for its bytes; None where only an id is known."""
    if part.data is None:
        return part.url
    return f"data:{right_type(part.data, part.mime) or 'image/png'};base64,{part.data}"


def in_words(part: Media) -> str:
    """What an answer says in the place of something it cannot hold; of speech the words too."""
    spoken = part.extras.get(SPOKEN)
    if isinstance(spoken, str) and spoken:
        return f"{spoken}\n{_left(part)}"
    return _left(part)


def _left(part: Media) -> str:
    if part.data is None and part.url is not None:
        return f"![{part.kind}]({part.url})" if part.kind == "image" else part.url
    if part.data is None:
        return f"[{part.kind} left out: only its id is known]"
    mime, size = right_type(part.data, part.mime), len(part.data.rstrip("=")) * 3 // 4
    kind = f"{part.kind} ({mime})" if mime else part.kind
    return f"[{kind} of {size} bytes left out: this API's answers cannot hold it]"


def handed_on(messages: list[Message], dialect: str) -> list[Message]:
    """The turns with what the assistant showed in the user's next one, where there is a note of it.

    dialect: the upstream's; turns that came from it stay as they are.
    """
    if not any(_shows(message, dialect) for message in messages):
        return messages
    out: list[Message] = []
    shown: list[Part] = []
    for message in messages:
        if shown and _takes(message):
            message, shown = replace(message, parts=[*shown, *message.parts]), []
        elif shown and message.role != "tool":
            out.append(Message("user", shown))
            shown = []
        if _shows(message, dialect):
            shown = [part for part in message.parts if isinstance(part, Media)]
            message = replace(message, parts=[_noted(part) for part in message.parts])
        out.append(message)
    return [*out, Message("user", shown)] if shown else out


def _shows(message: Message, dialect: str) -> bool:
    foreign = message.role == "assistant" and message.dialect != dialect
    return foreign and any(isinstance(part, Media) for part in message.parts)


def _takes(message: Message) -> bool:
    results = any(isinstance(part, ToolResult) for part in message.parts)
    return message.role == "user" and not results


def _noted(part: Part) -> Part:
    return Text(f"[{part.kind} attached]") if isinstance(part, Media) else part
