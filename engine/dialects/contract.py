"""What a dialect is: the contract between a wire format and everything else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from engine.chat import ChatRequest, Citation, Media, Message, Tool, ToolChoice
from engine.errors import ExchangeError, RequestError
from engine.events import ErrorEvent, Event, Reply
from engine.wire import Headers, HttpResponse, Record

from . import outcomes
from .embedding import Embedding
from .frames import Observations, Tap
from .names import Limits
from .profile import Profile, SchemaProfile
from .splice import Scan


@dataclass(frozen=True, slots=True)
class Target:
    """What the URL of a request says beside its body: some dialects name model and stream there."""

    model: str = ""
    stream: bool | None = None
    query: Mapping[str, str] = field(default_factory=dict)


HERE = Target()


class Encoder(Protocol):
    """Events of one answer -> bytes for the client. Events come in the order of engine/events.py.

    feed    all events of one upstream read as one byte string, b"" if there is nothing to say;
            the terminator goes out with Finish or ErrorEvent
    finish  what is left when the answer is over: normally b""
    ping    a keep-alive, None where the dialect has none or the answer is over

    One may have `say(block, text) -> bytes` besides: `feed` of one TextDelta, before the end,
    whose text has no half characters. One whose client is not shown what was thought has `hides`,
    true.
    """

    def feed(self, events: list[Event]) -> bytes: ...
    def finish(self) -> bytes: ...
    def ping(self) -> bytes | None: ...


def hides(encoder: Encoder) -> bool:
    """Whether thoughts are kept from its client: an answer that only thinks has not begun."""
    return getattr(encoder, "hides", False) is True


class Decoder(Protocol):
    """Records of one attempt -> events, numbered blocks opened and closed. One per attempt.

    Finish is given as soon as the upstream says it; UsageEvent and End may follow. An answer that
    ends without a Finish is left so: whether that is an error is decided elsewhere.
    """

    def feed(self, record: Record) -> list[Event]: ...
    def finish(self) -> list[Event]: ...


class Reframe(Protocol):
    """Frames of a stream -> another form of it, at the very end, for a client that asked for one.

    framing  parser of that form
    feed     whole frames -> bytes; end: what closes the stream
    """

    content_type: str
    framing: str

    def feed(self, frames: bytes) -> bytes: ...
    def end(self) -> bytes: ...


class EncoderMaker(Protocol):
    """id, model and created are what the client shall see; request adds what it spoke like."""

    def __call__(
        self,
        id: str,
        model: str,
        created: int,
        include_usage: bool,
        request: ChatRequest | None = None,
    ) -> Encoder: ...


class ReplyMaker(Protocol):
    """The body of a whole answer."""

    def __call__(
        self, answer: Reply, id: str, model: str, created: int, request: ChatRequest | None = None
    ) -> bytes: ...


class Parse(Protocol):
    """A client's body -> ChatRequest. Raises RequestError."""

    def __call__(self, body: bytes, headers: Headers, target: Target = HERE) -> ChatRequest: ...


class Scanner(Protocol):
    """What a body says at its top level, None where its bytes cannot pass through."""

    def __call__(self, body: bytes, target: Target = HERE) -> Scan | None: ...


class Failure(Protocol):
    """Status and body for an outcome class or a kind of `outcomes.CLIENT_KINDS`."""

    def __call__(
        self,
        kind: str,
        message: str,
        request_id: str = "",
        error: ExchangeError | RequestError | None = None,
    ) -> tuple[int, bytes]: ...


Env = Mapping[str, object]
MakeId = Callable[[], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One wire format.

    family          whose error types its clients know
    path            of the endpoint, under an upstream's base URL: a template
    query           parameters that go with it: templates
    endpoints       what clients call: (method, path) -> action, a name in `engine/shell/server.py`
    constants       (method, path) -> a JSON body that is always the same
    locate          what other paths mean: (method, path) -> action and Target, or None
    prefix          paths below it are its own: what is not found there is told in its words
    framing         parser of its streams; done: payloads that end them
    render          (request, upstream model, profile) -> body; fills request.dropped
    messages, tools, tool_choice   parts of `render`, for templates
    stream_reader, whole_reader    (template roots, maker of ids) -> Decoder of chunks or of a
                    whole answer
    encoder         makes the Encoder of one answer
    reframe         the form of a stream that a target asks for, None for the dialect's own
    reply           body of a whole answer
    counted         body of an answer that tells a number of tokens
    failure         an answer that failed before it began
    stream_failure  the frames that end a stream which has begun
    error_from      what an upstream's answer with an error status means
    scan, splice    a request whose bytes pass through
    key_in_query    query parameter in which its clients may send their key
    headers         names of a client's headers that go on to an upstream of the same dialect
    by_url          whether it takes this picture or file by its http URL
    cites           whether its answers have a place for this citation
    cites_late      it has that place in a stream when the text is over, too
    annotates       its answers have a place for what the engine notes beside them
    tap             makes the watcher of a stream that passes through; None: it never does
    check_whole     the same for a whole answer
    resumable       a request whose answer is sent back as it came, before its client has seen it
    call_ids        its clients send the ids of calls back
    signs           its thinking has signatures, without which a later request may be refused
    idle            the answer to a request that asks nothing of its model (name, time), None to any
                    other; None: the dialect has no such requests
    embed           a client's request for embeddings, where clients of the dialect ask for some
    limits, schemas  names, ids and JSON Schema of tools, as far as foreign ones must be changed
    """

    name: str
    family: outcomes.Family
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    framing: str
    done: tuple[str, ...]
    content_type: str = "application/json"
    stream_type: str = "text/event-stream"
    endpoints: Mapping[tuple[str, str], str]
    constants: Mapping[tuple[str, str], bytes] = field(default_factory=dict)
    prefix: str = ""
    locate: Callable[[str, str], tuple[str, Target] | None] | None = None
    parse: Parse
    render: Callable[[ChatRequest, str, Profile], dict[str, object]]
    messages: Callable[[list[Message]], list[object]]
    tools: Callable[[list[Tool]], list[object]]
    tool_choice: Callable[[ToolChoice], object]
    stream_reader: Callable[[Env, MakeId], Decoder]
    whole_reader: Callable[[Env, MakeId], Decoder]
    encoder: EncoderMaker
    reframe: Callable[[Target], Reframe | None] | None = None
    reply: ReplyMaker
    counted: Callable[[int], dict[str, object]] = lambda tokens: {"input_tokens": tokens}
    failure: Failure
    stream_failure: Callable[[ErrorEvent], bytes]
    error_from: Callable[[HttpResponse], ExchangeError]
    by_url: Callable[[Media], bool] = lambda media: False
    cites: Callable[[Citation], bool] = lambda found: bool(found.url)
    cites_late: bool = False
    annotates: bool = False
    scan: Scanner
    splice: Callable[[bytes, Scan, str, bool], bytes]
    tap: Callable[..., Tap] | None = None
    check_whole: Callable[[bytes], Observations] | None = None
    headers: tuple[str, ...] = ()
    key_in_query: str = ""
    idle: Callable[[ChatRequest, str, int], bytes | None] | None = None
    embed: Callable[[bytes, Target], Embedding] | None = None
    limits: Limits = Limits()
    schemas: SchemaProfile = "jsonschema"
    call_ids: bool = True
    signs: bool = False
    resumable: Callable[[ChatRequest, Profile], ChatRequest] = lambda request, profile: request

    def refusal(self, error: RequestError, request_id: str = "") -> tuple[int, bytes]:
        """Status and body for a request that is not served."""
        return self.failure(error.kind, error.message, request_id, error)
