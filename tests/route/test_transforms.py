"""The loader of transforms: from bytes, one module per content, nothing executed too early."""

import ast
import dataclasses
import linecache
import pickle
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_type_hints

import pytest

from engine.errors import ConfigError
from engine.route import transforms
from engine.route.transforms import Loaded, instantiate, load, release
from engine.transform import API, METHODS, Context, Duration, Ping, TextDelta
from engine.transform import Path as JsonPath

FOLDER = Path(__file__).parents[2] / "transforms"
SHIPPED = sorted(FOLDER.glob("*.py"))

OWN = '''"""Put a mark around what the model says.

More about it.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engine.transform import Context, Duration, Event, Path, Ping, option

API = 1
HOSTS = ("auth.example.com",)
AFTER = ("think_tags",)
RETRIES = ("context_length", "stale")
CPU_BOUND = True
Side = Literal["left", "right"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    size: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    mark: str = option(doc="what to put")
    sides: dict[str, Side] = option({"a": "left"}, "where", example={"b": "right"})
    inner: list[Inner] = option([], "more")
    read: Path | None = None
    wait: Duration | None = option(None, "how long")
    low: int = -1


class Shared:
    def finish(self) -> list[Event]:
        return [Ping()]


class Transform(Shared):
    def __init__(self, options: Options, context: Context) -> None:
        self.options = options
        self.route = context.route

    def feed(self, event: Event) -> list[Event]:
        raise LookupError(self.options.mark)

    def _private(self) -> None: ...
'''
PLAIN = 'API = 1\nclass Transform:\n    def finish(self):\n        return "old"\n'


@pytest.fixture(autouse=True)
def _forget_modules() -> Iterator[None]:
    before = set(transforms._loaded)
    yield
    for _, digest in set(transforms._loaded) - before:
        release(digest)


def own(source: str = OWN, **how: bool) -> Loaded:
    return load("lone", source.encode(), "transforms/lone.py", **how)


def codes(source: str, **how: bool) -> list[tuple[str, int, int]]:
    with pytest.raises(ConfigError) as caught:
        own(source, **how)
    return [(p.code, p.line, p.column) for p in caught.value.problems]


def test_everything_about_a_transform_is_told() -> None:
    loaded = own()
    assert (loaded.name, loaded.path) == ("lone", "transforms/lone.py")
    assert loaded.doc == "Put a mark around what the model says."
    assert loaded.methods == {"feed", "finish"}
    assert loaded.hosts == ("auth.example.com",)
    assert loaded.after == ("think_tags",)
    assert loaded.retries == ("context_length", "stale")
    assert loaded.cpu_bound
    assert len(loaded.digest) == 64


def test_a_small_transform_has_no_options_and_no_constants() -> None:
    loaded = own(PLAIN)
    assert (loaded.doc, loaded.options, loaded.after, loaded.retries, loaded.hosts) == (
        "", None, (), (), ()
    )  # fmt: skip
    assert not loaded.cpu_bound


def test_instances_are_made_with_and_without_init() -> None:
    assert instantiate(own(PLAIN), None, Context("r")).finish() == "old"
    loaded = own()
    assert loaded.options is not None
    made = instantiate(loaded, loaded.options(mark="*"), Context("r"))
    assert (made.options.mark, made.route, made.finish()) == ("*", "r", [Ping()])
    assert instantiate(loaded, loaded.options(mark="*"), Context("r")) is not made


def test_the_same_bytes_are_one_module() -> None:
    assert own().make is own().make
    assert load("lone", OWN.encode(), "elsewhere/own.py").make is own().make
    assert load("lone", OWN.encode(), "elsewhere/own.py").path == "elsewhere/own.py"
    assert load("other", OWN.encode(), "transforms/other.py").make is not own().make


def test_an_edit_of_the_same_size_serves_the_new_code_at_once() -> None:
    edited = PLAIN.replace("old", "new")
    assert len(edited) == len(PLAIN)
    old, new = own(PLAIN), own(edited)
    assert instantiate(old, None, Context("r")).finish() == "old"
    assert instantiate(new, None, Context("r")).finish() == "new"


def test_a_released_module_leaves_no_trace() -> None:
    loaded = own(PLAIN)
    module = loaded.make.__module__
    assert module == f"penstock_transform_lone_{loaded.digest[:12]}"
    assert module in sys.modules
    release(loaded.digest)
    assert module not in sys.modules
    assert "transforms/lone.py" not in linecache.cache
    assert own(PLAIN).make is not loaded.make
    release("no such digest")


def test_a_release_leaves_the_source_of_the_newer_module() -> None:
    old, new = own(PLAIN), own(PLAIN.replace("old", "new"))
    release(old.digest)
    assert linecache.getline("transforms/lone.py", 4) == '        return "new"\n'
    assert new.make.__module__ in sys.modules


def test_a_traceback_shows_the_line_of_the_transform() -> None:
    loaded = own()
    assert loaded.options is not None
    made = instantiate(loaded, loaded.options(mark="*"), Context("r"))
    with pytest.raises(LookupError) as caught:
        made.feed(Ping())
    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (frame.filename, frame.line) == (
        "transforms/lone.py", "raise LookupError(self.options.mark)"
    )  # fmt: skip


def test_options_can_travel_to_another_process() -> None:
    loaded = own()
    assert loaded.options is not None
    options = loaded.options(mark="*")
    assert pickle.loads(pickle.dumps(options)) == options


def test_the_future_of_the_loader_does_not_rub_off() -> None:
    source = PLAIN.replace("def finish(self)", "def finish(self) -> list[int]")
    assert own(source).make.finish.__annotations__ == {"return": list[int]}


def test_a_file_that_fails_when_executed_tells_the_line() -> None:
    source = PLAIN + "import re\nX = re.compile('(')\n"
    with pytest.raises(ConfigError) as caught:
        own(source)
    problem = caught.value.problems[0]
    assert (problem.code, problem.line, problem.excerpt) == ("E413", 6, "X = re.compile('(')")
    assert problem.message.startswith("error: missing )")
    assert not [name for name in sys.modules if name.startswith("penstock_transform_lone_")]


def test_a_missing_package_is_told_by_name() -> None:
    with pytest.raises(ConfigError, match="No module named 'no_such_package'"):
        own("import no_such_package\n" + PLAIN)


def test_nothing_is_executed_when_anything_is_wrong() -> None:
    source = "import no_such_package\n" + PLAIN + "SEEN = []\n"
    assert codes(source) == [("E404", 6, 8)]


def test_nothing_is_executed_when_that_is_asked_for() -> None:
    loaded = own("import no_such_package\n" + PLAIN, execute=False)
    assert loaded.methods == {"finish"}
    assert loaded.make is object
    assert not [name for name in sys.modules if name.startswith("penstock_transform_lone_")]


def fields(options: type[Any] | None) -> dict[str, tuple[str, object, object]]:
    """Name to type, default and documentation; nested classes by their name."""
    assert options is not None
    hints = get_type_hints(options)
    found: dict[str, tuple[str, object, object]] = {}
    for item in dataclasses.fields(options):
        kind = str(hints[item.name]).replace(f"{options.__module__}.", "").replace("types.", "")
        made = None if item.default_factory is dataclasses.MISSING else item.default_factory()
        default = made if item.default is dataclasses.MISSING else item.default
        found[item.name] = (kind, default, dict(item.metadata))
    return found


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_options_are_the_same_with_and_without_execution(path: Path) -> None:
    source = path.read_bytes()
    executed, read = (load(path.stem, source, path.name, execute=on) for on in (True, False))
    if executed.options is not None:
        assert fields(executed.options) == fields(read.options)
    same = dataclasses.replace(read, options=executed.options, make=executed.make)
    assert same == executed


def test_all_kinds_of_options_are_read_without_execution() -> None:
    read = own(execute=False).options
    assert fields(own().options) == fields(read)
    assert read is not None
    hints = get_type_hints(read)
    assert hints["sides"] == dict[str, Literal["left", "right"]]
    assert hints["read"] == JsonPath | None
    assert hints["wait"] == Duration | None
    with pytest.raises(dataclasses.FrozenInstanceError):
        read(mark="*").mark = "x"


def with_field(line: str) -> str:
    """A transform whose options have this field, in line 5."""
    head = "from dataclasses import dataclass, field\nfrom engine.transform import option, Regex\n"
    deco = "@dataclass(frozen=True, kw_only=True)\n"
    return f"{head}{deco}class Options:\n    {line}\n{PLAIN}"


@pytest.mark.parametrize(
    "kind", ["set[str]", "bytes", "object", "dict[int, str]", "int | str", "list", "list[bytes]"]
)
def test_an_option_that_yaml_cannot_fill_is_refused(kind: str) -> None:
    assert codes(with_field(f"a: {kind} = option(doc='')")) == [("E411", 5, 5)]


@pytest.mark.parametrize("kind", ["Nothing", "'Nothing'", "'1 +'"])
def test_a_type_that_cannot_be_resolved_is_a_problem_too(kind: str) -> None:
    found = codes("from __future__ import annotations\n" + with_field(f"a: {kind}"))
    assert found == [("E411", 5, 7)]


@pytest.mark.parametrize(
    ("line", "column"),
    [
        ("a: set[str] = option(doc='')", 8),
        ("a: int = option(compute())", 21),
        ("a: int = field(default=1)", 14),
        ("a: Missing", 8),
        ("a: int = -'1'", 14),
    ],
)
def test_what_only_execution_could_tell_is_a_problem_without_it(line: str, column: int) -> None:
    assert codes(with_field(line), execute=False) == [("E414", 5, column)]


def test_a_field_written_twice_is_not_read_without_execution() -> None:
    assert codes(with_field("a: int = 1; a: int = 2"), execute=False) == [("E414", 4, 1)]


def test_inherited_options_are_not_read_without_execution() -> None:
    source = with_field("a: int = 1").replace("class Options:", "class Options(Base):")
    assert codes(source, execute=False) == [("E414", 4, 15)]


def test_a_method_that_is_assigned_is_refused() -> None:
    source = PLAIN + "    feed = finish\n"
    assert codes(source) == [("E409", 1, 1)]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_transform_imports_only_the_door(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else ["." * node.level + (node.module or "")]
            )
            for module in modules:
                root = module.partition(".")[0]
                assert module == "engine.transform" or root in sys.stdlib_module_names


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_transform_documents_itself_and_its_options(path: Path) -> None:
    loaded = load(path.stem, path.read_bytes(), path.name)
    assert loaded.doc.endswith(".")
    if loaded.options is not None:
        for item in dataclasses.fields(loaded.options):
            assert item.metadata.get("doc"), item.name


def test_the_engine_imports_no_shipped_transform() -> None:
    """Shipped ones enter by the same door as any other."""
    names = "|".join(path.stem for path in SHIPPED)
    importing = re.compile(rf"^ *(from|import) .*\b({names})\b", re.MULTILINE)
    for path in (FOLDER.parent / "engine").rglob("*.py"):
        assert importing.search(path.read_text()) is None, path


PAGE = (FOLDER.parent / "docs" / "transforms.md").read_text()
FILES = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)


LITERALS = {"None": "none", "''": "empty", "False": "false", "True": "true"}


def in_yaml(item: "dataclasses.Field[Any]") -> str:
    """The default of an option as the page writes it."""
    if item.default_factory is not dataclasses.MISSING:
        made = item.default_factory()
        return str(made).replace("'", "")
    if item.default is dataclasses.MISSING:
        return "required"
    return LITERALS.get(repr(item.default), str(item.default))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_page_tells_every_option_of_a_shipped_transform(path: Path) -> None:
    section = PAGE.partition(f"\n### {path.stem}\n")[2].partition("\n### ")[0]
    loaded = load(path.stem, path.read_bytes(), path.name)
    assert all(f"`{method}`" in section for method in loaded.methods)
    rows = [
        line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")
    ]
    told = {name: (default.strip("`"), doc) for name, _, default, doc in rows}
    items = dataclasses.fields(loaded.options) if loaded.options else ()
    assert told == {f"`{i.name}`": (in_yaml(i), i.metadata["doc"]) for i in items}


def test_the_page_tells_every_code_and_method() -> None:
    assert transforms.__doc__ is not None
    codes = set(re.findall(r"E4\d\d", transforms.__doc__))
    assert codes == set(re.findall(r"^\| (E4\d\d) ", PAGE, re.M))
    for name, names in METHODS.items():
        assert f"| `{name}({', '.join(['self', *names])})` |" in PAGE


@pytest.mark.parametrize("source", FILES, ids=lambda source: source[3:20])
def test_the_files_on_the_page_load(source: str) -> None:
    assert own(source).doc.endswith(".")
    assert own(source, execute=False).methods == own(source).methods


def test_the_example_on_the_page_gives_one_answer_for_every_cut() -> None:
    loaded = own(FILES[0])
    assert loaded.options is not None
    text = "one\n[debug] two\n\n[deb"

    def answer(pieces: list[str]) -> str:
        made = instantiate(loaded, loaded.options(), Context("r"))  # type: ignore[misc]
        out = [said for piece in pieces for said in made.feed(TextDelta(0, piece))]
        return "".join(event.text for event in [*out, *made.finish()])

    assert answer([text]) == "one\n\n[deb"
    for at in range(len(text)):
        assert answer([text[:at], text[at:]]) == answer([text]) == answer(list(text))


def test_the_contract_of_the_door_is_the_one_that_is_checked() -> None:
    assert API == 1
    assert set(METHODS) == {
        "shape", "patch", "sign", "classify", "feed_record", "feed", "finish", "extract", "produce"
    }  # fmt: skip
