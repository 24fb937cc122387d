"""Where things stand, how large they are, and what the engine must never use."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.route.filters import FILTERS

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "engine").rglob("*.py"))
TRANSFORMS = sorted((ROOT / "transforms").glob("*.py"))
LARGEST_FILE, LONGEST_FUNCTION, DEEPEST = 450, 50, 4

# Modules without a test file of their name, and what tests them instead.
ELSEWHERE = {
    "exchange/answering.py": "tests/exchange/test_loop.py",
    "exchange/memory.py": "tests/exchange/test_loop.py",
    "auth/health.py": "tests/auth/test_pool.py",
    "auth/steps.py": "tests/auth/test_flows.py",
    "accounts/conversing.py": "tests/shell/test_oauth.py",
    "dialects/anthropic_messages/blocks.py": "tests/dialects/anthropic_messages/test_parse.py",
    "dialects/anthropic_messages/turns.py": "tests/dialects/anthropic_messages/test_render.py",
    "dialects/gemini/contents.py": "tests/dialects/gemini/test_parse.py",
    "dialects/gemini/names.py": "tests/dialects/gemini/test_parse.py",
    "dialects/gemini/turns.py": "tests/dialects/gemini/test_render.py",
    "dialects/contract.py": "tests/dialects/test_dialects.py",
    "dialects/openai_responses/answer.py": "tests/dialects/openai_responses/test_encode.py",
    "dialects/openai_responses/items.py": "tests/dialects/openai_responses/test_parse.py",
    "dialects/openai_responses/turns.py": "tests/dialects/openai_responses/test_render.py",
    "dialects/frames.py": "tests/dialects/openai_chat/test_tap.py",
    "dialects/marks.py": "tests/dialects/test_row_requests.py",
    "parsers/bounds.py": "tests/parsers/test_parsers.py",
    "parsers/prefixed.py": "tests/parsers/test_frames.py",
    "ports.py": "tests/kit.py",  # protocols only
    "route/answer_spec.py": "tests/route/test_spec.py",
    "route/http_spec.py": "tests/route/test_spec.py",
    "route/media_spec.py": "tests/route/test_spec.py",
    "route/poll_checks.py": "tests/route/test_corpus.py",
    "route/poll_spec.py": "tests/route/test_spec.py",
    "route/codes.py": "tests/route/test_corpus.py",
    "route/logins.py": "tests/auth/test_granting.py",
    "route/manual.py": "tests/route/test_schema.py",
    "route/rule_checks.py": "tests/route/test_checks.py",
    "shell/continued.py": "tests/clients/test_responses.py",
    "route/socket_checks.py": "tests/route/test_corpus.py",
    "route/urls.py": "tests/route/test_checks.py",
    "shell/admin.py": "tests/security/test_auth_matrix.py",
    "shell/app.py": "tests/faults/test_stopping.py",
    "shell/callback.py": "tests/shell/test_login.py",
    "shell/calls.py": "tests/faults/test_bodies.py",
    "shell/chats.py": "tests/clients/test_openai_python.py",
    "shell/demo.py": "tests/test_stranger.py",
    "shell/fixture_files.py": "tests/cli/test_record.py",
    "shell/keeping.py": "tests/shell/test_scribe.py",
    "shell/listener.py": "tests/faults/test_connections.py",
    "shell/roster.py": "tests/shell/test_watch.py",
    "shell/server.py": "tests/faults/test_rows.py",
    "shell/shelf.py": "tests/cli/test_list.py",
    "shell/sinks.py": "tests/faults/test_rows.py",
    "shell/stub.py": "tests/shell/test_loopback.py",
    "shell/upstream.py": "tests/faults/test_bodies.py",
}


def own_test(module: Path) -> Path:
    below = module.relative_to(ROOT / "engine")
    return ROOT / "tests" / below.parent / f"test_{below.name}"


def test_every_module_has_its_test() -> None:
    for path in MODULES:
        if path.name in ("__init__.py", "__main__.py"):
            continue
        name = str(path.relative_to(ROOT / "engine"))
        own = own_test(path)
        assert own.exists() != (name in ELSEWHERE), f"{own} and the list of exceptions disagree"
        assert own.exists() or (ROOT / ELSEWHERE[name]).exists(), name


def test_no_exception_is_left_over() -> None:
    known = {str(path.relative_to(ROOT / "engine")) for path in MODULES}
    assert set(ELSEWHERE) <= known


# ---- sizes (blank lines, comments and a function's docstring do not count) ----


def lines_of(source: list[str]) -> int:
    return sum(1 for line in source if line.strip() and not line.strip().startswith("#"))


def test_files_functions_and_nesting_stay_small() -> None:
    wrong = []
    for path in MODULES + TRANSFORMS:
        source = path.read_text().splitlines()
        if lines_of(source) > LARGEST_FILE:
            wrong.append(f"{path} is too long")
        for function in functions(ast.parse("\n".join(source))):
            where = f"{path}:{function.lineno} {function.name}"
            if length(function, source) > LONGEST_FUNCTION:
                wrong.append(f"{where} is too long")
            if depth(function) > DEEPEST:
                wrong.append(f"{where} is too deep")
    assert [] == wrong


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(function: ast.FunctionDef | ast.AsyncFunctionDef, source: list[str]) -> int:
    whole = lines_of(source[function.lineno - 1 : function.end_lineno])
    if ast.get_docstring(function) is None:
        return whole
    docstring = function.body[0]
    return whole - lines_of(source[docstring.lineno - 1 : docstring.end_lineno])


NESTING = (
    ast.If, ast.For, ast.While, ast.With, ast.Try, ast.AsyncFor, ast.AsyncWith, ast.Match,
    ast.FunctionDef, ast.AsyncFunctionDef,
)  # fmt: skip


def depth(node: ast.AST, so_far: int = 0) -> int:
    deepest = so_far
    for child in ast.iter_child_nodes(node):
        nests = isinstance(child, NESTING) and not _is_elif(node, child)
        deepest = max(deepest, depth(child, so_far + nests))
    return deepest


def _is_elif(node: ast.AST, child: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]


def test_the_loop_stays_small() -> None:
    source = (ROOT / "engine" / "exchange" / "loop.py").read_text().splitlines()
    assert lines_of(source) <= 250


# ---- what is kept out ----

NEVER = {
    "literal_eval": "values are parsed by the type of their field",
    "NativeEnvironment": "it evaluates what users write",
    "NativeTemplate": "it evaluates what users write",
    "safe_load": "YAML is read by engine/route/nodes.py",
    "unsafe_load": "YAML is read by engine/route/nodes.py",
    "full_load": "YAML is read by engine/route/nodes.py",
    "spec_from_file_location": "transforms are compiled from their bytes",
    "spec_from_loader": "transforms are compiled from their bytes",
    "module_from_spec": "transforms are compiled from their bytes",
    "SourceFileLoader": "transforms are compiled from their bytes",
    "create_task": "a task has an owner: a TaskGroup",
    "ensure_future": "a task has an owner: a TaskGroup",
}
MODULES_NEVER = ("jinja2.nativetypes", "importlib.util", "importlib.machinery", "pickle")


def test_what_the_engine_must_not_use_it_does_not() -> None:
    found = [f"{path}:{what}" for path in MODULES for what in misused(ast.parse(path.read_text()))]
    assert [] == found


def misused(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        word = _word(node)
        owned = word == "create_task" and _owner(node) in ("tasks", "group")
        if word in NEVER and not owned:
            yield f"{_line(node)} {word}: {NEVER[word]}"
        if word in ("load", "load_all") and _owner(node) == "yaml":
            yield f"{_line(node)} {word}: {NEVER['safe_load']}"
        if word == "reload" and _owner(node) == "importlib":
            yield f"{_line(node)} {word}"
    for module in imported(tree):
        if module.startswith(MODULES_NEVER):
            yield f" imports {module}"


def _word(node: ast.AST) -> str:
    match node:
        case ast.Attribute(attr=word) | ast.Name(id=word) | ast.alias(name=word):
            return word
    return ""


def _owner(node: ast.AST) -> str:
    match node:
        case ast.Attribute(value=ast.Name(id=word)) | ast.Attribute(value=ast.Attribute(attr=word)):
            return word
    return ""


def _line(node: ast.AST) -> int:
    return getattr(node, "lineno", 0)


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield ("." * node.level) + (node.module or "")


def test_jinjas_own_json_filter_is_not_there() -> None:
    assert "tojson" not in FILTERS
    assert "json" in FILTERS


@pytest.mark.parametrize("path", TRANSFORMS, ids=lambda path: path.stem)
def test_a_shipped_transform_imports_its_door_and_nothing_else_of_the_engine(path: Path) -> None:
    modules = list(imported(ast.parse(path.read_text())))
    assert "engine.transform" in modules
    own = [name for name in modules if name.split(".")[0] in ("engine", "transforms", "")]
    assert own == ["engine.transform"]


def test_the_engine_names_no_transform() -> None:
    names = {path.stem for path in TRANSFORMS}
    for path in MODULES:
        if path.name == "schema.py" or path.parent.name == "draft":
            continue  # in examples, and in the routes that are drafted
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value not in names, f"{path.name}:{node.lineno} names {node.value}"


def test_the_package_says_it_is_typed() -> None:
    assert (ROOT / "engine/py.typed").exists()
