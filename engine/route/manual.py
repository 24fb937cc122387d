"""The reference page, in Markdown: every key of a file, and the closed sets that stand beside them.

Made from the same option dataclasses that read the file, so it cannot say anything else.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, Union, get_args, get_origin

from engine.errors import OUTCOMES
from engine.options import (
    Condition,
    Duration,
    Path,
    Regex,
    Secret,
    Selector,
    Size,
    Template,
    Tree,
    Word,
)

from .codes import CODES
from .fields import Field, fields_of
from .filters import FILTERS, FUNCTIONS
from .nodes import Node
from .transforms import Loaded
from .view import FIELDS

# ---- defaults and descriptions ----


def default_of(field: Field) -> Any:
    """A field's default as YAML holds it; None where none is said, or a map of defaults."""
    value = field.default
    kinds = {field.annotation, *get_args(field.annotation)}
    if isinstance(value, float) and Duration in kinds:
        return duration(value)
    if isinstance(value, int) and Size in kinds:
        return size(value)
    if isinstance(value, Word):
        return value.constant
    return None if dataclasses.is_dataclass(value) else value


def duration(seconds: float) -> str:
    """Seconds as they are written: `500ms`, `90s`, `2m`, `1h`."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:.0f}s" if seconds == int(seconds) else f"{seconds * 1000:.0f}ms"


def size(count: int) -> str:
    """Bytes as they are written: `64KiB`, `32MiB`."""
    for unit, length in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if count and count % length == 0:
            return f"{count // length}{unit}"
    return f"{count}B"


def sentence(kind: type) -> str:
    """The first paragraph of a class's own docstring."""
    doc = inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
    return "" if doc.startswith(f"{kind.__name__}(") else doc


# ---- types ----

_TYPES: dict[Any, str] = {
    str: "text",
    bool: "true, false",
    int: "whole number",
    float: "number",
    Duration: "duration",
    Size: "size",
    Regex: "regex",
    Template: "template",
    Condition: "condition",
    Path: "path",
    Word: "word or path",
    Selector: "selector",
    Secret: "secret",
    Tree: "value with templates",
    Node: "transform",
    Any: "value",
}


class _Page:
    """One walk over the dataclasses: a section for each, where it is met first."""

    def __init__(self, root: type, home: str = "") -> None:
        self.places: dict[type, str] = {root: home}
        self.waiting: list[type] = [root]
        self.met: list[type] = []

    def sections(self) -> Iterator[tuple[str, type, str]]:
        """(place, dataclass, table of its keys), each followed by those below it."""
        while self.waiting:
            kind = self.waiting.pop(0)
            place = self.places[kind]
            rows = [
                (f"`{key}`", self.type_of(field, place), _default(field), _meaning(field))
                for key, field in fields_of(kind).items()
            ]
            self.waiting, self.met = self.met + self.waiting, []
            yield place, kind, table(("key", "type", "default", "meaning"), rows)

    def type_of(self, field: Field, place: str) -> str:
        where = f"{place}.{field.key}" if place else field.key
        choices = field.metadata.get("choices")
        text = self.name(field.annotation, where)
        text = text.replace("text", _choices(choices)) if choices else text
        if field.metadata.get("lone"):
            text = f"{text.removeprefix('list of ')}, or a {text}"
        return text

    def name(self, annotation: Any, where: str) -> str:
        origin, args = get_origin(annotation), get_args(annotation)
        if origin in (Union, types.UnionType):
            names = [self.name(arg, where) for arg in args if arg is not types.NoneType]
            return " or ".join(dict.fromkeys(names))
        if origin is Literal:
            return ", ".join(f"`{word}`" for word in args)
        if origin is list:
            return f"list of {self.name(args[0], where + '[]')}"
        if origin is dict:
            return f"map of {self.name(args[1], where + '.<name>')}"
        if annotation in _TYPES:
            return _TYPES[annotation]
        if annotation not in self.places:
            self.places[annotation] = where
            self.met.append(annotation)
        link = f"[map](#{anchor(self.places[annotation])})"
        shorthand = getattr(annotation, "SHORTHAND", None)
        if shorthand is None:
            return link
        return f"{self.type_of(fields_of(annotation)[shorthand], where)} or {link}"


def anchor(place: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", place.lower()).strip("-") or "top"


def _choices(choices: Sequence[str]) -> str:
    if set(choices) == set(OUTCOMES):
        return "[outcome class](#outcome-classes)"
    return ", ".join(f"`{word}`" for word in choices)


def _default(field: Field) -> str:
    if field.required:
        return "**required**"
    value = default_of(field)
    if value is None or value in ([], {}):
        return ""
    return f"`{value}`" if isinstance(value, str) and value else f"`{json.dumps(value)}`"


def _meaning(field: Field) -> str:
    data = field.metadata
    text = str(data.get("doc", ""))
    if data.get("example") is not None:
        example = data["example"]
        shown = example if isinstance(example, str) else json.dumps(example, ensure_ascii=False)
        text += f"; example: `{shown}`"
    for label in ("since", "deprecated"):
        if data.get(label):
            text += f"; {label} {data[label]}"
    return text


# ---- the page ----


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _rules(kind: type) -> Iterator[str]:
    """What a dataclass says of its keys together."""
    if shorthand := getattr(kind, "SHORTHAND", None):
        yield f"A value that is not a map stands for `{shorthand}`."
    for attribute, count in (("ONE_OF", "Exactly"), ("AT_MOST_ONE", "At most")):
        if rivals := getattr(kind, attribute, ()):
            yield f"{count} one of {', '.join(f'`{key}`' for key in rivals)}."


def keys(root: type, home: str = "") -> Iterator[str]:
    """The blocks of all sections below a root. `home` is what places in it begin with."""
    for place, kind, text in _Page(root, home).sections():
        if place != home:
            yield f'<a id="{anchor(place)}"></a>\n\n### `{place}`'
        said = [sentence(kind), *_rules(kind)]
        if any(said):
            yield " ".join(filter(None, said))
        yield text


def _callables(
    found: dict[str, Callable[..., object]], empty: str = ""
) -> Iterator[tuple[str, str]]:
    for name, function in sorted(found.items()):
        parameters = list(inspect.signature(function).parameters.values())[1:]
        plain = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
        arguments = ", ".join(map(str, plain))
        yield (
            f"`{name}({arguments})`" if arguments else f"`{name}{empty}`",
            inspect.cleandoc(function.__doc__ or "").replace("\n", " "),
        )


def _of_transforms(transforms: Sequence[Loaded]) -> Iterator[str]:
    for loaded in transforms:
        methods = ", ".join(f"`{name}`" for name in sorted(loaded.methods))
        yield f"### {loaded.name}\n\n{loaded.doc} Methods: {methods}."
        if loaded.options is not None:
            yield from keys(loaded.options, f"transforms.{loaded.name}")


def reference(root: type, transforms: Sequence[Loaded] = ()) -> str:
    """The page for files whose top level is `root`; with transforms, their options too."""
    blocks = [
        "# Reference",
        "Made from the engine's own tables by `python -m engine schema --docs`.",
        "## Keys",
        *keys(root),
        *(["## Transforms", *_of_transforms(transforms)] if transforms else []),
        "## Variables of a request",
        "`req` holds " + ", ".join(f"`{name}`" for name in FIELDS) + ".",
        "What the client did not send is undefined: an entry that holds nothing else is left out.",
        "## Filters",
        table(("filter", "meaning"), _callables(FILTERS)),
        "## Functions",
        table(("function", "meaning"), _callables(FUNCTIONS, "()")),
        '<a id="outcome-classes"></a>\n\n## Outcome classes',
        table(
            ("class", "fault", "retried", "renews values", "meaning"),
            (
                (f"`{name}`", o.fault, _yes(o.retry), _yes(o.renew), o.doc)
                for name, o in OUTCOMES.items()
            ),
        ),
        "## Codes",
        _IGNORING,
        table(("code", "meaning"), ((f"`{code}`", text) for code, text in CODES.items())),
    ]
    return "\n\n".join(filter(None, blocks)) + "\n"


_IGNORING = (
    "Errors begin with E, warnings with W. A comment at the end of a line switches a warning off "
    "there: `# penstock: ignore W505`."
)


def _yes(value: bool) -> str:
    return "yes" if value else ""
