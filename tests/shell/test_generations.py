import gc
from pathlib import Path

import pytest

from engine.route.route import Route
from engine.shell.generations import LONG, Generations
from engine.shell.library import Library
from tests.shell.samples import route_text, save


@pytest.fixture
def routes(tmp_path: Path) -> list[Route]:
    """Six routes of one name."""
    save(tmp_path / "a.yaml", route_text("m"))
    library = Library([tmp_path], env={})
    found = [library.load(tmp_path / "a.yaml").route for _ in range(6)]
    return [route for route in found if route is not None]


def told(generations: Generations, now: float) -> list[tuple[str, object]]:
    return [(notice.name, notice.fields["count"]) for notice in generations.tell(now)]


def test_each_route_of_a_name_has_the_next_number(routes: list[Route]) -> None:
    generations = Generations()
    assert [generations.begin(route, [], 0) for route in routes] == [1, 2, 3, 4, 5, 6]


def test_a_route_that_nobody_holds_is_not_in_use(routes: list[Route]) -> None:
    generations = Generations()
    for at, route in enumerate(routes):
        generations.begin(route, [f"digest{at}"], 0)
    del route, routes[1:]
    assert generations.live("a") == 1
    assert generations.transforms() == {"digest0"}
    assert generations.live("unknown") == 0


def test_counts_are_told_when_they_change(routes: list[Route]) -> None:
    generations = Generations()
    found = []
    for route in routes[:2]:
        generations.begin(route, [], 0)
        found.append(told(generations, 0))
    found.append(told(generations, 0))
    del route, routes[1:]
    found.append(told(generations, 0))
    assert found == [[("generations", 1)], [("generations", 2)], [], [("generations", 1)]]


def test_a_pile_is_told_once_for_each_that_makes_it_higher(routes: list[Route]) -> None:
    generations = Generations()
    for route in routes[:5]:
        generations.begin(route, [], 0)
    assert told(generations, 0) == [("generations", 5), ("generations_piled", 5)]
    assert told(generations, 1) == []
    generations.begin(routes[5], [], 1)
    assert told(generations, 1) == [("generations", 6), ("generations_piled", 6)]


def test_a_route_held_for_long_is_told_once(routes: list[Route]) -> None:
    generations = Generations()
    for route in routes[:2]:
        generations.begin(route, [], 100)
    told(generations, 100)
    assert told(generations, 100 + LONG) == []
    (notice,) = generations.tell(101 + LONG)
    fields = {"route": "a", "count": 2, "oldest": round(LONG) + 1, "level": "warning"}
    assert (notice.name, notice.fields) == ("generations_piled", fields)
    assert told(generations, 102 + LONG) == []


def test_what_only_garbage_holds_is_no_pile(routes: list[Route]) -> None:
    generations = Generations()
    for route in routes[:2]:
        generations.begin(route, [], 100)
    ring: list[object] = [routes[0]]
    ring.append(ring)  # as what an ended request leaves
    served = routes[1]
    del route, ring, routes[:]
    gc.disable()
    try:
        assert told(generations, 100) == [("generations", 2)]
        assert told(generations, 101 + LONG) == [("generations", 1)]
    finally:
        gc.enable()
    assert served.name == "a"


def test_of_thousands_only_those_with_something_to_tell_are_looked_at(
    routes: list[Route], monkeypatch: pytest.MonkeyPatch
) -> None:
    generations = Generations()
    generations.begin(routes[0], [], 0)
    assert told(generations, 0) == [("generations", 1)]
    asked: list[str] = []
    live = Generations.live

    def looked_at(self: Generations, name: str) -> int:
        asked.append(name)
        return live(self, name)

    monkeypatch.setattr(Generations, "live", looked_at)
    assert told(generations, 1) == []
    assert asked == []
    del routes[0]
    assert told(generations, 2) == [("generations", 0)]
    assert told(generations, 3) == []
