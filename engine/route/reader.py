"""Nodes -> option dataclasses, by their annotations; every mistake becomes a Problem.

One function per field type, found through a table. A dataclass may say more about itself:

    SHORTHAND     the field that a value fills which is not a map (`models: [gpt-4o]`)
    ONE_OF        keys of which exactly one is written: the key chooses the variant
    AT_MOST_ONE   keys of which at most one is written

Whatever is wrong is noted with file, line and column, and reading goes on: all mistakes of a file
are reported at once.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin
from urllib.parse import unquote

from engine.errors import Problem
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

from .fields import Field, fields_of, required_of, rivals_of
from .hints import akin, as_list, did_you_mean, meant, nearest
from .homes import at_home
from .nodes import Mark, Node, Read
from .patterns import compile_regex
from .pick import PathError, compile_match, compile_path
from .references import Resolver, written_out
from .template import (
    ONLY_HERE,
    Roots,
    TemplateError,
    braceless,
    compile_condition,
    compile_template,
    tree_of,
)

REFERENCES = "_ref"  # root under which references stand in a template's environment

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d+)(B|KiB|MiB|GiB)?")
_SIZES = {None: 1, "B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


class Wrong:
    """Stands where a value could not be built; its Problem is noted."""


WRONG: Any = Wrong()


class Reader:
    """Reads nodes into values for one route.

    roots       template variables of this route: root -> known attributes (None: any)
    references  what `${…}` gave, by name: the constants of templates that mention them
    personal    counts what holds for this route alone: secrets, places
    reads       counts what holds for routes with the same variables: expressions that read
    top         the options at the top of the file
    """

    def __init__(self, resolver: Resolver, roots: Roots, problems: list[Problem]) -> None:
        self.resolver = resolver
        self.roots = roots
        self.problems = problems
        self.references: dict[str, object] = {}
        self.personal = self.reads = 0
        self.shape = tuple(roots.items())
        self.top: type | None = None

    def note(self, mark: Mark, code: str, message: str) -> Any:
        self.problems.append(mark.problem(code, message))
        return WRONG

    def read(self, node: Node, annotation: Any, place: str, field: Field | None = None) -> Any:
        """The value of `annotation` that the node holds, or WRONG. `place` is its dotted path."""
        return builder(annotation)(self, node, place, field)

    def plain(self, node: Node) -> Any:
        """The node as plain values, its references replaced by their text."""
        if node.kind == "map":
            return {key: self.plain(child) for key, child in node.value.items()}
        if node.kind == "list":
            return [self.plain(child) for child in node.value]
        self._keep(node)
        return self._number_or_text(node)

    # ---- containers ----

    def options(self, node: Node, kind: type, place: str) -> Any:
        """An instance of an option dataclass, one for all routes that inherit its map as it is or
        have the like at their top."""
        made = node.made_alike() if place.isidentifier() else node.made  # a key of the top
        if made is None:
            return self.anew(node, kind, place)
        found = made.find(kind, self.shape)
        if found is not None:
            self.reads += found.shape is not None
            return found.value
        before, reads = (len(self.problems), self.personal), self.reads
        value = self.anew(node, kind, place)
        if before == (len(self.problems), self.personal):
            made.values[kind] = Read(None if reads == self.reads else self.shape, value)
        return value

    def anew(self, node: Node, kind: type, place: str) -> Any:
        """An instance that no other route has."""
        shorthand = getattr(kind, "SHORTHAND", None)
        known, builds = fields_of(kind), _builds(kind)
        if place == "":
            self.top = kind
        if node.kind != "map":
            if shorthand is None:
                return self._expected(node, f"a map with {_keys(known)}", place)
            given = {shorthand: node}
        else:
            given = node.value
        values: dict[str, Any] = {}
        good = True
        for key, child in given.items():
            if key not in known:
                good = self._unknown(node.keys[key], key, known, place) and good
                continue
            item = known[key]
            inside = place if given is not node.value else f"{place}.{key}" if place else key
            value = builds[key](self, child, inside, item)
            good = good and value is not WRONG
            values[item.name] = value
        missing = [key for key in required_of(kind) if key not in given]
        misspelt = {meant(key, known) for key in given if missing and key not in known}
        for key in missing:
            if key not in misspelt:  # a misspelt key is one mistake
                self.note(node.mark, "E103", f"{_in(place)} lacks the key `{key}`")
        good = good and not missing and self._one_variant(node, kind, given, place)
        if not good:
            return WRONG
        try:
            return kind(**values)
        except ValueError as error:  # what a dataclass says of its options together
            return self.note(node.mark, "E106", f"{_in(place)}: {error}")

    def _unknown(self, mark: Mark, key: str, known: Mapping[str, Field], place: str) -> bool:
        if place == "" and (key.startswith("x-") or key == "$schema"):
            return True
        where = f" in `{place}`" if place else ""
        self.note(mark, "E101", f"unknown key `{key}`{where}{self._right(key, known, place)}")
        return False

    def _right(self, key: str, known: Mapping[str, Field], place: str) -> str:
        """What was meant by an unknown key: a key of another place, or one that is near."""
        home = at_home(self.top, place, key) if self.top is not None else ""
        return home if home and not akin(key, known) else did_you_mean(key, known)

    def _one_variant(self, node: Node, kind: type, given: Mapping[str, Node], place: str) -> bool:
        for rivals, least in rivals_of(kind):
            written = [key for key in rivals if key in given and given[key].kind != "null"]
            if not least <= len(written) <= 1:
                names = ", ".join(f"`{key}`" for key in rivals)
                count = "exactly one" if least else "at most one"
                mark = node.keys[written[1]] if written else node.mark
                self.note(mark, "E105", f"{_in(place)} takes {count} of {names}")
                return False
        return True

    def _any_of(self, node: Node, choices: tuple[Any, ...], place: str, field: Field | None) -> Any:
        """The first of several types that the node looks like; a word of a Literal goes before."""
        text = self._number_or_text(node)
        ranked = sorted(choices, key=lambda choice: text not in _literal_words(choice))
        found = next((choice for choice in ranked if _fits(node, choice)), None)
        if found is None and {get_origin(choice) for choice in choices} == {list, dict}:
            return self._expected(node, "a list or a map", place)
        found = found or ranked[-1]
        words = [str(word) for choice in choices for word in _literal_words(choice)]
        if found is Path and (near := meant(str(node.text), words)) not in (None, text):
            message = f"{_in(place)}: unknown `{node.text}`; did you mean `{near}`?"
            return self.note(node.mark, "E104", message)
        return self.read(node, found, place, field)

    def _list(self, node: Node, item: Any, place: str, field: Field | None) -> Any:
        build = builder(item)
        if node.kind != "list":
            if not (field and field.metadata.get("lone")):
                hint = as_list(place, getattr(item, "ONE_OF", ()), node.text)
                return self._expected(node, f"a list{hint}", place)
            value = build(self, node, place, field)
            return WRONG if value is WRONG else [value]
        values = [
            build(self, child, f"{place}[{at}]", field) for at, child in enumerate(node.value)
        ]
        return WRONG if any(value is WRONG for value in values) else values

    def _dict(self, node: Node, item: Any, place: str, field: Field | None) -> Any:
        build = builder(item)
        if node.kind != "map":
            return self._expected(node, "a map", place)
        values = {
            key: build(self, child, f"{place}.{key}", field) for key, child in node.value.items()
        }
        return WRONG if any(value is WRONG for value in values.values()) else values

    # ---- scalars ----

    def _expected(self, node: Node, what: str, place: str) -> Any:
        return self.note(node.mark, "E102", f"{_in(place)} must be {what}, not {_says(node)}")

    def _word(self, node: Node, words: tuple[Any, ...], place: str) -> Any:
        value = self._number_or_text(node)
        fold = str.lower if self.resolver.of(node) else str  # environments say INFO as well
        for word in words:
            if fold(str(value)) == fold(str(word)) and type(value) is type(word):
                return word
        texts = [str(word) for word in words]
        if str(value) in texts and not self.resolver.of(node):
            return self._expected(node, f"the number {value}, without quotes", place)
        hint = nearest(str(value), texts)
        message = f"{_in(place)} must be one of {', '.join(texts)}, not `{node.text}`{hint}"
        return self.note(node.mark, "E104", message)

    def _number_or_text(self, node: Node) -> Any:
        return self.resolver.text(node) if self.resolver.of(node) else node.value

    def _str(self, node: Node, place: str, field: Field | None) -> Any:
        if field is not None and field.metadata.get("secret"):
            return self._secret(node, place, field)
        if node.kind in ("map", "list", "null"):
            return self._expected(node, "text", place)
        text = self.resolver.text(node)
        choices = field.metadata.get("choices") if field else ()
        if choices and text not in choices:
            message = f"{_in(place)}: unknown `{node.text}`{did_you_mean(text, choices)}"
            return self.note(node.mark, "E104", message)
        if "://" in text:  # it may hold a password
            self._keep(node)
        return text

    def _secret(self, node: Node, place: str, field: Field | None) -> Any:
        if node.kind in ("map", "list", "null"):
            return self._expected(node, "text", place)
        secret = self.resolver.secret(node, place)
        self._refer(secret)
        self._keep(node)
        return secret

    def _bool(self, node: Node, place: str, field: Field | None) -> Any:
        text = self.resolver.text(node) if self.resolver.of(node) else None
        if node.kind == "bool" or text in ("true", "false"):
            return node.value if text is None else text == "true"
        return self._expected(node, "true or false", place)

    def _int(self, node: Node, place: str, field: Field | None) -> Any:
        text = self.resolver.text(node)
        if node.kind == "int" or (self.resolver.of(node) and re.fullmatch(r"-?\d+", text)):
            return int(node.value if node.kind == "int" else text)
        return self._expected(node, "a whole number", place)

    def _float(self, node: Node, place: str, field: Field | None) -> Any:
        if node.kind in ("int", "float"):
            return float(node.value)
        if self.resolver.of(node):
            try:
                return float(self.resolver.text(node))
            except ValueError:
                pass
        return self._expected(node, "a number", place)

    def _duration(self, node: Node, place: str, field: Field | None) -> Any:
        text = self.resolver.text(node).strip() if node.kind not in ("map", "list") else ""
        hit = _DURATION.fullmatch(text)
        if hit:
            return Duration(float(hit.group(1)) * _UNITS[hit.group(2)])
        if text == "0":
            return Duration(0.0)
        hint = " (a unit is missing: ms, s, m, h, d)" if node.kind in ("int", "float") else ""
        return self._expected(node, f"a duration such as `20s` or `5m`{hint}", place)

    def _size(self, node: Node, place: str, field: Field | None) -> Any:
        hit = _SIZE.fullmatch(self.resolver.text(node).strip()) if node.value is not None else None
        if hit:
            return Size(int(hit.group(1)) * _SIZES[hit.group(2)])
        return self._expected(node, "a size such as `64KiB` or `32MiB`", place)

    def _regex(self, node: Node, place: str, field: Field | None) -> Any:
        if node.kind in ("map", "list", "null"):
            return self._expected(node, "a regular expression", place)
        try:
            return compile_regex(self.resolver.text(node))
        except (re.error, ValueError) as error:
            return self.note(node.mark, "E304", f"{_in(place)}: bad regular expression: {error}")

    # ---- expressions ----

    def roots_for(self, field: Field | None) -> Roots:
        """The route's roots; a field's `roots` add to them, or replace them after a leading "=".

        `sig.path` adds a root that only this place has, with the names it has there.
        """
        extra = field.metadata.get("roots", ()) if field else ()
        if not extra:
            return self.roots
        named: dict[str, frozenset[str] | None] = {}
        for root, _, name in (word.partition(".") for word in extra if word != "="):
            known = named.get(root) or frozenset[str]()
            own = self.roots.get(root, self.roots.get(ONLY_HERE + root))
            named[root] = known | {name} if name else own
        return named if extra[0] == "=" else {**self.roots, **named}

    def _template(self, node: Node, place: str, field: Field | None) -> Any:
        if node.kind in ("map", "list"):
            return self._expected(node, "text or a template", place)
        return self.leaf(node, place, field)

    def leaf(self, node: Node, place: str, field: Field | None) -> Any:
        """The Template of one scalar. Scalars that are not text are constants of their type."""
        if node.kind != "str":
            value = node.value
            return Template(str(node.text), lambda env: value, constant=True)
        if field is not None and field.metadata.get("secret") and "{{" not in node.value:
            self._secret(node, place, field)  # what it holds must be known
        source, roots = self._with_references(node, place, field)
        self.reads += "{" in source or "." in source  # a mistake or not by what a route has
        if braceless(node.value, roots):
            spelt = f'the variable is "{{{{ {node.value} }}}}"'
            message = f"{_in(place)} sends these very letters; {spelt}"
            self.problems.append(node.mark.problem("W511", message, "warning"))
        try:
            return compile_template(source, roots)
        except TemplateError as error:
            return self.note(self._inside(node, error.at), error.code, f"{_in(place)}: {error}")

    def _with_references(self, node: Node, place: str, field: Field | None) -> tuple[str, Roots]:
        roots = self.roots_for(field)
        credential = field is not None and field.metadata.get("credential")
        written = written_out(node.value, place) if credential else []
        pieces = self.resolver.of(node) or written
        if not pieces:
            return node.value, roots
        out = []
        for piece in pieces:
            slot = self._refer(piece.value) if piece.name else ""
            out.append(f"{{{{ {REFERENCES}.{slot} }}}}" if slot else piece.text)
        return "".join(out), {**roots, REFERENCES: None}

    def _refer(self, value: object) -> str:
        """Keep what a reference gave; its name under the root of references."""
        self.personal += 1
        slot = f"r{len(self.references)}"
        self.references[slot] = value
        return slot

    def _keep(self, node: Node) -> None:
        """Know what came from outside into a plain field, so that no message repeats it."""
        for piece in self.resolver.of(node) or ():
            if piece.secret:
                password = _PASSWORD.search(piece.text)
                self._refer(Secret(piece.text, piece.name))
                if password:
                    self._refer(Secret(unquote(password[1]), piece.name))

    def _inside(self, node: Node, at: int) -> Mark:
        return node.mark if self.resolver.of(node) else node.inside(at)

    def _condition(self, node: Node, place: str, field: Field | None) -> Any:
        if node.kind in ("map", "list", "null"):
            return self._expected(node, "an expression", place)
        text = str(node.text)
        if text.strip().startswith("{{"):
            return self.note(node.mark, "E305", f"{_in(place)} is a bare expression: no braces")
        if self.resolver.of(node):
            message = "a reference cannot stand in an expression: name it in `vars`"
            return self.note(node.mark, "E206", f"{_in(place)}: {message}")
        self.reads += 1
        try:
            return compile_condition(text, self.roots_for(field))
        except TemplateError as error:
            return self.note(self._inside(node, error.at), error.code, f"{_in(place)}: {error}")

    def _path(self, node: Node, place: str, field: Field | None) -> Any:
        items = node.value if node.kind == "list" else [node]
        if not items or any(item.kind != "str" for item in items):
            return self._expected(node, "a path or a list of paths", place)
        for item in items:
            try:
                compile_path(self.resolver.text(item))
            except PathError as error:
                return self.note(self._inside(item, error.at), "E303", f"{_in(place)}: {error}")
        return compile_path([self.resolver.text(item) for item in items])

    def _word_or_path(self, node: Node, place: str, field: Field | None) -> Any:
        if node.kind == "list" or str(node.text).startswith("$"):
            path = self._path(node, place, field)
            return WRONG if path is WRONG else Word(path=path)
        text = self._str(node, place, field)
        return WRONG if text is WRONG else Word(text)

    def _selector(self, node: Node, place: str, field: Field | None) -> Any:
        if node.kind != "map":
            return self._expected(node, "a map of paths to values", place)
        source, at, test = self.plain(node), node.mark, compile_match({})
        try:
            for key in source:
                at = node.keys[key]
                test = compile_match({key: source[key]})
            return Selector(source, compile_match(source) if len(source) > 1 else test)
        except PathError as error:
            return self.note(at, "E303", f"{_in(place)}: {error}")

    def _tree(self, node: Node, place: str, field: Field | None) -> Any:
        before = len(self.problems)
        tree = tree_of(node.branches(), lambda leaf: self.leaf(leaf, place, field))
        failed = any(problem.severity == "error" for problem in self.problems[before:])
        return WRONG if failed else tree

    def _node(self, node: Node, place: str, field: Field | None) -> Any:
        self.personal += 1  # it says where it stands
        return node


Build = Callable[[Reader, Node, str, Field | None], Any]

_KINDS: dict[Any, Build] = {
    str: Reader._str,
    bool: Reader._bool,
    int: Reader._int,
    float: Reader._float,
    Duration: Reader._duration,
    Size: Reader._size,
    Regex: Reader._regex,
    Template: Reader._template,
    Condition: Reader._condition,
    Path: Reader._path,
    Tree: Reader._tree,
    Word: Reader._word_or_path,
    Selector: Reader._selector,
    Secret: Reader._secret,
    Node: Reader._node,
}


@cache
def builder(annotation: Any) -> Build:
    """What reads values of a type; looked at once, since each route reads the same types."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return _optional(tuple(arg for arg in inner if arg is not types.NoneType), len(inner))
    if origin is Literal:
        return lambda reader, node, place, field: reader._word(node, inner, place)
    if origin is list:
        return lambda reader, node, place, field: reader._list(node, inner[0], place, field)
    if origin is dict:
        return lambda reader, node, place, field: reader._dict(node, inner[1], place, field)
    if annotation in _KINDS:
        return _KINDS[annotation]
    if dataclasses.is_dataclass(annotation):
        kind = typing.cast("type", annotation)
        return lambda reader, node, place, field: reader.options(node, kind, place)
    return lambda reader, node, place, field: reader.plain(node)


@cache
def _builds(kind: type) -> dict[str, Build]:
    """What reads the fields of an option dataclass, by YAML key."""
    return {key: builder(each.annotation) for key, each in fields_of(kind).items()}


def _optional(choices: tuple[Any, ...], of: int) -> Build:
    """One of some types, or nothing where None is among the `of` types."""
    alone = builder(choices[0]) if len(choices) == 1 else None

    def build(reader: Reader, node: Node, place: str, field: Field | None) -> Any:
        if node.kind == "null" and len(choices) < of:
            return None
        if alone is not None:
            return alone(reader, node, place, field)
        return reader._any_of(node, choices, place, field)

    return build


_PASSWORD = re.compile(r"://[^/@:]*:([^/@]+)@")


def _literal_words(choice: Any) -> tuple[Any, ...]:
    return get_args(choice) if get_origin(choice) is Literal else ()


def _fits(node: Node, choice: Any) -> bool:
    """Whether a node looks like one of several types a field admits."""
    if choice is bool:
        return node.kind == "bool"
    if choice in (int, float):
        return node.kind in ("int", "float")
    if choice in (str, Duration, Size, Regex, Template):
        return node.kind not in ("map", "list", "null")
    if choice is Path:
        return node.kind in ("str", "list")
    if get_origin(choice) is list:
        return node.kind == "list"
    if get_origin(choice) is dict or dataclasses.is_dataclass(choice):
        return node.kind == "map"
    return True


def _in(place: str) -> str:
    return f"`{place}`" if place else "the route"


def _keys(known: Mapping[str, Field]) -> str:
    return ", ".join(f"`{key}`" for key in known)


def _says(node: Node) -> str:
    if node.kind in ("map", "list"):
        return f"a {node.kind}"
    return "nothing" if node.kind == "null" else f"`{str(node.text)[:60]}`"
