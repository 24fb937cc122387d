"""Made-up texts for what people and models said: a recording without its conversation.

A made-up text has the length of its text, in characters and bytes: a letter for a letter of the
same case, a digit for a digit, an ideograph for one. Spaces, marks, tags (`<think>`) and the names
in JSON stay. The same text is replaced by the same one, so an answer that is told in pieces, as
snapshots and as a whole stays one answer.

What is content is told by how it looks, over a whole answer: what has a blank or a letter that is
not ASCII in it, what the client was told, and what stands under a name such as `content`. So it is
rather too much than too little.
"""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise
from random import Random
from typing import Any

from engine.errors import PenstockError
from engine.parsers import FramingError
from engine.route.pipeline import Road
from engine.route.route import Route
from engine.wire import JsonError, Record, dumps, loads

from .reframing import reframer
from .taping import Taken

Place = tuple[str | int, ...]
LONG = 12  # characters of a line that must not be found again
_NAMES = frozenset(
    {"answer", "arguments", "content", "delta", "input", "instructions", "output", "output_text",
     "partial_json", "prompt", "query", "reasoning", "reasoning_content", "refusal", "response",
     "summary", "system", "text", "thinking", "transcript", "word"}
)  # fmt: skip
_WORDS = frozenset(
    {"model", "role", "type", "object", "id", "name", "finish_reason", "stop_reason"}
)
_KEPT = re.compile(r"<[^<>\n]{1,60}>")
_LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"(\s*:)?', re.S)
_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|.)", re.S)
_LETTERS = {2: "àéîöüßñçøåžčřšľďłęąō", 3: "的一是不了人我在有他这中大来上国个到说们"}


class Telling(PenstockError):
    """A text cannot be replaced. The message says where, and not what."""


class Synthetic:
    """Replaces texts. known: what the client was told."""

    def __init__(self, seed: int, known: frozenset[str] = frozenset()) -> None:
        self._draw = Random(seed)
        self._known = frozenset(text.strip() for text in known if text.strip())
        self._made: dict[str, str] = {}
        self.lines: set[str] = set()  # what must not be found again

    # ---- one text ----

    def text(self, text: str) -> str:
        if text not in self._made:
            self._made[text] = self._new(text)
            self.lines |= {line for line in map(str.strip, text.splitlines()) if len(line) >= LONG}
            self.lines = {line for line in self.lines if " " in line or not line.isascii()}
        return self._made[text]

    def _new(self, text: str) -> str:
        if text.lstrip()[:1] in ("{", "["):
            return _LITERAL.sub(self._literal, text)
        return self._between(_KEPT, text)

    def _literal(self, hit: re.Match[str]) -> str:
        if hit[2] is not None:
            return hit[0]
        return f'"{self._between(_ESCAPE, hit[1])}"'

    def _between(self, kept: re.Pattern[str], text: str) -> str:
        out, at = [], 0
        for hit in kept.finditer(text):
            out += [self._letter(char) for char in text[at : hit.start()]] + [hit[0]]
            at = hit.end()
        return "".join([*out, *(self._letter(char) for char in text[at:])])

    def _letter(self, char: str) -> str:
        if char.isascii():
            if char.isdigit():
                return self._draw.choice("0123456789")
            if not char.isalpha():
                return char
            made = self._draw.choice("abcdefghijklmnopqrstuvwxyz")
            return made.upper() if char.isupper() else made
        letters = _LETTERS.get(len(char.encode("utf-8", "replace")))
        return self._draw.choice(letters) if letters and char.isalpha() else char

    # ---- trees ----

    def tree(self, value: Any) -> Any:
        """JSON of a client without what it says."""
        leaves = {place: [text] for place, text in _leaves(value)}
        new = {
            place: made[0] for place, texts in leaves.items() if (made := self._all(place, texts))
        }
        return _with(value, new)

    def _all(self, place: Place, texts: list[str]) -> list[str]:
        """What stands for the texts that came at one place, in order; [] if they are no content."""
        grown = len(texts) > 1 and all(
            after.startswith(before) for before, after in pairwise(texts)
        )
        whole = texts[-1] if grown else "".join(texts)
        if not self._is_content(place, whole):
            return []
        made = self.text(whole)
        if grown:
            return [made[: len(text)] for text in texts]
        ends = [0]
        for text in texts:
            ends.append(ends[-1] + len(text))
        return [made[begin:end] for begin, end in pairwise(ends)]

    def _is_content(self, place: Place, text: str) -> bool:
        bare = text.strip()
        if not bare or bare.startswith("data:"):
            return False
        names = [step for step in place if isinstance(step, str)]
        if names and names[-1] in _NAMES | _WORDS:
            return names[-1] in _NAMES
        strange = any(char.isspace() or (char.isalpha() and not char.isascii()) for char in bare)
        return strange or bare in self._known

    # ---- answers ----

    def taken(self, taken: Taken, route: Route) -> Taken:
        """The same answer without its texts. Raises Telling."""
        status = taken.head.status if taken.head is not None else 0
        if status == 101:
            raise Telling("what is said on a websocket cannot be made up")
        if taken.fetched or not 200 <= status < 300:
            return taken
        body = self._body(taken.body, route)
        if len(body) != len(taken.body):
            return dataclasses.replace(taken, pieces=[(0, body)])
        pieces, at = [], 0
        for time, data in taken.pieces:
            pieces.append((time, body[at : at + len(data)]))
            at += len(data)
        return dataclasses.replace(taken, pieces=pieces)

    def _body(self, body: bytes, route: Route) -> bytes:
        if not body.strip():
            return body
        try:
            loads(body)
        except JsonError:
            pass
        else:
            return self._records([body])[0]
        road = route.stream_road
        if road is None or not road.json:
            try:
                return self.text(body.decode()).encode()
            except UnicodeDecodeError:
                raise Telling("an answer is neither JSON nor text") from None
        return self._stream(body, road, reframer(route))

    def _stream(self, body: bytes, road: Road, refit: Callable[..., bytes] | None) -> bytes:
        data = [record.data for record in _parsed(road, body) if _is_json(record.data)]
        new = self._records(data)
        if refit is not None:
            queue: dict[bytes, list[bytes]] = defaultdict(list)
            for old, made in zip(data, new, strict=True):
                queue[old].append(made)
            return refit(
                body, lambda payload: queue[payload].pop(0) if queue.get(payload) else payload
            )
        out, at = [], 0
        for old, made in zip(data, new, strict=True):
            begin = body.find(old, at)
            if begin < 0:
                raise Telling("an event of several lines cannot be made up")
            out += [body[at:begin], made]
            at = begin + len(old)
        return b"".join([*out, body[at:]])

    def _records(self, data: list[bytes]) -> list[bytes]:
        values = [loads(each) for each in data]
        came: dict[Place, list[tuple[int, str]]] = defaultdict(list)
        for at, value in enumerate(values):
            for place, text in _leaves(value):
                came[place].append((at, text))
        new: list[dict[Place, str]] = [{} for _ in data]
        for place, texts in came.items():
            made = self._all(place, [text for _, text in texts])
            for (at, _), text in zip(texts, made, strict=False):
                new[at][place] = text
        return [_rewritten(*each) for each in zip(data, values, new, strict=True)]


def _parsed(road: Road, body: bytes) -> Iterator[Record]:
    parser = road.parser()
    try:
        yield from parser.feed(body)
        yield from parser.finish()
    except FramingError:
        raise Telling("an answer cannot be taken apart") from None


def _is_json(data: bytes) -> bool:
    try:
        return isinstance(loads(data), dict | list)
    except JsonError:
        return False


def _leaves(value: Any, place: Place = ()) -> Iterator[tuple[Place, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _leaves(item, (*place, key))


def _with(value: Any, new: dict[Place, str], place: Place = ()) -> Any:
    if place in new:
        return new[place]
    if isinstance(value, dict):
        return {key: _with(item, new, (*place, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_with(item, new, (*place, at)) for at, item in enumerate(value)]
    return value


def _rewritten(data: bytes, value: Any, new: dict[Place, str]) -> bytes:
    """The JSON text with other texts in it, as it is written where that can be."""
    old = dict(_leaves(value))
    made = data
    for place, text in new.items():
        name = next((step for step in reversed(place) if isinstance(step, str)), "")
        made = _put(made, name, old[place], text)
    wanted = _with(value, new)
    return made if loads(made) == wanted else dumps(wanted)


def _put(data: bytes, name: str, old: str, new: str) -> bytes:
    """One text replaced behind its name, in the escapes that are used there."""
    for write in (dumps, _ascii):
        pattern = rb'("%s"\s*:\s*(?:\[\s*)?)' % re.escape(name.encode()) + re.escape(write(old))
        made = re.sub(pattern, lambda hit: hit[1] + write(new), data, count=1)  # noqa: B023
        if made != data:
            return made
    return data


def _ascii(text: str) -> bytes:
    escaped = (char if char.isascii() else _escapes(char) for char in dumps(text).decode())
    return "".join(escaped).encode()


def _escapes(char: str) -> str:
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
