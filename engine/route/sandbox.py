"""What runs under an expression: look-ups, filters, methods and limits, for both of its roads.

An expression sees maps, lists, scalars and the plain fields of conversation values, by key before
attribute; it may call the filters, functions and methods that stand in a table, nothing else.

A `Mode` says how secrets appear. PLAIN gives their text. MASKED, for `explain`, gives their name
between two marks that survive concatenation; a filter that meets marked text gives its own name
around it, never something computed. `unmark` turns the marks to « ».
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from jinja2 import pass_context
from jinja2.exceptions import UndefinedError
from jinja2.lexer import Lexer, Token
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS as JINJA_TESTS

from engine.errors import Refuse
from engine.options import OMIT, Omit, Secret

from .filters import FILTERS, FUNCTIONS, Absent, Filter, RenderError, kind, room, text

ROUNDS = 100_000  # rounds of all `{% for %}` of one rendering

BITS = 4096  # of a whole number that a product or a power gives

TESTS: dict[str, Any] = {
    name: JINJA_TESTS[name]
    for name in (
        "boolean", "defined", "divisibleby", "eq", "even", "false", "float", "ge", "gt", "in",
        "integer", "iterable", "le", "lower", "lt", "mapping", "ne", "none", "number", "odd",
        "sequence", "string", "true", "undefined", "upper",
    )
}  # fmt: skip


# --- methods and operators ------------------------------------------------------------------------


def _replace(value: str, old: str, new: str, count: int = -1) -> str:
    room(len(value) + value.count(old) * len(new))
    return value.replace(old, new, count)


def _items(value: Mapping[str, object]) -> list[object]:
    return [list(pair) for pair in value.items()]


# No `format`, no padding: their results can be longer than anything that was passed in.
METHODS: dict[type, dict[str, Callable[..., object]]] = {
    str: {
        **{
            name: getattr(str, name)
            for name in (
                "capitalize", "casefold", "count", "endswith", "find", "isalnum", "isalpha",
                "isdigit", "islower", "isspace", "isupper", "lower", "lstrip", "partition",
                "removeprefix", "removesuffix", "rfind", "rpartition", "rsplit", "rstrip", "split",
                "splitlines", "startswith", "strip", "title", "upper",
            )
        },
        "replace": _replace,
    },
    dict: {
        "get": dict.get,
        "items": _items,
        "keys": list,
        "values": lambda value: list(value.values()),
    },
    list: {"count": list.count, "index": list.index},
}  # fmt: skip

_FIELDS: dict[type, frozenset[str]] = {
    LoopContext: frozenset(
        {"depth", "first", "index", "index0", "last", "length", "nextitem", "previtem", "revindex",
         "revindex0"}
    ),
    datetime: frozenset({"day", "hour", "minute", "month", "second", "year"}),
}  # fmt: skip


def add(left: Any, right: Any) -> Any:
    if isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple):
        room(len(left) + len(right))
    return left + right


def times(left: Any, right: Any) -> Any:
    for many, count in ((left, right), (right, left)):
        if isinstance(many, str | list | tuple) and isinstance(count, int):
            room(len(many) * count)
    if isinstance(left, int) and isinstance(right, int):
        _fits(left.bit_length() + right.bit_length())
    return left * right


def power(base: Any, exponent: Any) -> Any:
    if isinstance(base, int) and isinstance(exponent, int):
        _fits(base.bit_length() * abs(exponent))
    return base**exponent


def _fits(bits: int) -> None:
    if bits > BITS:
        raise RenderError(f"a whole number has more than {BITS} bits")


def modulo(left: Any, right: Any) -> Any:
    if isinstance(left, str):
        raise RenderError("`%` takes numbers; text is put together with `~`")
    return left % right


OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": add,
    "*": times,
    "**": power,
    "%": modulo,
}


# --- filters as templates call them ---------------------------------------------------------------


def passing(name: str, function: Filter) -> Filter:
    """The filter, handing on what is not there, bounded, and failing as RenderError."""
    if name == "default":
        return function
    passed = {Absent, Omit} if name == "json" else {Absent, Omit, type(None)}

    def call(value: object, *args: object, **named: object) -> object:
        if value.__class__ in passed:
            return value
        try:
            made = function(value, *args, **named)
            if made.__class__ is str:
                room(len(made))
            return made
        except (RenderError, UndefinedError, Refuse):
            raise
        except Exception as error:
            for arg in (*args, *named.values()):
                if isinstance(arg, Absent):
                    text(arg)
            reason = type(error).__name__
            raise RenderError(f"`{name}` cannot use the value it was given ({reason})") from None

    return call


_OPEN, _CLOSE = "\ue000", "\ue001"
_MARK = re.compile(f"{_OPEN}([^{_OPEN}{_CLOSE}]*){_CLOSE}")


def mark(secret: Secret) -> str:
    """What stands for a secret while a masked rendering runs; nothing for an empty one."""
    return f"{_OPEN}{secret.name}{_CLOSE}" if secret.reveal() else ""


def masking(name: str, function: Filter) -> Filter:
    """The filter of masked renderings: `«sha256(account.key)»` for what comes from a secret."""
    plain = passing(name, function)
    if name == "default":
        return plain

    def call(*args: object, **named: object) -> object:
        hidden = [_hide(arg) for arg in args]
        hidden_named = {key: _hide(arg) for key, arg in named.items()}
        texts = [arg for arg in (*hidden, *hidden_named.values()) if isinstance(arg, str)]
        secrets = [found for arg in texts for found in _MARK.findall(arg)]
        if secrets:
            return f"{_OPEN}{name}({', '.join(secrets)}){_CLOSE}"
        return plain(*hidden, **hidden_named)

    return call


def _hide(value: object) -> object:
    return _change(value, lambda leaf: mark(leaf) if isinstance(leaf, Secret) else leaf)


def unmark(value: object) -> object:
    """The result of a masked rendering as people read it: `«account.key»`."""
    return _change(value, _unmark)


def _unmark(leaf: object) -> object:
    if isinstance(leaf, str):
        return leaf.replace(_OPEN, "«").replace(_CLOSE, "»")
    return repr(leaf) if isinstance(leaf, Secret) else leaf


def _change(value: object, leaf: Callable[[object], object]) -> object:
    if isinstance(value, dict):
        return {leaf(key): _change(item, leaf) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_change(item, leaf) for item in value]
    return leaf(value)


# --- the two modes --------------------------------------------------------------------------------


class Mode:
    """One way for secrets to appear, and all that generated code and Jinja call in it.

    names is the namespace of generated code: `f_NAME` filters, `g_NAME` functions, `t_NAME` tests.
    """

    def __init__(
        self,
        show: Callable[[Secret], str],
        wrap: Callable[[str, Filter], Filter],
        finish: Callable[[object], object],
    ) -> None:
        self.show = show
        self.finish = finish
        self.filters: dict[str, Filter] = {name: wrap(name, call) for name, call in FILTERS.items()}
        self.filters |= {
            "_each": self.each,
            "_filled": filled,
            "_joined": self.joined,
            "_method": self.method,
        }
        self.names: dict[str, object] = {
            "Absent": Absent,
            "OMIT": OMIT,
            "Secret": Secret,
            "add": add,
            "item": self.item,
            "look": self.look,
            "modulo": modulo,
            "power": power,
            "room": room,
            "show": show,
            "text": self.text,
            "times": times,
            **{f"f_{name}": call for name, call in self.filters.items()},
            **{f"g_{name}": call for name, call in FUNCTIONS.items()},
            **{f"t_{name}": call for name, call in TESTS.items()},
        }

    @cached_property
    def environment(self) -> Language:
        return Language(self)

    def reveal(self, value: object) -> object:
        return self.show(value) if value.__class__ is Secret else value

    def text(self, value: object) -> str:
        return text(self.reveal(value))

    def joined(self, parts: list[object]) -> str:
        """One text out of several values."""
        whole = "".join([self.text(part) for part in parts])
        room(len(whole))
        return whole

    def look(self, value: object, name: str, absent: object = None) -> object:
        """`value.name`, or `absent`."""
        if value.__class__ is Absent:
            return value
        missing = Absent(name=name) if absent is None else absent
        if isinstance(value, Mapping):
            return self.reveal(value.get(name, missing))
        fields = _FIELDS.get(value.__class__)
        open_class = is_dataclass(value) and not name.startswith("_")
        if open_class or (fields is not None and name in fields):
            found = getattr(value, name, missing)
            return missing if callable(found) else self.reveal(found)
        return missing

    def item(self, value: Any, key: Any) -> object:
        """`value[key]`; a negative index counts from the end."""
        if isinstance(key, str):
            return self.look(value, key)
        if isinstance(value, Mapping):
            return self.reveal(value.get(key, Absent(name=str(key))))
        listed = isinstance(value, str | list | tuple) and type(key) is int
        if listed and -len(value) <= key < len(value):
            return self.reveal(value[key])
        return Absent(name=f"[{key}]")

    def method(self, value: object, name: str, *args: object, **named: object) -> object:
        """`value.name(…)`, for the methods of METHODS."""
        value = self.reveal(value)
        if isinstance(value, Absent):
            return text(value)
        call = METHODS.get(value.__class__, {}).get(name)
        if call is None:
            raise RenderError(f"{kind(value)} has no method `{name}`")
        return self.reveal(call(value, *args, **named))

    @pass_context
    def each(self, context: Context, items: Any) -> Iterator[object]:
        """The items of a loop; rounds are counted over all loops of the rendering."""
        rounds: list[int] = context["_rounds"]
        for item in items:
            rounds[0] += 1
            if rounds[0] > ROUNDS:
                raise RenderError(f"the loops take more than {ROUNDS} rounds")
            yield self.reveal(item)


def filled(value: Any) -> object:
    """A map or list literal without the entries that have no value."""
    if isinstance(value, dict):
        return {key: item for key, item in value.items() if item.__class__ not in _UNSAID}
    return [item for item in value if item.__class__ not in _UNSAID]


_UNSAID = frozenset({Absent, Omit})


# --- Jinja ----------------------------------------------------------------------------------------

_RETURN = "\ue00d"  # stands for \r, which Jinja would turn to \n
_ESCAPE = re.compile(r"\\(.)", re.S)


class Words(Lexer):
    r"""Jinja's lexer, but for two things: \r stays, and in strings only `\\ \' \" \n \r \t \x \u`
    are escapes. So patterns and their groups are written plainly: `regex_replace('(\d+)\b', '\1')`.
    """

    def tokeniter(self, source: str, *args: Any, **named: Any) -> Iterator[tuple[int, str, str]]:
        return super().tokeniter(source.replace("\r", _RETURN), *args, **named)

    def wrap(self, stream: Any, *args: Any, **named: Any) -> Iterator[Token]:
        plain = (
            (line, name, _ESCAPE.sub(_escape, word) if name == "string" else word)
            for line, name, word in stream
        )
        for token in super().wrap(plain, *args, **named):
            if isinstance(token.value, str) and _RETURN in token.value:
                token = token._replace(value=token.value.replace(_RETURN, "\r"))
            yield token


def _escape(hit: re.Match[str]) -> str:
    return hit[0] if hit[1] in "\\'\"nrtxu" else "\\" + hit[0]


class Language(ImmutableSandboxedEnvironment):
    """Jinja with our words only: no other filter, test, global or attribute exists."""

    intercepted_binops = frozenset(OPERATORS)

    def __init__(self, mode: Mode) -> None:
        super().__init__(
            undefined=Absent,
            autoescape=False,
            optimized=False,
            keep_trailing_newline=True,
            finalize=mode.text,
        )
        self.mode = mode
        self.filters = dict(mode.filters)
        self.tests = dict(TESTS)
        self.globals = {"omit": OMIT, **{n: _with_context(f) for n, f in FUNCTIONS.items()}}
        self.words = Words(self)

    @property
    def lexer(self) -> Lexer:
        return self.words

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self.mode.look(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        return self.mode.item(obj, argument)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        return OPERATORS[operator](left, right)

    def is_safe_callable(self, obj: Any) -> bool:
        return obj in self.globals.values()


def _with_context(function: Filter) -> Filter:
    @pass_context
    def call(context: Context, *args: object, **named: object) -> object:
        return function(context, *args, **named)

    return call


PLAIN = Mode(Secret.reveal, passing, lambda value: value)
MASKED = Mode(mark, masking, unmark)

__all__ = ["MASKED", "METHODS", "OPERATORS", "PLAIN", "ROUNDS", "TESTS", "Language", "Mode"]
