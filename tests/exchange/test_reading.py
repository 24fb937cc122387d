"""How an answer flows from the upstream to the client: at whose pace, and until when."""

from __future__ import annotations

from collections.abc import AsyncIterator

from engine.events import TextDelta
from engine.exchange.reading import pour
from engine.ports import Answer, pumped
from engine.wire import HttpResponse
from tests.kit import FakeSink


class Chunks:
    """An answer of these chunks; `read` of them were asked for."""

    reused = False
    head = HttpResponse(200)

    def __init__(self, *chunks: bytes) -> None:
        self.left = list(chunks)
        self.asked = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self.left:
            raise StopAsyncIteration
        self.asked += 1
        return self.left.pop(0)

    async def pump(self, take: object) -> bool:
        assert callable(take)
        return await pumped(self, take)

    async def read(self, limit: int) -> bytes:
        raise AssertionError("it is read in chunks")


class Slow(FakeSink):
    """A client that is waited for after each piece. waits: whether the watch stood meanwhile."""

    def __init__(self, answer: Chunks, watch: Noted) -> None:
        super().__init__(stream=True)
        self.answer, self.watch = answer, watch
        self.waits: list[tuple[int, bool]] = []

    async def drained(self) -> None:
        self.waits.append((self.answer.asked, self.watch.paused))


class Noted:
    """A watch that shows whether it stands, and how often it was pushed back."""

    paused = False
    beats = 0

    def beat(self) -> None:
        self.beats += 1

    def allow(self, seconds: float) -> None:
        """It never fires."""


class Taken:
    """Takes chunks; the client is slow after each, the answer is done after the one `last`."""

    def __init__(self, sink: FakeSink, last: bytes, *, slow: bool) -> None:
        self.sink, self.last, self.slow = sink, last, slow
        self.done = False
        self.chunks: list[bytes] = []

    def take(self, data: bytes) -> bool:
        self.chunks.append(data)
        self.sink.send([TextDelta(0, data.decode())])
        self.done = data == self.last
        return self.slow or self.done


async def poured(*chunks: bytes, last: bytes = b"", slow: bool = False) -> tuple[Taken, Slow]:
    answer, watch = Chunks(*chunks), Noted()
    sink = Slow(answer, watch)
    taken = Taken(sink, last, slow=slow)
    told: Answer = answer
    await pour(told, taken, sink, watch)
    assert not watch.paused
    return taken, sink


async def test_all_of_an_answer_is_taken() -> None:
    taken, sink = await poured(b"a", b"b", b"c")
    assert ([b"a", b"b", b"c"], []) == (taken.chunks, sink.waits)


async def test_what_follows_the_end_is_not_taken() -> None:
    taken, sink = await poured(b"a", b"b", b"c", last=b"b")
    assert ([b"a", b"b"], []) == (taken.chunks, sink.waits)


async def test_nothing_is_read_for_a_client_that_is_slow_and_its_silence_is_not_the_upstreams() -> (
    None
):
    taken, sink = await poured(b"a", b"b", slow=True)
    assert ([b"a", b"b"], [(1, True), (2, True)]) == (taken.chunks, sink.waits)
    assert 2 == sink.watch.beats  # the upstream has all its time again
