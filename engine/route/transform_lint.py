"""What the source of a transform may hold: everything that its syntax tree tells.

Problems carry a position and are collected; nothing is executed. The rules stand in language.md
2.9, the codes in `transforms.py`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from typing import Any, NoReturn

from engine import transform as door
from engine.errors import OUTCOMES, ConfigError, Problem
from engine.transform import METHODS

MAX_BYTES = 256 * 1024
NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?")
Function = ast.FunctionDef | ast.AsyncFunctionDef
Placed = ast.stmt | ast.expr | ast.alias

_NETWORK = "a value that needs requests writes `produce`"
_AT_ONCE = "a method does its work at once; heavy work in `extract` says `CPU_BOUND = True`"
_NO_FILES = "there is no file door: data stands in the options or in the source"
# What a transform may not use, and what stands in its place.
_BANNED = {
    "requests": _NETWORK,
    "urllib.request": _NETWORK,
    "http.client": _NETWORK,
    "httpx": _NETWORK,
    "aiohttp": _NETWORK,
    "socket": _NETWORK,
    "subprocess": _AT_ONCE,
    "threading": _AT_ONCE,
    "multiprocessing": _AT_ONCE,
    "concurrent.futures": _AT_ONCE,
    "asyncio": _AT_ONCE,
    "os.system": _AT_ONCE,
    "os.popen": _AT_ONCE,
    "time.sleep": "a transform never waits",
    "io.open": _NO_FILES,
    "open": _NO_FILES,
}
# Calls whose result cannot change: a constant may be made with them.
_FREEZERS = {"re.compile", "frozenset", "tuple", "MappingProxyType", "types.MappingProxyType",
             "TypeVar", "NewType"}  # fmt: skip
_MUTABLE = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)


class SourceFile:
    """One source file, and the problems found in it."""

    def __init__(self, path: str, source: bytes) -> None:
        self.path = path
        self.source = source
        self.lines: list[str] = []
        self._problems: list[Problem] = []

    def parse(self) -> ast.Module:
        if len(self.source) > MAX_BYTES:
            self.fail("E401", f"the file has {len(self.source)} bytes, {MAX_BYTES} are allowed")
        try:
            text = self.source.decode("utf-8-sig")
        except UnicodeDecodeError:
            self.fail("E401", "the file is not UTF-8")
        if "\0" in text:
            self.fail("E401", "the file holds a NUL, so it is no text")
        self.lines = re.split(r"\r\n|\r|\n", text)
        try:
            # Compiling finds more than parsing, such as a `return` outside a function.
            compile(self.source, self.path, "exec", dont_inherit=True)
            return ast.parse(self.source, self.path)
        except SyntaxError as error:
            self.fail("E402", error.msg, error.lineno or 1, error.offset or 1)

    def flag(self, code: str, message: str, node: Placed | None = None, *, word: str = "") -> None:
        """Note a problem at a node (at `word` in its first line), or at the file's beginning."""
        if node is None:
            self._note(code, message, 1, 1)
            return
        line = self.lines[node.lineno - 1]
        raw = line.encode()  # offsets of nodes count bytes
        end = node.end_col_offset if node.end_lineno == node.lineno else None
        text = word or raw[node.col_offset : end].decode().rstrip()
        start = len(raw[: node.col_offset].decode())
        column = max(start, line.find(text, start)) + 1
        self._note(code, message, node.lineno, column, len(text))

    def fail(self, code: str, message: str, line: int = 0, column: int = 0) -> NoReturn:
        """Note a problem (line 0: of the file as a whole) and raise ConfigError."""
        self._note(code, message, line, column)
        raise ConfigError(sorted(self._problems))

    def _note(self, code: str, message: str, line: int, column: int, length: int = 1) -> None:
        excerpt = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        self._problems.append(
            Problem(self.path, line, column, code, message, "error", excerpt, length)
        )

    def settle(self) -> None:
        """Raise ConfigError if anything was flagged."""
        if self._problems:
            raise ConfigError(sorted(self._problems))


def lint(file: SourceFile, tree: ast.Module) -> None:
    """Flag every problem of the tree in the file."""
    for check in _CHECKS:
        check(file, tree)


def _check_top_level(file: SourceFile, tree: ast.Module) -> None:
    for node in tree.body:
        match node:
            case ast.Import() | ast.ImportFrom() | ast.FunctionDef() | ast.AsyncFunctionDef():
                pass
            case ast.Expr(value=ast.Constant()) | ast.AnnAssign(value=None):
                pass
            case ast.ClassDef():
                _check_class_state(file, node)
            case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value):
                if not _frozen(value):
                    file.flag("E404", "a constant must not be mutable: use a tuple, frozenset,"
                              " MappingProxyType or re.compile", value)  # fmt: skip
            case _:
                file.flag("E404", "only imports, constants, classes and functions stand here", node)
    for inner in ast.walk(tree):
        if isinstance(inner, ast.Global):
            file.flag("E404", "exchanges share a module: state belongs to the instance", inner)


def _check_class_state(file: SourceFile, node: ast.ClassDef) -> None:
    for inner in node.body:
        if isinstance(inner, ast.Assign | ast.AnnAssign) and isinstance(inner.value, _MUTABLE):
            file.flag("E404", "exchanges share a class: set it in `__init__`", inner.value)


def _frozen(node: ast.expr) -> bool:
    match node:
        case ast.Constant() | ast.Name() | ast.Attribute() | ast.Subscript() | ast.JoinedStr():
            return True
        case ast.Tuple(elts=items):
            return all(map(_frozen, items))
        case ast.UnaryOp(operand=inner):
            return _frozen(inner)
        case ast.BinOp(left=left, right=right):
            return _frozen(left) and _frozen(right)
        case ast.Call(func=func):
            return ast.unparse(func) in _FREEZERS
        case _:
            return False


def _check_async(file: SourceFile, tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef):
            file.flag("E405", f"`{node.name}` must not be async", node, word="async")


def _check_imports(file: SourceFile, tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                _check_import(file, alias, alias.name, alias.name)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                file.flag("E407", "transforms do not import one another", node)
                continue
            for alias in node.names:
                _check_import(file, alias, node.module or "", f"{node.module}.{alias.name}")


def _check_import(file: SourceFile, alias: ast.alias, module: str, full: str) -> None:
    for banned, instead in _BANNED.items():
        if f"{full}.".startswith(f"{banned}."):
            file.flag("E406", f"`{banned}` is not for transforms: {instead}", alias)
            return
    if module == "engine.transform" and module != full:
        if alias.name not in door.__all__:
            hint = _hint(alias.name, door.__all__)
            file.flag("E407", f"`engine.transform` has no `{alias.name}`{hint}", alias)
    elif module.partition(".")[0] == "engine" and full != "engine.transform":
        file.flag("E407", "of the engine only `engine.transform` may be imported", alias)


def _check_calls(file: SourceFile, tree: ast.Module) -> None:
    names = dict(_imported(tree))
    names.setdefault("open", "open")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call | ast.Attribute):
            used = _used(node, names)
            if used in _BANNED:
                file.flag("E406", f"`{used}` is not for transforms: {_BANNED[used]}", node)


def _used(node: ast.Call | ast.Attribute, names: dict[str, str]) -> str:
    """What is called, or reached through an import, by its full name; "" if that is unknown."""
    match node:
        case ast.Call(func=ast.Name(id=name)):
            return names.get(name, "")
        case ast.Attribute(value=ast.Name(id=root), attr=name) if root in names:
            return f"{names[root]}.{name}"
        case _:
            return ""


def _imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(local name, what it stands for) of every import in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (root, root)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _check_constants(file: SourceFile, tree: ast.Module) -> None:
    found = dict(_assigned(tree))
    if "API" not in found:
        file.flag("E403", "`API = 1` is missing: the contract the file is written for")
    elif _literal(found["API"]) != 1:
        file.flag("E403", "this engine knows `API = 1` only", found["API"])
    for name, (is_right, expected) in _CONSTANTS.items():
        if name in found and not is_right(_literal(found[name])):
            file.flag("E412", f"`{name}` must be {expected}", found[name])


def _tuple_of(is_right: Callable[[str], object]) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, tuple) and all(isinstance(item, str) and is_right(item) for item in value)
    )


_CONSTANTS: dict[str, tuple[Callable[[object], bool], str]] = {
    "HOSTS": (_tuple_of(_HOST.fullmatch), 'a tuple of host names, as ("auth.example.com",)'),
    "AFTER": (_tuple_of(NAME.fullmatch), 'a tuple of transform names, as ("think_tags",)'),
    "RETRIES": (_tuple_of(OUTCOMES.__contains__), "a tuple of outcome classes"),
    "CPU_BOUND": (lambda value: isinstance(value, bool), "True or False"),
    "RECALLS": (lambda value: isinstance(value, bool), "True or False"),
}


def constants(tree: ast.Module) -> dict[str, Any]:
    """Name and value of the top level's literal constants."""
    return {name: _literal(value) for name, value in _assigned(tree)}


def _assigned(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """(name, value) of every assignment at the top level."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                yield name, value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                yield name, value


def _literal(node: ast.expr) -> Any:
    """The value of a constant or of a tuple of them; None for anything else."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Tuple(elts=items):
            return tuple(map(_literal, items))
        case _:
            return None


_PARAMETERS: dict[str, tuple[str, ...]] = dict(
    [*METHODS.items(), ("__init__", ("options", "context"))]
)


def _check_transform(file: SourceFile, tree: ast.Module) -> None:
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    if "Transform" not in classes:
        hint = _hint("Transform", classes)
        file.flag("E408", f"the file has no class `Transform`{hint}")
        return
    found = methods(tree)
    for name, node in found.items():
        expected = _PARAMETERS.get(name)
        if expected is not None:
            _check_parameters(file, node, ("self", *expected))
        elif not name.startswith("_"):
            hint = _hint(name, METHODS) or "; begin the names of your own with _"
            file.flag("E409", f"a transform has no method `{name}`{hint}", node, word=name)
    if not found.keys() & METHODS.keys():
        own = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Transform")
        file.flag("E408", f"`Transform` has none of: {', '.join(METHODS)}", own, word="Transform")


def _check_parameters(file: SourceFile, node: Function, expected: tuple[str, ...]) -> None:
    args = node.args
    plain = [arg.arg for arg in [*args.posonlyargs, *args.args]]
    more = args.vararg or args.kwarg or args.kwonlyargs or args.defaults
    if tuple(plain) != expected or more:
        wanted = ", ".join(expected)
        message = f"`{node.name}` takes ({wanted}), not ({ast.unparse(args)})"
        file.flag("E410", message, node, word=node.name)


def methods(tree: ast.Module) -> dict[str, Function]:
    """Functions of `Transform`, and of the classes of this file it is made from."""
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    found: dict[str, Function] = {}
    waiting = ["Transform"]
    while waiting:
        if not (here := classes.pop(waiting.pop(), None)):
            continue
        for node in here.body:
            if isinstance(node, Function):
                found.setdefault(node.name, node)
        waiting += [base.id for base in here.bases if isinstance(base, ast.Name)]
    return found


def _check_options(file: SourceFile, tree: ast.Module) -> None:
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == "Options" and not is_option_class(node):
            message = "`Options` must be a `@dataclass(frozen=True, kw_only=True)`"
            file.flag("E411", message, node, word="Options")


def is_option_class(node: ast.ClassDef) -> bool:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith("dataclass"):
            on = {keyword.arg for keyword in decorator.keywords if _literal(keyword.value) is True}
            return {"frozen", "kw_only"} <= on
    return False


def _hint(word: str, known: Iterable[str]) -> str:
    near = get_close_matches(word, known, n=1)
    return f"; did you mean `{near[0]}`?" if near else ""


_CHECKS: tuple[Callable[[SourceFile, ast.Module], None], ...] = (
    _check_top_level,
    _check_async,
    _check_imports,
    _check_calls,
    _check_constants,
    _check_transform,
    _check_options,
)
