"""The JSON Schema says what the reader says, as far as a schema can."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from engine.options import Duration, Template, option
from engine.route.answer_spec import StreamSpec
from engine.route.fields import fields_of
from engine.route.manual import default_of, duration, size
from engine.route.nodes import read
from engine.route.schema import json_schema, reference
from engine.route.spec import RouteSpec, TimeoutsSpec
from engine.route.transforms import load
from engine.shell.settings import Settings
from tests.route.corpus import BAD, GOOD, expected, own_transforms

SCHEMA = json_schema(RouteSpec, own_transforms())
VALID = Draft7Validator(SCHEMA)
OF_A_SCHEMA = {"E101", "E102", "E103", "E104", "E105", "E305"}


def plain(source: bytes) -> Any:
    node = read(source, "route.yaml", [])
    assert node is not None
    return node.plain()


def with_codes(*, within: set[str]) -> list[Path]:
    """Bad files with these codes only; not those whose mistake stands in a variable."""
    return [
        path
        for path in BAD
        if {e.code for e in expected(path.read_bytes())} <= within
        and "from_outside" not in path.name
    ]


def properties(node: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, definition in node["definitions"].items():
        for part in (definition, *definition.get("anyOf", [])):
            for key, value in part.get("properties", {}).items():
                yield f"{name}.{key}", value


def test_the_schema_is_one_itself() -> None:
    Draft7Validator.check_schema(SCHEMA)
    Draft7Validator.check_schema(json_schema(Settings))


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_every_good_route_is_valid(path: Path) -> None:
    assert [error.message for error in VALID.iter_errors(plain(path.read_bytes()))] == []


@pytest.mark.parametrize("path", with_codes(within=OF_A_SCHEMA), ids=lambda path: path.name)
def test_a_route_with_a_wrong_key_or_type_is_not_valid(path: Path) -> None:
    assert not VALID.is_valid(plain(path.read_bytes()))


def test_what_a_route_means_is_no_business_of_the_schema() -> None:
    beyond = {
        "E201",
        "E501",
        "E506",
        "E507",
        "E508",
        "E509",
        "E513",
        "E515",
        "E520",
        "W502",
        "W505",
    }
    paths = with_codes(within=beyond)
    assert len(paths) > 15
    for path in paths:
        assert VALID.is_valid(plain(path.read_bytes())), path.name


def test_every_key_is_described_with_an_example_and_a_release() -> None:
    seen = 0
    for name, value in properties(json_schema(RouteSpec)):
        if name.endswith(".when") and "x-since" not in value:
            continue  # beside a transform's name, where it is no key of a dataclass
        seen += 1
        assert value["description"], name
        assert len(value["examples"]) >= 1, name
        assert value["x-since"], name
    assert seen > 250


def test_the_examples_of_a_key_are_valid_for_it() -> None:
    schema = json_schema(RouteSpec)
    for name, value in properties(schema):
        whole = {**value, "definitions": schema["definitions"]}
        for example in value.get("examples", []):
            assert Draft7Validator(whole).is_valid(example), (name, example)


def test_the_default_of_a_key_is_valid_for_it() -> None:
    schema = json_schema(RouteSpec)
    found = [(name, value) for name, value in properties(schema) if "default" in value]
    assert ("StreamSpec.use", "auto") in [(name, value["default"]) for name, value in found]
    for name, value in found:
        whole = {**value, "definitions": schema["definitions"]}
        assert Draft7Validator(whole).is_valid(value["default"]), name


def test_defaults_are_written_as_a_route_writes_them() -> None:
    assert default_of(fields_of(TimeoutsSpec)["total"]) == "580s"
    assert default_of(fields_of(TimeoutsSpec)["early_headers"]) == "15s"
    assert default_of(fields_of(StreamSpec)["use"]) == "auto"
    assert [duration(Duration(seconds)) for seconds in (0.5, 90, 120, 3600, 259200, 0)] == [
        "500ms",
        "90s",
        "2m",
        "1h",
        "3d",
        "0s",
    ]
    assert [size(count) for count in (65536, 32 * 1024**2, 1024**3, 1000)] == [
        "64KiB",
        "32MiB",
        "1GiB",
        "1000B",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "extends: openai\nmodels: [m1]\n",
        "extends: openai\nrequest: null\n",
        "extends: openai\nrequest: { headers: { x-a: null }, method: null }\n",
        "extends: openai\nsession: { ttl: 5m }\n",
        "extends: openai\nerrors: { rules: [inherit, { status: 401, as: fatal }] }\n",
        "extends: openai\nrequest: { json: null, form: { a: b } }\n",
    ],
)
def test_a_child_may_leave_out_remove_and_splice(text: str) -> None:
    assert VALID.is_valid(plain(text.encode()))


@pytest.mark.parametrize(
    "text",
    [
        "models: [m1]\n",
        "version: 1\nrequest: null\nretry: null\n",
        "version: 1\nsession: { ttl: 5m }\n",
        "version: 1\nerrors: { rules: [inherit] }\n",
        "extends: openai\nerrors: { rules: [{ status: 401 }] }\n",
        "extends: openai\nrequst: { path: / }\n",
        "extends: openai\nx: 1\n",
    ],
)
def test_without_a_parent_everything_must_be_there(text: str) -> None:
    assert not VALID.is_valid(plain(text.encode()))


def test_notes_and_the_schemas_address_are_taken() -> None:
    text = "version: 1\nx-note: [1]\n$schema: ./route.v1.json\n"
    assert VALID.is_valid(plain(text.encode()))


@pytest.mark.parametrize(
    ("item", "valid"),
    [
        ("upper", True),
        ("{ upper: null }", True),
        ("{ upper: null, when: req.stream }", True),
        ("{ upper: { size: 3 } }", False),
        ("{ of_ones_own: { size: 3 }, when: req.stream }", True),
        ("{ upper: null, when: '{{ req.stream }}' }", False),
        ("{ upper: null, other: null, when: x }", False),
        ("Upper", False),
        ("{ }", False),
    ],
)
def test_an_item_of_transforms_is_a_name_or_a_name_with_its_options(item: str, valid: bool) -> None:
    assert valid == VALID.is_valid(plain(f"version: 1\ntransforms: [{item}]\n".encode()))


def test_an_extracting_transform_is_offered_where_it_fits() -> None:
    text = "version: 1\nvalues: { a: { extract: [{ transform: %s }] } }\n"
    assert VALID.is_valid(plain((text % "{ magic: { name: cfg } }").encode()))
    assert not VALID.is_valid(plain((text % "{ magic: { nam: cfg } }").encode()))
    assert not VALID.is_valid(plain((text % "{ magic: null }").encode()))


def test_the_schema_of_the_server_file_comes_from_the_same_hand() -> None:
    valid = Draft7Validator(json_schema(Settings))
    assert valid.is_valid({"version": 1, "listen": {"port": "${env:PORT}"}, "drain": "5s"})
    assert not valid.is_valid({"version": 1, "listen": {"prt": 1}})
    assert "### `listen`" in reference(Settings)


def test_options_of_transforms_are_documented_when_they_are_given() -> None:
    page = reference(RouteSpec, own_transforms())
    assert "### magic" in page
    assert "the name before the equals sign" in page


@dataclass(frozen=True, slots=True, kw_only=True)
class Old:
    word: str = option("a", "a word", since="0.4", deprecated="use `words`")
    when: Template | None = option(None, "a text", roots=("=", "req"))


def test_age_and_variables_of_a_key_are_told() -> None:
    found = json_schema(Old)["definitions"]["Old"]["properties"]
    assert found["word"]["x-since"] == "0.4"
    assert found["word"]["deprecated"]
    assert found["word"]["deprecationMessage"] == "use `words`"
    assert found["when"]["x-context"] == ["req"]
    assert "a word; since 0.4; deprecated use `words`" in reference(Old)


def test_options_that_all_have_defaults_may_be_left_out() -> None:
    source = b"""from dataclasses import dataclass
from engine.transform import option
API = 1
@dataclass(frozen=True, kw_only=True)
class Options:
    size: int = option(1, "a size")
class Transform:
    def finish(self):
        return []
"""
    valid = Draft7Validator(json_schema(RouteSpec, [load("lazy", source, "lazy.py")]))
    items = {"lazy: null": True, "lazy: { size: 2 }": True, "lazy: 2": False, "when: x": False}
    for item, expected_valid in items.items():
        text = f"version: 1\ntransforms: [{{ {item} }}]\n"
        assert valid.is_valid(plain(text.encode())) == expected_valid, item


def test_the_schema_is_json() -> None:
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
