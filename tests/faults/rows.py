"""Rows: a fault x a kind of route x a client dialect x stream or plain, and what each must give.

Either the whole answer, or an error that the client can see in its own dialect, within bounded
time: an HTTP status while nothing has been said, an in-band error after. Never a finish with an
error, never a foreign header or a secret, never more attempts than due, and a healthy call right
after is answered with its own answer.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from .client import CLIENT_KEY, CLIENTS, ClientDialect, Reply, Seen, call
from .others import KINDS_TOLD, OTHERS, TELLING
from .speech import Speech, text_of
from .stage import KINDS, TOTAL, TRIES, Stage
from .upstream import CANARIES, Call, Peer, Script

EVERY: dict[str, ClientDialect] = CLIENTS | OTHERS
# All rows for the clients of all dialects, not only those that tell them apart.
ALL_ROWS = bool(os.environ.get("PENSTOCK_ALL_FAULTS"))
LARGE = 8.0  # seconds that a row may take: it has to do with megabytes
AT_ONCE = 24  # rows under way, besides those that only wait
CLOSED_WITHIN = 1.0  # seconds after the answer in which the upstream must be rid of the call
ALLOWED = {
    "cache-control", "connection", "content-length", "content-type", "date", "request-id",
    "retry-after", "server", "transfer-encoding", "x-accel-buffering", "x-all-retries-failed",
    "x-penstock-answer-dropped", "x-penstock-dropped", "x-penstock-route",
    "x-penstock-upstream-status", "x-retry-attempts",
    "openai-processing-ms", "openai-version", "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests", "x-request-id", "x-should-retry", "x-upstream-request-id",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Expect:
    """What a client must get.

    status    200: the whole answer; else the status of the error before anything was said
    begun     content has come before it fails: a stream then ends with an in-band error
    tries     attempts that the upstream sees, (least, most)
    code, says   error code and a part of the message, "" for any
    text      replaces what the client reads; called: arguments of the tool call instead of text
    headers   of the failed answer; None: must not be there
    within    seconds
    """

    status: int = 200
    begun: bool = False
    tries: tuple[int, int] = (1, 1)
    code: str = ""
    says: str = ""
    text: Callable[[str], str] = text_of
    called: str = ""
    headers: Mapping[str, str | None] = field(default_factory=dict)
    within: float = 4.0


def whole(tries: int | tuple[int, int] = 1, **more: object) -> Expect:
    """The whole answer after so many attempts."""
    return _with(Expect(tries=_range(tries)), more)


def fails(status: int, tries: int | tuple[int, int] = TRIES, **more: object) -> Expect:
    """An error after so many attempts."""
    return _with(Expect(status=status, tries=_range(tries)), more)


def _range(tries: int | tuple[int, int]) -> tuple[int, int]:
    return (tries, tries) if isinstance(tries, int) else tries


def _with(expect: Expect, more: Mapping[str, object]) -> Expect:
    return replace(expect, **more)  # type: ignore[arg-type] # the callers' keywords are fields


FORMS = ("sse", "ndjson", "whole")


@dataclass(frozen=True, slots=True, eq=False)
class Fault:
    """A script, and what it must come to.

    forms    wire forms of the upstream it makes sense for; kinds: of routes
    unless   expectations for a kind, or a form, where they differ
    known    kind, form or "*" -> why the engine does not do it yet
    waits    it is about timers
    """

    name: str
    script: Script
    expect: Expect
    forms: tuple[str, ...] = FORMS
    kinds: tuple[str, ...] = tuple(KINDS)
    unless: Mapping[str, Expect] = field(default_factory=dict)
    known: Mapping[str, str] = field(default_factory=dict)
    waits: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    fault: Fault
    kind: str
    client: str
    stream: bool

    def __str__(self) -> str:
        mode = "stream" if self.stream else "plain"
        return f"{self.fault.name}-{self.kind}-{self.client}-{mode}"

    @property
    def form(self) -> str:
        """The wire form that the upstream answers in."""
        kind = KINDS[self.kind]
        return kind.stream if self.stream else kind.plain

    @property
    def expect(self) -> Expect:
        unless = self.fault.unless
        return unless.get(self.kind) or unless.get(self.form) or self.fault.expect

    @property
    def in_band(self) -> bool:
        """Content has reached the client when it fails."""
        return self.expect.begun and self.stream and self.form != "whole"

    @property
    def known(self) -> str | None:
        found = self.fault.known
        return found.get(self.kind) or found.get(self.form) or found.get("*")


class Faults:
    """A table of faults; `add` is a decorator for scripts."""

    def __init__(self, *, waits: bool = False) -> None:
        self.faults: dict[str, Fault] = {}
        self.waits = waits

    def add(
        self,
        expect: Expect,
        *,
        forms: Iterable[str] = FORMS,
        kinds: Iterable[str] = tuple(KINDS),
        unless: Mapping[str, Expect] | None = None,
        known: Mapping[str, str] | None = None,
    ) -> Callable[[Script], Script]:
        def take(script: Script) -> Script:
            self.put(
                Fault(
                    script.__name__,
                    script,
                    expect,
                    tuple(forms),
                    tuple(kinds),
                    unless or {},
                    known or {},
                    self.waits,
                )
            )
            return script

        return take

    def put(self, fault: Fault) -> None:
        assert fault.name not in self.faults, f"{fault.name} is there twice"
        self.faults[fault.name] = fault

    def rows(self) -> Iterator[Row]:
        for fault in self.faults.values():
            for client in EVERY:
                for kind in _kinds(fault, client):
                    for stream in (True, False):
                        row = Row(fault, kind, client, stream)
                        if row.form in fault.forms:
                            yield row


def _kinds(fault: Fault, client: str) -> Iterable[str]:
    """The kinds of routes that a fault is tried on with a client."""
    if client in CLIENTS or ALL_ROWS:
        return fault.kinds
    return [kind for kind in fault.kinds if fault.name in TELLING and kind in KINDS_TOLD]


def scripts(*tables: Faults) -> dict[str, Script]:
    return {name: fault.script for table in tables for name, fault in table.faults.items()}


def by_fault(tables: Iterable[Faults]) -> dict[str, list[Row]]:
    """All rows of each fault; those that the engine does not manage yet stand alone."""
    found: dict[str, list[Row]] = {}
    for row in (row for table in tables for row in table.rows()):
        found.setdefault(str(row) if row.known else row.fault.name, []).append(row)
    return found


# ---- running ----


def new_marker() -> str:
    return f"mark-{secrets.token_hex(5)}"


async def ask(
    stage: Stage, client: str, model: str, marker: str, stream: bool, *, limit: float = 20.0
) -> Reply:
    """One request as a client of the dialect makes it."""
    dialect = EVERY[client]
    body = dialect.body(model, f"say {marker}", stream)
    headers = {"Content-Type": "application/json", **dialect.key(CLIENT_KEY)}
    sent = json.dumps(body).encode()
    path = dialect.at(model, stream) if dialect.at else dialect.path
    return await call(stage.gateway.port, "POST", path, headers, sent, limit=limit)


async def run(stage: Stage, rows: Iterable[Row]) -> dict[str, list[str]]:
    """Everything that is wrong with each row, by its name.

    Those that wait go first and all at once: that takes as long as the longest of them, and there
    is nothing else to do that could make them late. Those of megabytes, which would make others
    late, go last and one by one.
    """
    verdicts: dict[str, list[str]] = {}

    async def one(row: Row, gate: asyncio.Semaphore) -> None:
        async with gate:
            verdicts[str(row)] = await _run(stage, row)

    todo = list(rows)
    waiting = [row for row in todo if row.fault.waits]
    large = [row for row in todo if not row.fault.waits and row.expect.within >= LARGE]
    small = [row for row in todo if not row.fault.waits and row.expect.within < LARGE]
    for group, most in ((waiting, len(waiting)), (small, AT_ONCE), (large, 1)):
        gate = asyncio.Semaphore(most)
        async with asyncio.TaskGroup() as tasks:
            for row in group:
                tasks.create_task(one(row, gate))
    return verdicts


async def _run(stage: Stage, row: Row) -> list[str]:
    marker = new_marker()
    try:
        reply = await ask(stage, row.client, f"{row.kind}.{row.fault.name}", marker, row.stream)
    except TimeoutError:
        return ["no end in time"]
    wrong = _check_reply(row, reply, marker)
    wrong += _check_calls(row, stage.upstream.calls[marker], marker)
    wrong += await _check_closed(stage, marker)
    wrong += await _check_healthy(stage, row)
    return wrong


def _check_reply(row: Row, reply: Reply, marker: str) -> list[str]:
    if not reply.whole:
        return [f"the answer was cut off: {reply}"]
    wrong = [f"foreign header {name}" for name in sorted(set(reply.headers) - ALLOWED)]
    bare = reply.body + repr(reply.headers).encode()
    wrong += [f"{secret} was shown" for secret in CANARIES if secret.encode() in bare]
    if reply.seconds > row.expect.within:
        wrong.append(f"it took {reply.seconds:.1f} s")
    expect, dialect = row.expect, EVERY[row.client]
    if expect.status != 200 and not row.in_band:
        return wrong + _check_status(row, reply)
    if reply.status != 200:
        return [*wrong, f"status {reply.status}, expected 200: {reply.body[:300]!r}"]
    read = dialect.read_stream if row.stream else dialect.read_whole
    seen = read(reply.body)
    content_type = dialect.stream_type if row.stream else "application/json"
    if not reply.headers.get("content-type", "").startswith(content_type):
        wrong.append(f"content type {reply.headers.get('content-type')}")
    if not seen.terminated:
        wrong.append("no terminator")
    wrong += seen.wrong
    return wrong + (_check_in_band if row.in_band else _check_whole)(row, seen, marker)


def _check_status(row: Row, reply: Reply) -> list[str]:
    expect, dialect = row.expect, EVERY[row.client]
    seen = dialect.read_error(reply.body)
    wrong = list(seen.wrong)
    if reply.status not in (expect.status, dialect.statuses.get(expect.status)):
        wrong.append(f"status {reply.status}, expected {expect.status}: {reply.body[:300]!r}")
    if not reply.headers.get("content-type", "").startswith("application/json"):
        wrong.append(f"content type {reply.headers.get('content-type')}")
    for name, value in expect.headers.items():
        if reply.headers.get(name) != value:
            wrong.append(f"header {name} is {reply.headers.get(name)}, expected {value}")
    return wrong + _check_error(row, seen, typed=True)


def _check_error(row: Row, seen: Seen, *, typed: bool) -> list[str]:
    dialect, expect = EVERY[row.client], row.expect
    error = seen.error
    wrong = dialect.problems(error)
    if error is None or wrong:
        return wrong or ["no error"]
    due = dialect.failures[expect.status] if "type" in error else ""
    if typed and error.get("type", "") != due:
        wrong.append(f"error type {error['type']}, expected {due}")
    if expect.code and error.get("code", expect.code) != expect.code:
        wrong.append(f"error code {error['code']}, expected {expect.code}")
    if expect.says not in error["message"]:
        wrong.append(f"message {error['message']!r}, expected {expect.says!r} in it")
    return wrong


def _check_in_band(row: Row, seen: Seen, marker: str) -> list[str]:
    # Where answers pass through on bytes the upstream's own error type stays.
    passes = KINDS[row.kind].passes and row.client in CLIENTS
    wrong = _check_error(row, seen, typed=not passes)
    if seen.finishes:
        wrong.append(f"finish {seen.finishes} although it failed")
    if row.expect.called:
        due = bool(seen.called) or not EVERY[row.client].pieces
        if not (due and row.expect.called.startswith(seen.called)):
            wrong.append(f"arguments {seen.called!r}")
    elif not (seen.text and row.expect.text(marker).startswith(seen.text)):
        wrong.append(f"text {seen.text!r} is no beginning of the answer")
    return wrong


def _check_whole(row: Row, seen: Seen, marker: str) -> list[str]:
    wrong = []
    expect = row.expect
    text, finish = ("", "tool_calls") if expect.called else (expect.text(marker), "stop")
    if seen.error is not None:
        wrong.append(f"error {seen.error}")
    if (seen.text, seen.called) != (text, expect.called):
        wrong.append(f"text {_difference(seen.text, text)}, arguments {seen.called[:200]!r}")
    if seen.finishes != [finish]:
        wrong.append(f"finish {seen.finishes}")
    return wrong


def _difference(found: str, expected: str) -> str:
    at = next(
        (i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b),
        min(len(found), len(expected)),
    )
    return f"{found[at : at + 60]!r} at {at}, expected {expected[at : at + 60]!r}"


def _check_calls(row: Row, calls: list[Call], marker: str) -> list[str]:
    least, most = (1, 1) if row.in_band else row.expect.tries
    wrong = []
    if not least <= len(calls) <= most:
        wrong.append(f"{len(calls)} attempts, expected {least} to {most}")
    for made in calls:
        if "cookie" in made.headers:
            wrong.append(f"the upstream's cookie was sent back: {made.headers['cookie']}")
        if CLIENT_KEY in str(made.headers):
            wrong.append("the client's key was sent to the upstream")
    return wrong


async def _check_closed(stage: Stage, marker: str) -> list[str]:
    until = time.monotonic() + CLOSED_WITHIN
    while stage.upstream.open_calls(marker):
        if time.monotonic() > until:
            return ["the upstream's call is still open"]
        await asyncio.sleep(0.02)
    return []


async def _check_healthy(stage: Stage, row: Row) -> list[str]:
    marker = new_marker()
    try:
        reply = await ask(stage, row.client, f"{row.kind}.healthy", marker, row.stream, limit=TOTAL)
    except TimeoutError:
        return ["the call after it had no end"]
    dialect = EVERY[row.client]
    seen = (dialect.read_stream if row.stream else dialect.read_whole)(reply.body)
    if (reply.status, seen.text, seen.wrong) == (200, text_of(marker), []):
        return []
    return [f"the healthy call after it: {reply.status} {reply.body[:300]!r}"]


__all__ = ["Expect", "Fault", "Faults", "Peer", "Row", "Speech", "fails", "run", "whole"]
