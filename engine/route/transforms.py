"""Loads transforms from (name, source bytes, path), as language.md 2.9 says.

The bytes are parsed and checked first; a file with a problem is never executed, and all its
problems are told at once. Code is compiled from the bytes, never by importlib, which serves an old
`.pyc` after an edit of the same size within one second. Same bytes: same module, until `release`.

    E401 name, size, encoding    E406 banned module or call    E411 Options
    E402 syntax                  E407 import from the engine   E412 HOSTS CPU_BOUND AFTER RETRIES
    E403 API                     E408 class Transform          E413 failed while it was executed
    E404 top level               E409 name of a method         E414 unreadable without executing
    E405 async                   E410 parameters of a method
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import linecache
import sys
import traceback
import types
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from engine import transform as door
from engine.errors import ConfigError
from engine.transform import METHODS, Context, Stage

from .transform_lint import NAME, SourceFile, constants, is_option_class, lint, methods

_OPTION_KINDS = (bool, int, float, str, door.Template, door.Condition, door.Path, door.Regex,
                 door.Duration, door.Size, door.Secret)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Loaded:
    """One transform, checked.

    path     as given, for messages
    digest   sha256 of the source, in hex
    doc      first line of the module's docstring
    options  its dataclass `Options`, None if it has no options
    methods  the stages it implements
    recalls  it reads `context.recalled`
    make     its class `Transform`; `object` when it was loaded without executing
    """

    name: str
    path: str
    digest: str
    doc: str
    options: type[Any] | None
    methods: frozenset[Stage]
    after: tuple[str, ...]
    retries: tuple[str, ...]
    hosts: tuple[str, ...]
    cpu_bound: bool
    make: type[Any]
    recalls: bool = False


_loaded: dict[tuple[str, str], Loaded] = {}


def load(name: str, source: bytes, path: str, *, execute: bool = True) -> Loaded:
    """The transform in these bytes. Raises ConfigError with every problem found.

    execute=False reads everything, `Options` too, from the syntax tree: for files not trusted yet.
    """
    digest = hashlib.sha256(source).hexdigest()
    known = _loaded.get((name, digest))
    if known and execute:
        return dataclasses.replace(known, path=path)
    file = SourceFile(path, source)
    try:
        loaded = _build(name, digest, file, execute)
    except (RecursionError, MemoryError):
        file.fail("E402", "the code is nested too deeply")
    return _loaded.setdefault((name, digest), loaded) if execute else loaded


def release(digest: str) -> None:
    """Forget the module of these bytes: the last route generation that used it is gone."""
    for key in [key for key in _loaded if key[1] == digest]:
        path = _loaded.pop(key).path
        sys.modules.pop(_module_name(*key), None)
        if all(other.path != path for other in _loaded.values()):
            linecache.cache.pop(path, None)


def instantiate(loaded: Loaded, options: object, context: Context) -> Any:
    """A fresh `Transform`. `options` is an instance of `loaded.options`, or None."""
    if loaded.make.__init__ is object.__init__:
        return loaded.make()
    return loaded.make(options, context)


def _build(name: str, digest: str, file: SourceFile, execute: bool) -> Loaded:
    if not NAME.fullmatch(name):
        file.flag("E401", f"`{name}` cannot name a transform: a-z, 0-9 and _, first a letter")
    tree = file.parse()
    lint(file, tree)
    file.settle()
    if execute:
        module = _execute(_module_name(name, digest), file)
        options, make = getattr(module, "Options", None), module.Transform
    else:
        options, make = _Reader(file, tree).options(), object
    try:
        _check_kinds(file, tree, options)
        _check_written(file, tree, make)
        file.settle()
    except ConfigError:
        sys.modules.pop(_module_name(name, digest), None)
        raise
    known, written = constants(tree), methods(tree)
    return Loaded(
        name=name,
        path=file.path,
        digest=digest,
        doc=(ast.get_docstring(tree) or "").partition("\n")[0],
        options=options,
        methods=frozenset(stage for stage in METHODS if stage in written),
        after=known.get("AFTER", ()),
        retries=known.get("RETRIES", ()),
        hosts=known.get("HOSTS", ()),
        cpu_bound=known.get("CPU_BOUND", False),
        recalls=known.get("RECALLS", False),
        make=make,
    )


def _module_name(name: str, digest: str) -> str:
    return f"penstock_transform_{name}_{digest[:12]}"


def _execute(module_name: str, file: SourceFile) -> types.ModuleType:
    module = types.ModuleType(module_name)
    module.__file__ = file.path
    # Both before executing: dataclasses look their module up, tracebacks look for the source.
    sys.modules[module_name] = module
    lines = [f"{line}\n" for line in file.lines]
    linecache.cache[file.path] = (len(file.source), None, lines, file.path)
    try:
        exec(compile(file.source, file.path, "exec", dont_inherit=True), module.__dict__)
    except Exception as error:
        del sys.modules[module_name]
        frames = traceback.extract_tb(error.__traceback__)
        line = next((f.lineno for f in reversed(frames) if f.filename == file.path), None)
        file.fail("E413", f"{type(error).__name__}: {error}", line or 1, 1)
    return module


def _check_written(file: SourceFile, tree: ast.Module, make: type[Any]) -> None:
    """A method that came in by assignment would run with parameters that nobody checked."""
    for stage in METHODS.keys() - methods(tree).keys():
        if hasattr(make, stage):
            file.flag("E409", f"`{stage}` must be written with `def` in `Transform`")


def _check_kinds(file: SourceFile, tree: ast.Module, options: type[Any] | None) -> None:
    """Every field of `Options` has a type that YAML can fill."""
    if options is None:
        return
    node = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Options")
    places = {n.target.id: n for n in node.body
              if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}  # fmt: skip
    try:
        wrong = [name for name, kind in get_type_hints(options).items() if not _is_kind(kind)]
    except Exception as error:  # an annotation may be any expression
        file.flag("E411", f"the types of `Options` cannot be read: {error}", node, word="Options")
        return
    for name in wrong:
        shown = ast.unparse(places[name].annotation)
        file.flag("E411", f"`{name}`: an option cannot be a `{shown}`", places[name])


def _is_kind(kind: Any) -> bool:
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal or kind in _OPTION_KINDS:
        return True
    if origin is list:
        return _is_kind(args[0])
    if origin is dict:
        return args[0] is str and _is_kind(args[1])
    if origin in (Union, types.UnionType):
        rest = [arg for arg in args if arg is not types.NoneType]
        return len(rest) == 1 and _is_kind(rest[0])
    frozen = getattr(getattr(kind, "__dataclass_params__", None), "frozen", False)
    return frozen and all(map(_is_kind, get_type_hints(kind).values()))


class _Unreadable(Exception):
    """A piece of source that only executing could tell the meaning of."""

    def __init__(self, node: ast.expr | ast.stmt) -> None:
        super().__init__()
        self.node = node


class _Reader:
    """Builds `Options` from the syntax tree, executing nothing of the file.

    It knows literals, the words of the door, `list dict Literal |` on types, and dataclasses.
    """

    def __init__(self, file: SourceFile, tree: ast.Module) -> None:
        self._file = file
        self._tree = tree
        self._scope: dict[str, Any] = {
            "bool": bool, "int": int, "float": float, "str": str, "list": list, "dict": dict,
            "Literal": Literal,
        }  # fmt: skip

    def options(self) -> type[Any] | None:
        for node in self._tree.body:
            try:
                self._learn(node)
            except _Unreadable as error:
                if isinstance(node, ast.ClassDef) and node.name == "Options":
                    message = "this cannot be read without executing the file"
                    self._file.flag("E414", message, error.node)
        found: type[Any] | None = self._scope.get("Options")
        return found

    def _learn(self, node: ast.stmt) -> None:
        match node:
            case ast.ImportFrom(module="engine.transform", names=names):
                self._scope |= {a.asname or a.name: getattr(door, a.name) for a in names}
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self._scope[name] = self._value(value)
            case ast.ClassDef(name=name) if is_option_class(node):
                self._scope[name] = self._dataclass(node)

    def _dataclass(self, node: ast.ClassDef) -> type[Any]:
        if node.bases:
            raise _Unreadable(node.bases[0])
        fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
        for inner in node.body:
            if isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name):
                head = (inner.target.id, self._value(inner.annotation))
                fields.append((*head, self._value(inner.value)) if inner.value else head)
        try:
            return dataclasses.make_dataclass(node.name, fields, frozen=True, kw_only=True)
        except (TypeError, ValueError):
            raise _Unreadable(node) from None

    def _value(self, node: ast.expr) -> Any:
        try:
            match node:
                case ast.Constant(value=value):
                    return value
                case ast.Name(id=name):
                    return self._scope[name]
                case ast.UnaryOp(op=ast.USub(), operand=inner):
                    return -self._value(inner)
                case ast.Subscript(value=ast.Name(id="list" | "dict" | "Literal" as name)):
                    return self._scope[name][self._value(node.slice)]
                case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                    return self._value(left) | self._value(right)
                case ast.Call(func=ast.Name(id=name)) if self._scope[name] is door.option:
                    named = {k.arg: self._value(k.value) for k in node.keywords if k.arg}
                    return door.option(*map(self._value, node.args), **named)
                case _:
                    return self._collection(node)
        except (KeyError, TypeError):
            raise _Unreadable(node) from None

    def _collection(self, node: ast.expr) -> Any:
        match node:
            case ast.Tuple(elts=items):
                return tuple(map(self._value, items))
            case ast.List(elts=items):
                return list(map(self._value, items))
            case ast.Dict(keys=keys, values=values):
                pairs = zip(keys, values, strict=True)
                return {self._value(key): self._value(value) for key, value in pairs if key}
            case _:
                raise _Unreadable(node)
