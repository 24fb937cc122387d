"""What expressions may touch, what bounds them, and how secrets appear, on both roads."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from engine.chat import Message, Text
from engine.events import Usage
from engine.options import OMIT, Secret
from engine.route.filters import CAP, RenderError
from engine.route.sandbox import METHODS, PLAIN, ROUNDS, Mode
from engine.route.template import compile_condition, compile_template

FREE = {"a": None, "b": None, "account": None, "messages": None}


def render(source: str, **env: object) -> object:
    return compile_template(source, FREE).render(env)


def on_both(expression: str, **env: object) -> list[str]:
    """The text an expression gives on the road of generated code and on Jinja's."""
    fast = render("%s{{ " + expression + " }}", **env)
    slow = render("%s{% if true %}{{ " + expression + " }}{% endif %}", **env)
    return [str(fast)[2:], str(slow)[2:]]


# --- look-ups -------------------------------------------------------------------------------------


def test_a_key_wins_over_a_method_of_the_same_name() -> None:
    data = {"items": "mine", "get": "too"}
    assert on_both("a.items ~ a.get", a=data) == ["minetoo"] * 2


def test_fields_of_conversation_values_can_be_read() -> None:
    turn = Message("user", [Text("Hi")])
    assert on_both("a.role ~ a.text ~ a['role'] ~ a.parts[0].text", a=turn) == ["userHiuserHi"] * 2


@pytest.mark.parametrize("name", ["_x", "__class__", "reveal", "mro"])
def test_nothing_else_of_an_object_can_be_read(name: str) -> None:
    for value in (
        Usage(),
        Secret("s"),
        "text",
        int,
        [1],
        test_a_key_wins_over_a_method_of_the_same_name,
    ):
        assert not PLAIN.look(value, name)


def test_a_method_of_a_value_object_is_not_a_field() -> None:
    assert not PLAIN.look(Usage(), "replace")


def test_parts_of_a_time_can_be_read() -> None:
    assert on_both("a.year", a=datetime(2026, 5, 1, tzinfo=UTC)) == ["2026"] * 2
    assert not PLAIN.look(datetime(2026, 5, 1, tzinfo=UTC), "astimezone")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [("a[0]", "x"), ("a[-1]", "z"), ("a[1:]", "yz"), ("b[1]", "one"), ("b['k']", "v")],
)
def test_items_are_read_by_index_and_key(expression: str, expected: str) -> None:
    assert on_both(expression, a="xyz", b={1: "one", "k": "v"}) == [expected] * 2


@pytest.mark.parametrize(
    "expression", ["a[3]", "a[true]", "a['upper']", "a.upper", "b.c.d", "a[b]"]
)
def test_what_is_not_there_is_dropped(expression: str) -> None:
    assert OMIT is render(f"{{{{ {expression} }}}}", a="xyz", b={"c": None})


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a.upper()", "AB"),
        ("a.startswith('a')", "true"),
        ("a.replace('a', 'xx')", "xxb"),
        ("b.get('k')", "v"),
        ("b.get('n', 'd')", "d"),
        ("b.keys() | join", "k"),
        ("b.values() | join", "v"),
        ("b.items() | json", '[["k","v"]]'),
        ("[1, 2, 1].count(1)", "2"),
    ],
)
def test_the_methods_of_the_table_can_be_called(expression: str, expected: str) -> None:
    assert on_both(expression, a="ab", b={"k": "v"}) == [expected] * 2


def test_no_method_can_make_more_than_it_was_given() -> None:
    forbidden = {"format", "format_map", "ljust", "rjust", "center", "zfill", "expandtabs", "join"}
    assert not forbidden & {name for table in METHODS.values() for name in table}


def test_a_method_of_another_type_is_an_error() -> None:
    for source in ("{{ a.upper() }}", "{% if true %}{{ a.upper() }}{% endif %}"):
        with pytest.raises(RenderError, match="a list has no method `upper`"):
            render(source, a=[])
        with pytest.raises(RenderError, match="`a` is not set"):
            render(source)


# --- limits ---------------------------------------------------------------------------------------

BOMBS = [
    "a * 1000",
    "1000 * a",
    "[a] * 9999 * 9999",
    "a + a + a + a + a",
    "a ~ a ~ a ~ a ~ a",
    "(a ~ a).replace('x', 'xxxxxx')",
    "a | regex_replace('x', 'yyyyy')",
    "[a, a, a, a] | json",
]


@pytest.mark.parametrize("expression", BOMBS)
def test_nothing_can_be_built_beyond_the_cap(expression: str) -> None:
    for source in ("{{ (%s) == 1 }}", "{%% if (%s) == 1 %%}{%% endif %%}"):
        with pytest.raises(RenderError, match="longer than"):
            render(source % expression, a="x" * (CAP // 4))


def test_whole_numbers_stay_small() -> None:
    for bomb in ("a ** 9999", "a ** 1000 * a ** 1000", "(a ** 1000) ** a"):
        for source in ("{{ %s }}", "{%% if %s %%}{%% endif %%}"):
            with pytest.raises(RenderError, match="more than 4096 bits"):
                render(source % bomb, a=7)


def test_printf_formats_are_refused() -> None:
    for source in ("{{ a % 1 }}", "{% if true %}{{ a % 1 }}{% endif %}"):
        with pytest.raises(RenderError, match="`%` takes numbers"):
            render(source, a="%999999999d")


def test_arithmetic_still_works() -> None:
    assert on_both("7 % 4 + 2 ** 3 * 2 - 9 // 2 + 1 / 2 + -1 + +1", a=1) == ["15.5"] * 2
    assert on_both("a * 3 ~ (a + 'b')", a="a") == ["aaaab"] * 2


def test_whole_text_is_capped() -> None:
    big = "x" * (CAP // 2 + 1)
    for source in ("{{ a }}{{ a }}", "{% if true %}{{ a }}{{ a }}{% endif %}"):
        with pytest.raises(RenderError, match="longer than"):
            render(source, a=big)


def test_a_reference_alone_is_not_capped() -> None:
    big = "x" * (CAP + 1)
    assert render("{{ a }}", a=big) is big


def test_loops_are_counted_together() -> None:
    source = "{% for x in a %}{% for y in a %}{% endfor %}{% endfor %}"
    assert render(source, a=[0] * 300) == ""
    with pytest.raises(RenderError, match=f"more than {ROUNDS} rounds"):
        render(source, a=[0] * 400)


def test_the_loop_variable_works() -> None:
    each = "{{ loop.index }}/{{ loop.length }}{{ x }}{{ ',' if not loop.last else '' }}"
    source = "{% for x in a %}" + each + "{% endfor %}"
    assert render(source, a=["p", "q"]) == "1/2p,2/2q"


# --- what is not there, and filters ---------------------------------------------------------------


@pytest.mark.parametrize(
    "filter_name", ["strip", "json", "b64", "int", "length", "as_openai", "drop_empty"]
)
def test_filters_hand_on_what_is_undefined_or_omitted(filter_name: str) -> None:
    assert OMIT is render(f"{{{{ a | {filter_name} }}}}")
    assert OMIT is render(f"{{{{ omit | {filter_name} }}}}")


def test_filters_hand_on_null_but_json_writes_it() -> None:
    assert render("{{ a | strip | sha256 | as_openai }}", a=None) is None
    assert render("{{ a | json }}", a=None) == "null"


def test_an_undefined_argument_is_an_error_that_names_it() -> None:
    for source in (
        "{{ 'x' | hmac_sha256(account.key) }}",
        "{{ 'x' | truncate_chars(account.key) }}",
    ):
        with pytest.raises(RenderError, match=r"`account\.key` is not set"):
            render(source, account={})


def test_a_failing_filter_names_itself_and_no_value() -> None:
    with pytest.raises(RenderError) as caught:
        render("{{ a | int }}", a="secret-stuff")
    assert str(caught.value) == "`int` cannot use the value it was given (ValueError)"


# --- secrets --------------------------------------------------------------------------------------

KEY = {"key": Secret("sk-very-secret", "account.key"), "none": Secret("", "account.none")}

SHOWN = [
    ("Bearer {{ account.key }}", "Bearer sk-very-secret", "Bearer «account.key»"),
    ("{{ account.key }}", "sk-very-secret", "«account.key»"),
    ("{{ account['key'] }}", "sk-very-secret", "«account.key»"),
    ("{{ account.get('key') }}", "sk-very-secret", "«account.key»"),
    ("{{ 'u:' ~ account.key }}", "u:sk-very-secret", "u:«account.key»"),
    ("{{ 'u:' + account.key }}", "u:sk-very-secret", "u:«account.key»"),
    ("{{ account.key | b64 }}", "c2stdmVyeS1zZWNyZXQ=", "«b64(account.key)»"),
    (
        "Basic {{ ('u:' ~ account.key) | b64 }}",
        "Basic dTpzay12ZXJ5LXNlY3JldA==",
        "Basic «b64(account.key)»",
    ),
    ("{{ account.key | b64 | upper }}", "C2STDMVYES1ZZWNYZXQ=", "«upper(b64(account.key))»"),
    ("{{ account.key | default('x') }}", "sk-very-secret", "«account.key»"),
    ("{{ account.none or account.key }}", "sk-very-secret", "«account.key»"),
    ("{{ {'k': account.key} }}", {"k": "sk-very-secret"}, {"k": "«account.key»"}),
    ("{{ [account.key] | join(',') }}", "sk-very-secret", "«account.key»"),
    ("{{ {'k': account.key} | json }}", '{"k":"sk-very-secret"}', '{"k":"«account.key»"}'),
    ("{% for k in account.values() %}{{ k }};{% endfor %}", "sk-very-secret;;", "«account.key»;;"),
    ("{{ account.key[:3] }}", "sk-", "«ac"),
    ("{{ account.key.upper() }}", "SK-VERY-SECRET", "«ACCOUNT.KEY»"),
    ("{{ account.key is string }}", True, True),
]


@pytest.mark.parametrize(("source", "plain", "masked"), SHOWN)
def test_a_secret_is_used_and_in_a_masked_rendering_named(
    source: str, plain: object, masked: object
) -> None:
    assert plain == render(source, account=KEY)
    assert masked == render(source, account=KEY, _mask=True)


def test_a_digest_never_comes_from_a_masked_secret() -> None:
    sign = "{{ 'message' | hmac_sha256(account.key) }} {{ account.key | sha256 }}"
    assert (
        render(sign, account=KEY, _mask=True) == "«hmac_sha256(account.key)» «sha256(account.key)»"
    )
    assert len(str(render(sign, account=KEY))) == 129


def test_a_secret_that_is_a_root_is_shown_too() -> None:
    for source in ("x{{ a }}", "x{% if true %}{{ a }}{% endif %}"):
        assert render(source, a=Secret("s")) == "xs"
        assert render(source, a=Secret("s", "n"), _mask=True) == "x«n»"


def test_a_secret_inside_a_whole_map_stays_masked() -> None:
    assert render("{{ account }}", account=KEY, _mask=True) == {
        "key": "«account.key»",
        "none": "«account.none»",
    }


def test_masking_changes_nothing_where_no_secret_is() -> None:
    assert render("{{ a | sha256 }} {{ a ~ 1 }}", a="x", _mask=True) == render(
        "{{ a | sha256 }} {{ a ~ 1 }}", a="x"
    )


def test_conditions_take_the_same_branch_when_masked() -> None:
    test = compile_condition("account.none or not account.key", FREE).test
    assert test({"account": KEY}) is test({"account": KEY, "_mask": True}) is False


def test_a_condition_on_the_text_of_a_secret_sees_it_only_unmasked() -> None:
    test = compile_condition("account.key.startswith('sk-')", FREE).test
    assert test({"account": KEY})
    assert not test({"account": KEY, "_mask": True})


# --- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (r"{{ 'a1' | regex_replace('(\w)(\d)', '\2\1') }}", "1a"),
        (r"{{ 'a b' | regex_replace('\bb', 'c') }}", "a c"),
        (r"{{ 'it\'s' ~ '\n' ~ '\u4f60' ~ '\\d' }}", "it's\n你\\d"),
        ("a\r\nb{{ 'x' }}\rc\n", "a\r\nbx\rc\n"),
        ("{{ 'a\rb' }}", "a\rb"),
        ("{% raw %}{{ '\\d' }}{% endraw %}{{ 1 }}", "{{ '\\d' }}1"),
    ],
)
def test_patterns_and_line_ends_mean_what_they_look_like(source: str, expected: str) -> None:
    assert expected == render(source)


def test_a_mode_wraps_every_filter() -> None:
    assert isinstance(PLAIN, Mode)
    assert all(name.startswith("_") or name in PLAIN.filters for name in PLAIN.environment.filters)
    assert set(PLAIN.environment.globals) == {"omit", "now", "now_ms", "rand_alnum", "uuid4"}
