"""Expressions as Python source: what makes a plain reference cost 0.2 µs and not 5.

`guard` first rewrites the syntax tree for both roads, so that they mean the same: `~`, literals,
methods and loops become internal filters of the sandbox.
Then `Writer` gives Python for the common expressions and raises NotCovered for the rest, which
Jinja itself compiles. The source refers to `env`, to the names of a `sandbox.Mode`, and to its own
constants. `o` and `v` in it are scratch: each is read right after it was set.
"""

from __future__ import annotations

import keyword
import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

from engine.options import OMIT, Env, Template

from .filters import Absent

Render = Callable[[Env], object]


class NotCovered(Exception):
    """This expression is for Jinja's own compiler."""


# --- the same meaning on both roads ---------------------------------------------------------------


def guard(tree: nodes.Template) -> nodes.Template:
    """The tree with its dangerous or surprising places led through internal filters. In place."""
    guarded: nodes.Template = _Guard().visit(tree)
    return guarded


class _Guard(NodeTransformer):
    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _through("_joined", nodes.List(node.nodes, lineno=node.lineno))

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:
        return self._literal(node, [pair.value for pair in node.items])

    def visit_List(self, node: nodes.List) -> nodes.Node:
        return self._literal(node, node.items)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        if node.ctx != "load":
            return node
        return self._literal(nodes.List(node.items, lineno=node.lineno), node.items)

    def _literal(self, node: nodes.Expr, items: Sequence[nodes.Expr]) -> nodes.Node:
        constant = all(isinstance(item, nodes.Const) for item in items)
        self.generic_visit(node)
        return node if constant else _through("_filled", node)

    def visit_Call(self, node: nodes.Call) -> nodes.Node:
        self.generic_visit(node)
        called = node.node
        if not isinstance(called, nodes.Getattr):
            return node
        args = [nodes.Const(called.attr), *node.args]
        return _through("_method", called.node, args, node.kwargs, node.dyn_args, node.dyn_kwargs)

    def visit_CondExpr(self, node: nodes.CondExpr) -> nodes.Node:
        self.generic_visit(node)
        node.expr2 = node.expr2 or nodes.Name("omit", "load")
        return node

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = _through("_each", node.iter)
        return node


def _through(
    name: str,
    node: Any,
    args: Sequence[nodes.Expr] = (),
    kwargs: Sequence[nodes.Keyword] = (),
    dyn_args: nodes.Expr | None = None,
    dyn_kwargs: nodes.Expr | None = None,
) -> nodes.Expr:
    return nodes.Filter(
        node, name, list(args), list(kwargs), dyn_args, dyn_kwargs, lineno=node.lineno
    )


# --- Python source --------------------------------------------------------------------------------

_COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "lteq": "<=", "gt": ">", "gteq": ">=", "in": "in",
            "notin": "not in"}  # fmt: skip
_CALLED = {nodes.Add: "add", nodes.Mul: "times", nodes.Pow: "power", nodes.Mod: "modulo"}
_INFIX = {nodes.Sub: "-", nodes.Div: "/", nodes.FloorDiv: "//", nodes.And: "and", nodes.Or: "or"}
_PREFIX = {nodes.Not: "not ", nodes.Neg: "-", nodes.Pos: "+"}


class Writer:
    """Writes expressions; `constants` collects what its source names `k0`, `k1`, …"""

    def __init__(self) -> None:
        self.constants: dict[str, object] = {}

    def expression(self, node: nodes.Expr) -> str:
        """Python source of the value. Raises NotCovered."""
        kind = type(node)
        if kind in _CALLED:
            return f"{_CALLED[kind]}({self.pair(node, ', ')})"
        if kind in _INFIX:
            return f"({self.pair(node, f' {_INFIX[kind]} ')})"
        if kind in _PREFIX:
            return f"({_PREFIX[kind]}{self.expression(node.node)})"  # type: ignore[attr-defined]
        write = _WRITERS.get(kind)
        if write is None:
            raise NotCovered(kind.__name__)
        source: str = write(self, node)
        return source

    def text(self, node: nodes.Expr) -> str:
        """Python source of the value as text."""
        if isinstance(node, nodes.TemplateData):
            return repr(node.data)
        return f"(v if (v := {self.expression(node)}).__class__ is str else text(v))"

    def hold(self, value: object) -> str:
        name = f"k{len(self.constants)}"
        self.constants[name] = value
        return name

    def constant(self, value: object) -> str:
        plain = value is None or isinstance(value, str | bool | int)
        plain = plain or (isinstance(value, float) and math.isfinite(value))
        return repr(value) if plain else self.hold(value)

    def pair(self, node: Any, between: str) -> str:
        return self.expression(node.left) + between + self.expression(node.right)

    def reference(self, node: nodes.Expr) -> str:
        """Python source of a name or a chain of attributes; a Secret at its end is shown."""
        return f"(show(v) if (v := {self.chain(node)}).__class__ is Secret else v)"

    def chain(self, node: nodes.Expr) -> str:
        if isinstance(node, nodes.Name):
            return f"env.get({node.name!r}, {self.hold(Absent(name=node.name))})"
        step = _step(node)
        if step is None:
            return self.expression(node)
        before, name = step
        absent = self.hold(Absent(name=_dotted(node)))
        known = f"o.get({name!r}, {absent})"
        test = f"(o := {self.chain(before)}).__class__ is dict"
        return f"({known} if {test} else look(o, {name!r}, {absent}))"

    def arguments(self, node: Any) -> str:
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            raise NotCovered("star arguments")
        named = [(item.key, self.expression(item.value)) for item in node.kwargs]
        if any(keyword.iskeyword(name) for name, _ in named):
            raise NotCovered("a Python keyword")
        positional = [self.expression(arg) for arg in node.args]
        return "".join(f", {arg}" for arg in [*positional, *(f"{n}={a}" for n, a in named)])

    def name(self, node: nodes.Name) -> str:
        return "OMIT" if node.name == "omit" else self.reference(node)

    def item(self, node: nodes.Getitem) -> str:
        if _step(node) is not None:
            return self.reference(node)
        return f"item({self.expression(node.node)}, {self.expression(node.arg)})"

    def filter(self, node: nodes.Filter) -> str:
        assert node.node is not None, "there are no filter blocks"
        return f"f_{node.name}({self.expression(node.node)}{self.arguments(node)})"

    def test(self, node: nodes.Test) -> str:
        if node.name in ("defined", "undefined"):
            is_it = "is not" if node.name == "defined" else "is"
            return f"(({self.expression(node.node)}).__class__ {is_it} Absent)"
        return f"t_{node.name}({self.expression(node.node)}{self.arguments(node)})"

    def call(self, node: nodes.Call) -> str:
        assert isinstance(node.node, nodes.Name), "methods are filters by now"
        return f"g_{node.node.name}(env{self.arguments(node)})"

    def compare(self, node: nodes.Compare) -> str:
        rest = [f" {_COMPARE[op.op]} {self.expression(op.expr)}" for op in node.ops]
        return f"({self.expression(node.expr)}{''.join(rest)})"

    def condition(self, node: nodes.CondExpr) -> str:
        assert node.expr2 is not None, "guard gives every inline `if` its `else`"
        yes, test, no = map(self.expression, (node.expr1, node.test, node.expr2))
        return f"({yes} if {test} else {no})"

    def map(self, node: nodes.Dict) -> str:
        pairs = [f"{self.expression(p.key)}: {self.expression(p.value)}" for p in node.items]
        return "{" + ", ".join(pairs) + "}"

    def list(self, node: nodes.List) -> str:
        return "[" + ", ".join(self.expression(item) for item in node.items) + "]"


_WRITERS: dict[type[nodes.Node], Any] = {
    nodes.Call: Writer.call,
    nodes.Compare: Writer.compare,
    nodes.CondExpr: Writer.condition,
    nodes.Const: lambda writer, node: writer.constant(node.value),
    nodes.Dict: Writer.map,
    nodes.Filter: Writer.filter,
    nodes.Getattr: Writer.reference,
    nodes.Getitem: Writer.item,
    nodes.List: Writer.list,
    nodes.Name: Writer.name,
    nodes.Test: Writer.test,
}


def _step(node: nodes.Node) -> tuple[nodes.Expr, str] | None:
    """The object and the name of `a.b` and `a['b']`."""
    if isinstance(node, nodes.Getattr):
        return node.node, node.attr
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        return (node.node, node.arg.value) if isinstance(node.arg.value, str) else None
    return None


def _dotted(node: nodes.Node) -> str:
    step = _step(node)
    if step is None:
        return node.name if isinstance(node, nodes.Name) else "…"
    return f"{_dotted(step[0])}.{step[1]}"


# --- functions and trees --------------------------------------------------------------------------


def function(
    body: Sequence[str], names: Mapping[str, object], argument: str = "env"
) -> Callable[..., Any]:
    """The function of one argument with these lines; of `names` it keeps those that it uses."""
    lines = "".join(f"    {line}\n" for line in body)
    code = _code(f"def generated({argument}):\n{lines}")
    return FunctionType(code, {name: names[name] for name in code.co_names if name in names})


@lru_cache(maxsize=1024)  # routes of one kind share the code of their functions
def _code(source: str) -> CodeType:
    module = compile(source, "<route>", "exec")
    (code,) = (item for item in module.co_consts if isinstance(item, CodeType))
    return code


class Grower:
    """Writes the statements that build a tree. What is constant in it becomes a literal.

    `leaf` gives the Template of a leaf; `mentions` collects theirs.
    """

    def __init__(self, leaf: Callable[[Any], object]) -> None:
        self.leaf = leaf
        self.mentions: set[str] = set()
        self.lines: list[str] = []
        self.writer = Writer()

    def whole(self, value: object) -> Render:
        self.lines.append(f"return {self.grow(value)}")
        return function(self.lines, {"OMIT": OMIT, **self.writer.constants})

    def grow(self, value: object) -> str:
        """The source of a value, once the statements it needs stand in `lines`."""
        if isinstance(value, dict):
            return self.container(
                "{}", [(f"[{_key(k)}] = ", item, "") for k, item in value.items()]
            )
        if isinstance(value, list):
            return self.container("[]", [(".append(", item, ")") for item in value])
        template = self.leaf(value)
        if not isinstance(template, Template):
            return self.writer.hold(template)
        self.mentions |= template.mentions
        if template.constant:
            return self.literal(template.render({}))
        self.lines.append(f"v = {self.writer.hold(template.render)}(env)")
        return "v"

    def container(self, empty: str, entries: Sequence[tuple[str, object, str]]) -> str:
        name = f"t{len(self.lines)}"
        self.lines.append(f"{name} = {empty}")
        for before, item, after in entries:
            source = self.grow(item)
            test = "if v is not OMIT: " if source == "v" else ""
            if source != "OMIT":
                self.lines.append(f"{test}{name}{before}{source}{after}")
        return name

    def literal(self, value: object) -> str:
        if isinstance(value, dict):
            pairs = (f"{self.literal(key)}: {self.literal(item)}" for key, item in value.items())
            return f"{{{', '.join(pairs)}}}"
        if isinstance(value, list):
            return f"[{', '.join(map(self.literal, value))}]"
        return "OMIT" if value is OMIT else self.writer.constant(value)


def _key(key: object) -> str:
    return repr(str(key))


__all__ = ["Grower", "NotCovered", "Render", "Writer", "function", "guard"]
