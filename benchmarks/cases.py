"""What is asked of a gateway: one `Case` per load, and the bytes of its request.

The list is in the order in which a gateway sees it. Cases with `fresh` have a process of their own,
and so have those with `beside`, whose processes are all up at once and take turns; the others share
one, warmed up before each, so that every gateway has the same history.
"""

import json
from dataclasses import dataclass

HEADERS = {
    "Authorization": "Bearer bench-key-0123456789",
    "Content-Type": "application/json",
}
CHAT_PATH = "/v1/chat/completions"
CUSTOM_PATH = "/custom"
MESSAGES_PATH = "/v1/messages"  # Anthropic's

# Text as chats have it: quotes and line ends that JSON escapes, letters outside ASCII.
FILLER = 'The "quick" brown fox – naïve, 你好 – jumps over the lazy dog;\n\tand then it rests. '
FILLER_BYTES = len(json.dumps(FILLER, ensure_ascii=False).encode()) - 2
TURN = 2048  # a long context is many messages, not one


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One load. `events` 0: plain answers; `gap` in ms, 0: all events at once; `ramp` in s;
    `request` and `answer`: bytes of text.

    `pair`: the client speaks Anthropic Messages, the upstream OpenAI Chat; a gateway that does not
    translate gets the upstream's own request.

    `answers` 0: closed loop over the time asked for; else that many answers in all. `routes` is the
    number of route files, None: the two of the shared process. `idle` ends after the first answer.
    """

    name: str
    conns: int = 1
    events: int = 0
    gap: int = 0
    answers: int = 0
    ramp: float = 0.0
    request: int = 1024
    answer: int = 1024
    custom: bool = False
    pair: bool = False
    routes: int | None = None
    fresh: bool = False
    beside: bool = False
    memory: bool = False
    idle: bool = False

    @property
    def model(self) -> str:
        if self.routes:
            return f"bench-{self.routes - 1:05d}"
        return "bench-custom" if self.custom else "bench"

    @property
    def expected(self) -> int:
        """Stamps in each answer; a plain one has a single stamp at the head of its text."""
        return self.events or 1

    @property
    def ideal(self) -> float:
        """Seconds the upstream takes to send one answer."""
        return max(0, self.events - 1) * self.gap / 1000

    def marker(self, events: int) -> str:
        return f"#bench events={events} gap={self.gap} size={self.answer}#"


CASES = (
    Case(name="low"),
    Case(name="chat_1k", conns=16),
    Case(name="chat_100k", conns=8, request=100 * 1024),
    Case(name="template", conns=16, custom=True),
    Case(name="stream", conns=32, events=200, gap=20, answers=64),
    Case(name="dense", conns=100, events=200, gap=10, answers=200),
    Case(name="burst", conns=8, events=200),
    Case(name="rules_dense", conns=100, events=200, gap=10, answers=200, custom=True),
    Case(name="rules_burst", conns=8, events=200, custom=True),
    Case(name="pair_dense", conns=100, events=200, gap=10, answers=200, pair=True),
    Case(name="pair_burst", conns=8, events=200, pair=True),
    Case(
        name="held_1000",
        conns=1000,
        events=80,
        gap=100,
        answers=1000,
        ramp=3.0,
        fresh=True,
        memory=True,
    ),
    Case(
        name="rules_held_1000",
        conns=1000,
        events=80,
        gap=100,
        answers=1000,
        ramp=3.0,
        custom=True,
        fresh=True,
        memory=True,
    ),
    Case(name="routes_10", conns=16, routes=10, beside=True),
    Case(name="routes_1000", conns=16, routes=1000, beside=True),
    Case(name="routes_10000", conns=16, routes=10_000, beside=True),
    Case(name="idle", routes=5, fresh=True, idle=True),
    Case(name="idle_500", routes=500, fresh=True, idle=True),
)
NAMES = tuple(case.name for case in CASES)
SLOW = ("rules_held_1000", "routes_1000", "routes_10000", "idle_500")  # left out by --quick


def _messages(case: Case, events: int) -> list[dict[str, str]]:
    size = case.request
    turns: list[dict[str, str]] = []
    while size > 0:
        text = FILLER * (min(size, TURN) // FILLER_BYTES)
        turns.append({"role": "user" if len(turns) % 2 == 0 else "assistant", "content": text})
        size -= TURN
    if turns[-1]["role"] == "assistant":
        turns.append({"role": "user", "content": ""})
    turns[-1]["content"] = case.marker(events) + turns[-1]["content"]
    return [{"role": "system", "content": "You answer tersely."}, *turns]


def request_bytes(case: Case, *, path: str, events: int | None = None) -> bytes:
    """The whole HTTP request of a case; `events` replaces the number of events (warm-up)."""
    asked = case.events if events is None else events
    body = _anthropic(case, asked) if path == MESSAGES_PATH else _openai(case, asked)
    data = json.dumps(body, ensure_ascii=False).encode()
    headers = {"Host": "127.0.0.1", **HEADERS, "Content-Length": str(len(data))}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + data


def _openai(case: Case, events: int) -> dict[str, object]:
    body: dict[str, object] = {
        "model": case.model,
        "messages": _messages(case, events),
        "temperature": 0.2,
        "top_p": 0.9,
        "max_tokens": 1024,
        "user": "bench",
    }
    if events:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


def _anthropic(case: Case, events: int) -> dict[str, object]:
    system, *turns = _messages(case, events)
    return {
        "model": case.model,
        "system": system["content"],
        "messages": turns,
        "temperature": 0.2,
        "top_p": 0.9,
        "max_tokens": 1024,
        "stream": bool(events),
    }
