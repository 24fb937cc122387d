"""Templates, conditions, pipes and trees as the rest of the engine uses them."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.chat import Message, Text, ToolCall
from engine.options import OMIT, Secret, Template
from engine.route.filters import Absent, RenderError
from engine.route.template import (
    TemplateError,
    compile_condition,
    compile_pipe,
    compile_template,
    compile_tree,
    tree_of,
)
from engine.wire import dumps, loads


class Seven(Random):
    """A source that always says the same."""

    def random(self) -> float:
        return 0.5


REQ = frozenset(
    {
        "id",
        "model",
        "messages",
        "system",
        "system_text",
        "prompt",
        "stream",
        "temperature",
        "top_p",
        "max_tokens",
        "stop",
        "tools",
        "tool_choice",
        "response_format",
        "reasoning",
        "seed",
        "n",
        "user",
        "session_id",
        "metadata",
        "extra",
    }
)
ROOTS = {
    "req": REQ,
    "model": None,
    "account": None,
    "values": None,
    "session": None,
    "vars": None,
    "let": None,
    "sig": None,
    "oauth": None,
    "messages": None,
    "take": None,
    "data": None,
}


def render(source: str, **env: object) -> object:
    return compile_template(source, ROOTS).render(env)


# --- native values and text -----------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.7, 1, True, False, None, "", "text", [1, None], {"a": {}}])
def test_a_whole_expression_keeps_its_type(value: object) -> None:
    found = render("{{ req.temperature }}", req={"temperature": value})
    assert value == found
    assert type(value) is type(found)


@pytest.mark.parametrize(
    "words", ["1e3", "None", "0x10", "...", "[1,2]", "0000", "478", "true", "{{ 7*7 }}"]
)
def test_what_a_client_wrote_is_never_evaluated(words: str) -> None:
    req = {"prompt": words}
    assert render("{{ req.prompt }}", req=req) == words
    assert render("{{ req.prompt ~ '' }}", req=req) == words
    assert render("say {{ req.prompt }}", req=req) == f"say {words}"
    assert render("{% if true %}{{ req.prompt }}{% endif %}", req=req) == words
    assert loads(dumps(compile_tree({"p": "{{ req.prompt }}"}, ROOTS).render({"req": req}))) == {
        "p": words
    }


def test_text_cannot_add_keys_to_a_body() -> None:
    words = 'a","admin":true,"b":"c\n'
    tree = compile_tree({"p": "{{ req.prompt }}"}, ROOTS)
    assert loads(dumps(tree.render({"req": {"prompt": words}}))) == {"p": words}


def test_json_text_is_not_escaped_for_html() -> None:
    assert render("{{ {'a': \"<&'>\"} | json }}") == '{"a":"<&\'>"}'


def test_text_without_braces_is_itself() -> None:
    for source in ("", "plain", "a } } b", "{# no comment #}", "100%", "$.x", "{ {x} }"):
        template = compile_template(source, ROOTS)
        assert (source, source, True) == (template.render({}), template.source, template.constant)


def test_the_line_end_of_a_block_scalar_leaves_a_whole_expression_whole() -> None:
    assert render("{{ req.n }}\n", req={"n": 1}) == 1
    assert render("{{ req.n }} \n", req={"n": 1}) == "1 \n"
    assert render("{{ req.n }}\n\n", req={"n": 1}) == "1\n\n"
    assert render(" {{ req.n }}", req={"n": 1}) == " 1"
    assert render("{{- req.n -}}", req={"n": 1}) == 1


def test_tags_give_text() -> None:
    source = "{% if req.stream %}{{ req.n }}{% else %}none{% endif %}"
    assert render(source, req={"stream": True, "n": 1}) == "1"
    assert render(source, req={}) == "none"
    assert render("{% set x = req.n + 1 %}{{ x }}", req={"n": 1}) == "2"


# --- omit and undefined ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        "{{ req.user }}",
        "{{ req.extra.a.b }}",
        "{{ req.user | strip }}",
        "{{ omit }}",
        "{{ 1 if req.user }}",
        "{{ req.user or omit }}",
        "{{ session[0][1:] }}",
        "{{ vars }}",
    ],
)
def test_a_whole_expression_without_a_value_is_omitted(source: str) -> None:
    assert OMIT is render(source, req={})


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("x{{ req.user }}", r"`req\.user` is not set"),
        ("x{{ req.extra.kb }}", r"`req\.extra` is not set"),
        ("{{ 'x' ~ req.user }}", r"`req\.user` is not set"),
        ("{{ req.n + 1 }}", r"`req\.n` is not set"),
        ("{% for x in req.stop %}{% endfor %}", "`stop` is not set"),
        ("x{{ none }}{{ req.user }}", "null cannot stand inside text"),
        ("x{{ 1 if req.user }}", "`omit` cannot stand inside text"),
        ("{{ 1 if req.user < 1 }}", r"`req\.user` is not set"),
    ],
)
def test_what_is_not_there_is_an_error_inside_text_and_in_sums(source: str, named: str) -> None:
    with pytest.raises(RenderError, match=named):
        render(source, req={})


def test_what_a_loop_lacks_is_told_with_what_the_loop_reads() -> None:
    source = "{% for x in req.messages %}{{ x.body }}{% endfor %}"
    with pytest.raises(RenderError, match=r"`body` is not set in an expression of req\.messages"):
        render(source, req={"messages": [{}]})


def test_default_cures() -> None:
    assert render("x{{ req.user | default('y') }}", req={}) == "xy"
    assert render("{% for x in req.stop | default([]) %}{% endfor %}", req={}) == ""


def test_literals_drop_what_has_no_value() -> None:
    source = "{{ {'a': req.n, 'b': [req.user, omit, none], 'c': {'d': req.seed}} }}"
    assert render(source, req={"n": 1}) == {"a": 1, "b": [None], "c": {}}


def test_errors_hold_no_values() -> None:
    for source in (
        "{{ req.prompt + 1 }}",
        "{{ req.prompt[1:] / 2 }}",
        "x{% if req.prompt < 1 %}{% endif %}",
    ):
        with pytest.raises(RenderError) as caught:
            render(source, req={"prompt": "TOP-SECRET"})
        assert str(caught.value) == "TypeError in an expression of req.prompt"


# --- conditions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("req.reasoning", False),
        ("not req.reasoning", True),
        ("req.user == 'u'", True),
        ("req.user.startswith('u') and model.id in ['m', 'n']", True),
        ("req.missing.x == 1", False),
        ("req.missing > 1", False),
        ("'a' in req.missing", False),
        ("req.missing.startswith('a')", False),
        ("req.user > 1", False),
        ("data.a.b is defined", False),
        ("omit", False),
    ],
)
def test_a_condition_is_true_or_false_and_nothing_else(source: str, expected: bool) -> None:
    condition = compile_condition(source, {**ROOTS, "req": None})
    assert condition.test({"req": {"user": "u"}, "model": {"id": "m"}}) is expected
    assert source == condition.source


def test_templates_and_conditions_can_be_bound_and_called() -> None:
    template = compile_template("{{ vars.a }}{{ messages }}", ROOTS).bind({"vars": {"a": 1}})
    assert template(messages=2) == "12"
    assert compile_condition("messages", ROOTS).bind({})(messages=[1]) is True


# --- the language document's own ------------------------------------------------------------------

FLATTENED = """\
{%- for m in messages -%}
{{ {'user': '用户', 'system': '系统'}.get(m.role, '模型') }}: {{ m.text }}
{% endfor -%}
"""

DOCUMENT = [
    "/c/api/conversations/{{ values.conversation | urlpath }}",
    "/model/{{ model.upstream | urlpath }}/{{ 'converse-stream' if req.stream else 'converse' }}",
    "/models/{{ model.upstream | urlpath }}:{{ 'streamGenerate' if req.stream else 'generate' }}",
    "Bearer {{ values.token }}",
    "https://www.k2think.ai/c/{{ let.chat }}",
    "session-{{ uuid4() }}",
    "session_{{ now_ms() }}_{{ rand_alnum(9) }}",
    "token={{ values.token }}",
    "v1={{ sig.value }}",
    FLATTENED,
    "{{ ('iFlow-Cli:' ~ let.sid ~ ':' ~ let.ts) | hmac_sha256(account.api_key) }}",
    "{{ [{'text': req.system_text}] if req.system_text else omit }}",
    "{{ account.api_key }}",
    "{{ let.sid }}",
    "{{ model.upstream }}",
    "{{ now('Asia/Shanghai') | strftime('%Y-%m-%d') }}",
    "{{ now_ms() }}",
    "{{ oauth.access_token }}",
    "{{ req.extra.kb_list or [uuid4()] }}",
    "{{ req.max_tokens or model.max_output }}",
    "{{ req.messages | as_anthropic }}",
    "{{ req.messages | as_openai }}",
    "{{ req.messages | as_text_messages }}",
    "{{ req.prompt }}",
    "{{ req.system | as_anthropic }}",
    "{{ req.temperature }}",
    "{{ req.tool_choice | as_openai }}",
    "{{ req.tools | as_anthropic }}",
    "{{ req.tools | as_openai }}",
    "{{ session.kb_list }}",
    "{{ sig.method }}\n{{ sig.path_query }}\n{{ sig.timestamp }}\n{{ sig.body_sha256 }}",
    "{{ take.answer }}",
    "{{ true if req.reasoning else omit }}",
    "{{ uuid4() }}",
    "{{ values.nonce }}",
    "{{ vars.thinking_prompt if req.reasoning else omit }}",
    "{{ {'enable_thinking': req.reasoning is defined} }}",
    "{{ {'include_usage': true} if req.stream else omit }}",
    "{{ {'parts': [{'text': req.system_text}]} if req.system_text else omit }}",
    "{{ {'type': 'enabled', 'budget_tokens': req.reasoning.budget} if req.reasoning else omit }}",
]


@pytest.mark.parametrize("source", DOCUMENT)
def test_the_templates_of_the_language_document_compile(source: str) -> None:
    assert isinstance(compile_template(source, ROOTS), Template)


@pytest.mark.parametrize(
    ("source", "env", "expected"),
    [
        ("{{ req.max_tokens or model.max_output }}", {"req": {}, "model": {"max_output": 9}}, 9),
        ("{{ req.max_tokens or model.max_output }}", {"req": {"max_tokens": 1}}, 1),
        (
            "{{ {'include_usage': true} if req.stream else omit }}",
            {"req": {"stream": True}},
            {"include_usage": True},
        ),
        ("{{ {'include_usage': true} if req.stream else omit }}", {"req": {"stream": False}}, OMIT),
        (
            "/models/{{ model.upstream | urlpath }}:x",
            {"model": {"upstream": "a/b"}},
            "/models/a%2Fb:x",
        ),
        (
            "{{ {'enable_thinking': req.reasoning is defined} }}",
            {"req": {}},
            {"enable_thinking": False},
        ),
        ("{{ now('Asia/Shanghai') | strftime('%Y-%m-%d') }}", {"_now": 1767225599.0}, "2026-01-01"),
        (
            "session_{{ now_ms() }}_{{ rand_alnum(9) }}",
            {"_now": 1.5, "_random": Seven()},
            "session_1500_sssssssss",
        ),
        (
            "{{ ('iFlow-Cli:' ~ let.sid ~ ':' ~ let.ts) | hmac_sha256(account.api_key) }}",
            {
                "let": {"sid": "session-00000000-0000-4000-8000-000000000000", "ts": 1700000000000},
                "account": {"api_key": Secret("sk-test-0000")},
            },
            "a421ec34235883fcb8015c037b6f99c020ee1c4089079ae89b1f4fdc0823c640",
        ),
    ],
)
def test_the_templates_of_the_language_document_give(
    source: str, env: dict[str, object], expected: object
) -> None:
    assert expected == compile_template(source, ROOTS).render(env)


def test_the_flattened_history_of_the_language_document() -> None:
    talk = [
        Message("system", [Text("Kurz.")]),
        Message("user", [Text("{{ 7*7 }}")]),
        Message("assistant", [Text("49"), ToolCall("1", "f", "{}")]),
    ]
    assert render(FLATTENED, messages=talk) == "系统: Kurz.\n用户: {{ 7*7 }}\n模型: 49\n"


# --- pipes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "value", "expected"),
    [
        ("strip | int", " 42 ", 42),
        ("int", "x", None),
        ("regex_search('id=(\\d+)')", "id=7", "7"),
        ("regex_search('id=(\\d+)')", "none", None),
        ("as_messages(roles={'a': 'b'}, merge=true)", [], []),
        ("default('d')", Absent(name="value"), "d"),
        ("strip", Absent(name="value"), None),
        ("truncate_chars(-1)", "ab", "a"),
    ],
)
def test_a_pipe_finishes_what_was_found(source: str, value: object, expected: object) -> None:
    assert expected == compile_pipe(source)(value)


@pytest.mark.parametrize(
    ("source", "message", "at"),
    [
        ("nope", "the filter `nope` does not exist", 0),
        ("strip | tirm", "the filter `tirm` does not exist", 8),
        ("default(other)", "`other` does not exist here", 8),
        ("default(now_ms())", "the arguments of `default` must be literal here", 0),
        ("join(*[1])", "the arguments of `join` must be literal here", 0),
        ("strip ~ 'a'", "only filters may follow a path", 0),
        ("strip }}", "unexpected `}}`", 0),
    ],
)
def test_a_pipe_holds_filters_with_literal_arguments_only(
    source: str, message: str, at: int
) -> None:
    with pytest.raises(TemplateError) as caught:
        compile_pipe(source)
    assert (message, at) == (str(caught.value), caught.value.at)


# --- trees ----------------------------------------------------------------------------------------

BODY: dict[str, Any] = {
    "model": "{{ model.upstream }}",
    "temperature": "{{ req.temperature }}",
    "messages": "{{ req.messages }}",
    "stop": ["{{ req.user }}", "END", "{{ omit }}", "{{ none }}"],
    "options": {
        "seed": "{{ req.seed }}",
        "{{ never }}": "{{ req.n }}",
        "deep": [{"a": [1, None, 2.5]}],
    },
    "empty": {},
    "stream": False,
    "constant": "{{ {'a': [1]} }}",
}


def test_a_tree_gives_the_plain_value_without_what_is_omitted() -> None:
    tree = compile_tree(BODY, ROOTS)
    env = {"model": {"upstream": "m"}, "req": {"messages": [1], "n": 2, "seed": None}}
    expected = {
        "model": "m",
        "messages": [1],
        "stop": ["END", None],
        "options": {"seed": None, "{{ never }}": 2, "deep": [{"a": [1, None, 2.5]}]},
        "empty": {},
        "stream": False,
        "constant": {"a": [1]},
    }
    rendered: Any = tree.render(env)
    assert expected == rendered
    assert list(expected) == list(rendered)
    assert tree.source is BODY
    assert {
        "model.upstream",
        "req.temperature",
        "req.messages",
        "req.user",
        "req.seed",
        "req.n",
    } == tree.mentions


def test_what_a_tree_gives_may_be_changed() -> None:
    tree = compile_tree(BODY, ROOTS)
    first: Any = tree.render({"model": {}, "req": {}})
    first["options"]["deep"][0]["a"].append("x")
    first["constant"]["a"].append("x")
    first["empty"]["x"] = 1
    second: Any = tree.render({"model": {}, "req": {}})
    assert second["options"]["deep"] == [{"a": [1, None, 2.5]}]
    assert second["constant"] == {"a": [1]}
    assert second["empty"] == {}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("{{ req.n }}", 3),
        ("x{{ req.n }}", "x3"),
        ("{{ omit }}", OMIT),
        (5, 5),
        (None, None),
        ([], []),
    ],
)
def test_a_tree_may_be_a_single_leaf(value: object, expected: object) -> None:
    assert expected == compile_tree(value, ROOTS).render({"req": {"n": 3}})


def test_secrets_are_leaves_too() -> None:
    tree = compile_tree({"secret": Secret("s3", "env:X"), "t": "{{ account.key }}"}, ROOTS)
    env = {"account": {"key": Secret("k3", "account.key")}}
    assert tree.render(env) == {"secret": "s3", "t": "k3"}
    assert tree.render({**env, "_mask": True}) == {"secret": "«env:X»", "t": "«account.key»"}


def test_leaves_are_compiled_by_whom_the_reader_sends() -> None:
    class Node:
        """A scalar with its place, as the YAML reader has it."""

    good, bad, wrong = Node(), Node(), object()
    leaf = {good: Template("", lambda env: env["x"], frozenset({"x"})), bad: wrong}.get
    tree = tree_of({"a": [good, bad]}, leaf)
    assert tree.render({"x": 1}) == {"a": [1, wrong]}
    assert tree.mentions == {"x"}


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text("ab'\"\\{}\n你"),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("ab'\\"), inner),
    max_leaves=15,
)


@given(json_values)
def test_a_tree_without_templates_is_its_value(value: object) -> None:
    constant = tree_of(value, lambda leaf: Template("", lambda env: leaf, constant=True))
    changing = tree_of(value, lambda leaf: Template("", lambda env: leaf))
    assert repr(value) == repr(constant.render({})) == repr(changing.render({}))
