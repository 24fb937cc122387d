"""js_value: literals of inline scripts, parsed and never run, whatever the page holds."""

import json
import time
from pathlib import Path as File
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.route.transforms import instantiate, load
from engine.transform import Context, HttpResponse, Path

PATH = File(__file__).parents[2] / "transforms" / "js_value.py"
SHIPPED = load("js_value", PATH.read_bytes(), "transforms/js_value.py")


def key(name: str) -> Path:
    """`$.name`."""
    return Path(f"$.{name}", lambda v: v.get(name) if isinstance(v, dict) else None, lambda v: [])


def extract(page: str | bytes, name: str = "cfg", read: Path | None = None) -> str | None:
    assert SHIPPED.options is not None
    transform = instantiate(SHIPPED, SHIPPED.options(name=name, read=read), Context("route"))
    body = page if isinstance(page, bytes) else page.encode()
    found: str | None = transform.extract(HttpResponse(200, (), body))
    return found


def value(literal: str) -> Any:
    found = extract(f"<script>var cfg = {literal};</script>")
    return found if found is None else json.loads(found)


def test_a_nonce_is_read_from_a_page() -> None:
    page = "<script>\nvar kimi_ajax = {ajaxurl: 'https:\\/\\/x\\/a', nonce: 'ab12cd',};\n</script>"
    assert extract(page, "kimi_ajax", key("nonce")) == "ab12cd"


@pytest.mark.parametrize(
    "start",
    ["var cfg =", "let cfg=", "const cfg = ", "window.cfg = ", "cfg\n=\n", 'window["cfg"]=',
     "x['cfg'] = ", "{cfg: ", '{"cfg" : ', "a.b.cfg=/* here */", "cfg = // now\n "],
)  # fmt: skip
def test_every_form_of_assignment_is_found(start: str) -> None:
    assert extract(f"<p>{start}{{a: 1}}") == '{"a":1}'


@pytest.mark.parametrize(
    "start", ["mycfg = ", "cfg2 = ", "$cfg = ", "cfg == ", "cfg => ", "cfg === ", "cfg += ", "cfg "]
)
def test_what_is_no_assignment_to_the_name_is_passed_over(start: str) -> None:
    assert extract(f"{start}{{a: 1}}") is None


@pytest.mark.parametrize(
    ("literal", "expected"),
    [
        ("{}", {}),
        ("[]", []),
        ("[1, 2, ]", [1, 2]),
        ("{a: 1, 'b': 2, \"c\": 3, 4: 5, $d: 6, _e: 7, ключ: 8,}",
         {"a": 1, "b": 2, "c": 3, "4": 5, "$d": 6, "_e": 7, "ключ": 8}),
        ("[true, false, null, undefined, void 0, !0, !1, NaN]",
         [True, False, None, None, None, True, False, None]),
        ("[0, -1, +2, 3.5, .5, 5., 1e3, -2E-2, 1_000]",
         [0, -1, 2, 3.5, 0.5, 5.0, 1e3, -0.02, 1000]),
        ("[0x1F, 0o17, 0b101, -0x10, 12345678901234567890n]",
         [31, 15, 5, -16, 12345678901234567890]),
        (r"""['it\'s', "\"", '\n\t\\\/', 'a\
b']""", ["it's", '"', "\n\t\\/", "ab"]),
        (r"['\x41\u4f60\u{1F600}\ud83d\ude00', '\ud83d', '\u{FFFFFF}', '\q']",
         ["A你😀😀", "\ufffd", "\ufffd", "q"]),
        ("[`two\nlines`, `a\\`b`, `$5`]", ["two\nlines", "a`b", "$5"]),
        ("{ /* } */ a: 1, // }\n b: '}//' }", {"a": 1, "b": "}//"}),
        ("{a: {b: [{c: []}]}}", {"a": {"b": [{"c": []}]}}),
        ('{"true": true, null: 1, "a b": 2}', {"true": True, "null": 1, "a b": 2}),
        ("{a: 1, a: 2}", {"a": 2}),
    ],
)  # fmt: skip
def test_a_literal_becomes_its_value(literal: str, expected: object) -> None:
    assert value(literal) == expected


@pytest.mark.parametrize(
    "literal",
    ["{a: f()}", "{a: b}", "{a: `x${y}`}", "{...a}", "{[a]: 1}", "{a}", "{a: 1", "[1 2]", "[,]",
     "{,}", "{a 1}", "f({})", "'text'", "5", "{a: 'x\ny'}", "{a: 'x}", "{!0: 1}", "[1px]", "[/re/]",
     "[1 + 2]", "[-]", "{a: function() { return 1 }}", "[" + "9" * 5000 + "]", "[" * 65 + "]" * 65,
     "{a: /* }", "{{: 1}", "[:]"],
)  # fmt: skip
def test_what_is_no_literal_gives_nothing(literal: str) -> None:
    assert value(literal) is None


def test_the_first_place_that_can_be_read_wins() -> None:
    page = "cfg = load(); /* cfg = { */ cfg = {a: f()}; var cfg = {b: 1}; cfg = {b: 2};"
    assert extract(page) == '{"b":1}'
    assert extract("cfg={a:1}; cfg={b:2}", read=key("b")) == "2"
    assert extract("cfg={a:1}", read=key("b")) is None


@pytest.mark.parametrize(
    ("literal", "text"),
    [("'x'", "x"), ("5", "5"), ("1.5", "1.5"), ("true", "true"), ("{b:'你'}", '{"b":"你"}'),
     ("[1]", "[1]")],
)  # fmt: skip
def test_what_is_read_becomes_text(literal: str, text: str) -> None:
    assert extract(f"cfg = {{a: {literal}}}", read=key("a")) == text


def test_a_name_is_taken_literally() -> None:
    assert extract("a.b = {x: 1}", "a.b") == '{"x":1}'
    assert extract("aXb = {x: 1}", "a.b") is None
    assert extract("$cfg = {x: 1}", "$cfg") == '{"x":1}'


def test_bytes_that_are_not_utf8_do_no_harm() -> None:
    assert extract(b"\xff\xfe cfg = {a: '\xff'}") == '{"a":"\ufffd"}'


def test_only_two_mebibytes_are_read() -> None:
    assert extract("x" * (2 * 1024 * 1024) + " cfg = {a: 1}") is None


@pytest.mark.parametrize("name", ["", " ", "a b"])
def test_a_name_that_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        extract("", name)


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
).filter(lambda value: "Infinity" not in json.dumps(value))


@given(st.lists(plain, max_size=4), st.booleans())
def test_all_of_json_is_understood(expected: object, escape: bool) -> None:
    assert value(json.dumps(expected, ensure_ascii=escape)) == expected


@given(st.text(alphabet="{}[]:,'\"`\\/* \n$ab01.cfg=", max_size=60))
def test_no_text_makes_it_fail(text: str) -> None:
    extract(f"cfg={text}")


HALF = 1024 * 1024


@pytest.mark.parametrize(
    "page",
    ["cfg://" * (HALF // 3), "cfg:/*" * (HALF // 3), "{cfg:" * (HALF // 3), "cfg:{a:" * (HALF // 3),
     "cfg:[" + "1," * HALF, "{cfg:" * 64 + '"' + "a" * HALF * 2, "cfg" + " " * HALF * 2,
     "cfg:'" * (HALF // 3), "cfg:[" + "9" * HALF, "[cfg:" * 60 + "[]," * HALF],
    ids=lambda page: page[:12],
)  # fmt: skip
def test_a_hostile_page_costs_bounded_time(page: str) -> None:
    start = time.perf_counter()
    extract(page)
    assert time.perf_counter() - start < 5  # measured: below 0.3 s; unbounded it would be minutes
