"""The time of a transform's calls: what is slow is told, what is too slow ends the attempt."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.errors import ExchangeError
from engine.route.stages import Budget, Measured, Stage, shape
from engine.route.transforms import load
from engine.transform import ChatRequest
from tests.route.corpus import own_transforms

Told = list[dict[str, object]]


class Slow:
    """Takes the seconds it is given, on a clock of its own."""

    def __init__(self, seconds: float) -> None:
        self.now, self.seconds = 10.0, seconds
        self.told: Told = []

    def budget(self) -> Budget:
        return Budget(lambda: self.now, lambda **what: self.told.append(what))

    def shape(self, request: ChatRequest) -> ChatRequest:
        self.now += self.seconds
        return request

    def timed(self) -> Callable[..., object]:
        return self.budget().timed("mine", "shape", self.shape)


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.049])
def test_a_quick_call_is_not_worth_a_word(seconds: float) -> None:
    slow = Slow(seconds)
    assert slow.timed()("request") == "request"
    assert slow.told == []


@pytest.mark.parametrize("seconds", [0.0625, 0.25])
def test_a_slow_call_is_told_and_its_answer_used(seconds: float) -> None:
    slow = Slow(seconds)
    assert slow.timed()("request") == "request"
    assert slow.told == [{"transform": "mine", "method": "shape", "seconds": round(seconds, 3)}]


@pytest.mark.parametrize("seconds", [0.5, 60.0])
def test_a_call_that_took_too_long_ends_the_attempt(seconds: float) -> None:
    slow = Slow(seconds)
    with pytest.raises(ExchangeError, match="transform `mine` took too long in `shape`") as caught:
        slow.timed()("request")
    assert caught.value.cls == "fatal"
    assert slow.told == [{"transform": "mine", "method": "shape", "seconds": round(seconds, 3)}]


def test_what_a_call_raises_goes_through() -> None:
    def fails() -> None:
        raise ExchangeError("invalid_request", "not this one")

    with pytest.raises(ExchangeError, match="not this one"):
        Slow(0).budget().timed("mine", "shape", fails)()


def test_the_methods_of_every_event_are_not_measured() -> None:
    loaded = next(found for found in own_transforms() if found.name == "upper")
    made = loaded.make()
    measured = Measured(Stage(loaded, None, None), made, Slow(9).budget())
    assert measured.feed == made.feed  # type: ignore[attr-defined]


def test_a_stage_that_shapes_too_slowly_fails_as_one(loaded_shape: Stage) -> None:
    slow = Slow(2.0)
    measured = Measured(loaded_shape, slow, slow.budget())
    with pytest.raises(ExchangeError, match="took too long"):
        shape([(loaded_shape, measured)], ChatRequest("openai_chat", "m", []))


@pytest.fixture
def loaded_shape() -> Stage:
    source = (
        b'"""Nothing."""\n\nfrom engine.transform import ChatRequest\n\nAPI = 1\n\n\n'
        b"class Transform:\n"
        b"    def shape(self, request: ChatRequest) -> ChatRequest:\n        return request\n"
    )
    return Stage(load("nothing", source, "nothing.py"), None, None)
