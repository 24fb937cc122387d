"""What clients send (F18, F19, F24): keys, bodies that are none, sizes, compression."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import pytest
import pytest_asyncio

from .client import CLIENT_KEY, CLIENTS, Reply, call, wire
from .rows import new_marker
from .speech import text_of
from .stage import BODY_LIMIT, Stage, stage

pytestmark = pytest.mark.asyncio(loop_scope="module")
KINDS = ("passed", "translated")
JSON = {"Content-Type": "application/json"}
KEY = {"Authorization": f"Bearer {CLIENT_KEY}"}
DIALECTS = tuple(CLIENTS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with stage(tmp_path_factory.mktemp("gateway"), {}, KINDS) as made:
        yield made


def good(client: str, kind: str, marker: str, filler: str = "") -> dict[str, object]:
    return CLIENTS[client].body(f"{kind}.healthy", f"{filler} say {marker}", False)


async def post(here: Stage, client: str, body: bytes, **headers: str) -> Reply:
    sent = {**KEY, **JSON, **{name.replace("_", "-"): text for name, text in headers.items()}}
    return await call(here.gateway.port, "POST", CLIENTS[client].path, sent, body)


def is_whole(client: str, reply: Reply, marker: str) -> bool:
    assert 200 == reply.status, reply
    return CLIENTS[client].read_whole(reply.body).text == text_of(marker)


def assert_refused(client: str, reply: Reply, *statuses: int) -> None:
    """An error in the client's dialect, with the type that its status has there."""
    dialect = CLIENTS[client]
    assert reply.status in statuses, reply
    assert "application/json" == reply.headers["content-type"].partition(";")[0]
    error = dialect.read_error(reply.body).error
    assert [] == dialect.problems(error)
    assert error is not None
    assert dialect.failures[reply.status] == error["type"]


@contextmanager
def no_call(here: Stage) -> Iterator[None]:
    """Nothing reaches the upstream inside."""
    before = sum(map(len, here.upstream.calls.values()))
    yield
    assert before == sum(map(len, here.upstream.calls.values()))


# ---- F24: keys ----

BAD_KEYS: dict[str, dict[str, str]] = {
    "none": {},
    "empty": {"Authorization": ""},
    "bearer of nothing": {"Authorization": "Bearer "},
    "no scheme": {"Authorization": CLIENT_KEY},
    "another scheme": {"Authorization": f"Basic {CLIENT_KEY}"},
    "wrong": {"Authorization": "Bearer wrong-key-4d1e8a7b"},
    "prefix": {"Authorization": f"Bearer {CLIENT_KEY[:-1]}"},
    "longer": {"Authorization": f"Bearer {CLIENT_KEY}x"},
    "other case": {"Authorization": f"Bearer {CLIENT_KEY.upper()}"},
    "quotes": {"Authorization": "Bearer ' OR 1=1 --"},
    "not ascii": {"Authorization": "Bearer ключ-客户-🔑"},
    "very long": {"Authorization": "Bearer " + "k" * 60_000},
    "x-api-key": {"x-api-key": "wrong-key-4d1e8a7b"},
    "cookie": {"Cookie": f"key={CLIENT_KEY}; Authorization={CLIENT_KEY}"},
    "wrong before right": {"Authorization": "Bearer wrong", "x-api-key": CLIENT_KEY},
}


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("headers", BAD_KEYS.values(), ids=BAD_KEYS)
@pytest.mark.rows("K2-02", "KB-16", "IB-1")
async def test_a_bad_key_is_refused_before_any_call(
    here: Stage, client: str, headers: dict[str, str]
) -> None:
    body = json.dumps(good(client, "passed", new_marker())).encode()
    with no_call(here):
        sent = {**JSON, **headers}
        reply = await call(here.gateway.port, "POST", CLIENTS[client].path, sent, body)
    assert_refused(client, reply, 401)


@pytest.mark.parametrize("client", DIALECTS)
async def test_a_key_in_the_query_is_none(here: Stage, client: str) -> None:
    body = json.dumps(good(client, "passed", new_marker())).encode()
    path = f"{CLIENTS[client].path}?key={CLIENT_KEY}&api_key={CLIENT_KEY}"
    with no_call(here):
        reply = await call(here.gateway.port, "POST", path, JSON, body)
    assert_refused(client, reply, 401)


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize(
    "headers",
    [{"authorization": f"bearer {CLIENT_KEY}"}, {"x-api-key": CLIENT_KEY},
     {"x-goog-api-key": CLIENT_KEY}],
    ids=["bearer", "x-api-key", "x-goog-api-key"],
)  # fmt: skip
async def test_a_good_key_may_come_in_any_header(
    here: Stage, client: str, headers: dict[str, str]
) -> None:
    marker = new_marker()
    body = json.dumps(good(client, "passed", marker)).encode()
    sent = {**JSON, **headers}
    reply = await call(here.gateway.port, "POST", CLIENTS[client].path, sent, body)
    assert is_whole(client, reply, marker)


# ---- F19: bodies that cannot be served ----

MESSAGES = b'"messages": [{"role": "user", "content": "hi"}]'
BEGIN = b'{"model": "translated.healthy", '
NOT_SERVED: dict[str, bytes] = {
    "nothing": b"",
    "blank": b"  \n",
    "text": b"hello",
    "a form": b"model=passed.healthy&messages=hi",
    "a list": b"[]",
    "a string": b'"hello"',
    "a number": b"42",
    "null": b"null",
    "cut": BEGIN + b'"messages": [{"role": "user", "con',
    "a tail": BEGIN + MESSAGES + b"} x",
    "not utf-8": BEGIN + b'"messages": [{"role": "user", "content": "\xff"}]}',
    "utf-16": '{"model": "translated.healthy"}'.encode("utf-16"),
    "very deep": BEGIN + b'"messages": ' + b"[" * 100_000,
    "deep and closed": BEGIN + b'"messages": ' + b"[" * 9999 + b"]" * 9999 + b"}",
    "no model": b"{" + MESSAGES + b"}",
    "model null": b'{"model": null, ' + MESSAGES + b"}",
    "model a number": b'{"model": 7, ' + MESSAGES + b"}",
    "model a list": b'{"model": ["translated.healthy"], ' + MESSAGES + b"}",
    "no messages": b'{"model": "translated.healthy"}',
    "messages empty": BEGIN + b'"messages": []}',
    "messages a string": BEGIN + b'"messages": "hi"}',
    "messages of numbers": BEGIN + b'"messages": [1, 2]}',
    "role unknown": BEGIN + b'"messages": [{"role": "king", "content": "hi"}]}',
    "role missing": BEGIN + b'"messages": [{"content": "hi"}]}',
    "content a number": BEGIN + b'"messages": [{"role": "user", "content": 7}]}',
    "stream a word": BEGIN + b'"stream": "yes", ' + MESSAGES + b"}",
    "temperature a word": BEGIN + b'"temperature": "hot", ' + MESSAGES + b"}",
    "tools a word": BEGIN + b'"tools": "all", ' + MESSAGES + b"}",
    "not a number": BEGIN + b'"temperature": NaN, ' + MESSAGES + b"}",
}


@pytest.mark.parametrize("body", NOT_SERVED.values(), ids=NOT_SERVED)
@pytest.mark.rows("K2-37", "IF-09")
async def test_a_body_that_cannot_be_served_is_a_400(here: Stage, body: bytes) -> None:
    with no_call(here):
        reply = await post(here, "openai_chat", body)
    assert_refused("openai_chat", reply, 400)


@pytest.mark.parametrize("client", DIALECTS)
async def test_an_unknown_model_is_not_found(here: Stage, client: str) -> None:
    body = {**good(client, "passed", new_marker()), "model": "no-such\ud83d-model\u0000"}
    with no_call(here):
        reply = await post(here, client, json.dumps(body).encode())
    assert_refused(client, reply, 404)
    error = CLIENTS[client].read_error(reply.body).error
    assert error is not None
    assert ("model_not_found", "model") == (error["code"], error["param"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize(
    "text",
    [r"a\ud83db", r"a\u0000b", "a\u2028b\u0085", r"\ud83d\ude00", "﻿x", r"\/\b\f"],
    ids=["lone surrogate", "nul", "line separators", "pair", "byte order mark", "escapes"],
)
async def test_odd_text_in_a_request_is_served(
    here: Stage, client: str, kind: str, text: str
) -> None:
    marker = new_marker()
    body = json.dumps(good(client, kind, marker, "ODD"), ensure_ascii=False).replace("ODD", text)
    reply = await post(here, client, body.encode())
    assert is_whole(client, reply, marker)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/chat/completions", 405), ("DELETE", "/v1/models", 405),
     ("POST", "/v1/nothing", 404), ("GET", "/../etc/passwd", 404), ("PATCH", "/", 405)],
)  # fmt: skip
@pytest.mark.rows("K2-37")
async def test_a_wrong_path_or_method_is_an_error_of_the_dialect(
    here: Stage, method: str, path: str, status: int
) -> None:
    reply = await call(here.gateway.port, method, path, KEY)
    assert status == reply.status
    assert [] == CLIENTS["openai_chat"].problems(
        CLIENTS["openai_chat"].read_error(reply.body).error
    )


# ---- sizes ----


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("client", DIALECTS)
async def test_ten_mebibytes_are_served(here: Stage, client: str, kind: str) -> None:
    marker = new_marker()
    filler = "数据" * (10 * 1024**2 // 6)
    reply = await post(
        here, client, json.dumps(good(client, kind, marker, filler), ensure_ascii=False).encode()
    )
    assert is_whole(client, reply, marker)
    assert len(here.upstream.calls[marker][0].body) > 10 * 1024**2


@pytest.mark.parametrize("client", DIALECTS)
async def test_a_body_over_the_limit_is_too_large(here: Stage, client: str) -> None:
    body = json.dumps(good(client, "passed", new_marker(), "x" * BODY_LIMIT)).encode()
    with no_call(here):
        reply = await post(here, client, body)
    assert_refused(client, reply, 413)


@pytest.mark.parametrize("client", DIALECTS)
async def test_a_body_of_unknown_length_over_the_limit_is_too_large(
    here: Stage, client: str
) -> None:
    piece = b"100000\r\n" + b" " * 2**20 + b"\r\n"
    head = f"POST {CLIENTS[client].path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    head += f"Authorization: Bearer {CLIENT_KEY}\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with wire(here.gateway.port) as line:
        line.writer.write(head.encode() + piece * (BODY_LIMIT // 2**20 + 1) + b"0\r\n\r\n")
        reply = await line.reply()
    assert_refused(client, reply, 413)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("client", DIALECTS)
async def test_a_body_in_chunks_of_one_byte_is_served(here: Stage, client: str, kind: str) -> None:
    marker = new_marker()
    body = json.dumps(good(client, kind, marker)).encode()
    head = f"POST {CLIENTS[client].path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    head += f"Authorization: Bearer {CLIENT_KEY}\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(b"1\r\n%b\r\n" % body[at : at + 1] for at in range(len(body)))
    async with wire(here.gateway.port) as line:
        line.writer.write(head.encode() + chunks + b"0\r\n\r\n")
        assert is_whole(client, await line.reply(), marker)


@pytest.mark.parametrize("client", DIALECTS)
async def test_a_head_of_sixty_kibibytes_is_served(here: Stage, client: str) -> None:
    marker = new_marker()
    body = json.dumps(good(client, "passed", marker)).encode()
    reply = await post(here, client, body, x_metadata="m" * 60 * 1024)
    assert is_whole(client, reply, marker)


@pytest.mark.parametrize("client", DIALECTS)
async def test_a_head_over_the_limit_is_refused(here: Stage, client: str) -> None:
    body = json.dumps(good(client, "passed", new_marker())).encode()
    with no_call(here):
        reply = await post(here, client, body, x_metadata="m" * 80 * 1024)
    assert_refused(client, reply, 400)


async def test_what_is_not_http_is_refused_in_json(here: Stage) -> None:
    async with wire(here.gateway.port) as line:
        line.writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        reply = await line.reply()
    assert_refused("openai_chat", reply, 400)


# ---- F18: compression ----

PACKERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("encoding", PACKERS)
async def test_a_packed_body_is_unpacked(
    here: Stage, client: str, kind: str, encoding: str
) -> None:
    marker = new_marker()
    body = PACKERS[encoding](json.dumps(good(client, kind, marker, "x" * 100_000)).encode())
    reply = await post(here, client, body, Content_Encoding=encoding)
    assert is_whole(client, reply, marker)
    assert "content-encoding" not in here.upstream.calls[marker][0].headers


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "br"])
async def test_a_body_that_is_not_packed_as_it_says_is_refused(
    here: Stage, client: str, encoding: str
) -> None:
    body = json.dumps(good(client, "translated", new_marker())).encode()
    with no_call(here):
        reply = await post(here, client, b"\x28\xb5\x2f\xfd" + body, Content_Encoding=encoding)
    assert_refused(client, reply, 400)


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("encoding", PACKERS)
async def test_a_bomb_is_too_large_and_costs_little(
    here: Stage, client: str, encoding: str
) -> None:
    before = here.gateway.memory()
    bomb = PACKERS[encoding](b'{"model": "' + b"x" * 96 * 1024**2)
    assert len(bomb) < 2**20
    reply = await post(here, client, bomb, Content_Encoding=encoding)
    assert_refused(client, reply, 413)
    assert here.gateway.memory() - before < 4 * BODY_LIMIT


@pytest.mark.parametrize("kind", KINDS)
async def test_a_client_that_waits_to_be_asked_for_its_body_is_asked(
    here: Stage, kind: str
) -> None:
    dialect, marker = CLIENTS["openai_chat"], new_marker()
    body = json.dumps(dialect.body(f"{kind}.healthy", f"say {marker}", False)).encode()
    expecting = {**KEY, **JSON, "Expect": "100-continue", "Content-Length": str(len(body))}
    async with wire(here.gateway.port) as line:
        for _ in range(2):  # the connection is fit for another one
            await line.ask("POST", dialect.path, expecting)
            assert 100 == (await line.head()).status
            line.writer.write(body)
            reply = await line.reply()
            assert (200, text_of(marker)) == (reply.status, dialect.read_whole(reply.body).text)
        refused = {**expecting, "Content-Length": str(BODY_LIMIT + 1)}
        await line.ask("POST", dialect.path, refused)
        assert 413 == (await line.head()).status  # without having it sent


ABORTED = b'Content-Length: 500\r\n\r\n{"mod'
BAD_CHUNK = b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"mod\r\nZZ\r\n'
NOT_PACKED = b"Content-Encoding: gzip\r\nContent-Length: 7\r\n\r\nno gzip"
UNKNOWN = b"Content-Encoding: br\r\nContent-Length: 7\r\n\r\nno gzip"


@pytest.mark.parametrize(
    ("sent", "status"),
    [(ABORTED, b""), (BAD_CHUNK, b"400"), (NOT_PACKED, b"400"), (UNKNOWN, b"400")],
)
async def test_what_clients_do_wrong_is_no_error_of_the_server(
    here: Stage, sent: bytes, status: bytes
) -> None:
    head = f"POST {CLIENTS['openai_chat'].path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in KEY.items())
    async with wire(here.gateway.port) as line:
        line.writer.write(head.encode() + sent)
        if not status:
            await asyncio.sleep(0.05)
            line.writer.write_eof()
        answer = await asyncio.wait_for(line.reader.read(), 5)
    assert status == answer[9:12]
    assert (await ask_whether_it_is_well(here)) == 200
    await asyncio.sleep(0.2)  # a thread writes the log
    assert '"level":"error"' not in here.gateway.log()


async def ask_whether_it_is_well(here: Stage) -> int:
    return (await call(here.gateway.port, "GET", "/healthz")).status
