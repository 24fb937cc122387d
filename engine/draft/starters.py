"""Files to begin with that need no recording: a route over a preset, a transform and its test."""

from __future__ import annotations

import re
from string import Template

TRANSFORM = Template('''\
"""Say in one line what $name does; lists and docs show this line."""

from dataclasses import dataclass

from engine.transform import Close, Context, Event, Open, TextDelta, option

API = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    mark: str = option("[debug]", "what a line begins with that is left out")


class Transform:
    """An example to change: it leaves out lines. docs/transforms.md has the other methods."""

    def __init__(self, options: Options, context: Context) -> None:
        self._mark = options.mark
        self._block = 0
        self._rest = ""  # a line that has no end yet: text comes in pieces of any size

    def feed(self, event: Event) -> list[Event]:
        if isinstance(event, Open | Close):
            return [*self.finish(), event]
        if not isinstance(event, TextDelta):
            return [event]
        self._block = event.block
        *lines, self._rest = (self._rest + event.text).split("\\n")
        return self._kept([f"{line}\\n" for line in lines])

    def finish(self) -> list[Event]:
        rest, self._rest = self._rest, ""
        return self._kept([rest])

    def _kept(self, lines: list[str]) -> list[Event]:
        text = "".join(line for line in lines if not line.startswith(self._mark))
        return [TextDelta(self._block, text)] if text else []
''')

TEST = Template('''\
"""$name, on its own. `pytest` runs this; a fixture of a route that lists it shows the rest."""

from pathlib import Path
from typing import Any

import pytest

from engine.route.transforms import instantiate, load
from engine.transform import Context, TextDelta

PATH = Path(__file__).parents[1] / "transforms" / "$name.py"
LOADED = load("$name", PATH.read_bytes(), str(PATH))


def said(pieces: list[str], **options: Any) -> str:
    assert LOADED.options is not None
    transform = instantiate(LOADED, LOADED.options(**options), Context("route"))
    events = [event for piece in pieces for event in transform.feed(TextDelta(0, piece))]
    return "".join(event.text for event in [*events, *transform.finish()])


@pytest.mark.parametrize(
    ("text", "left"),
    [("Hello\\n[debug] 7 ms\\nyou", "Hello\\nyou"), ("[debug]", ""), ("a [debug]", "a [debug]")],
)
def test_every_cut_gives_the_same_text(text: str, left: str) -> None:
    for at in range(len(text) + 1):
        assert left == said([text[:at], text[at:]]), at
''')


def transform(name: str) -> dict[str, str]:
    """Its file and its test, by their places."""
    return {
        f"transforms/{name}.py": TRANSFORM.substitute(name=name),
        f"tests/test_{name}.py": TEST.substitute(name=name),
    }


def is_transform_name(name: str) -> bool:
    return re.fullmatch(r"[a-z][a-z0-9_]*", name) is not None


def over_preset(name: str, preset: str, shipped: str | None) -> str:
    """A route that extends a preset. shipped: one that comes along and does, if there is one."""
    if shipped is not None:
        return re.sub(r"^version: 1\n", f"version: 1\nname: {name}\n", shipped, flags=re.M)
    variable = re.sub(r"\W", "_", name).upper()
    return (
        f"# Set {variable}_KEY, the address and the models.\n"
        f"version: 1\nname: {name}\nextends: {preset}\nbase_url: https://api.example.com/v1\n"
        f'auth: {{ bearer: "${{env:{variable}_KEY}}" }}\nmodels: [example-model]\n'
    )
