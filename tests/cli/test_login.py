"""`penstock login` as a process: what it prints, what it takes, what it never shows."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.cli import main
from tests.identity import SECRET, Identity, identity
from tests.shell.test_login import CODE, visit

TWO = CODE.replace("STORE", '"*.json"').replace(
    "flow: auth", "accounts: [ann, bob]\n      flow: auth"
)


def routes(home: Path, service: Identity | None, text: str = CODE) -> list[str]:
    url = service.url if service else "https://id.example.com"
    folder = home / "routes"
    folder.mkdir(exist_ok=True)
    made = text.replace("URL", url).replace("STORE", str(home / "creds.json"))
    (folder / "chat.yaml").write_text(made)
    return ["--routes", str(folder)]


async def started(home: Path, *args: str) -> asyncio.subprocess.Process:
    env = {key: value for key, value in os.environ.items() if "DISPLAY" not in key}
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "engine", "login", *args,
        cwd=home, env={**env, "SECRET": SECRET, "PYTHONPATH": str(Path.cwd())},
        stdin=pipe, stdout=pipe, stderr=pipe,
    )  # fmt: skip


async def page_of(process: asyncio.subprocess.Process) -> tuple[str, str]:
    """The page it shows, and all it said until then."""
    assert process.stdout is not None
    said = ""
    while "\n\n  http" not in said or not said.endswith("\n\n"):
        line = (await process.stdout.readline()).decode()
        assert line, said
        said += line
    hit = re.search(r"\n\n  (http\S+)\n", said)
    assert hit is not None
    return hit[1], said


@pytest.mark.parametrize("paste", [False, True], ids=["the browser comes back", "pasted"])
async def test_a_login_on_a_machine_without_a_display(tmp_path: Path, paste: bool) -> None:
    async with identity() as service:
        process = await started(tmp_path, "chat", *routes(tmp_path, service))
        page, text = await page_of(process)
        _, _, back = await visit(page, follow=not paste)
        rest, errors = await process.communicate(f"{back}\n".encode() if paste else None)
        kept = json.loads((tmp_path / "creds.json").read_bytes())
    out = rest.decode()
    assert (process.returncode, errors.decode()) == (0, "")
    assert re.search(r"^Logged in: chat default until 20\d\d-", out, re.M)
    assert f"Kept in {tmp_path}/creds.json: access_token, refresh_token" in out
    for secret in (kept["access_token"], kept["refresh_token"], SECRET):
        assert not re.search(rf"{secret}\b", text + out)
    again = await started(tmp_path, "--list", "--routes", str(tmp_path / "routes"))
    listed, _ = await again.communicate()
    assert re.fullmatch(
        r"chat  default  authorization_code  logged in until \S+ \S+ UTC\n", listed.decode()
    )


async def test_a_person_who_says_no(tmp_path: Path) -> None:
    async with identity(agrees=False) as service:
        process = await started(tmp_path, "chat", *routes(tmp_path, service))
        page, _ = await page_of(process)
        assert (await visit(page))[0] == 400
        _, errors = await process.communicate()
    assert process.returncode == 1
    assert errors.decode() == "penstock login: the login was not granted: access_denied\n"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ([], "which route? --list shows them"),
        (["nobody"], "no route `nobody`"),
        (["chat"], "which account? There are ann, bob"),
        (["chat", "eve"], "no account `eve`; there are ann, bob"),
        (["openai-key"], "has no account that logs in"),
        (["chat", "ann", "--config", "none.yaml"], "no file none.yaml"),
    ],
)
def test_wrong_use_is_told(tmp_path: Path, args: list[str], told: str) -> None:
    folder = routes(tmp_path, None, TWO)
    plain = "version: 1\nextends: openai\nbase_url: https://a.example\nmodels: [o]\n"
    (tmp_path / "routes/openai-key.yaml").write_text(plain)
    result = CliRunner(env={"SECRET": SECRET}).invoke(main, ["login", *args, *folder])
    assert result.exit_code == 2
    assert told in result.output


def test_accounts_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = routes(tmp_path, None, TWO)
    (tmp_path / "routes/bob.json").write_text('{"access_token": "at"}')
    result = CliRunner(env={"SECRET": SECRET}).invoke(main, ["login", "--list", *folder])
    assert result.output == (
        "chat  ann  authorization_code  not logged in\nchat  bob  authorization_code  logged in\n"
    )


def test_a_route_with_a_mistake_is_told(tmp_path: Path) -> None:
    folder = routes(tmp_path, None, CODE.replace("client_id", "client_idd"))
    result = CliRunner(env={"SECRET": SECRET}).invoke(main, ["login", "chat", *folder])
    assert result.exit_code == 1
    assert "unknown key `client_idd`" in result.output
