"""The two roads mean the same: generated code and Jinja's compiler, over a corpus and at random."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.chat import Message, Text
from engine.options import Env, Secret
from engine.route.filters import RenderError
from engine.route.sandbox import MASKED, PLAIN
from engine.route.survey import Survey, TemplateError
from engine.route.template import (
    Checked,
    _output_of,
    _road,
    _single,
    by_jinja,
    by_python,
    compile_template,
)
from engine.route.writer import NotCovered, Render, guard


def checked(source: str) -> Checked:
    tree = PLAIN.environment.parse(source)
    single = _single(tree)
    tree = tree if single is None else _output_of(single)
    Survey(source).walk(tree)
    return Checked(guard(tree), single is not None, "test")


def result(render: Render, env: Env) -> str:
    fresh = {**env, "_now": 1767225600.5, "_random": Random(5)}
    try:
        return repr(render(fresh))
    except RenderError:
        return "RenderError"


CORPUS = [
    "{{ a }}",
    "{{ a.b }}",
    "{{ a.b.c }}",
    "{{ a['b'] }}",
    "{{ a[0] }}{{ a[-1] }}",
    "{{ a[b] }}",
    "Bearer {{ a.k }}",
    "{{ a }}/x/{{ b }}",
    "{{ a }}{{ a }}\n",
    "{{ a or b }}",
    "{{ a and b }}",
    "{{ not a }}",
    "{{ a.b or 'fallback' }}",
    "{{ 'yes' if a else 'no' }}",
    "{{ a if b }}",
    "{{ a if b else omit }}",
    "x{{ a if b }}",
    "{{ {'t': a, 'n': {'m': a.b}, 'l': [a, omit, b]} }}",
    "{{ [a, 1] }}",
    "{{ (a, 1) }}",
    "{{ {a: b} }}",
    "{{ a ~ b ~ 1 ~ true }}",
    "{{ a + b }}",
    "{{ a - b }}",
    "{{ a * b }}",
    "{{ a / b }}",
    "{{ a // b }}",
    "{{ a % b }}",
    "{{ a ** b }}",
    "{{ -a }}{{ +a }}",
    "{{ a == b }}",
    "{{ a != b }}",
    "{{ a < b }}",
    "{{ 0 < a <= 5 }}",
    "{{ a in b }}",
    "{{ a not in [1, 'x'] }}",
    "{{ a in ('x', 'y') }}",
    "{{ a is defined }}",
    "{{ a.b is undefined }}",
    "{{ a is not none }}",
    "{{ a is string or a is number }}",
    "{{ a is divisibleby 2 }}",
    "{{ a is in b }}",
    "{{ a | default('d') }}",
    "{{ a | default('d', true) }}",
    "{{ a | default(b) | default(none) }}",
    "{{ a | strip | upper | length }}",
    "{{ a | json }}",
    "{{ a | drop_empty }}",
    "{{ a | as_messages(merge=true, system='first') }}",
    "{{ a | hmac_sha256(b) }}",
    "{{ a | join(',') }}",
    "{{ now() | strftime('%Y') }}-{{ now_ms() }}-{{ rand_alnum(size=4) }}",
    "{{ uuid4() }}",
    "{{ a.startswith('x') }}",
    "{{ a.get('b', b) }}",
    "{{ a.replace('x', 'yy', 1) }}",
    "{{ a.items() }}",
    "{{ a.get(class=1) }}",
    "{% for k, v in a.items() %}{{ k }}={{ v }}{% endfor %}",
    "{{ a.year }}",
    "{{ a.role }}",
    "{{ (a or b).c }}",
    "{{ {'x': 1}.get(a, 2) }}",
    "{{ {'x': {'y': a}}.x.y }}",
    "{{ 'é\\n\"' ~ a }}",
    "{{ none }}",
    "{{ omit }}",
    "{{ 1.5e300 * 10 }}",
]

VALUES: list[object] = [
    None,
    True,
    0,
    3,
    2.5,
    "",
    "x",
    "xyz",
    [],
    [1, "x"],
    ["x", None],
    {},
    {"b": "v"},
    {"b": {"c": 1}, "k": Secret("s", "a.k")},
    Secret("xs", "a"),
    datetime(2026, 1, 1, tzinfo=UTC),
    [Message("system", [Text("S")]), Message("user", [Text("U")])],
    Message("user", [Text("U")]),
]


@pytest.mark.parametrize("source", CORPUS)
def test_both_roads_give_the_same(source: str) -> None:
    sheet = checked(source)
    modes = (PLAIN, MASKED)
    roads = [(_road(sheet, m, None), by_jinja(sheet, m, None)) for m in modes]
    for fast, slow in roads:
        for a in [*VALUES, ...]:
            for b in [3, "x", [1], ...]:
                env = {n: v for n, v in (("a", a), ("b", b)) if v is not ...}
                assert result(slow, env) == result(fast, env), (a, b)


# --- at random ------------------------------------------------------------------------------------

ATOMS = [
    "a",
    "b",
    "a.x",
    "b.x.y",
    "a['x']",
    "b[0]",
    "'t'",
    "''",
    "1",
    "0",
    "2.5",
    "true",
    "none",
    "omit",
    "[]",
    "{}",
    "c",
]
FORMS = [
    "({0} or {1})",
    "({0} and {1})",
    "(not {0})",
    "({0} ~ {1})",
    "({0} + {1})",
    "({0} * {1})",
    "({0} == {1})",
    "({0} < {1})",
    "({0} in {1})",
    "({0} if {1} else {2})",
    "({0} if {1})",
    "[{0}, {1}]",
    "{{'p': {0}, 'q': {1}}}",
    "({0} | default({1}))",
    "({0} | strip)",
    "({0} | length)",
    "({0} | json)",
    "({0} | join({1}))",
    "({0} is defined)",
    "({0} is string)",
    "({0}).x",
    "({0})[{1}]",
    "({0}).upper()",
    "({0}).get({1})",
    "(-{0})",
    "({0} | sha256)",
]

expressions = st.recursive(
    st.sampled_from(ATOMS),
    lambda inner: st.builds(
        lambda form, parts: form.format(*parts),
        st.sampled_from(FORMS),
        st.tuples(inner, inner, inner),
    ),
    max_leaves=12,
)
data = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.text("xt é", max_size=3) | st.floats(0, 3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyp"), inner),
    max_leaves=6,
)
envs = st.dictionaries(st.sampled_from("abc"), data)


@settings(max_examples=400, deadline=None)
@given(expressions, st.booleans(), envs)
def test_any_expression_gives_the_same_on_both_roads(
    expression: str, whole: bool, env: dict[str, object]
) -> None:
    sheet = checked(f"{{{{ {expression} }}}}" if whole else f"t {{{{ {expression} }}}}{{{{ a }}}}")
    fast, slow = by_python(sheet, PLAIN, None), by_jinja(sheet, PLAIN, None)
    assert result(slow, env) == result(fast, env)


@settings(max_examples=200, deadline=None)
@given(expressions, envs)
def test_no_rendering_fails_in_another_way_than_render_error(
    expression: str, env: dict[str, object]
) -> None:
    whole = checked(f"{{{{ {expression} }}}}")
    tags = checked(f"{{% if {expression} %}}{{{{ {expression} }}}}{{% endif %}}")
    for render in (by_python(whole, MASKED, None), by_jinja(tags, PLAIN, None)):
        result(render, env)


@pytest.mark.parametrize("form", FORMS)
def test_nesting_ends_in_an_error_of_the_template_and_in_no_other(form: str) -> None:
    expression, found = "a", ""
    for _ in range(60):
        expression = form.format(expression, "b", "1")
        try:
            template = compile_template(f"{{{{ {expression} }}}}", {"a": None, "b": None})
        except TemplateError as error:
            found = error.message
            break
        with contextlib.suppress(RenderError):
            template.render({"a": "x", "b": [1]})
    assert found == "this is nested too deeply"


# --- which road -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        "{% if a %}{% endif %}",
        "{% for x in a %}{% endfor %}",
        "{% set x = a %}",
        "{{ a[1:2] }}",
        "{{ a | join(*b) }}",
        "{{ a.get(**b) }}",
    ],
)
def test_the_rest_is_left_to_jinja(source: str) -> None:
    with pytest.raises(NotCovered):
        by_python(checked(source), PLAIN, None)


def test_generated_code_keeps_only_the_names_it_uses() -> None:
    render = by_python(checked("Bearer {{ a.k | strip }}"), PLAIN, None)
    names = set(render.__globals__) - {"__builtins__"}
    assert {"Secret", "fault", "f_strip", "k0", "k1", "look", "room", "show", "text"} == names
