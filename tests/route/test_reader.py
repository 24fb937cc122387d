"""Nodes become option dataclasses; what the bad routes show is not repeated here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from engine.errors import Problem
from engine.options import Duration, Secret, option
from engine.route.classify import Classifier
from engine.route.compile import Compiled, Sources, compile_route
from engine.route.nodes import Node, read, resolve
from engine.route.reader import WRONG, Reader
from engine.route.references import Outside, Resolver
from engine.route.spec import RouteSpec
from tests.route.corpus import GOOD, ROOT, compile_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    flag: bool | str = option("no", "a flag or a word")
    wait: Duration | bool = option(False, "a time or a flag")
    key: str | None = option(None, "a key", secret=True)
    things: list[int] | dict[str, int] | None = option(None, "numbers")


def mixed(text: str) -> Any:
    problems: list[Problem] = []
    node = read(text, "x.yaml", problems)
    assert node is not None
    reader = Reader(Resolver(Outside(), node, problems), {}, problems)
    value = reader.options(node, Mixed, "")
    assert bool(problems) == (value is WRONG)
    return value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("flag: true", Mixed(flag=True)),
        ("flag: often", Mixed(flag="often")),
        ("wait: 2s", Mixed(wait=Duration(2.0))),
        ("things: [1, 2]", Mixed(things=[1, 2])),
        ("things: { a: 1 }", Mixed(things={"a": 1})),
        ("things: null", Mixed()),
        ("things: 5", WRONG),
        ("key: k", Mixed(key=Secret("k"))),  # type: ignore[arg-type]
    ],
)
def test_a_field_of_several_types_takes_the_one_that_fits(text: str, value: object) -> None:
    assert mixed(text) == value


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("012", "int", 12),
        ("0x1f", "int", 31),
        ("0o17", "int", 15),
        ("1e3", "float", 1000.0),
        ("-.5", "float", -0.5),
        ("-.inf", "float", float("-inf")),
        ("12:30:45", "str", "12:30:45"),
        ("2024-01-01", "str", "2024-01-01"),
        ("1_000", "str", "1_000"),
        ("0b11", "str", "0b11"),
        ("on", "str", "on"),
        ("=", "str", "="),
        ("~", "null", None),
        ("True", "bool", True),
    ],
)
def test_plain_scalars_follow_the_core_schema(text: str, kind: str, value: object) -> None:
    assert resolve(text) == (kind, value)


def test_what_comes_from_outside_is_parsed_by_its_fields_type() -> None:
    spec = compile_file(next(path for path in GOOD if path.stem == "outside")).spec
    assert spec is not None
    assert spec.base_url == "https://api.example.com/v1"
    assert (spec.enabled, spec.retry.attempts, spec.retry.backoff.factor) == (True, 2, 1.5)
    assert (spec.timeouts.idle, spec.timeouts.early_headers) == (20.0, 0.0)
    assert spec.vars == {"host": "api.example.com", "path": "v1", "ratio": 0.5, "price": "5${"}
    assert spec.models[0].set == {"ratio": "0.7"}


def test_words_that_come_from_outside_are_read_without_case() -> None:
    text = "version: 1\nbase_url: https://x.example\nmodels: [m]\ndialect: openai_chat\n"
    for written, wrong in (("${vars:w}", False), ("WARN", True)):
        source = f"{text}on_unsupported: {written}\nvars: {{ w: WARN }}\n".encode()
        found = compile_route(source, "x.yaml", Sources())
        assert bool(found.problems) is wrong, found.problems


def test_without_a_reader_of_files_none_can_be_named() -> None:
    problems: list[Problem] = []
    node = read("a: ${file:/run/x}", "x.yaml", problems)
    assert node is not None
    Resolver(Outside(), node, problems).resolve(node.walk())
    assert [problem.code for problem in problems] == ["E203"]


# ---- parents ----


def chain(depth: int) -> list[str]:
    """Codes of a route with so many ancestors."""
    from engine.route.compile import Sources, compile_route

    top = (ROOT / "tests/fixtures/good/preset.yaml").read_bytes()

    def parent(name: str, file: str) -> tuple[bytes, str] | str:
        at = int(name)
        return (top if at == depth else f"extends: '{at + 1}'\n".encode()), name

    child = b"version: 1\nextends: '1'\nbase_url: https://a.example.com\nmodels: [m1]\n"
    return [p.code for p in compile_route(child, "child.yaml", Sources(parent=parent)).problems]


def test_five_files_may_stand_above_a_route_and_no_sixth() -> None:
    assert chain(5) == []
    assert chain(6) == ["E205"]


# ---- what many files say alike ----

FILE = """
version: 1
name: {name}
base_url: https://{name}.test
models: [{name}]
"""
CHAT = FILE + "dialect: openai_chat\n"
JOB = """
request:
  json: { prompt: hello }
  poll:
    path: /jobs
    extract: { job: { transform: nowhere } }
    until: { status: 200 }
response: { events: [{ text: $.text }] }
"""


def made(name: str, own: str, begin: str = CHAT, **env: str) -> Compiled:
    sources = Sources(Outside(env=env))
    return compile_route((begin.format(name=name) + own).encode(), f"{name}.yaml", sources)


def node_of(text: str) -> Node:
    node = read(text, "x.yaml", [])
    assert node is not None
    return node


def specs(own: str, other: str | None = None) -> tuple[RouteSpec, RouteSpec]:
    one, two = made("one", own).spec, made("two", own if other is None else other).spec
    assert one is not None
    assert two is not None
    return one, two


def test_what_files_say_alike_is_one_value_wherever_it_stands() -> None:
    errors = "errors: { message: [$.a], rules: [{ status: 5xx, as: fatal }] }\n"
    one, two = specs(f"timeouts: {{ idle: 9s }}\n{errors}", f"\n{errors}timeouts:\n  idle: 9s\n")
    assert one.timeouts is two.timeouts
    assert one.errors is two.errors
    assert Classifier(one.errors).faults is Classifier(two.errors).faults
    assert [9.0, "fatal"] == [two.timeouts.idle, two.errors.rules[0].as_]


@pytest.mark.parametrize(
    ("own", "other"),
    [
        ("timeouts: { idle: 9s }", "timeouts: { idle: 8s }"),
        ("timeouts: { idle: 9s }", "timeouts: { total: 9s }"),
        ("timeouts: { idle: 9s }", "timeouts: { idle: 9s, total: 9s }"),
        ("limits: { per_client: { rpm: 2 } }", "limits: { per_account: { rpm: 2 } }"),
    ],
)
def test_what_files_say_otherwise_is_read_otherwise(own: str, other: str) -> None:
    one, two = specs(own, other)
    assert one != two
    assert specs(own, own)[0].timeouts == one.timeouts
    assert specs(other, other)[1].limits == two.limits


@pytest.mark.parametrize(
    "value", ["'1'", "1", "1.0", "true", "null", "[1]", "{ a: 1 }", "[]", "{}"]
)
def test_each_kind_of_value_says_something_of_its_own(value: str) -> None:
    kinds = ["'1'", "1", "1.0", "true", "null", "[1]", "{ a: 1 }", "[]", "{}", "'null'", "['1']"]
    said = {kind: node_of(f"a: {kind}").said() for kind in kinds}
    assert [value] == [kind for kind in kinds if said[kind] == said[value]]


def test_a_reference_is_looked_up_for_each_file_that_says_it() -> None:
    found = [made("a", "limits: { request: '${env:S}' }", S=size).spec for size in ("1KiB", "2KiB")]
    assert [1024, 2048] == [spec.limits.request for spec in found if spec is not None]


def test_an_expression_is_held_against_the_variables_of_each_file_that_says_it() -> None:
    own = "upstream: { headers: { X: '{{ vars.tier }}' } }\n"
    good, bad = made("good", own + "vars: { tier: a }"), made("bad", own)
    assert good.route is not None
    assert ["E302"] == [problem.code for problem in bad.problems]


def test_a_mistake_is_told_of_each_file_that_makes_it() -> None:
    told = [made(name, "\nprofile: { stop_max: many }").problems for name in ("a", "b")]
    assert [("a.yaml", 8, "E102"), ("b.yaml", 8, "E102")] == [
        (problem.file, problem.line, problem.code) for (problem,) in told
    ]


def test_what_is_found_out_later_is_told_of_each_file_that_says_it() -> None:
    told = [made(name, JOB, FILE).problems for name in ("a", "b")]
    for name, problems in zip("ab", told, strict=True):
        missing = [problem for problem in problems if problem.code == "E421"]
        assert [f"{name}.yaml"] == [problem.file for problem in missing]


ASKS = "request: { json: { q: '{{ vars.tone }} {{ req.prompt }}' } }\n"
ANSWERS = "response: { events: [{ text: $.text, when: 'vars.tone == \"kind\"' }] }\n"


def test_what_reads_variables_is_shared_by_those_that_have_the_same() -> None:
    one = made("one", "vars: { tone: kind }\n" + ASKS + ANSWERS, FILE)
    two = made("two", "vars: { tone: 'not kind' }\n" + ASKS + ANSWERS, FILE)
    assert one.route is not None
    assert two.route is not None
    assert one.route.spec.request is two.route.spec.request
    assert one.route.spec.response is two.route.spec.response
    assert one.route.whole_road is two.route.whole_road
    assert one.route.classifier is two.route.classifier
    tones = [route.offer(route.name).vars["tone"] for route in (one.route, two.route)]  # type: ignore[union-attr]
    assert tones == ["kind", "not kind"]


def test_what_reads_a_variable_is_wrong_where_there_is_none() -> None:
    mistakes = []
    for own in ("vars: { tone: kind }", "vars: { other: kind }", "vars: { tone: kind }", ""):
        compiled = made("one", own + "\n" + ASKS + ANSWERS, FILE)
        mistakes.append([problem.code for problem in compiled.errors])
    assert mistakes == [[], ["E302", "E302"], [], ["E302", "E302"]]


def test_a_preset_that_reads_variables_is_checked_for_each_of_its_children() -> None:
    preset = ("version: 1\nabstract: true\nbase_url: https://a.test\n" + ASKS + ANSWERS).encode()

    def child(own: str) -> Compiled:
        sources = Sources(Outside(env={}), parent=lambda name, near: (preset, "family.yaml"))
        text = f"version: 1\nname: a\nextends: _family.yaml\nmodels: [a]\n{own}"
        return compile_route(text.encode(), "a.yaml", sources)

    found = [child(own) for own in ("vars: { tone: kind }", "", "vars: { tone: other }")]
    assert [[problem.code for problem in each.errors] for each in found] == [
        [], ["E302", "E302"], []
    ]  # fmt: skip
    first, _, third = (each.spec for each in found)
    assert first is not None
    assert third is not None
    assert first.request is third.request


# ---- credentials that are written out ----

WRITTEN = """
auth:
  header: { Authorization: 'Token tok-9fQ2mZx7', X-Pass: 'correct horse battery', X-App: web }
  query: { key: 'q-4711-secret' }
  cookie: { session: '{{ req.user }}' }
"""


def test_a_credential_in_the_file_is_a_secret_like_one_from_outside() -> None:
    route = made("one", WRITTEN).route
    assert route is not None
    known = [each for each in route.references.values() if isinstance(each, Secret)]
    assert {(each.name, each.reveal()) for each in known} == {
        ("auth.header.Authorization", "tok-9fQ2mZx7"),
        ("auth.header.X-Pass", "correct horse battery"),
        ("auth.query.key", "q-4711-secret"),
    }
    env: dict[str, object] = {"_ref": route.references, "req": {"user": "ann"}}
    assert dict(route.placements(env)) == {
        "Authorization": "Token tok-9fQ2mZx7", "X-Pass": "correct horse battery", "X-App": "web",
    }  # fmt: skip
    assert dict(route.placements({**env, "_mask": True})) == {
        "Authorization": "Token «auth.header.Authorization»",
        "X-Pass": "«auth.header.X-Pass»",
        "X-App": "web",
    }


@pytest.mark.parametrize(
    "auth", ["bearer: w9-literal", "basic: { username: u, password: p4-word }"]
)
def test_no_explanation_shows_a_credential_in_the_file(auth: str) -> None:
    route = made("one", f"auth: {{ {auth} }}").route
    assert route is not None
    shown = route.placements({"_ref": route.references, "_mask": True})
    assert "w9-literal" not in str(shown)
    assert "p4-word" not in str(shown)
    assert any(each.reveal() in ("w9-literal", "p4-word") for each in route.references.values())  # type: ignore[attr-defined]
