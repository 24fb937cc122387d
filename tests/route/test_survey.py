"""What is refused when a template is compiled: the message, and where it points."""

from __future__ import annotations

import pytest

from engine.route.template import TemplateError, compile_condition, compile_template

ROOTS = {
    "req": frozenset({"temperature", "top_p", "prompt", "messages", "user"}),
    "model": frozenset({"id", "upstream"}),
    "values": None,
    "vars": None,
}


def refused(source: str, *, condition: bool = False) -> TemplateError:
    with pytest.raises(TemplateError) as caught:
        (compile_condition if condition else compile_template)(source, ROOTS)
    return caught.value


@pytest.mark.parametrize(
    ("source", "message", "word"),
    [
        (
            "{{ req.temprature }}",
            "`req.temprature` does not exist; did you mean `req.temperature`?",
            "temprature",
        ),
        (
            "x {{ req['temprature'] }}",
            "`req.temprature` does not exist; did you mean `req.temperature`?",
            "temprature",
        ),
        (
            "{{ req.user }} {{ req.zzz }}",
            "`req.zzz` does not exist; there are messages, prompt, temperature, top_p, user",
            "zzz",
        ),
        ("{{ modle.id }}", "`modle` does not exist here; did you mean `model`?", "modle"),
        (
            "{{ 'modle' ~ modle.id }}",
            "`modle` does not exist here; did you mean `model`?",
            "modle.id",
        ),
        ("a\nb {{ req.user }}\n{{ xyz }}", "`xyz` does not exist here", "xyz"),
        (
            "{{ req.prompt | as_opena }}",
            "the filter `as_opena` does not exist; did you mean `as_openai`?",
            "as_opena",
        ),
        ("{{ vars.x | tojson }}", "the filter `tojson` does not exist; use `json`", "tojson"),
        ("{{ vars.x | map('a') }}", "the filter `map` does not exist", "map"),
        ("{{ uuid() }}", "the function `uuid` does not exist; did you mean `uuid4`?", "uuid"),
        ("{{ range(9) }}", "the function `range` does not exist", "range"),
        ("{{ now }}", "`now` is a function: write `now()`", "now"),
        ("{{ vars.x.ljust(9) }}", "the method `ljust` does not exist", "ljust"),
        ("{{ vars.x.format(1) }}", "the method `format` does not exist", "format"),
        ("{{ vars.x is callable }}", "the test `callable` does not exist", "callable"),
        (
            "{{ vars.x is not definde }}",
            "the test `definde` does not exist; did you mean `defined`?",
            "definde",
        ),
        ("{{ rand_alnum() }}", "`rand_alnum`: missing a required argument: 'size'", "rand_alnum"),
        (
            "{{ vars.x | hmac_sha256 }}",
            "`hmac_sha256`: missing a required argument: 'key'",
            "hmac_sha256",
        ),
        ("{{ vars.x | strip(a=1) }}", "`strip`: got an unexpected keyword argument 'a'", "strip"),
        (
            "{{ vars.x | regex_search('(') }}",
            "`regex_search`: missing ), unterminated subpattern at position 0",
            "regex_search",
        ),
        (
            "{{ vars.x | regex_search('(a+)+$') }}",
            "`regex_search`: a repeated group that repeats inside may take for ever",
            "regex_search",
        ),
        ("{{ now('Asia/Shangai') }}", "`now`: No time zone found with key Asia/Shangai", "now"),
        ("{{ values.__class__ }}", "`__class__` is not available", "{{"),
        ("{{ self }}", "`self` does not exist here", "self"),
        ("{{ _now }}", "`_now` does not exist here", "_now"),
    ],
)
def test_a_wrong_name_is_told_with_its_place_and_the_nearest_right_one(
    source: str, message: str, word: str
) -> None:
    error = refused(source)
    assert message == str(error) == error.message
    assert source.index(word) == error.at or source.rindex(word) == error.at


def test_names_have_a_code_of_their_own() -> None:
    assert refused("{{ req.nope }}").code == "E302"
    assert refused("{{ 1 + }}").code == "E301"


@pytest.mark.parametrize(
    ("source", "message", "at"),
    [
        ("{{ 1 + }}", "unexpected", 0),
        ("a\n{{ req.user", "unexpected end of template", 2),
        ("{{ req.user # }}", "unexpected char '#'", 12),
        ("{% frob %}", "unknown tag 'frob'", 0),
        ("{{ }}", "Expected an expression", 0),
        ("{{ 9" + "9" * 5000 + " }}", "too many digits", 0),
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "nested too deeply", 0),
        ("{{ 1" + " + 1" * 60 + " }}", "nested too deeply", 0),
        ("{{ [" + "1," * 5000 + "1] }}", "too long for a template", 0),
        ("{{ vars.x[0]() }}", "only functions and methods can be called", 0),
        ("{% include 'x' %}", "`{% include %}` is not available", 0),
        ("{% import 'x' as y %}", "`{% import %}` is not available", 0),
        ("{% from 'x' import y %}", "`{% from %}` is not available", 0),
        ("{% extends 'x' %}", "`{% extends %}` is not available", 0),
        ("a\n{% macro m() %}{% endmacro %}", "`{% macro %}` is not available", 2),
        ("{% block b %}{% endblock %}", "`{% block %}` is not available", 0),
        ("{% call x() %}{% endcall %}", "`{% call %}` is not available", 0),
        ("{% filter upper %}{% endfilter %}", "`{% filter %}` is not available", 0),
        ("{% set x %}{% endset %}", "`{% set %}` is not available", 0),
        ("{% for x in vars.y recursive %}{% endfor %}", "cannot be recursive", 0),
        ("{{ 'a' * 1000000000 }}", "the result is longer than 4194304 characters", 0),
        ("{{ 2 ** (10 ** 9) }}", "more than 4096 bits", 0),
        ("{{ 'a' + 1 }}", "TypeError in an expression of constants", 0),
        ("{{ omit }}x", "`omit` cannot stand inside text", 0),
        ("{% set req = 1 %}{{ req }}", "`req` is a variable of the route and cannot be set", 0),
        ("{% for x in vars.y %}{% endfor %}{{ x }}", "`x` is read where it is not set", 0),
        (
            "{{ loop.index }}{% for x in vars.y %}{% endfor %}",
            "`loop` is read where it is not set",
            0,
        ),
    ],
)
def test_what_the_language_has_not_is_refused(source: str, message: str, at: int) -> None:
    error = refused(source)
    assert message in str(error)
    assert at == error.at


@pytest.mark.parametrize(
    ("source", "message", "at"),
    [
        ("{{ req.user }}", "without braces", 0),
        ("req.usr == 'a'", "`req.usr` does not exist; did you mean `req.user`?", 4),
        ("req.user 'a'", "unexpected `a`", 0),
        ("req.user }} x", "unexpected `}}`", 0),
        ("", "unexpected 'end of template'", 0),
    ],
)
def test_a_condition_is_checked_in_the_same_way(source: str, message: str, at: int) -> None:
    error = refused(source, condition=True)
    assert message in str(error)
    assert at == error.at


@pytest.mark.parametrize(
    ("source", "mentions"),
    [
        ("{{ req.prompt }} {{ values.nonce.inner }}", {"req.prompt", "values.nonce"}),
        ("{{ vars }}", {"vars"}),
        ("{{ vars['a'].b[0].c }}", {"vars.a"}),
        ("{{ vars[req.user] }}", {"vars", "req.user"}),
        ("{{ vars[0].a }}", {"vars"}),
        ("{{ vars.a.get(model.id, values.b) }}", {"vars.a", "model.id", "values.b"}),
        (
            "{% for m in req.messages if m.x %}{{ m.y }}{{ loop.index }}{% endfor %}",
            {"req.messages"},
        ),
        ("{% set v = values %}{{ v.a }}", {"values"}),
        ("{{ now() | strftime('%Y') }}", set()),
        ("{{ 'req.prompt' }}", set()),
        ("{{ (vars.a or vars).b }}", {"vars.a", "vars"}),
        ("req.prompt", set()),
    ],
)
def test_mentions_are_the_names_cut_after_two_steps(source: str, mentions: set[str]) -> None:
    assert mentions == compile_template(source, ROOTS).mentions


def test_only_what_reads_and_calls_nothing_is_constant() -> None:
    for source in ("text", "{{ 1 + 1 }}", "{{ none }}", "{{ omit }}"):
        assert compile_template(source, ROOTS).constant, source
    for source in ("{{ uuid4() }}", "{{ vars.x }}", "{% for x in vars.y %}{% endfor %}"):
        assert not compile_template(source, ROOTS).constant, source


def test_the_same_source_is_checked_against_each_set_of_roots() -> None:
    compile_template("{{ req.user }}", ROOTS)
    with pytest.raises(TemplateError, match="`req` does not exist here"):
        compile_template("{{ req.user }}", {"vars": None})


def test_equal_sources_share_their_code() -> None:
    one = compile_template("{{ req.user }}!", ROOTS)
    assert one.render is compile_template("{{ req.user }}!", {"req": None}).render
