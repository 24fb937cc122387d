"""The ways a route reads answers: how streams and whole answers are framed, and what reads them.

An answer of the other kind than was asked for is known by its first bytes and read on the other
road: a refusal that comes as one document, an answer that is streamed although nobody asked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from engine.dialects import Dialect
from engine.dialects.profile import adapts
from engine.parsers import PARSERS
from engine.parsers.aws_eventstream import AwsEventstream
from engine.parsers.frames import AnswerFrames
from engine.parsers.json import JsonParser
from engine.parsers.sse import Sse
from engine.parsers.text import WholeTextParser
from engine.parsers.websocket import Websocket

from .alike import once
from .answer_spec import ResponseSpec, StreamSpec
from .patches import path_patch
from .pipeline import Reader, Road
from .route import Splitter
from .rules import RuleReader, Rules, compile_rules
from .spec import RouteSpec
from .stages import Stage

MakeReader = Callable[[dict[str, object], Callable[[], str]], Reader]

# Framings that no JSON document can be mistaken for.
_UNLIKE_DOCUMENTS = {"sse", "frames", "aws_eventstream", "websocket"}


def stream_road(spec: RouteSpec, dialect: Dialect | None) -> Road | None:
    """How a stream is read; None if the route has no way to."""
    return _stream(spec.stream, dialect, int(spec.limits.event), _polls(spec))


@once
def _stream(
    stream: StreamSpec | None, dialect: Dialect | None, limit: int, polls: bool
) -> Road | None:
    if dialect is None and (stream is None or stream.events is None):
        return None
    stream = stream or StreamSpec()
    if stream.events is None and stream.use != "always" and polls:
        return None  # what is asked for until it is there is a document, unless the route says more
    word, options = _framing(stream, dialect)
    kind = PARSERS[word]
    text = isinstance(options, Sse | Websocket | AnswerFrames) and options.text
    if stream.events is None:
        assert dialect is not None
        reader: MakeReader = dialect.stream_reader
        finishes, exact = True, False
        done = frozenset(stream.done or dialect.done)
    else:
        rules = compile_rules(stream.events, stream.reduce)
        exact = rules.exact
        reader, finishes, done = _rule_reader(rules), rules.finishes, frozenset(stream.done)
    return Road(
        parser=lambda: kind.make(options, limit),
        reader=reader,
        json=kind.decodes == "json" and not text,
        finishes=finishes,
        done=frozenset(text.encode() for text in done),
        finish_optional=stream.finish_optional,
        min_text=stream.min_text,
        unmatched=stream.unmatched,
        patch=path_patch if stream.reduce == "path_patch" else None,
        exact=exact,
        unlike="document" if word in _UNLIKE_DOCUMENTS else "",
        sse=word == "sse",
        pieces=word == "text",
    )


def _framing(stream: StreamSpec, dialect: Dialect | None) -> tuple[str, object]:
    """The word of a stream's framing, and its options if it has any."""
    if stream.format is None:
        return (dialect.framing if dialect else "sse"), None
    word = stream.format.name
    if word == "aws_eventstream":
        return word, AwsEventstream(event_from=stream.event_from)
    return word, stream.format.sse or stream.format.frames or stream.format.websocket


def whole_road(spec: RouteSpec, dialect: Dialect | None) -> Road | None:
    """How a whole answer is read; None if the route has no way to."""
    return _answer(spec.response, dialect, int(spec.limits.answer))


@once
def _answer(response: ResponseSpec | None, dialect: Dialect | None, limit: int) -> Road | None:
    if (response is None or response.events is None) and dialect is None:
        return None
    response = response or ResponseSpec()
    if response.events is None:
        assert dialect is not None
        reader: MakeReader = dialect.whole_reader
        exact = True
    else:
        rules = compile_rules(response.events, whole=True)
        reader, exact = _rule_reader(rules), rules.exact
    return _whole(reader, response, limit, exact=exact)


def no_road(spec: RouteSpec) -> Road:
    """For a document that the route cannot read: its error rules are all that looks at it."""
    return _unread(int(spec.limits.answer))


@once
def _unread(limit: int) -> Road:
    return _whole(_rule_reader(compile_rules([])), ResponseSpec(), limit)


def _whole(reader: MakeReader, response: ResponseSpec, limit: int, *, exact: bool = True) -> Road:
    json = response.format == "json"
    return Road(
        parser=partial(JsonParser if json else WholeTextParser, limit),
        reader=reader,
        json=json,
        finishes=False,
        min_text=response.min_text,
        whole=True,
        exact=exact,
        unlike="stream" if json else "",
    )


def _rule_reader(rules: Rules) -> MakeReader:
    return lambda env, new_id: RuleReader(rules, env)


def splitter(spec: RouteSpec, dialect: Dialect | None) -> Callable[[], Splitter] | None:
    """Cuts the dialect's streams into frames, where they pass through."""
    return _frames(dialect, int(spec.limits.event)) if dialect else None


@once
def _frames(dialect: Dialect, limit: int) -> Callable[[], Splitter] | None:
    frames = PARSERS[dialect.framing].frames
    return partial(frames, limit) if frames else None


def passes(spec: RouteSpec, dialect: Dialect | None, stages: tuple[Stage, ...]) -> bool:
    """Whether a client of the same dialect may be served on bytes."""
    if dialect is None or dialect.tap is None:
        return False
    if spec.session or spec.continuation or spec.tools or spec.media.fetch == "always":
        return False
    if _polls(spec):
        return False
    if any(stage.has("shape", "feed_record", "feed", "finish") for stage in stages):
        return False
    request, stream, response = spec.request, spec.stream, spec.response
    bodies = (request.json, request.form, request.multipart, request.raw) if request else ()
    if any(body is not None for body in bodies) or (request and request.unknown == "drop"):
        return False
    if response and (response.events is not None or response.min_text):
        return False
    adapted = adapts(spec.profile, spec.profile.max_output)
    return not adapted and (stream is None or _leaves(stream, dialect))


def _polls(spec: RouteSpec) -> bool:
    return spec.request is not None and spec.request.poll is not None


def _leaves(stream: StreamSpec, dialect: Dialect) -> bool:
    """Whether a stream is left as the dialect makes it."""
    framing = stream.format.name if stream.format else dialect.framing
    plain = stream.events is None and stream.use == "auto" and not stream.min_text
    return plain and framing == dialect.framing
