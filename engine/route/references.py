"""`${…}`: what a route takes from outside at load time, on scalar values only.

    ${env:X}  ${env:X:-default}  ${env:X:?message}     an environment variable
    ${file:/run/secrets/x}                             a file's text, stripped
    ${vars:x}                                          a value of the route's own `vars`
    $${                                                a literal ${

A reference never brings structure or a template: in a field that takes templates its text is a
constant beside them. What an unset variable means is an error, unless a default stands there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from engine.errors import Problem
from engine.masks import SHORTEST
from engine.options import Secret

from .nodes import Mark, Node

_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)\}")
_BODY = re.compile(r"(env|file|vars):(.+)", re.S)


@dataclass(slots=True)
class Outside:
    """The world as text, for one load.

    read(path) gives a file's text or raises OSError; exists(path) says whether there is one, and
    does not make the route depend on what stands in it. `unset` collects the environment variables
    that were wanted and missing, `files` those that were read.
    """

    env: Mapping[str, str] = field(default_factory=dict)
    read: Callable[[str], str] | None = None
    exists: Callable[[str], bool] = lambda path: False
    unset: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a scalar: literal text (name "") or what a reference gave.

    secret   it came from outside; a default, which stands in the file, did not
    """

    text: str
    name: str = ""
    secret: bool = False

    @property
    def value(self) -> str | Secret:
        return Secret(self.text, self.name) if self.secret else self.text


class Resolver:
    """Replaces the references of one tree; remembers the pieces of each scalar it touched."""

    def __init__(self, outside: Outside, root: Node, problems: list[Problem]) -> None:
        self.outside = outside
        self.problems = problems
        self.vars = root.get("vars")
        self.pieces: dict[int, list[Piece]] = {}
        self._kept: list[Node] = []
        self._open: list[str] = []  # names of `vars` being resolved

    def resolve(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            if node.kind == "str" and "${" in node.value and id(node) not in self.pieces:
                self.pieces[id(node)] = self.split(node)
                self._kept.append(node)

    def of(self, node: Node) -> list[Piece] | None:
        """The pieces of a scalar that holds references, else None."""
        return self.pieces.get(id(node))

    def text(self, node: Node) -> str:
        """The scalar's text with its references replaced."""
        pieces = self.of(node)
        return "".join(piece.text for piece in pieces) if pieces else str(node.text)

    def texts(self) -> Iterator[str]:
        """What the references gave, in the order of the file."""
        return (piece.text for pieces in self.pieces.values() for piece in pieces)

    def secret(self, node: Node, place: str) -> Secret:
        """The scalar as a Secret named after its reference, or after its place."""
        pieces = self.of(node) or []
        names = [piece.name for piece in pieces if piece.name]
        return Secret(self.text(node), names[0] if names else place)

    def hide(self, problem: Problem) -> Problem:
        """The problem as it may be told: what came from outside shows as its reference."""
        message = problem.message
        for piece in (piece for pieces in self.pieces.values() for piece in pieces):
            if piece.secret and len(piece.text) >= SHORTEST:
                message = message.replace(piece.text, f"${{{piece.name}}}")
        return problem if message == problem.message else replace(problem, message=message)

    def split(self, node: Node) -> list[Piece]:
        pieces: list[Piece] = []
        at, text = 0, node.value
        for hit in _REFERENCE.finditer(text):
            if hit.start() > at:
                pieces.append(Piece(text[at : hit.start()]))
            body = hit.group(1)
            pieces.append(Piece("${") if body is None else self.look_up(body, node.mark))
            at = hit.end()
        if at < len(text):
            pieces.append(Piece(text[at:]))
        return pieces

    def look_up(self, body: str, mark: Mark) -> Piece:
        if "{{" in body:
            message = (
                "no template may stand in a reference: it is replaced when the route is loaded"
            )
            self.problems.append(mark.problem("E206", message))
            return Piece("")
        hit = _BODY.fullmatch(body)
        if hit is None:
            message = (
                f"unknown reference `${{{body}}}`; known are ${{env:…}}, ${{file:…}}, ${{vars:…}}"
            )
            self.problems.append(mark.problem("E202", message))
            return Piece("")
        kind, rest = hit.groups()
        return getattr(self, f"_{kind}")(rest, mark)  # type: ignore[no-any-return]

    def _env(self, rest: str, mark: Mark) -> Piece:
        name, default, message = _split_default(rest)
        value = self.outside.env.get(name)
        if value or (value is not None and default is None and message is None):
            return Piece(value, f"env:{name}", secret=True)
        if default is None:
            self.outside.unset.append(name)
            told = message or f"environment variable `{name}` is not set"
            self.problems.append(mark.problem("E201", told))
        return Piece(default or "", f"env:{name}")

    def _file(self, rest: str, mark: Mark) -> Piece:
        try:
            if self.outside.read is None:
                raise OSError("files are not read here")
            self.outside.files.append(rest)
            return Piece(self.outside.read(rest).strip(), f"file:{rest}", secret=True)
        except OSError as error:
            why = error.strerror or str(error)
            self.problems.append(mark.problem("E203", f"cannot read file `{rest}`: {why}"))
            return Piece("", f"file:{rest}")

    def _vars(self, rest: str, mark: Mark) -> Piece:
        node = self.vars.get(rest) if self.vars else None
        if node is None or node.kind in ("map", "list"):
            self.problems.append(mark.problem("E202", f"`vars.{rest}` is not a text of this route"))
            return Piece("")
        if node.kind != "str" or "${" not in node.value:
            return Piece(str(node.text), f"vars:{rest}")
        if rest in self._open:
            self.problems.append(mark.problem("E202", f"`vars.{rest}` refers to itself"))
            return Piece("")
        if id(node) not in self.pieces:
            self._open.append(rest)
            self.pieces[id(node)] = self.split(node)
            self._open.pop()
        nested = self.pieces[id(node)]
        names = [piece.name for piece in nested if piece.secret]
        whole = "".join(piece.text for piece in nested)
        return Piece(whole, names[0] if names else f"vars:{rest}", bool(names))


def _split_default(rest: str) -> tuple[str, str | None, str | None]:
    """name, default, message of `X`, `X:-default`, `X:?message`."""
    for mark in (":-", ":?"):
        name, found, tail = rest.partition(mark)
        if found:
            return (name, tail, None) if mark == ":-" else (name, None, tail)
    return rest, None, None


_SCHEME = re.compile(r"((?:bearer|basic|token|api-?key)\s+)?(.*)", re.I | re.S)
_WORD = re.compile(r"[A-Za-z]{0,15}")


def written_out(text: str, place: str) -> list[Piece]:
    """A credential that stands in the file, as if a reference had given it.

    No mere word is one: services that take any key are given `none`, `ollama` or the like.
    """
    scheme, rest = _SCHEME.fullmatch(text).groups(default="")  # type: ignore[union-attr]
    if "{{" in text or "{%" in text or _WORD.fullmatch(rest):
        return []
    return [Piece(scheme), Piece(rest, place, secret=True)]
