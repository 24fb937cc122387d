"""What the source of a transform may hold: each problem has its code, line, column and caret."""

import pytest

from engine.errors import ConfigError, Problem
from engine.route.transforms import load

GOOD = b'''"""Say it twice."""
API = 1


class Transform:
    def feed(self, event):
        return [event, event]
'''


def problems(source: str | bytes, name: str = "mine") -> list[Problem]:
    raw = source if isinstance(source, bytes) else source.encode()
    with pytest.raises(ConfigError) as caught:
        load(name, raw, "transforms/mine.py", execute=False)
    return caught.value.problems


def told(source: str | bytes, name: str = "mine") -> list[tuple[str, int, int, str]]:
    """code, line, column and the text the caret underlines."""
    return [
        (p.code, p.line, p.column, p.excerpt[p.column - 1 : p.column - 1 + p.length])
        for p in problems(source, name)
    ]


def after(extra: str) -> str:
    """The good file with more lines, from line 8."""
    return GOOD.decode() + extra


def method(line: str) -> str:
    """The good file with another method, in lines 8 and 9."""
    return after(f"    {line}\n        return None\n")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        # E402 syntax
        (after("x = = 1\n"), ("E402", 8, 5, "=")),
        (after("return 1\n"), ("E402", 8, 1, "r")),
        # E403 API
        ("class Transform:\n    def finish(self): ...\n", ("E403", 1, 1, "c")),
        (GOOD.decode().replace("1", "2", 1), ("E403", 2, 7, "2")),
        # E404 top level
        (after("print('hi')\n"), ("E404", 8, 1, "print('hi')")),
        (after("if API:\n    X = 1\n"), ("E404", 8, 1, "if API:")),
        (after("SEEN = {}\n"), ("E404", 8, 8, "{}")),
        (after("SEEN: list[str] = []\n"), ("E404", 8, 19, "[]")),
        (after("SEEN = dict()\n"), ("E404", 8, 8, "dict()")),
        (after("SEEN = (1, [])\n"), ("E404", 8, 8, "(1, [])")),
        (after("名字 = set()\n"), ("E404", 8, 6, "set()")),
        (after("class Other:\n    seen = []\n"), ("E404", 9, 12, "[]")),
        (after("def f():\n    global API\n"), ("E404", 9, 5, "global API")),
        (after("API += 1\n"), ("E404", 8, 1, "API += 1")),
        # E405 async
        (method("async def _wait(self):"), ("E405", 8, 5, "async")),
        # E406 banned modules and calls
        (after("import requests\n"), ("E406", 8, 8, "requests")),
        (after("import os, socket as s\n"), ("E406", 8, 12, "socket as s")),
        (after("import urllib.request\n"), ("E406", 8, 8, "urllib.request")),
        (after("from urllib import request\n"), ("E406", 8, 20, "request")),
        (after("from urllib.request import urlopen\n"), ("E406", 8, 28, "urlopen")),
        (after("from concurrent.futures import Future\n"), ("E406", 8, 32, "Future")),
        (after("import subprocess\n"), ("E406", 8, 8, "subprocess")),
        (after("import threading\n"), ("E406", 8, 8, "threading")),
        (after("import multiprocessing.pool\n"), ("E406", 8, 8, "multiprocessing.pool")),
        (after("def f():\n    import asyncio\n"), ("E406", 9, 12, "asyncio")),
        (after("from time import sleep\n"), ("E406", 8, 18, "sleep")),
        (after("import time as t\ndef f():\n    t.sleep(1)\n"), ("E406", 10, 5, "t.sleep")),
        (after("import os\ndef f():\n    os.system('ls')\n"), ("E406", 10, 5, "os.system")),
        (after("import urllib\ndef f():\n    urllib.request.urlopen('')\n"),
         ("E406", 10, 5, "urllib.request")),
        (after("def f():\n    return open('x')\n"), ("E406", 9, 12, "open('x')")),
        # E407 imports from the engine
        (after("import engine.chat\n"), ("E407", 8, 8, "engine.chat")),
        (after("from engine.events import Ping\n"), ("E407", 8, 27, "Ping")),
        (after("from engine import chat\n"), ("E407", 8, 20, "chat")),
        (after("from engine.transform import TextDleta\n"), ("E407", 8, 30, "TextDleta")),
        (after("from . import think_tags\n"), ("E407", 8, 1, "from . import think_tags")),
        # E408 Transform
        ("API = 1\n", ("E408", 1, 1, "A")),
        ("API = 1\n@object\nclass Transform:\n    def _f(self): ...\n",
         ("E408", 3, 7, "Transform")),
        # E409 names of methods
        (method("def feed_recrod(self, record):"), ("E409", 8, 9, "feed_recrod")),
        (method("def hello(self):"), ("E409", 8, 9, "hello")),
        (GOOD.decode().replace("orm:", "orm(Base):") + "class Base:\n    def finnish(self): ...\n",
         ("E409", 9, 9, "finnish")),
        # E410 parameters
        (method("def patch(self, req):"), ("E410", 8, 9, "patch")),
        (method("def finish(self, event=None):"), ("E410", 8, 9, "finish")),
        (method("def shape(this, request):"), ("E410", 8, 9, "shape")),
        (method("def sign(self, request, *, key):"), ("E410", 8, 9, "sign")),
        (method("def produce(self, *args):"), ("E410", 8, 9, "produce")),
        (method("def __init__(self, options):"), ("E410", 8, 9, "__init__")),
        # E411 Options
        (after("class Options:\n    a: int = 1\n"), ("E411", 8, 7, "Options")),
        (after("import dataclasses\n@dataclasses.dataclass(frozen=True)\nclass Options: ...\n"),
         ("E411", 10, 7, "Options")),
        (after("from dataclasses import dataclass\n@dataclass\nclass Options: ...\n"),
         ("E411", 10, 7, "Options")),
        # E412 constants
        (after('HOSTS = ("https://a.example",)\n'), ("E412", 8, 9, '("https://a.example",)')),
        (after('HOSTS = "a.example"\n'), ("E412", 8, 9, '"a.example"')),
        (after('AFTER = ("Think-Tags",)\n'), ("E412", 8, 9, '("Think-Tags",)')),
        (after('RETRIES = ("to_long",)\n'), ("E412", 8, 11, '("to_long",)')),
        (after("RETRIES = (API,)\n"), ("E412", 8, 11, "(API,)")),
        (after("CPU_BOUND = 1\n"), ("E412", 8, 13, "1")),
    ],
)  # fmt: skip
def test_a_problem_has_its_code_and_its_place(
    source: str, expected: tuple[str, int, int, str]
) -> None:
    assert told(source) == [expected]


@pytest.mark.parametrize(
    ("source", "name", "code"),
    [
        (b"#" * (256 * 1024 + 1), "mine", "E401"),
        (GOOD + b"# \xff\n", "mine", "E401"),
        (GOOD + b"# \0\n", "mine", "E401"),
        (GOOD + b"X = " + b"-" * 100_000 + b"1\n", "mine", "E402"),
        (GOOD + b"X = " + b"(" * 5000 + b")" * 5000 + b"\n", "mine", "E402"),
        (GOOD + b"X = 1" + b"+1" * 50_000 + b"\n", "mine", "E402"),
        (GOOD + b"X = API" + b".a" * 50_000 + b"\n", "mine", "E402"),
    ],
    ids=["size", "encoding", "nul", "unary", "brackets", "sum", "attributes"],
)
def test_a_file_that_cannot_be_read_is_one_problem(source: bytes, name: str, code: str) -> None:
    assert [p.code for p in problems(source, name)] == [code]


@pytest.mark.parametrize("name", ["Mine", "9mine", "my-own", "a.b", "", "../mine", "sys:x"])
def test_a_name_must_be_a_word(name: str) -> None:
    assert [p.code for p in problems(GOOD, name)] == ["E401"]


def test_the_largest_file_is_fine() -> None:
    source = GOOD + b"#" * (256 * 1024 - len(GOOD))
    assert load("mine", source, "mine.py", execute=False).methods == {"feed"}


def test_all_problems_are_told_in_the_order_of_the_file() -> None:
    source = "import requests\nSEEN = []\nclass Transform:\n    async def fed(self, event): ...\n"
    assert [(p.code, p.line) for p in problems(source)] == [
        ("E403", 1), ("E406", 1), ("E404", 2), ("E408", 3), ("E405", 4), ("E409", 4)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (method("def feed_recrod(self, record):"), "did you mean `feed_record`?"),
        (method("def hello(self):"), "begin the names of your own with _"),
        (after("from engine.transform import TextDleta\n"), "did you mean `TextDelta`?"),
        ("API = 1\nclass Tranform:\n    def finish(self): ...\n", "did you mean `Tranform`?"),
        (method("def patch(self, req):"), "`patch` takes (self, request), not (self, req)"),
        (after("import requests\n"), "a value that needs requests writes `produce`"),
    ],
)
def test_a_message_says_what_would_be_right(source: str, words: str) -> None:
    assert words in problems(source)[0].message


def test_a_problem_prints_with_a_caret_under_the_place() -> None:
    assert str(problems(method("def patch(self, req):"))[0]).splitlines()[1:] == [
        "     8 |     def patch(self, req):",
        "       |         ^^^^^",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "import re, os, json, time, urllib.parse, http.cookies",
        "from engine.transform import TextDelta as T",
        "import engine.transform",
        "from engine import transform",
        "from __future__ import annotations",
        "import re\nWORD = re.compile('a')",
        "NAMES = frozenset({'a', 'b'})",
        "PAIRS = (('a', 1), ('b', -2))",
        "from types import MappingProxyType\nTABLE = MappingProxyType({'a': 1})",
        "from typing import Literal\nKind = Literal['a'] | None",
        "SIZE = 2 * 1024 * 1024",
        "LIMIT: int",
        "TEXT = f'{API}'",
        "'a note'",
        "def _helper(x): return x.open('y')",
        "class Part:\n    size: int = 0\n    def open(self): ...",
        "import os\ndef _f(): return os.path.join('a', 'b')",
        "HOSTS = ('auth.example.com', 'localhost:8080')",
        "AFTER = ()\nRETRIES = ('context_length',)\nCPU_BOUND = True",
        "API: int = 1",
    ],
)
def test_what_does_no_harm_is_allowed(line: str) -> None:
    future = line if line.startswith("from __future__") else ""
    source = f"{future}\n{GOOD.decode()}" if future else after(line + "\n")
    assert load("mine", source.encode(), "mine.py", execute=False).methods == {"feed"}


def test_methods_of_a_class_from_elsewhere_are_not_looked_for() -> None:
    source = GOOD.replace(b"Transform:", b"Transform(object):")
    assert load("mine", source, "mine.py", execute=False).methods == {"feed"}


def test_a_byte_order_mark_and_windows_line_ends_are_read() -> None:
    source = b"\xef\xbb\xbf" + GOOD.replace(b"\n", b"\r\n")
    assert load("mine", source, "mine.py", execute=False).doc == "Say it twice."
    assert told(source + b"X = []\r\n") == [("E404", 8, 5, "[]")]
