"""Paths and selectors: what a route reads out of JSON.

    $  .name  ['a name']  [0]  [-1]  [*]  .*  ..name  [?(@.name == 'value')]  | filter | filter

A path of names, indexes and `[*]` becomes generated Python that walks plain maps and lists; only
`..` and `[?( )]` reach jsonpath-ng, which is imported when the first of them is compiled. Nothing
here raises on data: what does not fit is not found, and null is the same as not there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from engine.errors import PenstockError
from engine.options import Path

from .filters import Absent, compile_pattern
from .template import TemplateError, compile_pipe
from .writer import function

First = Callable[[object], object]
All = Callable[[object], list[object]]


class PathError(PenstockError):
    """A path or a selector is wrong. at: offset in its source."""

    def __init__(self, message: str, at: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.at = at


def compile_path(source: str | list[str]) -> Path:
    """The path, or the path of several alternatives of which the first that finds anything wins.

    Raises PathError.
    """
    if isinstance(source, list):
        return _either(source)
    return _path(source, selector=False)


def compile_selector_path(source: str) -> Path:
    """The path of a selector's key: `delta.type`, without `$.`; `0` is an index there."""
    return _path(source, selector=True)


def _either(sources: list[str]) -> Path:
    paths = [_path(source, selector=False) for source in sources]
    if not paths:
        raise PathError("at least one path is needed")
    if len(paths) == 1:
        return paths[0]
    firsts = tuple(path.first for path in paths)
    alls = tuple(path.all for path in paths)

    def first(value: object) -> object:
        for find in firsts:
            found = find(value)
            if found is not None:
                return found
        return None

    def every(value: object) -> list[object]:
        for find in alls:
            found = find(value)
            if found:
                return found
        return []

    return Path(", ".join(sources), first, every)


@lru_cache(maxsize=8192)
def _path(source: str, *, selector: bool) -> Path:
    parsed = parse(source, selector=selector)
    first, every = _finders(parsed.steps)
    if parsed.pipe:
        try:
            first, every = _piped(every, compile_pipe(parsed.pipe))
        except TemplateError as error:
            message = _NO_WAY_ON if _ON.search(parsed.pipe) else str(error)
            raise PathError(message, parsed.pipe_at + error.at) from None
    return Path(source, first, every)


_ON = re.compile(r"\|\s*\$|^\s*\$|\w\s*(\([^()]*\)\s*)?\.\s*[^\W\d]")
_NO_WAY_ON = "no path goes on behind a filter: look inside with `each`, or by `nested_json`"


def _piped(every: All, pipe: Callable[[Any], object]) -> tuple[First, All]:
    """Both finders with each value led through a pipe; nothing found is led through as Absent."""
    nothing = [Absent(name="value")]

    def all_piped(value: object) -> list[object]:
        piped = [pipe(found) for found in every(value) or nothing]
        return [found for found in piped if found is not None]

    def first_piped(value: object) -> object:
        return next((found for found in all_piped(value) if found != ""), None)

    return first_piped, all_piped


# --- from text to steps ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Star:
    """Every item of a list, every value of a map."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A step in the words of jsonpath-ng."""

    text: str


Step = str | int | Star | Foreign


@dataclass(frozen=True, slots=True)
class Parsed:
    """The steps of a path, and the filters that follow with their offset."""

    steps: tuple[Step, ...]
    pipe: str = ""
    pipe_at: int = 0

    @property
    def simple(self) -> bool:
        return all(isinstance(step, str | int) for step in self.steps)


_NAME = r"[^\W\d]\w*"
_QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_CONSTANT = rf"(?:{_QUOTED}|-?\d+(?:\.\d+)?|true|false|null)"
_STEP = re.compile(
    rf"""\.(?P<name>{_NAME})
      |  \.(?P<number>\d+)(?!\w)
      |  \.\.(?P<deep>{_NAME}|\*|\[(?:{_QUOTED})\])
      |  \[(?P<index>-?\d+)\]
      |  (?P<star>\[\*\]|\.\*)
      |  \[(?P<quoted>{_QUOTED})\]
      |  (?P<where>\[\?\(@(?:\.{_NAME}|\[(?:{_QUOTED})\])+
             (?:\s*(?:==|!=|<=|>=|<|>)\s*{_CONSTANT})?\s*\)\])
    """,
    re.X,
)

_STEPS: dict[str, Callable[[str], Step]] = {
    "name": str,
    "number": int,
    "deep": lambda text: Foreign(".." + (text if text[0] in "*[" else _quoted(text))),
    "index": int,
    "star": lambda text: Star(),
    "quoted": lambda text: re.sub(r"\\(.)", r"\1", text[1:-1]),
    "where": Foreign,
}

_MISTAKES = [
    (r"\.\.?\s*($|\|)", "a name is missing after the dot"),
    (r"\[-?\d*:", "slices are not supported"),
    (r"\[\?", "a condition is written `[?(@.name == 'value')]`"),
    (rf"\[\s*({_NAME})\s*\]", r"a name in brackets is quoted: `['\1']`"),
    (r"\[\s*\]", "a name, an index or `*` is missing in the brackets"),
    (r"\[\s*['\"]", "a quoted name ends with its quote and `]`"),
    (r"\[[^\]]*$", "`]` is missing"),
    (r"\.?([\w-]*-[\w-]*)", r"a name with `-` is quoted: `['\1']`"),
    (r"\.?(\d\w+)", r"a name that begins with a digit is quoted: `['\1']`"),
]


@lru_cache(maxsize=8192)
def parse(source: str, *, selector: bool) -> Parsed:
    """The steps and filters of a path. Raises PathError."""
    if not isinstance(source, str):
        raise PathError("a path is text")
    at = _begin(source, selector=selector)
    bare = selector and at == 0 and not source.startswith("[")
    text = "." + source if bare else source
    steps: list[Step] = []
    last = at
    while hit := _STEP.match(text, at):
        name = str(hit.lastgroup)
        if name == "number" and not selector:
            raise PathError(f"an index is written in brackets: `[{hit[name]}]`", at)
        steps.append(_STEPS[name](hit[name]))
        last, at = at, hit.end()
    rest = text[at:]
    if rest and not rest.lstrip().startswith("|"):
        raise _mistake(text, last, at, shift=int(bare))
    pipe = rest.lstrip()[1:].lstrip()
    if rest and not pipe:
        raise PathError("a filter is missing after `|`", len(source) - 1)
    return Parsed(tuple(steps), pipe, len(source) - len(pipe))


def _begin(source: str, *, selector: bool) -> int:
    if source.startswith("$"):
        return 1
    if selector and source:
        return 0
    if "{{" in source:
        raise PathError("a path is no template: it begins with `$` and has no braces")
    example = f": write `$.{source}`" if re.fullmatch(r"[\w.\[\]*]+", source) else ""
    raise PathError(f"a path begins with `$`{example}")


def _mistake(text: str, last: int, at: int, shift: int) -> PathError:
    """The error for what no step matches: a known mistake here, or in the name just before."""
    if text[at] == "-":
        at = last
    for pattern, message in _MISTAKES:
        hit = re.compile(pattern).match(text, at)
        if hit:
            return PathError(hit.expand(message), max(0, at - shift))
    told = f"unexpected `{text[at]}`"
    return PathError(told + (": after `$` comes `.` or `[`" if at == 1 else ""), max(0, at - shift))


# --- from steps to functions ----------------------------------------------------------------------


def _finders(steps: tuple[Step, ...]) -> tuple[First, All]:
    if any(isinstance(step, Foreign) for step in steps):
        return _foreign(steps)
    first = _walk(steps, "return None", "if v is not None and v != '': return v")
    every = _walk(steps, "return out", "if v is not None: out.append(v)", "out = []")
    return first, every


def _walk(steps: tuple[Step, ...], leave: str, found: str, *before: str) -> Any:
    """A function that walks: `leave` where a step does not fit, `found` at the end of each way."""
    lines = list(before)
    margin, miss = "", leave
    for step in steps:
        lines += [margin + line for line in _walk_step(step, miss)]
        if isinstance(step, Star):
            margin, miss = margin + "    ", "continue"
    return function([*lines, margin + found, leave], {}, "v")


def _walk_step(step: Step, miss: str) -> list[str]:
    if isinstance(step, str):
        return [f"if v.__class__ is not dict or {step!r} not in v: {miss}", f"v = v[{step!r}]"]
    if isinstance(step, int):
        short = f"len(v) <= {step}" if step >= 0 else f"len(v) < {-step}"
        return [f"if v.__class__ is not list or {short}: {miss}", f"v = v[{step}]"]
    return [
        "if v.__class__ is dict: v = v.values()",
        f"elif v.__class__ is not list: {miss}",
        "for v in v:",
    ]


def _foreign(steps: tuple[Step, ...]) -> tuple[First, All]:
    from jsonpath_ng.ext.parser import parse as parse_jsonpath

    try:
        find = parse_jsonpath("$" + "".join(map(_in_jsonpath, steps))).find
    except Exception as error:
        raise PathError(f"this path cannot be used: {error}") from None

    def every(value: object) -> list[object]:
        try:
            return [match.value for match in find(value) if match.value is not None]
        except Exception:  # an upstream's data must not be able to break the walk
            return []

    def first(value: object) -> object:
        return next((found for found in every(value) if found != ""), None)

    return first, every


def _in_jsonpath(step: Step) -> str:
    match step:
        case Foreign(text):
            return text
        case Star():
            return "[*]"
        case int():
            return f"[{step}]"
    return _quoted(step)


def _quoted(name: str) -> str:
    escaped = re.sub(r"([\\'])", r"\\\1", name)
    return f"['{escaped}']"


# --- selectors ------------------------------------------------------------------------------------

_FLAGS = {"i": re.I, "m": re.M, "s": re.S}
_SLASHED = re.compile(r"/(.+)/([ims]*)", re.S)


def compile_match(selector: Mapping[str, object]) -> Callable[[object], bool]:
    """Whether a record fits a `match:`: every path has its value, compared with its type.

    A list means any of; `"/re/i"` is searched for in text; null also fits what is not there; where
    a path finds several values, one has to fit. Raises PathError.
    """
    lines: list[str] = []
    names: dict[str, object] = {}
    for key, wanted in selector.items():
        test = _test(wanted, names)
        parsed = parse(key, selector=True)
        find = f"p{len(lines)}"
        if parsed.simple and not parsed.pipe:
            names[find] = _walk(parsed.steps, "return None", "return v")
            lines += [f"v = {find}(record)", f"if not ({test}): return False"]
        else:
            names[find] = _path(key, selector=True).all
            lines += [f"for v in {find}(record):", f"    if {test}: break", "else: return False"]
    return function([*lines, "return True"], names, "record")


def _test(wanted: object, names: dict[str, object]) -> str:
    """Python source of a test on `v`."""
    if isinstance(wanted, list) and wanted:
        return " or ".join(f"({_test(item, names)})" for item in wanted)
    if wanted is None or isinstance(wanted, bool):
        return f"v is {wanted}"
    if isinstance(wanted, int | float):
        constant = _hold(wanted, names)
        return f"v == {constant} and v.__class__ is {type(wanted).__name__}"
    if not isinstance(wanted, str):
        raise PathError("a selector compares with text, a number, true, false, null or a list")
    slashed = _SLASHED.fullmatch(wanted)
    if slashed is None:
        return f"v == {wanted!r}"
    return f"v.__class__ is str and {_hold(_searcher(slashed), names)}(v) is not None"


def _searcher(slashed: re.Match[str]) -> Callable[[str], object]:
    flags = sum({_FLAGS[flag] for flag in slashed[2]}, re.S)
    try:
        return compile_pattern(slashed[1], flags).search
    except (re.error, ValueError) as error:
        raise PathError(f"bad regular expression {slashed[0]}: {error}") from None


def _hold(value: object, names: dict[str, object]) -> str:
    name = f"k{len(names)}"
    names[name] = value
    return name


def discriminator(selector: Mapping[str, object]) -> tuple[str, frozenset[str]] | None:
    """The shortest simple path that a selector compares with constant text, and the constants.

    None if there is no such path. Numbers and booleans do not count: they would meet in a dict.
    """
    known = ((key, _constants(wanted)) for key, wanted in selector.items())
    useful = [(key, words) for key, words in known if words and parse(key, selector=True).simple]
    return min(useful, key=lambda pair: len(parse(pair[0], selector=True).steps), default=None)


def _constants(wanted: object) -> frozenset[str]:
    """The plain words among which a value has to be, empty if it may be something else."""
    words: Iterable[object] = wanted if isinstance(wanted, list) else [wanted]
    plain = [word for word in words if isinstance(word, str) and not _SLASHED.fullmatch(word)]
    return frozenset(plain if len(plain) == len(list(words)) else ())


__all__ = ["PathError", "compile_match", "compile_path", "compile_selector_path", "discriminator"]
