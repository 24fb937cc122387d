"""Uploads: each picture or file of a request goes to the upstream once, then by its id."""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from engine.kept.uploads import Listed
from engine.replay.explain import as_http, explain
from engine.route.route import Route
from engine.wire import HttpRequest, dumps, loads
from tests.kit import FakeSink, Say, World, route_of

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)
GIF = b"GIF89a" + bytes(range(128, 160))
ROUTE = """
version: 1
base_url: https://chat.example.com
models: [m]
AUTH
request:
  path: /chat
  json: { text: "{{ req.prompt }}", files: "{{ values.files | default(omit) }}" }
response: { events: [ { text: $.text, finish: stop } ] }
values:
  TOKEN
  files:
    scope: account
    each: [image, file]
    request: REQUEST
    extract: EXTRACT
    MORE
errors:
  message: $.message
  rules:
    - { status: 401, as: auth_expired }
    - { status: 409, as: stale }
    - { match: { ok: false }, as: overloaded }
retry: { attempts: 2, backoff: { initial: 1s, jitter: none } }
"""
FORM = '{ path: /files, multipart: { kind: "{{ media.kind }}", file: "{{ media.content }}" } }'
GOOD = Say(b'{"text":"hi"}')


def route(
    more: str = "",
    *,
    request: str = FORM,
    extract: str = "[ { json: $.id } ]",
    auth: str = "",
    token: str = "",
    env: dict[str, str] | None = None,
) -> Route:
    text = ROUTE.replace("REQUEST", request).replace("EXTRACT", extract).replace("AUTH", auth)
    return route_of(text.replace("MORE", more).replace("TOKEN", token), env=env)


@dataclass
class Shelf:
    """An upstream that keeps files; `says` are answers that come before good ones, by path."""

    says: dict[str, list[Say]] = field(default_factory=dict)
    kept: list[HttpRequest] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def __call__(self, request: HttpRequest) -> Say:
        path = "/" + request.url.split("/", 3)[3]
        self.paths.append(path)
        if path == "/files":
            self.kept.append(request)
        elif path == "/chat":
            self.asked.append(loads(request.body))
        waiting = self.says.get(path)
        if waiting:
            return waiting.pop(0)
        answers = {
            "/files": {"id": f"f{len(self.kept)}", "n": len(self.kept)},
            "/token": {"t": "x"},
        }
        return GOOD if path == "/chat" else Say(dumps(answers[path]))


def image(data: bytes) -> dict[str, Any]:
    url = f"data:image/png;base64,{b64encode(data).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


async def ask(world: World, on: Route, *pictures: bytes, **more: Any) -> FakeSink:
    content = [{"type": "text", "text": "What?"}, *map(image, pictures)]
    return await world.ask(on, [{"role": "user", "content": content}], **more)


async def test_each_picture_is_uploaded_and_its_id_is_sent() -> None:
    async with World(shelf := Shelf()) as world:
        assert "hi" == (await ask(world, route(), PNG, GIF, PNG)).text
        assert [{"text": "What?", "files": ["f1", "f2"]}] == shelf.asked
        assert 2 == len(shelf.kept)


async def test_a_form_holds_the_bytes_as_they_are() -> None:
    async with World(shelf := Shelf()) as world:
        await ask(world, route(), GIF)
        (sent,) = shelf.kept
        kind = sent.header("content-type") or ""
        boundary = kind.removeprefix("multipart/form-data; boundary=").encode()
        first, second, end = sent.body.split(b"--" + boundary)[1:]
        assert b'\r\nContent-Disposition: form-data; name="kind"\r\n\r\nimage\r\n' == first
        head, _, content = second.partition(b"\r\n\r\n")
        assert GIF + b"\r\n" == content
        told = (
            rb'form-data; name="file"; filename="image-[0-9a-f]{8}\.gif"\r\nContent-Type: image/gif'
        )
        assert re.search(told, head)
        assert b"--\r\n" == end


@pytest.mark.parametrize(
    ("request_", "body", "kind"),
    [
        ('{ path: /files, raw: "{{ media.content }}" }', GIF, "image/gif"),
        (
            '{ path: /files, json: { b: "{{ media.base64 }}", s: "{{ media.size }}" } }',
            dumps({"b": b64encode(GIF).decode(), "s": len(GIF)}), "application/json",
        ),
    ],
)  # fmt: skip
async def test_bodies_of_other_kinds_hold_it_too(request_: str, body: bytes, kind: str) -> None:
    async with World(shelf := Shelf()) as world:
        await ask(world, route(request=request_), GIF)
        assert (body, kind) == (shelf.kept[0].body, shelf.kept[0].header("content-type"))


@pytest.mark.parametrize(
    "form", ['json: { b: "{{ media.content }}" }', 'form: { b: "{{ media.content }}" }']
)
async def test_bytes_fit_nowhere_else(form: str) -> None:
    async with World(Shelf()) as world:
        sink = await ask(world, route(request=f"{{ path: /files, {form} }}"), GIF)
        assert sink.error is not None
        assert "fatal" == sink.error.cls
        assert "only a multipart form or a raw body" in sink.error.message


async def test_what_stands_in_the_list_is_the_routes_to_say() -> None:
    more = 'item: { type: file, id: "{{ found }}", name: "{{ media.name }}" }'
    async with World(shelf := Shelf()) as world:
        await ask(world, route(more), PNG)
        (entry,) = shelf.asked[0]["files"]
        assert ("file", "f1") == (entry["type"], entry["id"])
        assert entry["name"].endswith(".png")
    several = "{ id: [ { json: $.id } ], number: [ { json: $.n } ] }"
    async with World(shelf := Shelf()) as world:
        await ask(world, route(extract=several), PNG)
        assert [{"id": "f1", "number": "1"}] == shelf.asked[0]["files"]


async def test_a_conversation_that_goes_on_uploads_only_what_is_new() -> None:
    on = route("ttl: 1h")
    async with World(shelf := Shelf()) as world:
        await ask(world, on, PNG)
        await ask(world, on, PNG, GIF)
        assert [["f1"], ["f1", "f2"]] == [body["files"] for body in shelf.asked]
        world.clock.move(3601)
        await ask(world, on, PNG)
        assert (["f3"], 3) == (shelf.asked[-1]["files"], len(shelf.kept))


async def test_text_alone_uploads_nothing() -> None:
    async with World(shelf := Shelf()) as world:
        await ask(world, route())
        assert ([], [{"text": "What?", "files": []}]) == (shelf.kept, shelf.asked)


async def test_a_condition_may_leave_it_out() -> None:
    async with World(shelf := Shelf()) as world:
        await ask(world, route("when: req.user == 'ann'"), PNG)
        assert ([], [{"text": "What?"}]) == (shelf.kept, shelf.asked)


async def test_ids_belong_to_the_account_that_got_them() -> None:
    auth = "auth: { from: { env: KEYS, split: ',' }, bearer: '{{ account.key }}' }"
    headed = FORM.replace("path", 'headers: { X-Key: "{{ account.key }}" }, path')
    on = route(request=headed, auth=auth, env={"KEYS": "one,two"})
    shelf = Shelf({"/chat": [Say(b"{}", 429)]})
    async with World(shelf) as world:
        await ask(world, on, PNG)
        assert ["one", "two"] == [request.header("x-key") for request in shelf.kept]
        assert [["f1"], ["f2"]] == [body["files"] for body in shelf.asked]


async def test_ids_may_belong_to_a_conversation() -> None:
    text = ROUTE.replace("scope: account", "scope: session").replace("REQUEST", FORM)
    text = text.replace("EXTRACT", "[ { json: $.id } ]").replace("MORE", "").replace("TOKEN", "")
    on = route_of(text.replace("AUTH", "session: { key: req.user }"))
    async with World(shelf := Shelf()) as world:
        for user in ("ann", "bob", "ann"):
            await ask(world, on, PNG, user=user)
        assert [["f1"], ["f2"], ["f1"]] == [body["files"] for body in shelf.asked]


async def test_files_may_go_to_another_place() -> None:
    elsewhere = FORM.replace("path: /files", "url: 'https://files.example.org/files'")
    async with World(shelf := Shelf()) as world:
        await ask(world, route(request=elsewhere), PNG)
        assert ["https://files.example.org/files"] == [request.url for request in shelf.kept]
        assert [["f1"]] == [body["files"] for body in shelf.asked]


async def test_a_class_has_it_uploaded_again() -> None:
    shelf = Shelf({"/chat": [GOOD, Say(b"{}", 409)]})
    on = route("refresh_for: stale")
    async with World(shelf) as world:
        await ask(world, on, PNG, GIF)
        assert "hi" == (await ask(world, on, PNG)).text
        assert [["f1", "f2"], ["f1"], ["f3"]] == [body["files"] for body in shelf.asked]
        assert "hi" == (await ask(world, on, GIF)).text  # what the failed request had not used
        assert ["f2"] == shelf.asked[-1]["files"]


async def test_it_is_uploaded_once_for_all_attempts() -> None:
    shelf = Shelf({"/chat": [Say(b"{}", 503)]})
    async with World(shelf) as world:
        assert "hi" == (await ask(world, route(), PNG)).text
        assert ["/files", "/chat", "/chat"] == shelf.paths


@pytest.mark.parametrize(
    ("say", "cls", "uploads"),
    [
        (Say(b'{"message":"too big"}', 413), "invalid_request", 1),
        (Say(b'{"message":"no"}', 429), "rate_limited", 2),
        (Say(b'{"message":"no"}', 503), "overloaded", 2),
        (Say(b'{"ok":false,"message":"no"}', 200), "overloaded", 2),
        (Say(b'{"message":"no"}', 403), "auth_invalid", 1),
        (Say(b'{"other":1}', 200), "unavailable", 2),
    ],
)
async def test_a_failed_upload_has_its_class_and_is_tried_again_by_it(
    say: Say, cls: str, uploads: int
) -> None:
    async with World(shelf := Shelf({"/files": [say, say]})) as world:
        sink = await ask(world, route(), PNG)
        assert sink.error is not None
        assert (cls, uploads, []) == (sink.error.cls, len(shelf.kept), shelf.asked)
        assert sink.error.message in ("too big", "no", "value `files` was not found in the answer")


async def test_an_upload_that_failed_for_a_moment_is_made_up_for() -> None:
    async with World(shelf := Shelf({"/files": [Say(b"{}", 503)]})) as world:
        assert "hi" == (await ask(world, route(), PNG)).text
        assert ["/files", "/files", "/chat"] == shelf.paths


async def test_a_token_that_expired_at_an_upload_is_fetched_anew() -> None:
    token = "token: { request: { path: /token }, extract: [ { json: $.t } ], REFRESH }"
    token = token.replace("REFRESH", "refresh_for: auth_expired")
    headed = FORM.replace("path", 'headers: { X-T: "{{ values.token }}" }, path')
    async with World(shelf := Shelf({"/files": [Say(b"{}", 401)]})) as world:
        assert "hi" == (await ask(world, route(request=headed, token=token), PNG)).text
        assert ["/token", "/files", "/token", "/files", "/chat"] == shelf.paths


async def test_an_upload_is_no_login() -> None:
    auth = "auth: { from: { env: KEYS, split: ',' }, bearer: '{{ account.key }}' }"
    plain = route(auth=auth, env={"KEYS": "one,two"})
    token = "token: { scope: account, request: { path: /token }, extract: [ { json: $.t } ] }"
    headed = FORM.replace("path", 'headers: { X-T: "{{ values.token }}" }, path')
    on = route(auth=auth, env={"KEYS": "one,two"}, token=token, request=headed)
    async with World(shelf := Shelf()) as world:
        assert not world.keyring.logs_in(plain, plain.roster.accounts)
        assert world.keyring.logs_in(on, on.roster.accounts)
        world.keyring.log_in(on, on.roster.accounts)
        await settled()
        assert ["/token", "/token"] == shelf.paths
        assert "hi" == (await ask(world, on, PNG)).text
        assert ["/files", "/chat"] == shelf.paths[2:]


async def test_a_request_may_go_on_without() -> None:
    async with World(shelf := Shelf({"/files": [Say(b"{}", 413)]})) as world:
        assert "hi" == (await ask(world, route("on_error: skip"), PNG)).text
        assert [{"text": "What?"}] == shelf.asked


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://pics.example.com/a.png"}},
        {"type": "file", "file": {"file_id": "f9"}},
    ],
)
async def test_what_has_no_bytes_is_refused(part: dict[str, Any]) -> None:
    async with World(shelf := Shelf()) as world:
        sink = await world.ask(route(), [{"role": "user", "content": [part]}])
        assert sink.error is not None
        assert ("invalid_request", "unsupported_parameter") == (sink.error.cls, sink.error.code)
        assert "cannot be sent to the upstream" in sink.error.message
        assert [] == shelf.paths


async def test_what_is_named_by_url_is_fetched_where_the_route_does_that() -> None:
    shelf = Shelf({"/a.png": [Say(PNG)]})
    on = route(auth="media: { fetch: needed }\ndialect: openai_chat")
    async with World(shelf) as world:
        part = {"type": "image_url", "image_url": {"url": "https://pics.example.com/a.png"}}
        await world.ask(on, [{"role": "user", "content": [part]}])
        assert ["/a.png", "/files", "/chat"] == shelf.paths


async def test_several_requests_share_one_upload() -> None:
    gate = asyncio.Event()
    shelf = Shelf({"/files": [Say(b'{"id":"f1"}', gate=gate)]})
    on = route()
    async with World(shelf) as world:
        asking = [asyncio.create_task(ask(world, on, PNG)) for _ in range(3)]
        await settled()
        gate.set()
        assert ["hi"] * 3 == [(await each).text for each in asking]
        assert (1, [["f1"]] * 3) == (len(shelf.kept), [body["files"] for body in shelf.asked])


async def settled() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_who_leaves_takes_the_upload_along() -> None:
    shelf = Shelf({"/files": [Say(gate=asyncio.Event())]})
    on = route()
    async with World(shelf) as world:
        asking = asyncio.create_task(ask(world, on, PNG))
        await settled()
        assert 1 == len(world.keyring.flights)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await settled()
        assert set() == world.keyring.flights
        assert "hi" == (await ask(world, on, PNG)).text  # the next one begins anew
        assert 2 == len(shelf.kept)


async def test_who_leaves_leaves_it_to_those_who_stay() -> None:
    gate = asyncio.Event()
    shelf = Shelf({"/files": [Say(b'{"id":"f1"}', gate=gate)]})
    on = route()
    async with World(shelf) as world:
        leaving, staying = (asyncio.create_task(ask(world, on, PNG)) for _ in range(2))
        await settled()
        leaving.cancel()
        await settled()
        gate.set()
        assert "hi" == (await staying).text
        assert 1 == len(shelf.kept)


async def test_uploads_may_outlive_the_process() -> None:
    on = route("persist: true")
    async with World(shelf := Shelf()) as world:
        await ask(world, on, PNG)
        async with World(shelf) as later:
            later.keyring.ports = later.ports = replace(later.ports, durable=world.ports.durable)
            await ask(later, on, PNG)
        assert 1 == len(shelf.kept)


def test_explain_shows_each_upload_without_its_bytes() -> None:
    body = dumps(
        {"model": "m", "messages": [{"role": "user", "content": [image(PNG), image(GIF)]}]}
    )
    item = 'item: { id: "{{ found }}" }'
    found = explain(route(item), body, now=0.0)
    assert ["values.files[0]", "values.files[1]", "main"] == [step.what for step in found.steps]
    shown = as_http(found)
    assert ".gif, 38 bytes»" in shown
    assert '"id": "«values.files[1]»"' in shown


def test_a_list_knows_what_it_is_made_of() -> None:
    listed = Listed({"d": "f1"}, [{"id": "f1"}])
    assert ([{"id": "f1"}], {"d": "f1"}) == (listed, listed.parts)
