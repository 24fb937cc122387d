"""The map that a key in the wrong place is at home in."""

from __future__ import annotations

import pytest

from engine.route.homes import at_home
from engine.route.spec import RouteSpec


@pytest.mark.parametrize(
    ("place", "key", "hint"),
    [
        ("", "bearer", "; it is a key of `auth`"),
        ("", "reduce", "; it is a key of `stream`"),
        ("stream", "finish", "; it is a key of `stream.events[]`"),
        ("stream.events[3]", "done", "; it is a key of `stream`"),
        ("stream.events[3].usage", "finish", "; it is a key of `stream.events[]`"),
        ("request", "sign", "; it is a key of `auth`"),
        ("values.token.request", "ttl", "; it is a key of `values.<name>`"),
        ("auth", "models", "; `models` stands at the top of the file: is it indented too far?"),
        ("retry", "wobble", ""),
        ("stream.events[3]", "name", "; it is a key of `stream.events[].tool_calls`"),
        ("stream.events[3].finish", "description", ""),
        ("discover", "url", ""),
    ],
)
def test_the_nearest_maps_that_have_the_key_are_named(place: str, key: str, hint: str) -> None:
    assert hint == at_home(RouteSpec, place, key)
