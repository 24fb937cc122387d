"""`@dataclass` as in the standard library, for classes that cost a third to make.

The library writes and compiles up to six methods for each class; for the 300 of the engine that was
a quarter of their import. Here `__init__` alone is written, and fills a frozen instance in a third
of the time; all other methods are shared. Type checkers see the library's own.

Not here, because the engine has no use for it: classes without slots, `order`, `InitVar`,
copies and pickles of frozen instances.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, FrozenInstanceError
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

__all__ = ["dataclass"]

Fields = tuple[Field[Any], ...]


def _dataclass(
    *,
    slots: bool,
    frozen: bool = False,
    eq: bool = True,
    repr: bool = True,
    unsafe_hash: bool = False,
    kw_only: bool = False,
    weakref_slot: bool = False,
) -> Callable[[type[Any]], type[Any]]:
    """The decorator. Methods that a class defines itself stay."""

    def decorate(written: type[Any]) -> type[Any]:
        doc, written.__doc__ = written.__doc__, "not empty, else the library makes one"
        kind = dataclasses.dataclass(
            init=False, repr=False, eq=False, kw_only=kw_only, slots=slots,
            weakref_slot=weakref_slot,
        )(written)  # fmt: skip
        kind.__doc__ = doc
        fields = dataclasses.fields(kind)
        methods: dict[str, Any] = {"__init__": _init(kind, fields, frozen)}
        if repr:
            methods["__repr__"] = _repr
        if eq:
            methods |= _comparing(fields, frozen or unsafe_hash)
        if frozen:
            methods |= {"__setattr__": _refuse, "__delattr__": _refuse}
        for name in methods.keys() - written.__dict__.keys():
            setattr(kind, name, methods[name])
        return kind

    return decorate


def _init(kind: type[Any], fields: Fields, frozen: bool) -> Any:
    """`__init__`, compiled. The slots of a frozen instance are filled past its `__setattr__`."""
    scope: dict[str, Any] = {"MISSING": MISSING}
    placed: list[str] = []
    named: list[str] = []
    lines: list[str] = []
    for each in fields:
        name, default = each.name, f"default_{each.name}__"
        taken, value, fallback = name, name, ""
        if each.default_factory is not MISSING:
            scope[default], fallback = each.default_factory, f"{default}()"
            taken, value = f"{name}=MISSING", f"{fallback} if {name} is MISSING else {name}"
        elif each.default is not MISSING:
            scope[default], fallback = each.default, default
            taken = f"{name}={default}"
        if each.init:
            (named if each.kw_only is True else placed).append(taken)
        elif not fallback:
            continue  # `__post_init__` sets it
        value = value if each.init else fallback
        if frozen:
            scope[f"set_{name}__"] = getattr(kind, name).__set__
        lines.append(f"set_{name}__(self, {value})" if frozen else f"self.{name} = {value}")
    if hasattr(kind, "__post_init__"):
        lines.append("self.__post_init__()")
    head = ", ".join(["self", *placed, *(["*", *named] if named else [])])
    exec(f"def __init__({head}):\n " + "\n ".join(lines or ["pass"]), scope)
    init = scope["__init__"]
    init.__module__, init.__qualname__ = kind.__module__, f"{kind.__qualname__}.__init__"
    return init


def _comparing(fields: Fields, hashable: bool) -> dict[str, Any]:
    """`==` and `hash`, by the values of the fields."""
    values = attrgetter(*[each.name for each in fields if each.compare] or ["__class__"])

    def equal(self: Any, other: object) -> bool:
        return values(self) == values(other) if type(other) is type(self) else NotImplemented

    def hashed(self: Any) -> int:
        return hash(values(self))

    return {"__eq__": equal, "__hash__": hashed if hashable else None}


@recursive_repr()
def _repr(self: Any) -> str:
    shown = [f"{each.name}={getattr(self, each.name)!r}" for each in _shown(self)]
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _shown(self: Any) -> Iterator[Field[Any]]:
    return (each for each in dataclasses.fields(self) if each.repr)


def _refuse(self: Any, name: str, *value: object) -> None:
    raise FrozenInstanceError(f"cannot {'assign to' if value else 'delete'} field {name!r}")


if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    dataclass = _dataclass
