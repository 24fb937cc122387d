"""What of an upstream's answer its client is not told, by name.

For whole answers the names go out in the header `x-penstock-answer-dropped`; the head of a stream
has gone by then, so the attempt's log line and a metric have them for both.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.chat import ChatRequest, Citation, Opaque, Text, ToolCall
from engine.events import Annotation, CitationDelta, Reply

from .contract import Dialect
from .foreign import legacy_tools
from .hosted import KINDS, left_out

# What only some APIs have a place for; a citation whose text was over when it came is the event,
# a call is one after the first.
Beside = Opaque | Citation | CitationDelta | Annotation | ToolCall
CITATIONS, ANNOTATIONS, CALLS = "citations", "annotations", "tool_calls"
PARTS = KINDS | {CITATIONS, ANNOTATIONS, CALLS}  # names that are known beforehand


def unsaid(found: Iterable[Beside], client: Dialect, request: ChatRequest | None) -> list[str]:
    """Names of what an answer of the client's dialect leaves out, sorted.

    Kinds of items and parts, `citations`, `annotations`, and `tool_calls` where there is room for
    one alone. request: the client's
    """
    foreign: list[Opaque] = []
    names: set[str] = set()
    for each in found:
        if isinstance(each, Opaque):
            foreign += [each] if each.dialect != client.name else []
        elif isinstance(each, Citation):
            names |= set() if client.cites(each) else {CITATIONS}
        elif isinstance(each, CitationDelta):
            late = client.cites_late or request is None or not request.stream
            names |= set() if late and client.cites(each.citation) else {CITATIONS}
        elif isinstance(each, ToolCall):
            names |= {CALLS} if legacy_tools(request) else set()
        elif not client.annotates:
            names.add(ANNOTATIONS)
    return sorted({*names, *left_out(foreign, request)})


def beside(reply: Reply) -> list[Beside]:
    """What of a whole answer only some APIs have a place for."""
    out: list[Beside] = [Annotation(value) for value in reply.annotations]
    out += reply.calls[1:]
    for part in reply.parts:
        if isinstance(part, Opaque):
            out.append(part)
        elif isinstance(part, Text):
            out += part.citations
    return out
