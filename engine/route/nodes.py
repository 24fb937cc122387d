"""YAML text -> a tree of nodes that know where they stand.

The tree is built straight from the parser's events, so that size is bounded before anything is
built: no composer, no constructor, no tags, no merge keys, no duplicate keys. Plain scalars follow
the YAML 1.2 core schema (`on`, `012`, `12:30` are text). Everything wrong is collected as Problem.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import yaml

from engine.errors import Problem

MAX_BYTES = 256 * 1024
MAX_DEPTH = 60
MAX_ALIASES = 500
MAX_EVENTS = 60_000
MAX_NODES = 20_000
LONGEST_NUMBER = 300  # digits; what is longer is text

Kind = Literal["map", "list", "str", "int", "float", "bool", "null"]

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)")
_NUMERIC = frozenset("+-.0123456789")  # how a number begins
_CONSTANTS: dict[str, tuple[Kind, object]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), ("null", None)),
    **dict.fromkeys(("true", "True", "TRUE"), ("bool", True)),
    **dict.fromkeys(("false", "False", "FALSE"), ("bool", False)),
}
_NO_KEYS: dict[str, Mark] = {}  # of what is no map, never filled
_YAML11_BOOLEANS = {w for b in ("yes", "no", "on", "off") for w in (b, b.capitalize(), b.upper())}
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Mark(NamedTuple):
    """A place in a file; line and column count from 1."""

    file: str
    line: int
    column: int
    length: int = 1
    excerpt: str = ""

    def problem(
        self, code: str, message: str, severity: Literal["error", "warning"] = "error"
    ) -> Problem:
        return Problem(
            self.file, self.line, self.column, code, message, severity, self.excerpt, self.length
        )


class Read(NamedTuple):
    """What a map was read as. shape: the variables that there must be, None: any."""

    shape: object
    value: object


@dataclass(slots=True)
class Made:
    """What maps that say the same are read as: for each kind the latest value."""

    values: dict[type, Read] = field(default_factory=dict)

    def find(self, kind: type, shape: object) -> Read | None:
        """The one that holds where there are these variables."""
        found = self.values.get(kind)
        return found if found is not None and found.shape in (None, shape) else None


@dataclass(slots=True)
class Node:
    """One YAML value. `value` is dict[str, Node], list[Node] or the scalar.

    text  the scalar as written (quotes and escapes undone)
    keys  where each key of a map stands
    size  how many nodes hang here, aliases counted in full; depth: how many levels
    made  what a map is read as, once for all routes that inherit it; None: it is one route's own
    """

    kind: Kind
    value: Any
    mark: Mark
    text: str = ""
    quoted: bool = False
    keys: dict[str, Mark] = field(default_factory=dict)
    size: int = 1
    depth: int = 1
    made: Made | None = field(default=None, init=False, repr=False, compare=False)

    def get(self, key: str) -> Node | None:
        return self.value.get(key) if self.kind == "map" else None

    def plain(self) -> Any:
        """The value as plain dicts, lists and scalars."""
        if self.kind == "map":
            return {key: child.plain() for key, child in self.value.items()}
        if self.kind == "list":
            return [child.plain() for child in self.value]
        return self.value

    def said(self) -> tuple[object, ...]:
        """What stands here, wherever that is. Nothing says the same as what holds a reference."""
        if self.kind == "map":
            return (*self.value, *[child.said() for child in self.value.values()])
        if self.kind == "list":
            return (None, *[child.said() for child in self.value])
        return (self.kind, self.text, object() if "${" in self.text else self.quoted)

    def made_alike(self) -> Made:
        """What this map is read as: once for all of one parent, or for all that say the same."""
        return _made_of(self.said()) if self.made is None else self.made

    def inside(self, at: int) -> Mark:
        """The place of an offset in a scalar that stands on one line as it was written."""
        mark = self.mark
        begin = mark.excerpt.find(self.text[:40], mark.column - 1) if self.text else -1
        if begin < 0 or "\n" in self.text:
            return mark
        return mark._replace(column=begin + at + 1, length=1)

    def branches(self) -> Any:
        """Plain dicts and lists whose leaves are the Nodes themselves."""
        if self.kind == "map":
            return {key: child.branches() for key, child in self.value.items()}
        if self.kind == "list":
            return [child.branches() for child in self.value]
        return self

    def walk(self) -> Iterator[Node]:
        """The node and all below it, in the order of the text."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            if node.kind == "map":
                waiting += reversed(node.value.values())
            elif node.kind == "list":
                waiting += reversed(node.value)


@lru_cache(maxsize=256)
def _made_of(said: tuple[object, ...]) -> Made:
    return Made()


class _Stop(Exception):
    """Reading cannot go on; the problem is already noted."""


class Composer:
    """Builds the tree of one document, noting problems on the way."""

    def __init__(self, text: str, file: str, problems: list[Problem]) -> None:
        self.file = file
        self.problems = problems
        self.lines = [line[:200] for line in text.splitlines()]
        self.anchors: dict[str, Node | None] = {}
        self.events = 0
        self.aliases = 0
        self.nodes = 0

    def mark(self, start: Any, end: Any = None) -> Mark:
        line, column = start.line, start.column
        excerpt = self.lines[line] if line < len(self.lines) else ""
        length = end.column - column if end is not None and end.line == line else 1
        length = 1 if length < 1 else 120 if length > 120 else length
        # As Mark(…) makes it, without a call in between: every value and key of a file has one.
        return tuple.__new__(Mark, (self.file, line + 1, column + 1, length, excerpt))

    def note(self, mark: Mark, code: str, message: str) -> None:
        self.problems.append(mark.problem(code, message))

    def stop(self, mark: Mark, code: str, message: str) -> _Stop:
        self.note(mark, code, message)
        return _Stop()

    def document(self, text: str) -> Node | None:
        stream = self.guarded(_LOADER(text))
        root: Node | None = None
        for event in stream:
            if isinstance(event, yaml.DocumentStartEvent) and root is not None:
                raise self.stop(self.mark(event.start_mark), "E009", "one file holds one document")
            if isinstance(event, yaml.NodeEvent):
                root = self.node(event, stream, 1)
        return root

    def guarded(self, loader: Any) -> Iterator[Any]:
        over, event = yaml.StreamEndEvent, None
        try:
            while type(event) is not over:
                event = loader.get_event()
                self.events += 1
                if self.events > MAX_EVENTS:
                    mark = self.mark(event.start_mark)
                    raise self.stop(mark, "E004", f"more than {MAX_EVENTS} YAML events")
                yield event
        finally:
            loader.dispose()

    def node(self, event: Any, stream: Iterator[Any], depth: int) -> Node:
        mark = self.mark(event.start_mark, event.end_mark)
        if depth > MAX_DEPTH:
            raise self.stop(mark, "E003", f"nested deeper than {MAX_DEPTH} levels")
        kind, anchor = type(event), event.anchor
        if kind is yaml.AliasEvent:
            return self.alias(event, mark, depth)
        if event.tag is not None and not (kind is yaml.ScalarEvent and event.tag == "!"):
            self.note(mark, "E006", f"tags are not used here: `{_tag(event.tag)}`")
        if anchor:
            self.anchors[anchor] = None
        if kind is yaml.ScalarEvent:
            node = self.scalar(event, mark)
        elif kind is yaml.SequenceStartEvent:
            node = self.sequence(stream, depth, mark)
        else:
            node = self.mapping(stream, depth, mark)
        if anchor:
            self.anchors[anchor] = node
        self.nodes += 1
        if self.nodes > MAX_NODES or node.size > MAX_NODES:
            raise self.stop(mark, "E004", f"more than {MAX_NODES} values, aliases counted in full")
        return node

    def alias(self, event: Any, mark: Mark, depth: int) -> Node:
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            raise self.stop(mark, "E005", f"more than {MAX_ALIASES} aliases")
        known = self.anchors.get(event.anchor)
        if known is None:
            inside = event.anchor in self.anchors
            what = "refers to itself" if inside else "has no anchor above it"
            raise self.stop(mark, "E005", f"alias `*{event.anchor}` {what}")
        if depth + known.depth - 1 > MAX_DEPTH:
            raise self.stop(mark, "E003", f"nested deeper than {MAX_DEPTH} levels")
        self.nodes += known.size
        return known

    def scalar(self, event: Any, mark: Mark) -> Node:
        text = sys.intern(event.value)  # files say the same words
        quoted = bool(event.style) or not event.implicit[0]
        if quoted:
            return Node("str", text, mark, text, True, _NO_KEYS)
        kind, value = resolve(text)
        if kind == "str" and text in _YAML11_BOOLEANS:
            message = f"`{text}` is text here; other YAML tools read a boolean: quote it"
            self.problems.append(mark.problem("W004", message, "warning"))
        return Node(kind, value, mark, text, False, _NO_KEYS)

    def sequence(self, stream: Iterator[Any], depth: int, mark: Mark) -> Node:
        items: list[Node] = []
        while not isinstance(event := next(stream), yaml.SequenceEndEvent):
            items.append(self.node(event, stream, depth + 1))
        return Node("list", items, mark, "", False, _NO_KEYS, *_extent(items))

    def mapping(self, stream: Iterator[Any], depth: int, mark: Mark) -> Node:
        values: dict[str, Node] = {}
        keys: dict[str, Mark] = {}
        while not isinstance(event := next(stream), yaml.MappingEndEvent):
            at = self.mark(event.start_mark, event.end_mark)
            if not isinstance(event, yaml.ScalarEvent):
                raise self.stop(at, "E010", _not_a_key(at))
            key = sys.intern(event.value)
            value = self.node(next(stream), stream, depth + 1)
            if key == "<<" and not event.style:
                self.note(at, "E008", "merge keys are refused: use `extends`")
            elif key in keys:
                self.note(
                    at, "E007", f"key `{key}` stands here twice; first in line {keys[key].line}"
                )
            else:
                values[key], keys[key] = value, at
        return Node("map", values, mark, "", False, keys, *_extent(values.values()))


def _extent(children: Collection[Node]) -> tuple[int, int]:
    """Size and depth of a map or list of these."""
    size, deepest = 1, 0
    for child in children:
        size += child.size
        deepest = max(deepest, child.depth)
    return size, 1 + deepest


def _tag(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")


def _not_a_key(mark: Mark) -> str:
    if "{{" in mark.excerpt:
        return 'a value that starts with `{{` must be quoted: "{{ … }}"'
    if "[" in mark.excerpt and "$" in mark.excerpt:
        return 'a path with brackets must be quoted inside { }: "$.a[*]"'
    if "[" in mark.excerpt:
        return 'a key must be plain text; an index is quoted: "[0]"'
    return "a key must be plain text"


def resolve(text: str) -> tuple[Kind, object]:
    """Kind and value of a plain scalar by the YAML 1.2 core schema."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in _NUMERIC or len(text) > LONGEST_NUMBER:
        return "str", text
    if _INT.fullmatch(text):
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        return "int", int(text[2:] if base != 10 else text, base)
    if _FLOAT.fullmatch(text):
        return "float", float(re.sub(r"\.inf$", "inf", text.lower()))
    return "str", text


def read(text: str | bytes, file: str, problems: list[Problem]) -> Node | None:
    """The tree of a file's text, or None when it cannot be read at all.

    Problems are appended to `problems`; a tree may come back together with some.
    """
    top = Mark(file, 1, 1)
    if len(text) > MAX_BYTES:
        problems.append(top.problem("E002", f"larger than {MAX_BYTES // 1024} KiB"))
        return None
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            before = error.object[: error.start].rpartition(b"\n")
            place = Mark(file, before[0].count(b"\n") + bool(before[1]) + 1, len(before[2]) + 1)
            problems.append(
                place.problem("E001", f"not UTF-8: byte 0x{error.object[error.start]:02x}")
            )
            return None
    composer = Composer(text, file, problems)
    try:
        root = composer.document(text)
    except _Stop:
        return None
    except yaml.YAMLError as error:
        problems.append(_syntax(error, composer))
        return None
    if root is None:
        problems.append(top.problem("E001", "the file is empty"))
    return root


def _syntax(error: yaml.YAMLError, composer: Composer) -> Problem:
    place = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    if place is None:
        return Mark(composer.file, 1, 1).problem("E001", f"not YAML: {what}")
    mark = composer.mark(place)
    hint = _hint(mark.excerpt, what)
    return mark.problem("E001", f"not YAML: {what}{hint}")


_HINTS: tuple[tuple[Callable[[str], bool], str], ...] = (
    (lambda line: bool(re.search(r":\s*\{\{", line)), '; quote a template: "{{ … }}"'),
    (lambda line: "\t" in line[: len(line) - len(line.lstrip())], "; indent with spaces, not tabs"),
    (lambda line: bool(re.search(r"[\w.$\]]\[", line)), '; quote a path: "$.a[*]"'),
    (lambda line: bool(re.search(r":\s*[@`%]", line)), "; quote a value that starts so"),
    (lambda line: bool(re.search(r"(^|[{,])\s*\*\s*:", line)), '; quote the key: "*"'),
)
_UNCLEAR = {
    "mapping values": "; is the line indented like those beside it? Text with `: ` in it is quoted",
    "did not find expected '-'": "; is the line indented like those beside it?",
    "did not find expected key": "; perhaps a quote or bracket further up is not closed",
    "did not find expected ','": "; a comma, quote or bracket is missing here or further up",
}  # what the parser says -> what is behind it most often


def _hint(line: str, what: str) -> str:
    bare = re.sub(r"\"[^\"]*\"|'[^']*'", "''", line)
    known = (hint for test, hint in _HINTS if test(bare))
    unclear = (hint for words, hint in _UNCLEAR.items() if what.startswith(words))
    return next(known, "") or next(unclear, "")
