"""Fetching what a client names by URL, from real servers on loopback that are allowed by name."""

from __future__ import annotations

import asyncio
import socket
from functools import partial

import pytest
from aiohttp import web

from engine.ports import Page, Unfetched
from engine.route.media_spec import MediaSpec
from engine.route.reach import Circle, Reach, fetch_of
from engine.shell.web import PublicWeb, SystemLookup, socket_to
from tests.shell.gallery import JPEG, PNG, evil, gallery


def reach(*internal: str, hosts: tuple[str, ...] = ("*:*",), largest: int = 1000) -> Reach:
    spec = MediaSpec(fetch="always", hosts=[*hosts], internal=[*internal])
    plan = fetch_of(spec, 100)
    assert plan is not None
    return Reach(plan.reach.hosts, plan.reach.internal, largest)


async def refused(web: PublicWeb, url: str, within: Reach) -> str:
    with pytest.raises(Unfetched) as caught:
        await web.get(url, within)
    return caught.value.why


def names(**known: list[str]) -> PublicWeb:
    """A web whose names are these."""

    async def lookup(host: str) -> list[str]:
        found = known.get(host.replace(".", "_"))
        if found is None:
            raise OSError("unknown")
        return found

    return PublicWeb(lookup)


async def test_a_page_is_brought_as_it_is() -> None:
    async with gallery() as pictures:
        page = await PublicWeb().get(f"{pictures.url}/a.png?b=c%2Fd#e", reach(pictures.place))
        assert Page(PNG, "text/plain") == page
        assert ["/a.png"] == pictures.asked


async def test_nothing_of_ours_goes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    async with gallery() as pictures:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        pictures.says(
            "/first",
            lambda: web.Response(status=302, headers={"Location": "/x", "Set-Cookie": "a=b"}),
        )
        await PublicWeb().get(f"{pictures.url}/first", reach(pictures.place))
        known = {"host", "user-agent", "accept", "accept-encoding"}
        assert [known, known] == [set(headers) - {"connection"} for headers in pictures.headers]


async def test_a_named_host_may_be_internal_and_others_may_not() -> None:
    async with gallery() as pictures:
        near = names(files_lan=["127.0.0.1"])
        url = f"http://files.lan:{pictures.port}/"
        page = await near.get(url, reach(f"files.lan:{pictures.port}"))
        assert PNG == page.body
        assert "refused" == await refused(near, url, reach())
        assert "refused" == await refused(near, url, reach("files.lan"))  # another port
        assert ["/"] == pictures.asked


async def test_a_few_redirects_are_followed() -> None:
    async with gallery() as pictures:
        for step in range(5):
            pictures.leads(f"/{step}", f"/{step + 1}", (301, 302, 303, 307, 308)[step])
        within = reach(pictures.place)
        assert PNG == (await PublicWeb().get(f"{pictures.url}/2", within)).body
        assert "failed" == await refused(PublicWeb(), f"{pictures.url}/1", within)
        assert ["/2", "/3", "/4", "/5", "/1", "/2", "/3", "/4"] == pictures.asked


LED = [
    "http://127.0.0.1:%d/", "http://localhost:%d/", "//127.0.0.1:%d/x", "http://0.0.0.0:%d/",
    "http://[::1]:%d/", "http://[::ffff:127.0.0.1]:%d/", "http://2130706433:%d/",
    "http://me:you@127.0.0.1:%d/", "http://inside.example:%d/",
]  # fmt: skip


@pytest.mark.parametrize("to", LED)
async def test_a_redirect_leads_nowhere_that_the_first_url_could_not(to: str) -> None:
    async with gallery() as pictures, evil() as bad:
        pictures.leads("/go", to % bad.port)
        near = names(inside_example=["127.0.0.1"], localhost=["127.0.0.1", "::1"])
        why = await refused(near, f"{pictures.url}/go", reach(pictures.place))
        assert ("refused", 0) == (why, bad.hits)


@pytest.mark.parametrize(
    "to", ["file:///etc/hostname", "ftp://a.example/", "gopher://x", "data:,x"]
)
async def test_a_redirect_stays_with_http(to: str) -> None:
    async with gallery() as pictures:
        pictures.leads("/go", to)
        assert "refused" == await refused(PublicWeb(), f"{pictures.url}/go", reach(pictures.place))


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::1"], ["169.254.169.254"], ["0.0.0.0"],
        ["10.0.0.1"], ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"], ["fe80::1%lo"], [],
    ],
)  # fmt: skip
async def test_a_name_with_one_wrong_address_is_no_name(addresses: list[str]) -> None:
    async with evil() as bad:
        url = f"http://rogue.example:{bad.port}/"
        assert "refused" == await refused(names(rogue_example=addresses), url, reach())
        assert 0 == bad.hits


@pytest.mark.parametrize(
    ("address", "circle", "good"),
    [
        ("127.0.0.1", "public", False),
        ("127.0.0.1", "internal", True),
        ("169.254.169.254", "internal", False),
        ("8.8.8.8", "public", True),
    ],
)
def test_no_socket_is_made_for_any_other_address(address: str, circle: Circle, good: bool) -> None:
    """The last word, whatever was found before."""
    entry = (socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, 80))
    if good:
        socket_to(circle, entry).close()
    else:
        with pytest.raises(OSError, match="may not be asked"):
            socket_to(circle, entry)


async def test_unknown_names_look_like_forbidden_ones() -> None:
    assert "refused" == await refused(names(), "http://nobody.example/", reach())


async def test_the_address_that_was_checked_is_the_one_that_is_connected_to() -> None:
    """Rebinding: a name that is another address a moment later."""
    looks = [["127.0.0.2"], ["127.0.0.1"]]

    async def lookup(host: str) -> list[str]:
        return looks.pop(0)

    async with gallery("127.0.0.2") as pictures, evil(("127.0.0.1",), pictures.port) as bad:
        rebinding = PublicWeb(lookup)
        url, within = f"http://rogue.example:{bad.port}/", reach(f"rogue.example:{bad.port}")
        assert PNG == (await rebinding.get(url, within)).body
        assert (["/"], 0, 1) == (pictures.asked, bad.hits, len(looks))


async def test_the_machines_own_names_are_looked_up() -> None:
    assert "127.0.0.1" in await SystemLookup()("localhost")


@pytest.mark.parametrize(
    "url",
    [
        "", "picture.png", "//127.0.0.1/x", "ftp://127.0.0.1/", "http://", "http:///x",
        "http://a.example:99999/", "http://a b/", "http://a\\@127.0.0.1/",
        "http://a.example/\r\nX: y",
        "http://me@a.example/", "http://me:you@a.example/", "http://[::1", "http://" + "a" * 9000,
    ],
)  # fmt: skip
async def test_what_is_no_plain_http_url_is_refused(url: str) -> None:
    assert "refused" == await refused(names(a_example=["8.8.8.8"]), url, reach())


async def test_too_much_is_refused_whether_it_is_told_before_or_not() -> None:
    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(1000))

    async with gallery() as pictures:
        pictures.answers["/endless"] = endless
        pictures.says("/told", lambda: web.Response(body=bytes(1001)))
        pictures.says("/just", lambda: web.Response(body=bytes(1000)))
        within = reach(pictures.place)
        assert "large" == await refused(PublicWeb(), f"{pictures.url}/endless", within)
        assert "large" == await refused(PublicWeb(), f"{pictures.url}/told", within)
        assert 1000 == len((await PublicWeb().get(f"{pictures.url}/just", within)).body)


async def test_only_whole_plain_answers_are_taken() -> None:
    async with gallery() as pictures:
        for status in (204, 206, 304, 400, 404, 500):
            pictures.says(f"/{status}", partial(web.Response, status=status))
        packed = {"Content-Encoding": "gzip"}
        pictures.says("/packed", lambda: web.Response(body=b"\x1f\x8b", headers=packed))
        pictures.says("/jpeg", lambda: web.Response(body=JPEG, content_type="image/png"))
        within = reach(pictures.place)
        for path in ("204", "206", "304", "400", "404", "500", "packed"):
            assert "failed" == await refused(PublicWeb(), f"{pictures.url}/{path}", within)
        assert JPEG == (await PublicWeb().get(f"{pictures.url}/jpeg", within)).body


async def test_a_server_that_is_not_there_has_failed() -> None:
    async with gallery() as pictures:
        within, url = reach(pictures.place), pictures.url
    assert "failed" == await refused(PublicWeb(), url, within)


async def test_who_stops_waiting_leaves_nothing_behind() -> None:
    left = asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x")
                await asyncio.sleep(0.01)
        except ConnectionError:
            left.set()
            raise

    async with gallery() as pictures:
        pictures.answers["/slow"] = slow
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await PublicWeb().get(f"{pictures.url}/slow", reach(pictures.place))
        async with asyncio.timeout(10):
            await left.wait()
