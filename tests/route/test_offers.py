"""Models under all their names."""

from __future__ import annotations

from engine.transform import Model
from tests.kit import problems_of, route_of

HEAD = """
version: 1
dialect: openai_chat
base_url: https://a.example
vars: { depth: 1, tone: plain }
"""
TEXT = (
    HEAD
    + """
models:
  - plain
  - { id: fast, upstream: vendor/fast-2, aliases: [quick, swift], max_output: 100, owned_by: me,
      set: { depth: 2 } }
variants: [ { suffix: -deep, set: { depth: 9 } } ]
"""
)


def test_ids_aliases_and_variants_are_offered() -> None:
    offers = route_of(TEXT).offers
    assert sorted(offers) == ["fast", "fast-deep", "plain", "plain-deep", "quick", "swift"]
    assert offers["plain"].model == Model("plain", "plain")
    assert offers["quick"] is offers["swift"] is offers["fast"]
    assert offers["fast-deep"].model == Model("fast-deep", "vendor/fast-2", 100)


def test_the_narrower_vars_win() -> None:
    offers = route_of(TEXT).offers
    assert offers["plain"].vars == {"depth": 1, "tone": "plain"}
    assert offers["fast"].vars == {"depth": 2, "tone": "plain"}
    assert offers["fast-deep"].vars == {"depth": 9, "tone": "plain"}


def test_templates_see_the_model_as_it_was_asked_for() -> None:
    offers = route_of(TEXT).offers
    assert offers["plain"].known == {"id": "plain", "upstream": "plain"}
    assert offers["fast-deep"].known == {
        "id": "fast-deep",
        "upstream": "vendor/fast-2",
        "max_output": 100,
    }


def test_a_model_is_owned_by_its_route_unless_it_says_otherwise() -> None:
    offers = route_of(TEXT + "name: mine\n").offers
    assert (offers["plain"].owned_by, offers["fast"].owned_by) == ("mine", "me")


def test_a_name_is_offered_once() -> None:
    assert problems_of(HEAD + "models: [a, { id: b, aliases: a }]") == ["6:E501"]
    assert problems_of(HEAD + "models: [a, a-x]\nvariants: [ { suffix: -x } ]") == ["7:E501"]
