"""The book of routes: who gets a model's name."""

from __future__ import annotations

from engine.route.book import RouteBook, clashes, make_book
from engine.route.route import Route
from tests.kit import route_of


def route(name: str, models: str, priority: int = 0) -> Route:
    return route_of(
        f"version: 1\nname: {name}\ndialect: openai_chat\nbase_url: https://{name}.example\n"
        f"models: {models}\npriority: {priority}\n"
    )


def owner(book: RouteBook, model: str) -> str | None:
    found = book.find(model)
    return found[0].name if found else None


def test_a_model_is_found_by_its_name_and_by_its_routes() -> None:
    book = make_book([route("one", "[a, { id: b, aliases: [c] }]"), route("two", "[d]")])
    assert [owner(book, name) for name in ("a", "b", "c", "d", "one/a", "one/c", "two/d")] == [
        "one", "one", "one", "two", "one", "one", "two",
    ]  # fmt: skip
    assert [owner(book, name) for name in ("x", "two/a", "a/one", "")] == [None] * 4


def test_the_higher_priority_gets_the_bare_name_whatever_the_order() -> None:
    low, high = route("low", "[a, b]"), route("high", "[a]", 5)
    for book in (make_book([low, high]), make_book([high, low])):
        assert (owner(book, "a"), owner(book, "b"), owner(book, "low/a")) == ("high", "low", "low")


def test_at_a_tie_the_first_keeps_it() -> None:
    one, two = route("one", "[a]"), route("two", "[a]")
    assert owner(make_book([one, two]), "a") == "one"
    assert owner(make_book([two, one]), "a") == "two"


def test_only_ids_are_listed_each_once() -> None:
    book = make_book([route("one", "[{ id: b, aliases: [c] }]"), route("two", "[b]", 1)])
    assert [(name, of.name) for name, of, _ in book.listed] == [("b", "two")]


def test_a_route_of_the_same_name_replaces_the_one_before() -> None:
    first, second = route("one", "[a]"), route("one", "[b]")
    book = make_book([first, second])
    assert dict(book.routes) == {"one": second}
    assert owner(book, "b") == "one"


def test_an_empty_book_finds_nothing() -> None:
    assert RouteBook().find("a") is None


def test_a_clash_names_the_model_and_both_routes() -> None:
    one, two = route("one", "[a, b]"), route("two", "[b, c]")
    (problem,) = clashes(two, [one])
    assert problem.code == "E501"
    assert "model `b` is also offered by route `one`" in problem.message
    assert clashes(route("two", "[b]", 1), [one]) == []
    assert clashes(route("one", "[b]"), [one]) == []
    assert clashes(route("two", "[x]"), [one]) == []
