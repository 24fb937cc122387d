from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import ConfigError
from engine.options import Secret
from engine.shell.keys import ClientKeys
from engine.shell.mcp_settings import declared_servers, grants
from engine.shell.settings import check_settings, load_settings

KEY, OTHER = "sk-client-4Kd8Ws2Pm7Hf", "sk-client-3Vc9Qx1Zt6Bn"


def problems(lines: str) -> list[tuple[str, str]]:
    text = f'version: 1\nclients: {{ keys: ["{KEY}"] }}\n{lines}'
    try:
        return [(p.code, p.message) for p in check_settings(text.encode(), "penstock.yaml")]
    except ConfigError as error:
        return [(p.code, p.message) for p in error.problems]


@pytest.mark.parametrize(
    ("server", "code", "message"),
    [
        ("{ command: [x] }", "E103", "`mcp.s` lacks the key `allow`"),
        ("{ allow: a }", "E105", "`mcp.s` "),
        ("{ allow: a, command: [x], url: 'https://h.example/mcp' }", "E105", "`mcp.s` "),
        ("{ allow: a, command: [] }", "E608", "`mcp.s.command` names no program"),
        ("{ allow: a, url: nowhere }", "E608", "`mcp.s.url` must be an absolute http(s) URL"),
        ("{ allow: a, command: [x], headers: { a: b } }", "E608", "`mcp.s.headers` belongs to"),
        ("{ allow: a, url: 'https://h.example/', cwd: x }", "E608", "`mcp.s.cwd` belongs to"),
    ],
)
def test_a_server_is_declared_in_full(server: str, code: str, message: str) -> None:
    ((found, told),) = problems(f"mcp: {{ s: {server} }}\n")
    assert code == found
    assert told.startswith(message), told


def test_keys_that_nobody_has_cannot_be_switched_on(tmp_path: Path) -> None:
    path = tmp_path / "penstock.yaml"
    path.write_text(f'version: 1\nclients: {{ keys: ["{KEY}"], tools: ["{OTHER}"] }}\n')
    with pytest.raises(ConfigError) as caught:
        load_settings(path, {})
    assert "`clients.tools` lists a key" in str(caught.value)
    assert OTHER not in str(caught.value)


def test_only_keys_that_are_listed_may_have_tools_run() -> None:
    ids = ClientKeys([Secret(KEY), Secret(OTHER)]).ids
    assert [True, False] == list(map(grants([Secret(KEY)]), ids))
    assert [False, False, False] == list(map(grants([]), [*ids, ""]))


def test_a_star_is_everybody_also_without_a_key() -> None:
    assert grants([Secret("*")])("")


def test_paths_are_relative_to_the_file_and_secrets_are_known(tmp_path: Path) -> None:
    path = tmp_path / "penstock.yaml"
    path.write_text(
        f'version: 1\nclients: {{ keys: ["{KEY}"] }}\n'
        "mcp: { s: { command: [x], cwd: here, log: s.log, env: { A: '${env:A}' }, allow: a } }\n"
    )
    settings = load_settings(path, {"A": "hush"})
    server = settings.mcp["s"]
    assert (str(tmp_path / "here"), str(tmp_path / "s.log")) == (server.cwd, server.log)
    assert "hush" in {secret.reveal() for secret in settings.secrets()}


def test_the_names_of_servers_are_read_whatever_else_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "penstock.yaml"
    path.write_text("wrong: here\nmcp: { a: 1, b: {} }\n")
    assert frozenset({"a", "b"}) == declared_servers([path])
    assert declared_servers([]) is None
