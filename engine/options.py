"""How a kind declares its options: one frozen dataclass, its fields made with `option()`.

From such a dataclass come validation with positions, JSON Schema, the docs tables and secret
masking (`engine/route/reader.py`, `engine/route/schema.py`); nothing is said twice. Field types:
bool, int, float, str, Literal, list[T], dict[str, T], T | None, nested option dataclasses, and the
kinds below, whose values arrive compiled.

    Template   `{{ }}` text or value          Condition  bare expression
    Path       JSONPath, or a list of them    Regex      regular expression
    Duration   seconds, written `20s`, `5m`   Size       bytes, written `64KiB`
    Secret     text that nothing prints       Tree       any YAML value, with templates inside
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NewType

Duration = NewType("Duration", float)
Size = NewType("Size", int)
Regex = re.Pattern[str]
Env = Mapping[str, object]


class Omit:
    """The value of a template that has nothing to say: the entry that holds it is dropped."""

    _only: Omit | None = None

    def __new__(cls) -> Omit:
        if cls._only is None:  # it is false: `or` would make another
            cls._only = super().__new__(cls)
        return cls._only

    def __repr__(self) -> str:
        return "omit"

    def __bool__(self) -> bool:
        return False


OMIT = Omit()


class Secret:
    """Text that must not be seen. Only `reveal()` gives it; repr, str and format are masked.

    name says where it came from (`env:X`, `account.key`) and is what explain and logs show. A copy
    is the same object; pickling is refused, JSON does not know it, and it cannot be iterated.
    """

    __slots__ = ("_text", "name")

    def __init__(self, text: str, name: str = "secret") -> None:
        self._text = text
        self.name = name

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"«{self.name}»"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(("secret", self._text))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> Any:
        raise TypeError(f"{self!r} is not pickled: its text would lie open")


class Blob:
    """Bytes that a template hands on whole, into a multipart form or a raw body; they are no text.

    name, mime: what a form says of them
    """

    __slots__ = ("data", "mime", "name")

    def __init__(self, data: bytes, name: str, mime: str) -> None:
        self.data = data
        self.name = name
        self.mime = mime

    def __repr__(self) -> str:
        return f"«{self.name}, {len(self.data)} bytes»"


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled template. `render(env)` gives a native value, str, or OMIT.

    source    as written
    mentions  dotted names it reads, cut after two steps: {"req.prompt", "values.nonce", "vars"}
    constant  True when it reads nothing and calls nothing that changes
    """

    source: str
    render: Callable[[Env], object]
    mentions: frozenset[str] = frozenset()
    constant: bool = False
    env: Env | None = None

    def bind(self, env: Env) -> Template:
        """The same template, callable: `template(messages=…)` adds roots to the bound ones."""
        return dataclasses.replace(self, env=env)

    def __call__(self, **roots: object) -> Any:
        return self.render({**(self.env or {}), **roots})


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled condition. An undefined name in it makes it false, never an error."""

    source: str
    test: Callable[[Env], bool]
    mentions: frozenset[str] = frozenset()
    env: Env | None = None

    def bind(self, env: Env) -> Condition:
        return dataclasses.replace(self, env=env)

    def __call__(self, **roots: object) -> bool:
        return self.test({**(self.env or {}), **roots})


@dataclass(frozen=True, slots=True)
class Path:
    """A compiled JSONPath (or list of alternatives), with its pipe of filters.

    first(value)  the first value found that is not None and not "" (or None)
    all(value)    every value found, of the first alternative that finds any
    """

    source: str
    first: Callable[[object], object]
    all: Callable[[object], list[object]]


@dataclass(frozen=True, slots=True)
class Tree:
    """A YAML value with templates inside: `render(env)` gives the plain value.

    Entries and items whose whole value is OMIT are dropped; keys are never templates.
    """

    render: Callable[[Env], object]
    mentions: frozenset[str] = frozenset()
    source: object = None


_REQUIRED: Any = object()


def option(
    default: Any = _REQUIRED,
    doc: str = "",
    *,
    example: object = None,
    since: str | None = None,
    deprecated: str | None = None,
    roots: tuple[str, ...] = (),
    secret: bool = False,
    credential: bool = False,
    name: str | None = None,
    choices: tuple[str, ...] = (),
    lone: bool = False,
) -> Any:
    """Declare one option. Without `default` it is required.

    doc       one sentence: meaning, unit
    example   a value as YAML would hold it
    roots     template variables that exist here beside the usual ones of the place
    secret    the value (or what a reference gives for it) is wrapped in Secret
    credential  a template whose text, where it is all that is written, is a secret
    name      the key in YAML, when it cannot be the field's name (`for`, `from`, `not`, `as`)
    choices   allowed words, where a Literal cannot be written down
    lone      a list field that also takes one item without the brackets
    """
    metadata = {
        "doc": doc,
        "example": example,
        "since": since,
        "deprecated": deprecated,
        "roots": roots,
        "secret": secret,
        "credential": credential,
        "name": name,
        "choices": choices,
        "lone": lone,
    }
    if default is _REQUIRED:
        return field(metadata=metadata)
    if isinstance(default, list | dict | set):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def key_of(item: dataclasses.Field[Any]) -> str:
    """The YAML key of an option field."""
    return item.metadata.get("name") or item.name


@dataclass(frozen=True, slots=True)
class Word:
    """A constant, or a path when it starts with `$` (`finish: stop`, `class: $.error.type`)."""

    constant: str = ""
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Selector:
    """A compiled `match:`. `test(value)`: does a record fit; `source`: what was written."""

    source: Mapping[str, object]
    test: Callable[[object], bool]
