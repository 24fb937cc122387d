"""From the text of a route to a Route, or to every Problem that stands in the way."""

from __future__ import annotations

import re
from random import Random
from typing import Any

import pytest

from engine.errors import ConfigError
from engine.options import Secret
from engine.route.compile import Compiled, Sources, compile_route
from engine.route.references import Outside
from engine.route.route import Route
from tests.kit import compiled, problems_of, route_of
from tests.route.corpus import BAD, GOOD, compile_bytes

ROUTE = """
version: 1
dialect: openai_chat
base_url: https://a.example/v1
models: [m]
"""
OWN = '''"""A transform of a test."""
from engine.transform import HttpRequest
API = 1
HOSTS = ("auth.example.com",)

class Transform:
    def patch(self, request: HttpRequest) -> HttpRequest:
        return request
'''


def test_the_name_is_written_or_the_files_stem() -> None:
    assert compiled(ROUTE).name == "sample"
    assert compiled(ROUTE + "name: other").name == "other"
    assert compiled("name: other\nversion: 1\noops").name == "sample"
    assert compiled("name: [a]\nversion: 1").name == "sample"


@pytest.mark.parametrize("text", ["", "text", "[1, 2]", "5", "null", "a: ["])
def test_what_is_no_map_is_no_route(text: str) -> None:
    found = compiled(text)
    assert (found.route, found.spec) == (None, None)
    assert found.errors


def test_an_abstract_route_is_checked_and_not_made() -> None:
    found = compiled("version: 1\nabstract: true\ndialect: openai_chat\n")
    assert found.route is None
    assert found.spec is not None
    assert found.problems == []


def test_notes_are_free_wherever_else_a_key_is_wrong() -> None:
    assert problems_of(ROUTE + "x-note: { any: [thing] }\n$schema: a.json") == []
    assert problems_of("version: 1\nmodels: 5.5.5\nx-note: 1\nbase_url: https://a.example\n") != []
    assert problems_of(ROUTE + "retry: { attempts: many }\nx-note: 1\n") == ["6:E102"]


def test_unset_variables_alone_are_told_apart() -> None:
    found = compiled(ROUTE + 'auth: { bearer: "${env:A}", header: { x: "${env:B}" } }\n')
    assert (found.unset, found.only_unset, found.route) == (("A", "B"), True, None)
    found = compiled(ROUTE + "auth: { from: { env: C } }\n")
    assert (found.unset, found.only_unset) == (("C",), True)
    assert problems_of(ROUTE + "auth: { from: { env: C } }\n") == ["6:E201"]


def test_a_reference_that_failed_is_told_once() -> None:
    assert problems_of(ROUTE + 'timeouts: { total: "${env:NONE}" }\n') == ["6:E201"]


def test_accounts_come_from_the_environment_the_route_or_the_client() -> None:
    env = {"K": "sk-1"}
    assert route_of(ROUTE).account == {}
    assert route_of(ROUTE + "auth: { from: { env: K } }", env=env).account == {
        "key": Secret("sk-1")
    }
    inline = route_of(
        ROUTE + 'auth: { from: { inline: { a: "${env:K}", b: x } } }', env=env
    ).account
    assert inline == {"a": Secret("sk-1"), "b": Secret("x")}
    assert inline is not None
    assert [repr(part) for part in inline.values()] == ["«env:K»", "«auth.from.inline.b»"]
    assert route_of(ROUTE + "auth: { from: { client_key: true } }").account is None


# ---- what it was made of ----


def files_of(parents: dict[str, str], text: str = ROUTE) -> Compiled:
    def parent(name: str, file: str) -> tuple[bytes, str] | str:
        return (parents[name].encode(), f"{name}.yaml") if name in parents else "no such parent"

    def transform(name: str) -> tuple[bytes, str] | None:
        return (OWN.encode(), f"transforms/{name}.py") if name == "own" else None

    outside = Outside({"K": "v"}, read=lambda path: "from a file")
    return compile_route(text.encode(), "routes/a.yaml", Sources(outside, parent, transform))


def test_every_file_a_route_was_made_of_is_known() -> None:
    text = 'extends: one\ntransforms: [own]\nvars: { x: "${file:/run/x}" }\nversion: 1\n'
    parents = {"one": f"extends: two\n{ROUTE}", "two": "version: 1\nvars: { y: 1 }\n"}
    found = files_of(parents, text + "models: [m]\n")
    assert found.problems == []
    assert found.files == (
        "routes/a.yaml", "one.yaml", "two.yaml", "transforms/own.py", "/run/x",
    )  # fmt: skip
    assert found.route is not None
    assert found.route.files == found.files
    assert found.route.hosts == ("auth.example.com",)


def test_the_digest_tells_whether_anything_changed() -> None:
    plain = digest(ROUTE)
    assert digest(ROUTE) == plain
    assert digest(ROUTE + "retry: { attempts: 5 }\n") != plain
    with_key = ROUTE + 'auth: { bearer: "${env:K}" }\n'
    assert digest(with_key, K="a") != digest(with_key, K="b")
    with_own = ROUTE + "transforms: [own]\n"
    assert digest_of(route_of(with_own, own=OWN)) != digest_of(route_of(with_own, own=OWN + "\n"))


def digest(text: str, **env: str) -> str:
    return digest_of(route_of(text, env=env))


def digest_of(route: Route) -> str:
    return route.digest


# ---- transforms ----


def test_a_transform_is_named_alone_with_options_or_with_a_condition() -> None:
    text = ROUTE + (
        "transforms:\n  - own\n  - own:\n  - { own: null, when: req.stream }\n"
        "  - think_tags: { outside: drop }\n"
    )
    stages = route_of(text, own=OWN).stages
    assert [stage.loaded.name for stage in stages] == ["own", "own", "own", "think_tags"]
    assert [stage.when is not None for stage in stages] == [False, False, True, False]
    options: Any = stages[3].options
    assert options.outside == "drop"


@pytest.mark.parametrize(
    ("items", "code"),
    [
        ("[nope]", "E421"),
        ("[../own]", "E421"),
        ("['']", "E421"),
        ("[Own]", "E421"),
        ("[5]", "E102"),
        ("[[own]]", "E102"),
        ("[{ own: {}, think_tags: {} }]", "E102"),
        ("[{ when: req.stream }]", "E102"),
        ("[{ own: { a: 1 } }]", "E423"),
        ("[{ own: 5 }]", "E423"),
        ("[{ think_tags: { outsde: drop } }]", "E101"),
        ("[{ think_tags: 5 }]", "E102"),
        ("[{ own: null, when: req.strea }]", "E302"),
        ("[{ js_value: { name: x, read: $.a } }]", "E422"),
    ],
)
def test_what_is_wrong_with_an_item_is_told_at_its_place(items: str, code: str) -> None:
    found = problems_of(f"{ROUTE}transforms: {items}", own=OWN)
    assert [problem.partition(":")[2] for problem in found] == [code]


def test_a_finder_is_only_asked_for_names() -> None:
    asked = []

    def transform(name: str) -> tuple[bytes, str] | None:
        asked.append(name)
        return None

    for name in ("../x", "a/b", "A", "_a", "a" * 65, "a b", ""):
        text = f"{ROUTE}transforms: ['{name}']"
        compile_route(text.encode(), "a.yaml", Sources(transform=transform))
    assert asked == []


def test_a_broken_transform_is_told_with_its_own_place() -> None:
    found = compiled(ROUTE + "transforms: [own]", own=OWN.replace("API = 1", "API = 2"))
    assert [(p.file, p.code) for p in found.problems] == [("transforms/own.py", "E403")]


def test_without_executing_nothing_of_a_transform_runs() -> None:
    def transform(name: str) -> tuple[bytes, str]:
        return (OWN + "\nLATE = 1 / 0\n").encode(), "transforms/own.py"

    text = (ROUTE + "transforms: [own]").encode()
    ran = compile_route(text, "a.yaml", Sources(transform=transform))
    read = compile_route(text, "a.yaml", Sources(transform=transform, execute=False))
    assert [p.code for p in ran.problems] == ["E413"]
    assert read.problems == []


# ---- live state ----


def test_state_is_kept_under_the_part_that_defines_it() -> None:
    session = "session: { key: [req.user], state: { id: x } }\n"

    def print_of(text: str) -> str:
        plan = route_of(text).session
        assert plan is not None
        return plan.fingerprint

    first = print_of(ROUTE + session)
    assert print_of(ROUTE + session + "timeouts: { total: 5s }\n") == first
    assert print_of(ROUTE + session.replace("key: [", "ttl: 5m, key: [")) == first
    assert print_of(ROUTE + session.replace("id: x", "id: y")) != first
    assert print_of(ROUTE.replace("a.example", "b.example") + session) != first


# ---- passing through ----


@pytest.mark.parametrize(
    ("more", "passes"),
    [
        ("", True),
        ("auth: { bearer: k }", True),
        ("request: { path: /x, patch: [ { drop: a } ] }", True),
        ("transforms: [own]", True),
        ("transforms: [think_tags]", False),
        ("request: { json: {} }", False),
        ("request: { form: {} }", False),
        ("request: { unknown: drop }", False),
        ("session: { key: [req.user] }", False),
        ("stream: { use: always }", False),
        ("stream: { min_text: 1 }", False),
        ("stream: { format: sse }", True),
        ("stream: { format: ndjson }", False),
        ("stream: { events: [ { text: $.x, finish: $.f } ] }", False),
        ("response: { min_text: 1 }", False),
        ("response: { events: [ { text: $.x } ] }", False),
        ("profile: { forward_extras: [a] }", True),
        ("profile: { developer_role: system }", False),
        ("profile: { usage_in_stream: false }", False),
    ],
)
def test_bytes_pass_where_nothing_has_to_look_at_them(more: str, passes: bool) -> None:
    assert route_of(f"{ROUTE}{more}\n", own=OWN).passthrough == passes


def test_a_custom_upstream_has_no_dialect_to_pass() -> None:
    text = ROUTE.replace("dialect: openai_chat\n", "request: { path: /x }\n")
    assert not route_of(text + "response: { events: [ { text: $.x } ] }").passthrough


# ---- whatever the text ----

WORDS = [
    "", "null", "1", "-1", "true", "[]", "{}", "[1, 2]", "{a: 1}", '"{{ req.prompt }}"', '"{{ x"',
    '"${env:NOPE}"', '"${env:KEY}"', "text", '"/(/"', "$.a[", "5s", '"\\n"', '"\\0"', "[[1]]",
    "{a: {b: [1]}}", ".inf", "-.INF", "1e400", "*x", "&x y", "!!str 1", '"*"', '{"*": 1}',
    "[null]", '{"a": null}', '"$${"', '"${vars:a}"', '"${x"', "{{ a }}", "😀", "inherit", "~",
]  # fmt: skip
TOKEN = re.compile(r"[\w$.\-\"{}\[\]*/]+")


def mutated(text: str, draw: Random) -> str:
    """The text with a value, a token or the indentation of one or two lines replaced."""
    lines = text.split("\n")
    for _ in range(draw.choice((1, 1, 2))):
        at = draw.randrange(len(lines))
        line, word = lines[at], draw.choice(WORDS)
        tokens = list(TOKEN.finditer(line))
        match draw.randrange(4):
            case 0 if ":" in line:
                lines[at] = f"{line.partition(':')[0]}: {word}"
            case 1 if tokens:
                hit = draw.choice(tokens)
                lines[at] = line[: hit.start()] + word + line[hit.end() :]
            case 2:
                lines[at] = " " * draw.choice((0, 1, 2, 4)) + line.lstrip()
            case _:
                lines.insert(at, draw.choice(lines))
    return "\n".join(lines)


@pytest.mark.parametrize("seed", range(4))
def test_no_mistake_of_a_file_is_more_than_a_problem(seed: int) -> None:
    draw = Random(seed)
    for _ in range(150):
        path = draw.choice(GOOD + BAD)
        text = mutated(path.read_text(errors="replace"), draw)
        found = compile_bytes(text.encode(), path.name, path.parent)
        assert found.problems or found.spec is not None


def test_a_config_error_tells_every_problem() -> None:
    found = compiled(ROUTE + "retry: { attempts: many }\nlimits: 5\n")
    told = str(ConfigError(found.problems))
    assert told.count("error E102") == 2


def test_a_value_of_an_account_is_not_inherited_by_another() -> None:
    def print_of(value: str, key: str) -> str:
        text = (
            f"{ROUTE}auth: {{ from: {{ env: K }} }}\n"
            f"values: {{ v: {{ {value}, extract: [ {{ body: true }} ] }} }}\n"
        )
        return route_of(text, env={"K": key}).values["v"].fingerprint

    shared = 'request: { path: "/v/{{ account.key | urlpath }}" }'
    assert print_of(shared, "a") == print_of(shared, "a") != print_of(shared, "b")
    for value in ("request: { path: /v }", f"scope: account, {shared}"):  # kept under the account
        assert print_of(value, "a") == print_of(value, "b")


@pytest.mark.parametrize(
    ("head", "request_", "method"),
    [
        ("", "path: /x", "GET"),
        ("", "{ path: /x, query: { q: a } }", "GET"),
        ("", "{ path: /x, raw: a }", "POST"),
        ("", "{ path: /x, method: PUT }", "PUT"),
        ("dialect: openai_chat\n", "path: /x", "POST"),
        ("transforms: [writes]\n", "path: /x", "POST"),
    ],
)
def test_a_question_without_a_body_is_a_get(head: str, request_: str, method: str) -> None:
    text = (
        f"version: 1\nbase_url: https://a.example\nmodels: [m]\n{head}request:\n  {request_}\n"
        "response: { events: [ { text: $.t, finish: stop } ] }\n"
    )
    own = (
        '"""Writes the body."""\nfrom engine.transform import HttpRequest\nAPI = 1\n'
        "class Transform:\n    def patch(self, request):\n        return request\n"
    )
    route = route_of(text, writes=own)
    assert method == route.plan.method
