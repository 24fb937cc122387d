"""What is noted of a served request: its own exchanges, within bounds, nothing after its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from engine.ports import Line, NoWeb, PassingTokens, Unfetched, pumped
from engine.route.reach import Reach
from engine.shell import overhearing
from engine.shell.overhearing import (
    Capture,
    OverheardTokens,
    OverheardUpstream,
    OverheardWeb,
    Room,
    current,
)
from engine.wire import HttpRequest, HttpResponse

ASKED = HttpRequest("POST", "https://example.com/chat", body=b"12345")
LOGIN = HttpRequest("GET", "https://example.com/login?n=1")


class Saying:
    """An answer of three pieces."""

    head, reused = HttpResponse(200), False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces()

    async def _pieces(self) -> AsyncIterator[bytes]:
        for piece in (b"aa", b"bb", b"cc"):
            yield piece

    async def pump(self, take: Callable[[bytes], bool]) -> bool:
        return await pumped(aiter(self), take)

    async def read(self, limit: int) -> bytes:
        return b"aabbcc"


class Plain:
    """An upstream that says the same to all."""

    @asynccontextmanager
    async def stream(self, *_: object) -> AsyncIterator[Saying]:
        yield Saying()

    converse = stream

    async def fetch(self, *_: object) -> HttpResponse:
        return HttpResponse(200, (), b"aabbcc")


def overheard() -> OverheardUpstream:
    return OverheardUpstream(Plain(), lambda: 0.0)


@contextmanager
def noted(upstream: OverheardUpstream) -> Iterator[Capture]:
    capture = Capture(upstream.plain, lambda: 0.0, upstream.room)
    token = current.set(capture)
    try:
        yield capture
    finally:
        current.reset(token)


async def ask(upstream: OverheardUpstream, request: HttpRequest = ASKED) -> bytes:
    said: list[bytes] = []
    async with upstream.stream(request, Line()) as answer:
        await answer.pump(lambda data: bool(said.append(data)))  # type: ignore[func-returns-value]
    return b"".join(said)


async def test_requests_are_told_apart_by_their_context() -> None:
    upstream = overheard()

    async def one(path: str) -> list[str]:
        with noted(upstream) as capture:
            for _ in range(2):
                await ask(upstream, HttpRequest("GET", path))
                await asyncio.sleep(0)
            return [each.request.url for each in capture.taken]

    first, second = await asyncio.gather(one("/a"), one("/b"))
    assert (["/a"] * 2, ["/b"] * 2) == (first, second)
    assert b"aabbcc" == await ask(upstream)  # nobody notes it


async def test_what_a_task_does_after_the_end_is_not_part_of_the_request() -> None:
    upstream = overheard()
    with noted(upstream) as capture:
        await ask(upstream)
        capture.close()
        await ask(upstream)
    assert 1 == len(capture.taken)


async def test_beyond_the_bound_everything_is_let_go_and_the_answer_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(overhearing, "LARGEST", 8)
    upstream = overheard()
    with noted(upstream) as capture:
        assert b"aabbcc" == await ask(upstream)
    assert ("it is larger than 0 MiB", b"") == (capture.why, capture.taken[0].body)
    assert Room().left == upstream.room.left


async def test_all_requests_share_the_room_and_give_it_back() -> None:
    upstream = overheard()
    upstream.room.left = 15
    with noted(upstream) as one:
        await ask(upstream)
    assert ("", 4) == (one.why, upstream.room.left)
    with noted(upstream) as other:
        assert b"aabbcc" == await ask(upstream)
    assert ("all notes together are larger than 64 MiB", 4) == (other.why, upstream.room.left)
    one.release()
    assert 15 == upstream.room.left


async def test_fetched_values_are_remembered_whoever_fetched_them() -> None:
    upstream = overheard()
    await upstream.fetch(LOGIN, Line(), 100)
    with noted(upstream) as capture:
        await upstream.fetch(HttpRequest("GET", "https://example.com/page"), Line(), 100)
    assert ["GET /login", "GET /page"] == list(upstream.fetched)
    assert [True] == [each.fetched for each in capture.taken]
    assert b"aabbcc" == upstream.fetched["GET /login"].body


async def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhearing, "MOST_FETCHED", 2)
    upstream = overheard()
    for path in ("a", "b", "a", "c"):
        await upstream.fetch(HttpRequest("GET", f"https://example.com/{path}"), Line(), 100)
    assert ["GET /a", "GET /c"] == list(upstream.fetched)


async def test_logins_are_noted_as_they_were_first_read() -> None:
    inner, upstream = PassingTokens(), overheard()
    inner.kept["store:a"] = {"access_token": "one"}
    tokens = OverheardTokens(inner)
    with noted(upstream) as capture:
        await tokens.load("store:a")
        await tokens.save("store:a", {"access_token": "two"})
        assert {"access_token": "two"} == await tokens.load("store:a")
    assert {"store:a": {"access_token": "one"}} == capture.logins
    assert {"store:a": {"access_token": "two"}} == tokens.kept
    async with tokens.alone("store:a"):
        assert None is await tokens.load("store:b")


async def test_what_clients_name_by_url_is_noted_too() -> None:
    web, upstream = OverheardWeb(NoWeb()), overheard()
    with noted(upstream) as capture, pytest.raises(Unfetched):
        await web.get("https://example.com/cat.png", Reach((), (), 100))
    assert [404] == [each.head.status for each in capture.taken if each.head]
