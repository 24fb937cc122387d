"""The body of a request in an upstream's dialect: adapted to the profile, then written.

This is the way from the model to the wire; nobody else calls a dialect's `render`. What is changed
on the way and has to be changed back in the answer, as the names of tools, comes as `undo`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from engine.chat import ChatRequest, Tool
from engine.events import Event

from . import losses
from .adapt import adapt
from .answer_grammar import held
from .borrowed import carry_borrowed
from .contract import Dialect
from .customs import as_functions
from .foreign import understood
from .marks import carry_marks
from .names import fit_names
from .namespaces import explained
from .nested import name_nested
from .profile import Profile, SchemaProfile
from .schema_answer import asked_otherwise
from .searching import searched
from .tool_schemas import rewrite

Undo = Callable[[Event], list[Event]]


@dataclass(frozen=True, slots=True)
class Written:
    """undo: what each event of the answer goes through, first to last."""

    body: dict[str, object]
    undo: tuple[Undo, ...] = ()


def write(dialect: Dialect, request: ChatRequest, model: str, profile: Profile) -> Written:
    """Raises RequestError(unsupported) for what neither dialect nor policy lets go."""
    undo: tuple[Undo, ...] = ()

    def once(given: ChatRequest) -> dict[str, object]:
        nonlocal undo
        given, undo = _prepared(dialect, adapt(given, profile), profile)
        return dialect.render(given, model, profile)

    return Written(losses.render(request, once, profile), undo)


def _prepared(
    dialect: Dialect, request: ChatRequest, profile: Profile
) -> tuple[ChatRequest, tuple[Undo, ...]]:
    """Tools, their names and their schemas as dialect and profile take them."""
    foreign = request.dialect != dialect.name
    if foreign:
        name_nested(request, dialect.name)
        request = searched(request, dialect.name, profile)
    request = understood(request, dialect.name)
    request = explained(request) if foreign else request
    if foreign and dialect.schemas == "anthropic":
        request = held(request, profile)
    request, said = asked_otherwise(request, profile)
    request = carry_marks(request, dialect.name, profile)
    custom = None
    if profile.tools.custom is False or (foreign and profile.tools.custom is None):
        request, custom = as_functions(request)
    request = carry_borrowed(request, dialect.name)
    limits = dialect.limits.over(profile.tools, foreign=foreign)
    request, renamed = fit_names(request, limits)
    wanted = profile.tool_schemas or (dialect.schemas if foreign else None)
    if wanted is not None and request.tools:
        request = replace(request, tools=[_schema(tool, wanted) for tool in request.tools])
    return request, tuple(step for step in (renamed, custom, said) if step is not None)


def _schema(tool: Tool, profile: SchemaProfile) -> Tool:
    if tool.kind != "function" or (profile == "openai_strict" and tool.strict is not True):
        return tool
    schema = rewrite(tool.schema, profile)
    return tool if schema == tool.schema else replace(tool, schema=schema)
