from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest

from engine.errors import ConfigError, Problem
from engine.shell.settings import Settings, check_settings, is_loopback, load_settings

KEY = "3f9a0c5e7d1b2486"
OTHER = "c0ffee5e7d1b24869a"
ENV = {"HOME": "/home/me", "PENSTOCK_API_KEY": KEY}
KEYED = 'clients: { keys: ["${env:PENSTOCK_API_KEY}"] }\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "penstock.yaml"


def load(path: Path, text: str, env: dict[str, str] | None = None, **more: Any) -> Settings:
    path.write_text("version: 1\n" + text)
    return load_settings(path, ENV if env is None else env, **more)


def problems(
    path: Path, text: str, env: dict[str, str] | None = None, **more: Any
) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        load(path, text, env, **more)
    return caught.value.problems


def places(found: list[Problem]) -> list[tuple[int, str]]:
    return [(problem.line, problem.code) for problem in found]


# ---- reading ----


def test_defaults(path: Path) -> None:
    settings = load(path, KEYED)
    assert (settings.listen.host, settings.listen.port) == ("127.0.0.1", 8080)
    assert (settings.store, settings.watch, settings.drain) == ("memory", "auto", 60.0)
    assert (settings.limits.request, settings.limits.header) == (32 * 1024**2, 64 * 1024)
    assert (settings.log.format, settings.log.level) == ("auto", "info")
    assert (settings.metrics.enabled, settings.metrics.path) == (True, "/metrics")
    assert (settings.admin.key, settings.cors.origins, settings.hosts) == (None, [], [])
    assert settings.transforms.own is True
    assert settings.routes == []


@pytest.mark.rows("K2-04", "KT-03", "K2-31")
def test_everything_can_be_said(path: Path) -> None:
    settings = load(
        path,
        f"""
listen: {{ host: 0.0.0.0, port: "${{env:PORT:-9000}}" }}
clients: {{ keys: [{KEY}, "{OTHER}"] }}
routes: routes
transforms: {{ own: false }}
state: state
store: sqlite
log: {{ format: json, level: debug }}
metrics: {{ enabled: false, path: /internal/metrics }}
admin: {{ key: "admin-{KEY}" }}
cors: {{ origins: ["https://chat.example.com", "http://[::1]:3000"] }}
hosts: [gateway.example.com, 10.0.0.7]
watch: "off"
limits: {{ request: 1MiB, header: 16KiB, connections: 50 }}
drain: 10m
x-note: free
""",
    )
    assert (settings.listen.host, settings.listen.port) == ("0.0.0.0", 9000)
    assert [key.reveal() for key in settings.clients.keys] == [KEY, OTHER]
    assert settings.routes == [str(path.parent / "routes")]
    assert settings.state == str(path.parent / "state")
    assert settings.admin.key is not None
    assert settings.admin.key.reveal() == f"admin-{KEY}"
    assert (settings.watch, settings.drain) == ("off", 600.0)
    assert (settings.limits.request, settings.limits.connections) == (1024**2, 50)
    assert settings.transforms.own is False


@pytest.mark.rows("TB-1")
def test_an_unknown_key_names_line_column_and_the_near_word(path: Path) -> None:
    found = problems(path, KEYED + "listen: { prot: 80 }\n")
    assert str(found[0]) == (
        f"{path}:3:11: error E101: unknown key `prot` in `listen`; did you mean `port`?\n"
        "     3 | listen: { prot: 80 }\n"
        "       |           ^^^^"
    )


def test_all_mistakes_come_at_once(path: Path) -> None:
    text = KEYED + "store: rediss\nlisten: { port: many }\nlog: { level: loud }\ndrain: 60\n"
    assert places(problems(path, text)) == [(3, "E104"), (4, "E102"), (5, "E104"), (6, "E102")]


def test_the_version_must_be_there(path: Path) -> None:
    path.write_text(KEYED)
    with pytest.raises(ConfigError, match="lacks the key `version`"):
        load_settings(path, ENV)


@pytest.mark.parametrize("text", ["", "- a\n", "a: [\n", "a: 1\na: 2\n"])
def test_what_is_no_map_is_refused(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigError):
        load_settings(path, ENV)


def test_a_file_that_is_not_there_is_a_problem(path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read it: No such file"):
        load_settings(path, ENV)


def test_references_to_files_are_relative_to_the_file(path: Path) -> None:
    (path.parent / "key.txt").write_text(f"{KEY}\n")
    settings = load(path, 'clients: { keys: "${file:key.txt}" }\n')
    assert settings.clients.keys[0].reveal() == KEY
    (path.parent / "key.txt").write_bytes(b"\xff")
    assert places(problems(path, 'clients: { keys: "${file:key.txt}" }\n'))[0] == (2, "E203")


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"HOME": "/home/me"}, "/home/me/.local/state/penstock"),
        ({"HOME": "/home/me", "XDG_STATE_HOME": "/var/state"}, "/var/state/penstock"),
        ({}, "state"),
    ],
)
def test_the_state_folder_is_the_user_s(path: Path, env: dict[str, str], expected: str) -> None:
    assert load(path, "clients: { auth: none }\n", env).state == expected


def test_a_tilde_is_the_home_folder(path: Path) -> None:
    assert load(path, KEYED + "state: ~/p\n").state == "/home/me/p"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("listen: { port: 70000 }", "is between 0 and 65535"),
        ("metrics: { path: metrics }", "is a path such as"),
        ('cors: { origins: ["*"] }', "without `\\*` and path"),
        ("cors: { origins: [https://a.example/x] }", "without `\\*` and path"),
        ("hosts: [https://a.example]", "without scheme and port"),
        ("hosts: ['a.example:80']", "without scheme and port"),
        ("redis: { prefix: 'a b' }", "has letters, digits"),
        ("redis: { timeout: 1ms }", "is 10ms or more"),
        ("redis: { url: 'http://r.example' }", "`redis://`"),
        ("redis: { url: 'redis://' }", "names a server"),
        ("redis: { url: 'unix://' }", "names a server"),
        ("redis: { url: 'redis://r.example:0' }", "names a server"),
        ("redis: { url: 'redis://[' }", "names a server"),
    ],
)
@pytest.mark.rows("K2-04")
def test_values_that_cannot_be_are_refused(path: Path, line: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        load(path, f"{KEYED}{line}\n")
    assert places(caught.value.problems) == [(3, "E604")]


def test_a_shared_store_needs_its_server(path: Path) -> None:
    assert places(problems(path, KEYED + "store: redis\n")) == [(3, "E605")]
    own = KEYED + "store: redis\nredis: { url: 'rediss://:p%40ss-word@r.example/1' }\n"
    settings = load(path, own)
    assert settings.redis.url is not None
    assert repr(settings.redis.url) == "«redis.url»"
    known = {secret.reveal() for secret in settings.secrets()}
    assert {"p@ss-word", "p%40ss-word"} <= known


def test_a_wrong_url_of_a_store_is_not_shown(path: Path) -> None:
    told = problems(path, KEYED + "redis: { url: 'http://:hunter2-hunter2@r.example' }\n")
    assert places(told) == [(3, "E604")]
    assert "hunter2" not in str(told[0])


STATE_KEYS = ["A" * 43 + "=", "B" * 43 + "="]


def test_keys_for_the_state_come_from_the_file_or_the_environment(path: Path) -> None:
    both = ",".join(STATE_KEYS)
    env = {**ENV, "PENSTOCK_STATE_KEY": both}
    assert [key.reveal() for key in load(path, KEYED, env).state_key] == STATE_KEYS
    written = load(path, f"{KEYED}state_key: {STATE_KEYS[1]}\n", env).state_key
    assert [key.reveal() for key in written] == STATE_KEYS[1:]
    assert load(path, KEYED).state_key == []
    assert set(STATE_KEYS) <= {key.reveal() for key in load(path, KEYED, env).secrets()}


@pytest.mark.parametrize("key", ["short", "A" * 44, f"{STATE_KEYS[0]},"])
def test_a_key_for_the_state_that_is_none_is_refused_and_not_shown(path: Path, key: str) -> None:
    (told,) = problems(path, f"{KEYED}state_key: [{STATE_KEYS[0]}, '{key}']\n")
    assert (told.line, told.code) == (3, "E606")
    assert "A" * 40 not in str(told)
    assert "openssl" in told.message


def test_a_variable_that_is_not_set_is_told_once(path: Path) -> None:
    text = "state_key: ${env:NOT_THERE}\nredis: { url: '${env:NOT_THERE}' }\n"
    assert places(problems(path, KEYED + text)) == [(3, "E201"), (4, "E201")]


def test_warnings_are_noted_and_do_not_refuse(path: Path) -> None:
    notes: list[Problem] = []
    settings = load(path, KEYED + "watch: off\n", notes=notes)
    assert settings.watch == "off"
    assert places(notes) == [(3, "W004")]


# ---- who may call ----


@pytest.mark.parametrize("text", ["", "clients: {}\n", "clients: { keys: [] }\n"])
@pytest.mark.rows("K2-01", "KB-16", "IB-1")
def test_without_a_key_the_server_does_not_start_and_says_how_to(path: Path, text: str) -> None:
    (problem,) = problems(path, text)
    assert problem.code == "E601"
    assert 'clients: { keys: ["${env:PENSTOCK_API_KEY:?set a client key}"] }' in problem.message
    assert "clients: { auth: none }" in problem.message


def test_open_access_is_had_by_saying_so(path: Path) -> None:
    notes: list[Problem] = []
    settings = load(path, "clients: { auth: none }\n", notes=notes)
    assert (settings.clients.auth, settings.clients.keys, notes) == ("none", [], [])


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "gateway.example.com", ""])
def test_an_address_others_can_reach_needs_a_key(path: Path, host: str) -> None:
    (problem,) = problems(path, f'listen: {{ host: "{host}" }}\n')
    assert problem.code == "E601"
    assert "can be reached from other machines" in problem.message


def test_open_access_for_other_machines_is_a_warning(path: Path) -> None:
    notes: list[Problem] = []
    load(path, "listen: { host: 0.0.0.0 }\nclients: { auth: none }\n", notes=notes)
    assert places(notes) == [(3, "W601")]


def test_keys_and_open_access_exclude_each_other(path: Path) -> None:
    text = 'clients: { auth: none, keys: "${env:PENSTOCK_API_KEY}" }\n'
    assert places(problems(path, text)) == [(2, "E603")]


def test_an_unset_variable_is_told_in_its_own_words(path: Path) -> None:
    text = 'clients:\n  keys: ["${env:PENSTOCK_API_KEY:?set a client key}"]\n'
    (problem,) = problems(path, text, {})
    assert (problem.line, problem.code, problem.message) == (3, "E201", "set a client key")


@pytest.mark.parametrize("empty", ["", " ", ",", " , "])
def test_a_variable_that_is_empty_is_no_key(path: Path, empty: str) -> None:
    (problem,) = problems(path, KEYED, {"PENSTOCK_API_KEY": empty})
    assert (problem.line, problem.code) == (2, "E602")
    assert problem.message.startswith("client key 1 (env:PENSTOCK_API_KEY) is empty")


def test_a_weak_key_is_named_by_its_place_and_not_shown(path: Path) -> None:
    text = f'clients:\n  keys:\n    - "{KEY}"\n    - changeme\n    - "{OTHER}-literal"\n'
    (problem,) = problems(path, text)
    assert (problem.line, problem.code) == (5, "E602")
    assert "client key 2 (clients.keys[1]) is a known sample key" in problem.message
    assert KEY not in str(problem)
    assert "changeme" not in str(problem)


def test_the_original_default_key_is_refused(path: Path) -> None:
    text = 'clients: { keys: "${env:API_MASTER_KEY:?set a client key}" }\n'
    assert places(problems(path, text, {"API_MASTER_KEY": "1"})) == [(2, "E602")]


def test_several_keys_in_one_variable_are_split_at_commas(path: Path) -> None:
    env = {"PENSTOCK_API_KEY": f" {KEY}, {OTHER},"}
    keys = load(path, KEYED, env).clients.keys
    assert [key.reveal() for key in keys] == [KEY, OTHER]
    assert keys[0].name == "env:PENSTOCK_API_KEY"


def test_a_weak_key_among_several_is_refused(path: Path) -> None:
    (problem,) = problems(path, KEYED, {"PENSTOCK_API_KEY": f"{KEY},1"})
    assert "client key 2 (env:PENSTOCK_API_KEY) is a known sample key" in problem.message


def test_hashed_keys_are_keys(path: Path) -> None:
    digest = "sha256:" + hashlib.sha256(KEY.encode()).hexdigest()
    assert load(path, f"clients: {{ keys: [{digest}] }}\n").clients.keys[0].reveal() == digest


def test_a_file_of_keys(path: Path) -> None:
    (path.parent / "keys").write_text(f"# clients\n\n{KEY}\n  {OTHER}  \n")
    settings = load(path, "clients: { file: keys }\n")
    assert [key.reveal() for key in settings.clients.keys] == [KEY, OTHER]


def test_a_weak_key_in_a_file_is_named_by_its_line(path: Path) -> None:
    (path.parent / "keys").write_text(f"{KEY}\nchangeme\n")
    (problem,) = problems(path, "clients: { file: keys }\n")
    assert (problem.file, problem.line) == (str(path.parent / "keys"), 2)


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, ["E203", "E601"]), (b"# none\n", ["E601"]), (b"\xff", ["E203", "E601"])],
)
def test_a_file_without_keys_is_refused(
    path: Path, content: bytes | None, expected: list[str]
) -> None:
    if content is not None:
        (path.parent / "keys").write_bytes(content)
    found = problems(path, "clients: { file: keys }\n")
    assert sorted(problem.code for problem in found) == expected


def test_the_admin_key_must_be_good_and_no_client_key(path: Path) -> None:
    weak = problems(path, KEYED + "admin: { key: admin }\n")
    assert places(weak) == [(3, "E602")]
    same = problems(path, KEYED + f"admin: {{ key: {KEY} }}\n")
    assert places(same) == [(3, "E603")]
    assert KEY not in str(same[0])


def test_an_address_for_the_admin_needs_its_key(path: Path) -> None:
    assert places(problems(path, KEYED + "admin: { listen: { port: 0 } }\n")) == [(3, "E603")]


def test_secrets_are_listed_for_the_redactor(path: Path) -> None:
    settings = load(path, KEYED + f'admin: {{ key: "admin-{KEY}" }}\n')
    assert [secret.reveal() for secret in settings.secrets()] == [KEY, f"admin-{KEY}"]
    assert KEY not in repr(settings)


# ---- options of the command line ----


def test_options_win_over_the_file(path: Path) -> None:
    over = {"listen.port": 0, "log.level": "debug", "routes": ["mine"], "transforms.own": False}
    settings = load(path, KEYED + "listen: { host: '::1', port: 1 }\nroutes: [a]\n", overrides=over)
    assert dataclasses.astuple(settings.listen) == ("::1", 0)
    assert (settings.log.level, settings.routes) == ("debug", ["mine"])
    assert settings.transforms.own is False


def test_an_option_that_was_not_given_changes_nothing(path: Path) -> None:
    assert load(path, KEYED, overrides={"listen.port": None}).listen.port == 8080


def test_a_wrong_option_says_so(path: Path) -> None:
    (problem,) = problems(path, KEYED, overrides={"log.level": "loud"})
    assert (problem.file, problem.code) == ("command line", "E104")


def test_without_a_file_nothing_is_open_by_itself() -> None:
    with pytest.raises(ConfigError, match=r"there is no client key.*--open"):
        load_settings(None, ENV)


def test_without_a_file_an_option_opens() -> None:
    settings = load_settings(None, ENV, {"clients.auth": "none", "listen.port": 9000})
    assert (settings.clients.auth, settings.listen.port) == ("none", 9000)
    assert settings.listen.host == "127.0.0.1"


# ---- checking text ----


def test_checking_needs_no_environment_and_no_files() -> None:
    text = (
        b'version: 1\nclients: { keys: "${env:K}", file: keys }\nlisten: { port: "${env:PORT}" }\n'
    )
    with pytest.raises(ConfigError) as caught:
        check_settings(text, "p.yaml")
    assert places(caught.value.problems) == [(2, "E201"), (3, "E201")]


def test_checking_finds_what_loading_would() -> None:
    with pytest.raises(ConfigError, match="did you mean `clients`"):
        check_settings(b"version: 1\nclient: { auth: none }\n", "p.yaml")
    with pytest.raises(ConfigError, match="is a known sample key"):
        check_settings(b'version: 1\nclients: { keys: ["${env:K}", changeme] }\n', "p.yaml")
    assert check_settings(b"version: 1\nclients: { auth: none }\n", "p.yaml") == []


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("penstock.localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
        ("2130706433", False),
    ],
)
def test_which_addresses_mean_this_machine(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
