"""Logins by a person, who is a script here: a browser, a pasted address, a device."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from engine.auth.tokens import Tokens
from engine.errors import ExchangeError
from engine.shell.login import Booth, desk, open_page, state_of, typed_lines, until
from engine.shell.settings import load_settings
from tests.identity import SECRET, Identity, identity
from tests.kit import route_of
from tests.shell.test_oauth import ROUTE, ask, serving, stored

CODE = ROUTE.replace("flow: authorization_code", "flow: authorization_code\n      scope: chat")
OWN = ROUTE.replace(
    "      authorize_url: URL/authorize\n",
    """      authorize_url: URL/authorize
      authorize_params:
        { redirect: "{{ oauth.callback }}", state: "{{ oauth.state }}", type: phone }
""",
)
DEVICE = ROUTE.replace(
    "flow: authorization_code\n      authorize_url: URL/authorize",
    "flow: device_code\n      device_url: URL/device",
)


@dataclass
class Person:
    """Whom the login talks to."""

    said: list[str] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)

    def shown(self, url: str) -> bool:
        self.pages.append(url)
        return True


@asynccontextmanager
async def booth(
    service: Identity, home: Path, person: Person, text: str = CODE
) -> AsyncIterator[Booth]:
    text = text.replace("URL", service.url).replace("STORE", str(home / "creds.json"))
    route = route_of(text, env={"SECRET": SECRET})
    settings = load_settings(None, {}, {"clients.auth": "none", "state": str(home)})
    async with desk(settings, person.said.append) as ports:
        lines = asyncio.Queue[str]()
        yield Booth(ports, route, route.logins[0], person.said.append, lines, person.shown)


async def visit(url: str, *, follow: bool = True) -> tuple[int, str, str]:
    """What a browser sees: status, text, where it would go."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, allow_redirects=follow) as answer,
    ):
        return answer.status, await answer.text(), answer.headers.get("Location", "")


async def in_a_browser(made: Booth, person: Person, *before: str) -> tuple[Tokens, list[Any]]:
    """The login, while a browser visits the page that is shown, and others before."""
    seen: list[Any] = []

    async def browse() -> None:
        while not person.pages:
            await asyncio.sleep(0.01)
        back = re.search(r"redirect(?:_uri)?=([^&]+)", person.pages[0])
        assert back is not None
        port = re.search(r"%3A(\d+)%2F", back[1])
        assert port is not None
        here = f"http://127.0.0.1:{port[1]}"
        seen.extend([await visit(f"{here}{path}") for path in before])
        seen.append(await visit(person.pages[0]))

    async with asyncio.TaskGroup() as group:
        group.create_task(browse())
        login = group.create_task(made.run())
    return login.result(), seen


async def test_a_browser_that_comes_back(tmp_path: Path) -> None:
    async with identity() as service:
        person = Person()
        async with booth(service, tmp_path, person) as made:
            tokens, seen = await in_a_browser(made, person)
            assert await state_of(made.ports, made.login) == f"logged in{until(tokens)}"
        assert (seen[-1][0], "Logged in" in seen[-1][1]) == (200, True)
        assert stored(tmp_path)["access_token"] == tokens.access
        assert (tmp_path / "creds.json").stat().st_mode & 0o777 == 0o600
        assert service.pages[0]["scope"] == "chat"
        assert "code_challenge" in service.pages[0]
        assert not any(tokens.access in line for line in person.said)
        async with serving(service, tmp_path) as running:
            assert (await ask(running))[0] == 200


@pytest.mark.rows("IF-01")
async def test_a_page_with_names_of_its_own(tmp_path: Path) -> None:
    async with identity() as service:
        person = Person()
        async with booth(service, tmp_path, person, OWN) as made:
            await in_a_browser(made, person)
        assert set(service.pages[0]) == {"redirect", "state", "type"}
        assert "code_verifier" not in service.asked[0]


@pytest.mark.rows("IF-01")
async def test_requests_that_are_not_of_this_login_change_nothing(tmp_path: Path) -> None:
    async with identity() as service:
        person = Person()
        strangers = (
            "/callback?code=stolen&state=guessed", "/favicon.ico", "/callback",
            "/callback?error=%3Cscript%3E&state=guessed",
        )  # fmt: skip
        async with booth(service, tmp_path, person) as made:
            tokens, seen = await in_a_browser(made, person, *strangers)
        assert [status for status, _, _ in seen] == [400, 404, 400, 400, 200]
        assert not any("<script>" in text for _, text, _ in seen)
        assert [each["code"] for each in service.asked] != ["stolen"]
        assert tokens.access in service.good


async def test_a_person_who_says_no(tmp_path: Path) -> None:
    async with identity(agrees=False) as service:
        person = Person()
        async with booth(service, tmp_path, person) as made:
            with pytest.raises(ExceptionGroup) as caught:
                await in_a_browser(made, person)
        assert caught.group_contains(ExchangeError, match="access_denied")
        assert not (tmp_path / "creds.json").exists()


@pytest.mark.parametrize("whole", [True, False], ids=["the address", "the code"])
@pytest.mark.rows("IF-01")
async def test_without_a_browser_the_address_or_the_code_is_pasted(
    tmp_path: Path, whole: bool
) -> None:
    async with identity() as service:
        person = Person()
        async with booth(service, tmp_path, person) as made:
            async with asyncio.TaskGroup() as group:
                login = group.create_task(made.run())
                while not person.pages:
                    await asyncio.sleep(0.01)
                _, _, back = await visit(person.pages[0], follow=False)
                code = re.search(r"code=([^&]+)", back)
                assert code is not None
                for line in ("\n", f"{back}&state=other\n".replace("state=", "x="), ""):
                    made.lines.put_nowait(line)
                made.lines.put_nowait(f"{back if whole else code[1]}\n")
            assert login.result().access in service.good
        assert any("state differs" in line for line in person.said)


async def test_a_port_that_is_taken_leaves_pasting(tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    text = CODE.replace(
        "      scope: chat", f"      scope: chat\n      callback: {{ port: {port} }}"
    )
    async with server, identity() as service:
        person = Person()
        async with booth(service, tmp_path, person, text) as made:
            async with asyncio.TaskGroup() as group:
                login = group.create_task(made.run())
                while not person.pages:
                    await asyncio.sleep(0.01)
                _, _, back = await visit(person.pages[0], follow=False)
                assert back.startswith(f"http://localhost:{port}/callback?")
                made.lines.put_nowait(back)
            assert login.result().access in service.good
        assert any("is taken" in line for line in person.said)


async def test_a_device(tmp_path: Path) -> None:
    async with identity() as service:
        person = Person()
        async with booth(service, tmp_path, person, DEVICE) as made:
            clock: Any = made.ports.clock
            waits: list[float] = []

            async def sleep(seconds: float) -> None:
                waits.append(seconds)
                for code in service.devices:
                    states = ("authorization_pending", "slow_down", "agreed")
                    service.devices[code] = states[min(len(waits), 3) - 1]

            clock.sleep = sleep
            tokens = await made.run()
        assert waits == [0.5, 0.5, 5.5]
        assert any("ABCD-1234" in line for line in person.said)
        assert stored(tmp_path)["access_token"] == tokens.access
        async with serving(service, tmp_path, DEVICE) as running:
            assert (await ask(running))[0] == 200


async def test_a_client_that_logs_in_by_itself(tmp_path: Path) -> None:
    text = ROUTE.replace("flow: authorization_code", "flow: client_credentials")
    async with identity() as service:
        person = Person()
        async with booth(service, tmp_path, person, text) as made:
            assert await state_of(made.ports, made.login) == "logs in by itself"
            assert (await made.run()).access in service.good


async def test_how_accounts_stand(tmp_path: Path) -> None:
    async with identity() as service:
        person = Person()
        async with booth(service, tmp_path, person) as made:

            async def state(**kept: Any) -> str:
                (tmp_path / "creds.json").write_text(json.dumps(kept))
                return await state_of(made.ports, made.login)

            assert await state_of(made.ports, made.login) == "not logged in"
            assert await state(access_token="a") == "logged in"
            assert await state(access_token="a", expiry_date=1) == "ended"
            assert await state(access_token="a", refresh_token="r", expiry_date=1) == (
                "to be refreshed"
            )
            assert await state(access_token="a", expiry_date=4102444800000) == (
                "logged in until 2100-01-01 00:00 UTC"
            )


async def test_lines_are_read_as_they_are_typed() -> None:
    lines = typed_lines(io.StringIO("one\ntwo"))
    assert [await lines.get(), await lines.get()] == ["one\n", "two"]


def test_no_page_is_opened_without_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def show(url: str) -> bool:
        opened.append(url)
        return True

    monkeypatch.setattr("webbrowser.open", show)
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert not open_page("http://a")
    monkeypatch.setenv("DISPLAY", ":0")
    assert open_page("http://a")
    assert opened == ["http://a"]
