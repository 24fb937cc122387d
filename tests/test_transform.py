"""The public door: what a transform may import, and nothing else by accident."""

from __future__ import annotations

import dataclasses

import pytest

from engine import transform as door
from engine.transform import METHODS, Context, Model, Secret, Value


def test_every_name_of_the_door_is_there_and_none_is_listed_twice() -> None:
    assert sorted(door.__all__) == sorted(set(door.__all__))
    assert all(hasattr(door, name) for name in door.__all__)


def test_the_stages_are_the_methods_of_the_contract() -> None:
    stages: dict[str, tuple[str, ...]] = {
        "shape": ("request",),
        "patch": ("request",),
        "sign": ("request",),
        "classify": ("response",),
        "feed_record": ("record",),
        "feed": ("event",),
        "finish": (),
        "extract": ("response",),
        "produce": (),
    }
    assert stages == METHODS


def test_a_context_needs_nothing_but_the_route() -> None:
    context = Context(route="r")
    assert (context.attempt, context.previous, context.request) == (1, None, None)
    assert (dict(context.account), dict(context.values), dict(context.vars)) == ({}, {}, {})


def test_a_context_shows_no_secret() -> None:
    context = Context(route="r", account={"key": Secret("hunter2", "env:KEY")})
    assert "hunter2" not in repr(context)


def test_the_doors_values_cannot_be_changed() -> None:
    for value, name in (
        (Context(route="r"), "route"),
        (Model("a", "b"), "id"),
        (Value("x"), "content"),
    ):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, "other")
