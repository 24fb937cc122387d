"""What a template may say: names, filters, functions, methods and tags, checked before compiling.

One walk over Jinja's syntax tree finds what the source reads and refuses what does not exist, what
Jinja has and the language has not, and what is too large. Offsets are found in the source by the
word that is wrong, since the tree knows lines only.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import meta, nodes

from engine.errors import PenstockError

from .filters import FILTERS, FUNCTIONS, Filter, compile_pattern
from .sandbox import METHODS, TESTS

MAX_NODES = 4000
MAX_DEPTH = 50


class TemplateError(PenstockError):
    """A template is wrong. at: offset in its source; code: E301 for syntax, E302 for a name."""

    def __init__(self, message: str, at: int = 0, code: str = "E301") -> None:
        super().__init__(message)
        self.message = message
        self.at = at
        self.code = code


@dataclass(frozen=True, slots=True)
class Read:
    """A variable that a source reads: its root, the attribute (or None), and where each stands.

    part    the attribute of that attribute, or of one of its items; or None
    """

    root: str
    name: str | None
    at_root: int
    at_name: int
    part: str | None = None


_ALLOWED = frozenset(
    {nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Assign,
     nodes.Name, nodes.Const, nodes.Tuple, nodes.List, nodes.Dict, nodes.Pair, nodes.Keyword,
     nodes.CondExpr, nodes.Filter, nodes.Test, nodes.Call, nodes.Getattr, nodes.Getitem,
     nodes.Slice, nodes.Concat, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not,
     nodes.Neg, nodes.Pos, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod,
     nodes.Pow}
)  # fmt: skip

_OTHER_NAMES = {"b64decode": "b64d", "b64encode": "b64", "count": "length", "d": "default",
                "replace": "regex_replace", "tojson": "json", "trim": "strip",
                "urlencode": "urlquery"}  # fmt: skip

_LITERALS: dict[str, Callable[[Any], object]] = {
    "now": ZoneInfo,
    "regex_replace": compile_pattern,
    "regex_search": compile_pattern,
}  # what the first literal argument must survive


@dataclass(slots=True)
class Survey:
    """One walk over a syntax tree: finds what it reads, refuses what does not exist."""

    source: str
    reads: list[Read] = field(default_factory=list)
    own_names: set[str] = field(default_factory=set)
    calls: bool = False
    done: set[int] = field(default_factory=set)

    def walk(self, tree: nodes.Template) -> None:
        everything = list(_flat(tree))
        names = (node for node in everything if isinstance(node, nodes.Name))
        self.own_names = {node.name for node in names if node.ctx == "store"}
        if any(isinstance(node, nodes.For) for node in everything):
            self.own_names.add("loop")
        for node in everything:
            if id(node) not in self.done:
                if type(node) not in _ALLOWED:
                    raise TemplateError(f"`{tag(node)}` is not available", self.line(node))
                visit = _VISITS.get(type(node))
                if visit is not None:
                    visit(self, node)
        if self.own_names:
            for name in self.own_names & meta.find_undeclared_variables(tree):
                raise TemplateError(f"`{name}` is read where it is not set", code="E302")

    @property
    def mentions(self) -> list[str]:
        """Dotted names, cut after two steps, sorted."""
        return sorted(
            {f"{read.root}.{read.name}" if read.name else read.root for read in self.reads}
        )

    def line(self, node: nodes.Node) -> int:
        return line_start(self.source, node.lineno)

    def place(self, node: nodes.Node, pattern: str) -> int:
        """Where the first group of a pattern stands, from the node's line on."""
        start = self.line(node)
        hit = re.compile(pattern).search(self.source, start)
        return hit.start(1) if hit else start

    def reference(self, node: nodes.Expr) -> None:
        steps: list[str | None] = []
        while isinstance(node, nodes.Getattr | nodes.Getitem):
            self.done.add(id(node))
            key = node.arg if isinstance(node, nodes.Getitem) else nodes.Const(node.attr)
            word = key.value if isinstance(key, nodes.Const) else None
            steps.append(word if isinstance(word, str) else None)
            if str(word).startswith("__"):
                raise TemplateError(f"`{word}` is not available", self.line(node), "E302")
            node = node.node
        if isinstance(node, nodes.Name):
            self.done.add(id(node))
            if len(steps) > 2 and steps[-2] is None:  # an item of a list
                del steps[-2]
            self.read(node, *steps[:-3:-1])

    def read(self, node: nodes.Name, name: str | None = None, part: str | None = None) -> None:
        root = node.name
        if node.ctx != "load" or root == "omit" or root in self.own_names:
            return
        begin = rf"(?<![\w.'\"])({re.escape(root)})\b"
        at = self.place(node, begin)
        if root in FUNCTIONS:
            raise TemplateError(f"`{root}` is a function: write `{root}()`", at, "E302")
        within = rf"{begin}\s*(?:\.|\[\s*['\"])\s*({re.escape(name or '')})"
        hit = re.compile(within).search(self.source, self.line(node))
        self.reads.append(Read(root, name, at, hit.start(2) if hit else at, part))

    def call(self, node: nodes.Call) -> None:
        called = node.node
        self.done.add(id(called))
        if isinstance(called, nodes.Name):
            self.calls = True
            at = self.place(node, rf"\b({re.escape(called.name)})\s*\(")
            self.known("function", called.name, FUNCTIONS, at)
            self.fits(called.name, FUNCTIONS[called.name], node, at)
        elif isinstance(called, nodes.Getattr):
            at = self.place(node, rf"\.\s*({re.escape(called.attr)})\s*\(")
            methods = {name for table in METHODS.values() for name in table}
            self.known("method", called.attr, methods, at)
        else:
            raise TemplateError("only functions and methods can be called", self.line(node))

    def filter(self, node: nodes.Filter) -> None:
        at = self.place(node, rf"\|\s*({re.escape(node.name)})\b")
        self.known("filter", node.name, FILTERS, at)
        self.fits(node.name, FILTERS[node.name], node, at)

    def test(self, node: nodes.Test) -> None:
        at = self.place(node, rf"\bis\s+(?:not\s+)?({re.escape(node.name)})\b")
        self.known("test", node.name, TESTS, at)

    def known(self, what: str, name: str, table: Iterable[str], at: int) -> None:
        if name not in table:
            other = _OTHER_NAMES.get(name)
            hint = f"; use `{other}`" if other and what == "filter" else near(name, table)
            raise TemplateError(f"the {what} `{name}` does not exist{hint}", at, "E302")

    def fits(self, name: str, function: Filter, node: nodes.Filter | nodes.Call, at: int) -> None:
        """The arguments suit the signature, and a literal pattern or zone is a good one."""
        if node.dyn_args is None and node.dyn_kwargs is None:
            named: dict[str, Any] = {str(item.key): None for item in node.kwargs}
            try:
                inspect.signature(function).bind(None, *node.args, **named)
            except TypeError as error:
                raise TemplateError(f"`{name}`: {error}", at) from None
        first = node.args[0] if node.args else None
        if name in _LITERALS and isinstance(first, nodes.Const):
            try:
                _LITERALS[name](first.value)
            except Exception as error:
                raise TemplateError(f"`{name}`: {error.args[0]}", at) from None

    def loop(self, node: nodes.For) -> None:
        if node.recursive:
            raise TemplateError("a loop cannot be recursive", self.line(node))


_VISITS: dict[type[nodes.Node], Callable[[Survey, Any], None]] = {
    nodes.Call: Survey.call,
    nodes.Filter: Survey.filter,
    nodes.For: Survey.loop,
    nodes.Getattr: Survey.reference,
    nodes.Getitem: Survey.reference,
    nodes.Name: Survey.reference,
    nodes.Test: Survey.test,
}


def _flat(tree: nodes.Node) -> Iterator[nodes.Node]:
    """The nodes in source order, without recursion: the depth is not known to be sane yet."""
    stack: list[tuple[nodes.Node, int]] = [(tree, 0)]
    for _ in range(MAX_NODES):
        if not stack:
            return
        node, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise TemplateError("this is nested too deeply")
        yield node
        stack += [(child, depth + 1) for child in reversed(list(node.iter_child_nodes()))]
    raise TemplateError("this is too long for a template")


def tag(node: nodes.Node) -> str:
    words = {
        "FromImport": "from",
        "CallBlock": "call",
        "FilterBlock": "filter",
        "AssignBlock": "set",
    }
    name = type(node).__name__
    return "{% " + words.get(name, name.lower()) + " %}"


def near(word: str, known: Iterable[str], before: str = "") -> str:
    best = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean `{before}{best[0]}`?" if best else ""


def line_start(source: str, lineno: int) -> int:
    lines = source.split("\n")[: lineno - 1]
    return sum(len(line) + 1 for line in lines)


__all__ = ["Read", "Survey", "TemplateError", "line_start", "near", "tag"]
