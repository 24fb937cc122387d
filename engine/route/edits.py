"""`request.patch`: edits of the outgoing JSON body, on passthrough too.

Of one item the condition comes first, then drop, rename, default, set, clamp; names are dotted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engine.options import OMIT, Env, Tree

from .spec import BoundsSpec, PatchSpec

Fields = dict[str, Any]


def compile_patches(specs: list[PatchSpec]) -> Callable[[Fields, Env], Fields]:
    """All items as one function. It edits the body it is given."""

    def apply(body: Fields, env: Env) -> Fields:
        for spec in specs:
            if spec.when is None or spec.when.test(env):
                _edit(body, spec, env)
        return body

    return apply


def _edit(body: Fields, spec: PatchSpec, env: Env) -> None:
    for name in spec.drop:
        _take(body, name)
    for old, new in spec.rename.items():
        found = _take(body, old)
        if found is not OMIT:
            _put(body, new, found)
    missing = {name: tree for name, tree in spec.default.items() if _look(body, name) is None}
    _set(body, missing, env)
    _set(body, spec.set, env)
    for name, bounds in spec.clamp.items():
        _clamp(body, name, bounds)


def _set(body: Fields, trees: Mapping[str, Tree], env: Env) -> None:
    for name, tree in trees.items():
        value = tree.render(env)
        if value is not OMIT:
            _put(body, name, value)


def _clamp(body: Fields, name: str, bounds: BoundsSpec) -> None:
    value = _look(body, name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if bounds.min is not None and value < bounds.min:
        _put(body, name, _like(value, bounds.min))
    elif bounds.max is not None and value > bounds.max:
        _put(body, name, _like(value, bounds.max))


def _like(value: float, bound: float) -> float:
    """The bound as an integer where it is one and the value was."""
    return int(bound) if isinstance(value, int) and bound == int(bound) else bound


def _look(body: Fields, dotted: str) -> Any:
    value: Any = body
    for name in dotted.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _take(body: Fields, dotted: str) -> Any:
    *way, last = dotted.split(".")
    for name in way:
        body = body.get(name)  # type: ignore[assignment]
        if not isinstance(body, dict):
            return OMIT
    return body.pop(last, OMIT)


def _put(body: Fields, dotted: str, value: Any) -> None:
    *way, last = dotted.split(".")
    for name in way:
        if not isinstance(body.get(name), dict):
            body[name] = {}
        body = body[name]
    body[last] = value
