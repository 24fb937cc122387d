"""Templates, conditions and trees of a route: checked once, compiled once, cheap to render.

A value that is exactly one `{{ expression }}` keeps its Python type; other text with braces gives
a string; text without them is itself. Names, filters, functions and methods are checked when the
template is compiled, so a typing error never waits for a request. There are two roads with one
meaning: `writer.Writer` turns common expressions into Python, Jinja compiles the rest.

Rendering reads a mapping of roots (`req`, `model`, …) and three reserved names in it: `_now` and
`_random` (clock and random source of the functions) and `_mask` (true: secrets appear by name).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, TypeVar

from jinja2 import nodes
from jinja2.exceptions import TemplateSyntaxError, UndefinedError
from jinja2.parser import Parser

from engine.errors import PenstockError, Refuse
from engine.options import OMIT, Condition, Env, Secret, Template, Tree

from .filters import Absent, RenderError, room
from .sandbox import MASKED, PLAIN, Mode
from .survey import Read, Survey, TemplateError, line_start, near, tag
from .writer import Grower, NotCovered, Render, Writer, function, guard

Roots = Mapping[str, frozenset[str] | None]
ONLY_HERE = "="  # before the name of a root that only those places have that ask for it
Parsed = TypeVar("Parsed")


# --- what callers use -----------------------------------------------------------------------------


def compile_template(source: str, roots: Roots) -> Template:
    """The template of a text. roots: the variables there are, each with its attributes or None.

    Raises TemplateError. Equal sources share one compiled function.
    """
    if "{{" not in source and "{%" not in source:
        return Template(source, lambda env: source, constant=True)
    made = _template(source)
    made.check(roots)
    return Template(source, made.render, made.mentions, made.constant)


def compile_condition(source: str, roots: Roots) -> Condition:
    """The condition of a bare expression; a failing one is false. Raises TemplateError."""
    made = _condition(source)
    made.check(roots)
    render = made.render

    def test(env: Env) -> bool:
        try:
            return bool(render(env))
        except RenderError:
            return False

    return Condition(source, test, made.mentions)


def compile_tree(value: object, roots: Roots) -> Tree:
    """The tree of a plain value. Raises TemplateError, whose `at` counts within the one text."""

    def leaf(scalar: object) -> Template:
        if isinstance(scalar, str):
            return compile_template(scalar, roots)
        if isinstance(scalar, Secret):
            return Template(repr(scalar), lambda env: _shown(scalar, env))
        return Template(str(scalar), lambda env: scalar, constant=True)

    return tree_of(value, leaf)


def _shown(secret: Secret, env: Env) -> str:
    return repr(secret) if env.get("_mask") else secret.reveal()


def compile_pipe(source: str) -> Callable[[object], object]:
    """The function of a pipe of filters with literal arguments: `strip | int` of a path.

    It takes the value, or Absent; what has no value in the end is None. Raises TemplateError.
    """
    whole = f"_ | {source}"
    try:
        node: nodes.Node = _parsed(whole, _parse_expression)
        made = _condition(whole)
        made.check({"_": None})
    except TemplateError as error:
        at = max(0, error.at - len("_ | "))
        raise TemplateError(error.message, at, error.code) from None
    while isinstance(node, nodes.Filter) and node.node is not None:
        if not _is_literal([*node.args, *node.kwargs]) or node.dyn_args or node.dyn_kwargs:
            raise TemplateError(f"the arguments of `{node.name}` must be literal here")
        node = node.node
    if not isinstance(node, nodes.Name):
        raise TemplateError("only filters may follow a path")
    render = made.render

    def pipe(value: object) -> object:
        try:
            piped = render({"_": value})
        except RenderError:
            return None
        return None if piped is OMIT else piped

    return pipe


def _is_literal(items: Iterable[nodes.Node]) -> bool:
    kinds = (nodes.Const, nodes.List, nodes.Dict, nodes.Pair, nodes.Keyword, nodes.Neg)
    return all(isinstance(item, kinds) and _is_literal(item.iter_child_nodes()) for item in items)


def tree_of(value: object, leaf: Callable[[Any], object]) -> Tree:
    """The tree of maps and lists; `leaf` gives the Template of everything else in it.

    What `leaf` gives that is not a Template (a mistake that was noted) counts as a constant. Every
    rendering builds its maps and lists anew, so they may be changed.
    """
    grower = Grower(leaf)
    render = grower.whole(value)
    return Tree(render, frozenset(grower.mentions), value)


_BARE = re.compile(r"(account|let|media|model|req|session|values|vars)\.([a-z_]\w*)(\.\w+)*")


def braceless(source: str, roots: Roots) -> bool:
    """Whether a text is a variable of this place, by its whole name, and would be sent as that."""
    hit = _BARE.fullmatch(source)
    known = roots.get(hit[1], ()) if hit else ()
    return hit is not None and (known is None or hit[2] in known)


# --- one source, whatever the roots are -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Made:
    render: Render
    reads: tuple[Read, ...]
    mentions: frozenset[str]
    own_names: frozenset[str]
    constant: bool

    def check(self, roots: Roots) -> None:
        for name in self.own_names & roots.keys():
            raise TemplateError(f"`{name}` is a variable of the route and cannot be set")
        for read in self.reads:
            if read.root not in roots:
                hint = _ELSEWHERE.get(read.root) or _whole_name(read.root, roots)
                raise TemplateError(
                    f"`{read.root}` does not exist here{hint}", read.at_root, "E302"
                )
            if read.root == "media" and read.name is None:
                raise TemplateError(
                    "`media` is all of a file: its bytes are `media.content`", read.at_root, "E302"
                )
            known = roots[read.root]
            if known is not None and read.name is not None and read.name not in known:
                hint = near(read.name, known, f"{read.root}.") or _few(known)
                if not known and read.root == "account":
                    hint = "; `auth.from` says where an account comes from"
                message = f"`{read.root}.{read.name}` does not exist{hint}"
                raise TemplateError(message, read.at_name, "E302")
            if read.part is not None:
                _check_part(read, roots.get(f"{read.root}.{read.name}"))


def _whole_name(root: str, roots: Roots) -> str:
    """What a name that is no variable may have meant: a variable near it, or a part of one."""
    if hint := near(root, filter(str.isidentifier, roots)):
        return hint
    holders = [name for name in _HOLDERS if root in (roots.get(name) or ())]
    if "data" in roots:
        holders.append("data")
    return f"; did you mean `{holders[0]}.{root}`?" if holders else ""


def _check_part(read: Read, parts: Collection[str] | None) -> None:
    whole = f"{read.root}.{read.name}"
    if parts is not None and not parts:
        raise TemplateError(f"`{whole}` is one text: it has no `{read.part}`", read.at_name, "E302")
    if parts is not None and read.part not in parts:
        hint = near(str(read.part), parts, f"{whole}.") or _few(parts)
        message = f"`{whole}.{read.part}` does not exist{hint}"
        raise TemplateError(message, read.at_name, "E302")


def _few(known: Collection[str]) -> str:
    few = f"; there {'is' if len(known) == 1 else 'are'} {', '.join(sorted(known))}"
    return few if 0 < len(known) < 13 else ""


_HOLDERS = ("noted", "req", "let", "vars", "values", "model", "account", "session", "sig", "media")
_ELSEWHERE = {
    "media": "; it is only known in the request and the item of a value with `each`",
    "env": "; an environment variable is written `${env:NAME}`",
    "noted": "; it is known in `when` of rules that read an answer",
}


@lru_cache(maxsize=8192)
def _template(source: str) -> _Made:
    tree = _parsed(source, PLAIN.environment.parse)
    single = _single(tree)
    if single is None:
        return _make(source, tree, native=False)
    return _make(source, _output_of(single), native=True)


@lru_cache(maxsize=8192)
def _condition(source: str) -> _Made:
    if source.lstrip().startswith("{{"):
        raise TemplateError("a condition is a bare expression, without braces")
    return _make(source, _output_of(_parsed(source, _parse_expression)), native=True)


def _single(tree: nodes.Template) -> nodes.Expr | None:
    """The expression that is all there is, but for the line end of a block scalar."""
    match tree.body:
        case [nodes.Output(nodes=[node])] if not isinstance(node, nodes.TemplateData):
            return node
        case [nodes.Output(nodes=[node, nodes.TemplateData(data="\n")])]:
            return None if isinstance(node, nodes.TemplateData) else node
    return None


def _output_of(node: nodes.Expr) -> nodes.Template:
    tree = nodes.Template([nodes.Output([node], lineno=1)], lineno=1)
    return tree.set_environment(PLAIN.environment)  # type: ignore[return-value]


def _parse_expression(source: str) -> nodes.Expr:
    parser = Parser(PLAIN.environment, source, state="variable")
    expression = parser.parse_expression()
    if not parser.stream.eos:
        token = parser.stream.current
        hint = "; equal is written `==`" if token.value == "=" else ""
        raise TemplateSyntaxError(f"unexpected `{token.value}`{hint}", token.lineno)
    return expression


def _parsed(source: str, parse: Callable[[str], Parsed]) -> Parsed:
    try:
        return parse(source)
    except TemplateSyntaxError as error:
        place = re.search(r" at (\d+)$", error.message or "")
        at = int(place[1]) if place else line_start(source, error.lineno)
        raise TemplateError(_plain(error.message or "not a template"), at) from None
    except RecursionError:
        raise TemplateError("this is nested too deeply") from None
    except ValueError:
        raise TemplateError("a number has too many digits") from None


def _plain(message: str) -> str:
    """Jinja's words without its own offset, which the column tells."""
    message = re.sub(r" at \d+$", "", message)
    return message + (": `{{` is closed by `}}`" if message == "unexpected '}'" else "")


def _make(source: str, tree: nodes.Template, *, native: bool) -> _Made:
    survey = Survey(source)
    survey.walk(tree)
    checked = Checked(guard(tree), native, ", ".join(survey.mentions) or "constants")
    masked = cache(lambda: _road(checked, MASKED, None))
    render = _road(checked, PLAIN, lambda env: MASKED.finish(masked()(env)))
    constant = not survey.reads and not survey.calls
    return _Made(
        render=_evaluated(render) if constant else render,
        reads=tuple(survey.reads),
        mentions=frozenset(survey.mentions),
        own_names=frozenset(survey.own_names),
        constant=constant,
    )


def _evaluated(render: Render) -> Render:
    try:
        value = render({})
    except RenderError as error:
        raise TemplateError(str(error)) from None
    return lambda env: value


# --- the two roads --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Checked:
    """A guarded syntax tree. native: it is one expression; reads: what it reads, for messages."""

    tree: nodes.Template
    native: bool
    reads: str


def _road(checked: Checked, mode: Mode, masked: Render | None) -> Render:
    try:
        return by_python(checked, mode, masked)
    except NotCovered:
        return by_jinja(checked, mode, masked)


def by_python(checked: Checked, mode: Mode, masked: Render | None) -> Render:
    """The road of generated code. masked renders for `_mask`. Raises NotCovered."""
    writer = Writer()
    parts: list[nodes.Expr] = []
    for statement in checked.tree.body:
        if not isinstance(statement, nodes.Output):
            raise NotCovered(tag(statement))
        parts += statement.nodes
    if checked.native:
        steps = [f"r = {writer.expression(parts[0])}"]
        result = "OMIT if r.__class__ is Absent else r"
    else:
        steps = [f"r = ''.join(({', '.join(map(writer.text, parts))},))", "room(len(r))"]
        result = "r"
    body = [
        *(["if env.get('_mask'): return masked(env)"] if masked else []),
        "try:",
        *(f"    {step}" for step in steps),
        "except Exception as error:",
        f"    raise fault(error, {checked.reads!r}) from None",
        f"return {result}",
    ]
    return function(body, {**mode.names, **writer.constants, "fault": fault, "masked": masked})


def by_jinja(checked: Checked, mode: Mode, masked: Render | None) -> Render:
    """The road of Jinja's own compiler. masked renders for `_mask`."""
    tree = _assigned(checked.tree) if checked.native else checked.tree
    compiled = mode.environment.from_string(tree)

    def render(env: Env) -> object:
        if masked is not None and env.get("_mask"):
            return masked(env)
        roots = {name: mode.reveal(value) for name, value in env.items()}
        context = compiled.new_context({**roots, "_rounds": [0]})
        try:
            text = _collected(compiled.root_render_func(context))
        except Exception as error:
            raise fault(error, checked.reads) from None
        if not checked.native:
            return text
        value = context.vars[_RESULT]
        return OMIT if value.__class__ is Absent else value

    return render


_RESULT = "_result"


def _assigned(tree: nodes.Template) -> nodes.Template:
    """The one expression of a tree as an assignment, whose value can be read afterwards."""
    (expression,) = (node for node in tree.iter_child_nodes() for node in node.iter_child_nodes())
    assign = nodes.Assign(nodes.Name(_RESULT, "store"), expression, lineno=1)
    return nodes.Template([assign], lineno=1)


def _collected(pieces: Iterable[str]) -> str:
    kept: list[str] = []
    size = 0
    for piece in pieces:
        size += len(piece)
        room(size)
        kept.append(piece)
    return "".join(kept)


def fault(error: Exception, reads: str) -> PenstockError:
    """The RenderError of whatever went wrong: it names variables, never values.

    A filter that refuses the conversation (Refuse) is left alone.
    """
    if isinstance(error, RenderError | Refuse):
        return error
    if isinstance(error, UndefinedError):
        told = str(error)  # of a variable of a loop the name alone says little
        known = any(f"`{name}" in told for name in reads.split(", "))
        return RenderError(told if known else f"{told} in an expression of {reads}")
    return RenderError(f"{type(error).__name__} in an expression of {reads}")


__all__ = [
    "RenderError", "Roots", "TemplateError", "braceless", "compile_condition", "compile_pipe",
    "compile_template", "compile_tree", "tree_of",
]  # fmt: skip
