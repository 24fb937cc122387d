"""Which profile holds for which model."""

from __future__ import annotations

import pytest

from engine.dialects.profile import PROFILE
from engine.route.profiles import fits
from engine.route.spec import ModelSpec
from tests.kit import problems_of, route_of

TEXT = """
version: 1
dialect: openai_chat
base_url: https://a.example
profile: { null_content: empty, tools: { strict: false } }
profiles:
  "kimi-*": { sampling_refused: [temperature], tools: { parallel: false } }
  "*-thinking": { thinking_off: drop, null_content: omit }
models:
  - plain
  - { id: k, upstream: vendor/Kimi-K2 }
  - { id: kimi-k2, upstream: vendor/up, max_output: 9 }
  - kimi-k2-thinking
"""


def test_profiles_are_laid_over_one_another_key_by_key() -> None:
    route = route_of(TEXT)
    plain, kimi, both = (
        route.offers[name].profile for name in ("plain", "kimi-k2", "kimi-k2-thinking")
    )
    assert route.spec.profile == plain
    assert route.spec.profile == route.offers["k"].profile  # the glob is about a whole name
    assert ("empty", ["temperature"], 9) == (
        kimi.null_content, kimi.sampling_refused, kimi.max_output
    )  # fmt: skip
    assert (False, False) == (kimi.tools.strict, kimi.tools.parallel)
    assert ("omit", "drop", ["temperature"]) == (
        both.null_content, both.thinking_off, both.sampling_refused
    )  # fmt: skip


@pytest.mark.parametrize(
    ("glob", "fit"),
    [("m", True), ("M", True), ("v/*", True), ("*", True), ("?", True), ("v?up", True),
     ("v", False), ("*.up", False), ("", False)],
)  # fmt: skip
def test_globs_are_about_whole_names(glob: str, fit: bool) -> None:
    assert fit == fits(glob, ModelSpec(id="m", upstream="v/up"))


def test_the_policy_of_the_route_holds_where_the_model_has_none() -> None:
    text = TEXT.replace('"kimi-*": {', '"kimi-*": { on_unsupported: silent,')
    offers = route_of(text + "on_unsupported: refuse\n").offers
    assert ("refuse", "silent") == (
        offers["plain"].profile.on_unsupported,
        offers["kimi-k2"].profile.on_unsupported,
    )


def test_a_route_that_says_nothing_has_the_one_empty_profile() -> None:
    route = route_of("version: 1\ndialect: openai_chat\nbase_url: https://a.example\nmodels: [m]")
    assert route.offers["m"].profile is PROFILE
    assert route.offers["m"].passes


def test_only_models_whose_profile_says_something_are_written_anew() -> None:
    text = TEXT.replace("profile: { null_content: empty, tools: { strict: false } }", "")
    route = route_of(text)
    assert route.passthrough
    passing = {name for name, offer in route.offers.items() if offer.passes}
    assert {"plain", "k"} == passing


def test_mistakes_in_a_profile_are_told_where_they_stand() -> None:
    text = TEXT.replace("sampling_refused: [temperature]", "sampling_refused: [temprature]")
    assert ["7:E104"] == problems_of(text)
    text = TEXT.replace("thinking_off: drop", "thinking_of: drop")
    assert ["8:E101"] == problems_of(text)
