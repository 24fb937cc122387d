"""What a websocket goes with and what it does not, checked; and what its messages may read."""

from __future__ import annotations

from collections.abc import Iterator

from engine.errors import Problem

from .hints import did_you_mean
from .nodes import Node
from .places import Way, expressions, key_mark, mention_mark
from .spec import AnswerSpec, RouteSpec, SendSpec, WebsocketSpec

_PLACE: Way = ("request", "websocket")


def check_sockets(spec: RouteSpec, tree: Node) -> Iterator[Problem]:
    """Checks of `request.websocket` and of what a route has beside it."""
    socket = spec.request.websocket if spec.request else None
    framing = spec.stream.format.name if spec.stream and spec.stream.format else None
    if socket is None:
        if framing == "websocket" and not spec.abstract:
            message = "`stream.format: websocket` reads a websocket: `request.websocket` is missing"
            yield key_mark(tree, ("stream", "format")).problem("E533", message)
        return
    if framing != "websocket" and not spec.abstract:
        message = "what comes on a websocket is read by `stream.format: websocket`, not given here"
        yield key_mark(tree, _PLACE).problem("E533", message)
    for way, message in _rivals(spec):
        yield key_mark(tree, way).problem("E533", message)
    for way, part in _parts(socket):
        yield from _reads(tree, way, part)
    for at, answer in enumerate(socket.reply):
        if not answer.match.source:
            message = "an empty `match` would answer whatever the upstream says"
            yield key_mark(tree, (*_PLACE, "reply", at, "match")).problem("E534", message)


def _rivals(spec: RouteSpec) -> Iterator[tuple[Way, str]]:
    """Keys that mean nothing on a websocket, each with the reason."""
    request, stream = spec.request, spec.stream
    assert request is not None
    if spec.dialect is not None:
        yield ("dialect",), "a `dialect` asks over HTTP: leave it out, a websocket has own messages"
    if request.method not in (None, "GET"):
        yield ("request", "method"), "a websocket is opened by GET: leave `method` out"
    if request.frames is not None:
        yield ("request", "frames"), "a websocket has frames of its own: leave `frames` out"
    if request.patch:
        yield ("request", "patch"), "a websocket has no body to edit: write its messages as wanted"
    if spec.response is not None and spec.response.events is not None:
        message = "a websocket has no whole answer: `stream` is read for every client"
        yield ("response", "events"), message
    if stream is not None and stream.use == "never":
        yield ("stream", "use"), "a websocket is always read as a stream: leave `use` out"


def _parts(socket: WebsocketSpec) -> Iterator[tuple[Way, SendSpec | AnswerSpec]]:
    for at, part in enumerate(socket.send):
        yield (*_PLACE, "send", at), part
    for at, answer in enumerate(socket.reply):
        yield (*_PLACE, "reply", at), answer


def _reads(tree: Node, way: Way, part: SendSpec | AnswerSpec) -> Iterator[Problem]:
    """Nothing was heard before a message without `after`; nothing is taken but what `take` says."""
    heard = isinstance(part, AnswerSpec) or part.after is not None
    if part.take and not heard:
        message = "`take` looks into the message that `after` waits for: `after` is missing"
        yield key_mark(tree, (*way, "take")).problem("E534", message)
    for place, mentions in expressions(part, way):
        for mention in sorted(mentions):
            root, _, name = mention.partition(".")
            wrong = None
            if root in ("data", "take") and not heard:
                wrong = f"`{mention}`: the upstream has said nothing yet: `after` is missing"
            elif root == "take" and name not in part.take:
                wrong = f"`{mention}` is not among `take`{did_you_mean(name, part.take)}"
            if wrong is not None:
                yield mention_mark(tree, place, mention).problem("E534", wrong)
