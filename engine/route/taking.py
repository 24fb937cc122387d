"""What later templates may read of something the upstream said: named finds, by paths or steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from engine.errors import ExchangeError
from engine.options import Env, Path
from engine.transform import Value
from engine.wire import HttpResponse, JsonError, loads

from .http_spec import StepSpec
from .values import Step

Take = Callable[[HttpResponse, Env], object]  # what is found; None or "": nothing
Takes = tuple[tuple[str, Take], ...]


def compile_takes(spec: Mapping[str, Path | StepSpec], steps: Callable[[StepSpec], Step]) -> Takes:
    """steps compiles one step."""
    return tuple((name, _take(each, steps)) for name, each in spec.items())


def taken(takes: Takes, said: HttpResponse, env: Env, root: str, where: str) -> dict[str, object]:
    """What is found, by name. Raises ExchangeError where something is not there.

    root, where: how a failure names it: `root.name` was not found in `where`
    """
    return {name: _there(f"{root}.{name}", where, take(said, env)) for name, take in takes}


def _there(name: str, where: str, found: object) -> object:
    content = found.content if isinstance(found, Value) else found
    if content is None or content == "":
        raise ExchangeError("retryable", f"`{name}` was not found in {where}")
    return content


def _take(each: Path | StepSpec, steps: Callable[[StepSpec], Step]) -> Take:
    if isinstance(each, StepSpec):
        return steps(each)
    find = each.first

    def take(said: HttpResponse, env: Env) -> object:
        try:
            return find(loads(said.body))
        except JsonError:
            return None

    return take
