"""Files to begin with."""

from __future__ import annotations

from engine.draft.starters import is_transform_name, over_preset, transform
from engine.route.transforms import load


def test_a_transform_and_its_test_are_about_one_name() -> None:
    files = transform("drop_debug")
    assert ["transforms/drop_debug.py", "tests/test_drop_debug.py"] == list(files)
    loaded = load("drop_debug", files["transforms/drop_debug.py"].encode(), "drop_debug.py")
    assert "drop_debug" in loaded.doc
    compile(files["tests/test_drop_debug.py"], "test_drop_debug.py", "exec")


def test_names_of_transforms() -> None:
    assert [True, False, False, False] == [
        is_transform_name(name) for name in ("a_1", "A", "1a", "a-b")
    ]


def test_a_shipped_route_gets_the_name() -> None:
    shipped = "# Set X_KEY.\nversion: 1\nextends: x\n"
    assert "# Set X_KEY.\nversion: 1\nname: mine\nextends: x\n" == over_preset("mine", "x", shipped)


def test_without_one_there_is_a_pattern() -> None:
    text = over_preset("my-x", "x", None)
    assert "name: my-x\nextends: x\n" in text
    assert "${env:MY_X_KEY}" in text
