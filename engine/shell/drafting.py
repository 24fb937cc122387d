"""What `penstock new` writes: the draft of a route, and a fixture out of the same recording.

The fixture is made by what `penstock record` is made of, with the browser's exchanges for those of
the engine: what the client sees is what the route makes of the recorded answers.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from engine.draft.hiding import private
from engine.draft.opaque import Exchange
from engine.draft.sketch import Draft
from engine.errors import Problem
from engine.options import Secret
from engine.replay.composing import bearers, text_of
from engine.replay.disguise import Disguise
from engine.replay.fixtures import ClientSpec, Fixture, read_fixture
from engine.replay.play import Seen, play
from engine.replay.taping import Taken
from engine.route.compile import Compiled
from engine.route.route import Route
from engine.wire import HttpResponse

from .atomic import write_bytes
from .bundle import bundled_presets, bundled_routes
from .environment import environment
from .fixture_files import reply_tree, write
from .recorder import Notes, NotRecorded, Order, Recording, long_enough, relative
from .settings import Settings
from .shelf import Shelf
from .testing import WORLD, Bench

CLOCK, SEED, AROUND = 1_767_225_600, 7, 200


def keep_out(draft: Draft, allow: frozenset[str]) -> None:
    """Raises NotRecorded if the route would hold a secret."""
    data = draft.file.encode()
    for found in Disguise(secrets_of(draft), allow).left(data):
        line = data.count(b"\n", 0, found.at) + 1
        what = found.what if found.known else f"what looks like a credential, {found.what}"
        raise NotRecorded(
            f"line {line} of the route would hold {what}; --allow {found.what} writes it"
        )


def secrets_of(draft: Draft) -> list[Secret]:
    """What must be in no file: the operator's own, what was fetched, and what is a credential."""
    found = [*draft.fetched, *bearers(map(_taken, draft.exchanges))]
    for exchange in draft.exchanges[:-1]:
        body = exchange.answer.body if exchange.answer else b""
        found += [Secret(text, "the answer of a value") for text in private(body)]
    return [*draft.hiding.secrets(), *(secret for secret in found if long_enough(secret))]


def compiled(route: Path, draft: Draft | None = None) -> tuple[Compiled, list[Problem]]:
    """The route that was written, and what `check` says of it; unset variables do not count."""
    needed = draft.env if draft else {}
    env = {**environment(), **{name: value or "not-set-yet" for name, value in needed.items()}}
    found = Shelf([route.parent], env=env).load(route)
    return found, [problem for problem in found.problems if problem.code != "E201"]


async def record(
    draft: Draft, route: Route, out: Path, allow: frozenset[str]
) -> tuple[list[Path], Recording]:
    """Write the fixture; its files. Raises NotRecorded and FileError."""
    taken = [_taken(each) for each in _trimmed(draft)]
    env = {name: value or f"not-a-real-{name.lower()}" for name, value in draft.env.items()}
    order = Order(
        route, relative(route.file, out), ClientSpec(json=draft.client), out, Notes(env=env),
        [Path(route.file).parent], Settings(), note="as a browser recorded it", allow=allow,
    )  # fmt: skip
    seen = await _seen(order, taken)
    recording = Recording(CLOCK, SEED, seen, taken, {}, secrets_of(draft), 0)
    if seen.error is not None:
        told = recording.told(f"{seen.error.cls}: {seen.error.message}")
        raise NotRecorded(f"the route makes an error of the recorded answer ({told})")
    if draft.text is not None and seen.reply.text.strip() != draft.text.strip():
        raise NotRecorded("the route reads another text than the draft meant to; see its rules")
    if not seen.reply.text and not seen.reply.calls:
        raise NotRecorded("the route finds no text in the recorded answer")
    return await write(order, recording), recording


async def _seen(order: Order, taken: list[Taken]) -> Seen:
    """What a client sees of the recorded answers, nothing hidden yet."""
    beside: dict[str, bytes] = {}
    replies: list[dict[str, Any]] = [
        {"reply": reply_tree(each, Disguise(()), f"{at}.bin", beside)}
        for at, each in enumerate(taken)
    ]
    replies[-1]["repeat"] = 10  # so that an error is that of the answer, however often it is tried
    tree = {
        "fixture": 1, "route": order.named, "env": order.notes.env, "clock": CLOCK, "seed": SEED,
        "client": {"json": order.client.json}, "exchanges": replies,
    }  # fmt: skip
    fixture: Fixture = read_fixture(text_of(tree).encode(), str(order.out), beside.__getitem__)
    route = Bench(order.folders, depth="off", http=False).route(fixture)
    if route is None:
        raise NotRecorded("the route does not load; mend it, then use `penstock record`")
    return (await play(route, fixture, WORLD))[-1]


def _taken(exchange: Exchange) -> Taken:
    answer = exchange.answer or HttpResponse(502)
    head = HttpResponse(answer.status, answer.headers)
    url, _, query = exchange.request.url.partition("?")
    apart = tuple(parse_qsl(query.partition("#")[0], keep_blank_values=True))
    request = dataclasses.replace(exchange.request, url=url, query=apart)
    return Taken(request, 0.0, head, [(0, answer.body)] if answer.body else [])


def _trimmed(draft: Draft) -> Iterator[Exchange]:
    """The exchanges; of pages on the way only what stands around the values that are wanted."""
    yield from (_around(each, draft.fetched) for each in draft.exchanges[:-1])
    yield draft.exchanges[-1]


def _around(exchange: Exchange, wanted: list[Secret]) -> Exchange:
    answer = exchange.answer
    if answer is None or _is_json(answer.body):
        return exchange
    body, places = answer.body, list[tuple[int, int]]()
    for secret in wanted:
        at = body.find(secret.reveal().encode())
        if at >= 0:
            places.append((max(0, at - AROUND), at + len(secret.reveal()) + AROUND))
    text = b"\n".join(body[begin:end] for begin, end in sorted(places)) or body
    return dataclasses.replace(exchange, answer=dataclasses.replace(answer, body=text))


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


# ---- files ----


def write_all(files: dict[Path, str]) -> None:
    """Raises FileError."""
    for path, text in files.items():
        write_bytes(path, text.encode())


def preset_names() -> list[str]:
    return sorted(path.stem for path in bundled_presets().glob("*.yaml"))


def shipped_over(preset: str) -> str | None:
    """The text of a shipped route that extends a preset, of its own name if there is one."""
    texts = {path.stem: path.read_text() for path in sorted(bundled_routes().glob("*.yaml"))}
    found = {name: text for name, text in texts.items() if f"\nextends: {preset}\n" in text}
    return found.get(preset) or next(iter(found.values()), None)
