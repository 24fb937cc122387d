"""The arguments of a call as the object that some APIs want in place of JSON text.

Models that call a tool without parameters say so with nothing, with blanks or with `null`.
"""

from __future__ import annotations

from engine.chat import Extras, ToolCall
from engine.wire import JsonError, loads

_NONE = ("", "null")


def object_of(call: ToolCall) -> Extras | None:
    """The object that the arguments are, {} where there are none; None for anything else.

    Free text of a custom tool is an object that holds it under `input`.
    """
    if call.kind == "custom":
        return {"input": call.args}
    if call.args.strip() in _NONE:
        return {}
    try:
        value = loads(call.args)
    except JsonError:
        return None
    return value if isinstance(value, dict) else None


def arguments(call: ToolCall) -> Extras:
    """`object_of`; what is no object is put into one."""
    found = object_of(call)
    if found is not None:
        return found
    try:
        value = loads(call.args)
    except JsonError:
        value = call.args
    return {"arguments": value}


def unsaid(text: str) -> bool:
    """Whether the beginning of some arguments may still turn out to be none."""
    return any(word.startswith(text.strip()) for word in _NONE)
