"""Stream framing: bytes of an upstream's answer -> records. One file per word of `stream.format`.

A parser is fed whatever the network read and keeps its own remainder. It gives the same records
wherever the bytes were cut, each as soon as its last byte is there, and holds no more than one
unfinished frame of at most MAX_FRAME bytes. Parsers do not decode JSON: `value` is left None for
kinds that decode as "json", and is the text for those that decode as "text". What cannot be split
any further raises FramingError, once every whole record before it has been given. A stream that
ends early is no framing error; its missing finish tells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from engine.wire import Record

from .aws_eventstream import AwsEventstream, aws_eventstream_parser
from .bounds import MAX_FRAME, FramingError
from .frames import AnswerFrames, frames_parser
from .json import JsonParser
from .json_array import JsonArrayParser
from .lines import LinesParser
from .ndjson import NdjsonFrames, NdjsonParser
from .sse import Sse, SseFrames, sse_parser
from .text import TextParser
from .websocket import Websocket, websocket_parser


class Parser(Protocol):
    """feed takes any number of bytes, none too; finish is called once, at the end of the stream.

    One may have `one(data) -> bytes | None` besides: the data of a chunk that is one whole frame
    without a name, and nothing else; nothing of it is taken.

    Both raise FramingError. `frames` counts the whole frames seen so far, also those that give no
    record (comments, pings): it moves only when the upstream has really said something.
    """

    frames: int

    def feed(self, data: bytes) -> list[Record]: ...
    def finish(self) -> list[Record]: ...


@dataclass(frozen=True, slots=True)
class Kind:
    """One way of framing.

    options  the dataclass of its options, None if it has none
    make     a fresh parser for one answer; takes an instance of `options` (or None) and the
             largest frame in bytes. Raises ValueError if the options do not go together
    frames   makes a splitter that gives whole frames as they came, for pass-through; takes the
             largest frame in bytes
    decodes  what `value` is to be: the JSON value of `data`, or the text the parser has set
    """

    make: Callable[..., Parser]
    decodes: Literal["json", "text"] = "json"
    options: type | None = None
    frames: Callable[[int], SseFrames | NdjsonFrames] | None = None


PARSERS: dict[str, Kind] = {
    "sse": Kind(sse_parser, options=Sse, frames=SseFrames),
    "ndjson": Kind(lambda _, limit=MAX_FRAME: NdjsonParser(limit), frames=NdjsonFrames),
    "json_array": Kind(lambda _, limit=MAX_FRAME: JsonArrayParser(limit)),
    "json": Kind(lambda _, limit=MAX_FRAME: JsonParser(limit)),
    "text": Kind(lambda _, limit=MAX_FRAME: TextParser(), decodes="text"),
    "lines": Kind(lambda _, limit=MAX_FRAME: LinesParser(limit), decodes="text"),
    "frames": Kind(frames_parser, options=AnswerFrames),
    "websocket": Kind(websocket_parser, options=Websocket),
    "aws_eventstream": Kind(aws_eventstream_parser, options=AwsEventstream),
}

__all__ = ["MAX_FRAME", "PARSERS", "FramingError", "Kind", "Parser", "SseFrames"]
