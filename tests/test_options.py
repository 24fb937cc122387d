"""How kinds declare options, and the values that arrive compiled."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import dataclass

import pytest

from engine.options import OMIT, Condition, Omit, Secret, Template, key_of, option


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    needed: str = option(doc="needed")
    words: list[str] = option(["a"], "words", lone=True)
    for_: int = option(1, "a word of Python", name="for")


def test_options_keep_their_documentation_and_their_key() -> None:
    needed, words, for_ = dataclasses.fields(Sample)
    assert needed.default is dataclasses.MISSING
    assert needed.default_factory is dataclasses.MISSING
    assert (needed.metadata["doc"], words.metadata["lone"]) == ("needed", True)
    assert [key_of(item) for item in (needed, words, for_)] == ["needed", "words", "for"]


def test_a_default_list_is_never_shared() -> None:
    one, two = Sample(needed="x"), Sample(needed="x")
    one.words.append("b")
    assert two.words == ["a"]


def test_omit_is_one_and_false() -> None:
    assert Omit() is OMIT
    assert not OMIT
    assert repr(OMIT) == "omit"


def test_a_secret_shows_only_its_name() -> None:
    secret = Secret("hunter2", "env:KEY")
    shown = [
        str(secret), repr(secret), f"{secret}", f"{secret!r:>20}", f"{secret:>20}",
        f"{[secret]}", str({"a": secret}),
    ]  # fmt: skip
    assert all("hunter2" not in text for text in shown)
    assert str(secret) == "«env:KEY»"
    assert secret.reveal() == "hunter2"


def test_secrets_are_equal_by_their_text() -> None:
    assert Secret("a", "x") == Secret("a", "y")
    assert hash(Secret("a", "x")) == hash(Secret("a", "y"))
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"


def test_a_copy_of_a_secret_is_the_secret() -> None:
    secret = Secret("hunter2", "x")
    assert copy.copy(secret) is copy.deepcopy(secret) is secret
    assert copy.deepcopy({"a": [secret]})["a"][0] is secret


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_secret_is_not_pickled_and_the_error_does_not_show_it(protocol: int) -> None:
    with pytest.raises(TypeError) as told:
        pickle.dumps([Secret("hunter2", "x")], protocol)
    assert "hunter2" not in str(told.value)


def test_a_bound_template_is_called_with_further_roots() -> None:
    template = Template("…", lambda env: (env["a"], env.get("b")))
    assert template.bind({"a": 1})() == (1, None)
    assert template.bind({"a": 1})(b=2) == (1, 2)
    assert template(a=3) == (3, None)


def test_a_bound_condition_is_called_with_further_roots() -> None:
    condition = Condition("…", lambda env: bool(env.get("a")))
    assert condition() is False
    assert condition.bind({"a": 1})() is True
    assert condition.bind({"a": 1})(a=0) is False
