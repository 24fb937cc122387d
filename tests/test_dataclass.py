"""The engine's `@dataclass` behaves as the standard library's, in what the engine uses of it."""

from __future__ import annotations

import dataclasses
import inspect
import weakref
from collections.abc import Callable
from dataclasses import FrozenInstanceError, field
from typing import Any

import pytest

import engine.dataclass as ours

Maker = Callable[..., Any]
MAKERS = [ours.dataclass, dataclasses.dataclass]
both = pytest.mark.parametrize("dataclass", MAKERS, ids=["ours", "library"])


def point(dataclass: Maker, **how: bool) -> Any:
    class Point:
        """A place."""

        x: int
        y: int = 2
        seen: list[int] = field(default_factory=list, compare=False, repr=False)

    return dataclass(slots=True, **how)(Point)


@both
def test_values_come_by_place_by_name_or_by_default(dataclass: Maker) -> None:
    kind = point(dataclass)
    one, other = kind(1), kind(y=5, x=4, seen=[7])
    assert (1, 2, []) == (one.x, one.y, one.seen)
    assert (4, 5, [7]) == (other.x, other.y, other.seen)
    assert one.seen is not kind(1).seen
    assert ("x", "y", "seen") == kind.__match_args__
    assert ("x", "y", "seen") == kind.__slots__
    assert "A place." == kind.__doc__


@both
def test_what_is_missing_or_unknown_is_named(dataclass: Maker) -> None:
    kind = point(dataclass)
    with pytest.raises(TypeError, match=r"Point\.__init__\(\) missing 1 required .*'x'"):
        kind()
    with pytest.raises(TypeError, match=r"Point\.__init__\(\) got an unexpected .*'z'"):
        kind(1, z=2)


@both
def test_a_frozen_instance_refuses_and_can_be_replaced(dataclass: Maker) -> None:
    one = point(dataclass, frozen=True)(1)
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'x'"):
        one.x = 3
    with pytest.raises(FrozenInstanceError, match="cannot delete field 'x'"):
        del one.x
    assert (1, 9) == (one.x, dataclasses.replace(one, x=9).x)


@both
def test_an_instance_that_is_not_frozen_changes(dataclass: Maker) -> None:
    one = point(dataclass)(1)
    one.x = 3
    assert 3 == one.x


@both
def test_instances_of_one_class_are_compared_by_value(dataclass: Maker) -> None:
    kind = point(dataclass, frozen=True)
    assert kind(1, seen=[1]) == kind(1, seen=[2])
    assert kind(1) != kind(2)
    assert kind(1) != point(dataclass, frozen=True)(1)
    assert 1 == len({kind(1), kind(1, 2)})


@both
def test_only_what_cannot_change_has_a_hash_unless_it_is_asked_for(dataclass: Maker) -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(point(dataclass)(1))
    kind = point(dataclass, unsafe_hash=True)
    assert hash(kind(1)) == hash(kind(1))


@both
def test_without_eq_an_instance_equals_itself_alone(dataclass: Maker) -> None:
    kind = point(dataclass, eq=False)
    one = kind(1)
    assert one == one
    assert one != kind(1)
    assert hash(one) != hash(kind(1))


@both
def test_it_shows_its_fields(dataclass: Maker) -> None:
    shown = repr(point(dataclass)(1))
    assert shown.endswith("Point(x=1, y=2)")
    assert "object at" in repr(point(dataclass, repr=False)(1))


@both
def test_what_holds_itself_is_shown_once(dataclass: Maker) -> None:
    one = point(dataclass)(1)
    one.y = [one]
    assert repr(one).endswith("Point(x=1, y=[...])")


@both
def test_methods_of_the_class_itself_stay(dataclass: Maker) -> None:
    class Named:
        name: str
        rest: str = ""

        def __repr__(self) -> str:
            return "shown"

        def __hash__(self) -> int:
            return 7

    one = dataclass(frozen=True, slots=True)(Named)("a")
    assert ("shown", 7) == (repr(one), hash(one))


@both
def test_fields_are_inherited_and_may_be_by_name_only(dataclass: Maker) -> None:
    class Base:
        a: int = 1

    base = dataclass(frozen=True, slots=True, kw_only=True)(Base)

    class Child(base):  # type: ignore[misc,valid-type]
        b: int

    kind = dataclass(frozen=True, slots=True, kw_only=True)(Child)
    one = kind(b=2)
    assert (1, 2) == (one.a, one.b)
    assert ("b",) == kind.__slots__
    with pytest.raises(TypeError, match="positional"):
        kind(1, 2)


@both
def test_what_is_not_taken_is_set_by_default_or_afterwards(dataclass: Maker) -> None:
    class Late:
        a: int
        b: int = field(default=2, init=False)
        c: list[int] = field(default_factory=list, init=False)
        d: int = field(init=False)

        def __post_init__(self) -> None:
            self.d = self.a + self.b

    kind = dataclass(slots=True)(Late)
    one = kind(5)
    assert (5, 2, [], 7) == (one.a, one.b, one.c, one.d)
    assert ["self", "a"] == list(inspect.signature(kind.__init__).parameters)


@both
def test_a_class_without_fields_is_equal_to_itself(dataclass: Maker) -> None:
    class Empty:
        pass

    class Other:
        pass

    kind, other = (
        dataclass(frozen=True, slots=True)(Empty),
        dataclass(frozen=True, slots=True)(Other),
    )
    assert kind() == kind()
    assert kind() != other()
    assert hash(kind()) == hash(kind())
    assert repr(kind()).endswith("Empty()")


@both
def test_it_can_be_referred_to_weakly_if_it_says_so(dataclass: Maker) -> None:
    one = point(dataclass, weakref_slot=True)(1)
    assert weakref.ref(one)() is one


def test_a_class_without_a_docstring_stays_so() -> None:
    class Bare:
        x: int

    made: Any = ours.dataclass(slots=True)
    assert made(Bare).__doc__ is None


def test_what_the_engine_has_no_use_for_is_refused() -> None:
    made: Any = ours.dataclass
    with pytest.raises(TypeError, match="order"):
        made(slots=True, order=True)
    with pytest.raises(TypeError, match="slots"):
        made(frozen=True)
