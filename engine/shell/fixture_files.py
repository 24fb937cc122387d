"""A recording as a fixture: its files, in which no secret is left.

What a replay with another clock and seed renders otherwise is not stable: there the fixture has a
matcher, or nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from engine.masks import forms
from engine.parsers import FramingError
from engine.replay.composing import (
    Flat,
    answer_tree,
    headers_tree,
    inline,
    request_tree,
    steady,
    text_of,
)
from engine.replay.disguise import Disguise
from engine.replay.fixtures import Fixture, read_fixture
from engine.replay.play import Seen, play
from engine.replay.recorded import Recorded
from engine.replay.reframing import Change, reframer
from engine.replay.synthetic import Synthetic, Telling
from engine.replay.taping import Taken
from engine.route.nodes import MAX_BYTES
from engine.route.route import Route
from engine.wire import HttpRequest, dumps

from .atomic import write_bytes
from .recorder import NotRecorded, Order, Recording
from .testing import WORLD, Bench

INLINE = 32 * 1024  # bytes of a body; a larger one stands beside the fixture
Trees = list[dict[str, Any]]
Refit = Callable[[bytes, Change], bytes]


async def write(order: Order, recording: Recording) -> list[Path]:
    """Write the fixture; its files, itself first. Raises NotRecorded and FileError."""
    files = await made(order, recording)
    paths = [order.out.parent / name for name in files]
    for path in reversed(paths):  # what names the others comes last
        write_bytes(path, files[path.name])
    return paths


async def made(order: Order, recording: Recording) -> dict[str, bytes]:
    """The fixture's files by name, itself first. Raises NotRecorded."""
    disguise = Disguise(recording.secrets, order.allow)
    if disguise.short:
        names = ", ".join(dict.fromkeys(disguise.short))
        raise NotRecorded(
            f"{names} has less than 6 characters and cannot be told from other text; "
            f"--allow {disguise.short[0]} writes it as it is"
        )
    hidden = _Hidden(order, recording)
    tree, beside = _tree(hidden.order, hidden.recording, disguise)
    if not order.synthetic:
        _search(disguise, _files(order, tree, beside), tree)
    await _settle(hidden, tree, beside, disguise)
    files = _files(order, tree, beside)
    _search(disguise, files, tree)
    hidden.search(files)
    return files


class _Hidden:
    """An order and its recording, without their texts if that was asked for. Raises NotRecorded."""

    def __init__(self, order: Order, recording: Recording) -> None:
        self.order, self.recording = order, recording
        self.texts: Synthetic | None = None
        if not order.synthetic:
            return
        reply = recording.seen.reply
        known = {reply.text, reply.reasoning, *(call.args for call in reply.calls)}
        self.texts = texts = Synthetic(recording.seed, frozenset(known))
        client = dataclasses.replace(order.client, json=texts.tree(order.client.json))
        try:
            taken = [texts.taken(each, order.route) for each in recording.taken]
        except Telling as error:
            raise NotRecorded(f"{error}: --synthetic-text does not go with it") from None
        self.order = dataclasses.replace(order, client=client)
        self.recording = dataclasses.replace(recording, taken=taken)

    def settled(self, tree: dict[str, Any], asked: Trees, seen: Seen, disguise: Disguise) -> None:
        """Put what a replay sends and gives for what was sent and given."""
        if self.texts is None:
            return
        old = self.recording.seen
        if _ending(seen) != _ending(old) or len(asked) != len(tree["exchanges"]):
            raise NotRecorded("without its texts the answer ends otherwise")
        for each, sent in zip(tree["exchanges"], asked, strict=True):
            borne = {name: part for name, part in each["expect"].items() if name == "headers"}
            bare = {name: part for name, part in sent.items() if name != "headers"}
            each["expect"] = {**bare, **borne}
        tree["expect"] = disguise.tree(answer_tree(seen, len(asked)))

    def search(self, files: Mapping[str, bytes]) -> None:
        """Raises NotRecorded where a line of a text is still there."""
        for line in self.texts.lines if self.texts is not None else ():
            every = forms(line)
            for name, data in files.items():
                if any(form in data for form in every):
                    raise NotRecorded(f"a text would still be in {name}, where it was not expected")


def _ending(seen: Seen) -> tuple[object, ...]:
    return seen.status, seen.reply.finish, seen.error and seen.error.cls


def _files(order: Order, tree: Mapping[str, Any], beside: Mapping[str, bytes]) -> dict[str, bytes]:
    """Each file's bytes by its name. Raises NotRecorded."""
    text = text_of(tree).encode()
    if len(text) > MAX_BYTES:
        raise NotRecorded(
            f"{order.out.name} would be larger than {MAX_BYTES // 1024} KiB, "
            f"and nothing would read it; there were {len(tree['exchanges'])} exchanges"
        )
    return {order.out.name: text, **beside}


def _tree(
    order: Order, recording: Recording, disguise: Disguise
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The fixture, and the files beside it."""
    beside: dict[str, bytes] = {}
    spec = order.client
    client = {
        "dialect": spec.dialect, "path": spec.path, "headers": spec.headers, "json": spec.json
    }  # fmt: skip
    refit = reframer(order.route)
    exchanges = [
        {
            "expect": _expected(taken.request, disguise),
            "reply": reply_tree(taken, disguise, f"{order.out.stem}.{number}.bin", beside, refit),
        }
        for number, taken in enumerate(recording.taken, 1)
    ]
    tree: dict[str, Any] = {"fixture": 1, "route": order.named, "note": order.note}
    tree["env"] = {name: _said(value, disguise) for name, value in order.notes.env.items()}
    tree["files"] = {name: _said(text, disguise) for name, text in order.notes.files.items()}
    tree |= {"clock": int(recording.clock), "seed": recording.seed}
    tree["tokens"] = disguise.tree(recording.tokens)
    tree["client"] = disguise.tree({key: value for key, value in client.items() if value})
    tree["exchanges"] = exchanges
    tree["expect"] = disguise.tree(answer_tree(recording.seen, len(recording.taken)))
    return {key: value for key, value in tree.items() if value not in (None, {})}, beside


def _expected(request: HttpRequest, disguise: Disguise) -> dict[str, Any]:
    """What was sent; of its headers those that hold a secret."""
    tree = request_tree(request)
    headers = {name: _said(value, disguise) for name, value in tree.pop("headers", {}).items()}
    borne = {name: value for name, value in headers.items() if value != request.header(name)}
    hidden: Any = disguise.tree(tree)
    return {**hidden, "headers": borne} if borne else hidden


def _said(text: str, disguise: Disguise) -> str:
    return disguise.clean(text.encode("utf-8", "replace")).decode("utf-8", "replace")


def reply_tree(
    taken: Taken,
    disguise: Disguise,
    file: str,
    beside: dict[str, bytes],
    refit: Refit | None = None,
) -> dict[str, Any]:
    """The `reply` of an exchange. What does not belong into YAML goes beside it, as `file`.

    refit: changes the payloads of a body in frames, if it may be one
    """
    assert taken.head is not None
    tree: dict[str, Any] = {"status": taken.head.status}
    headers = disguise.tree(headers_tree(taken.head))
    tree |= {"headers": headers} if headers else {}
    if taken.head.status == 101:
        tree["frames"] = [disguise.tree(frame) for frame in taken.frames]
    else:
        body = _cleaned(taken.body, disguise, file, refit)
        if len(body) <= INLINE and inline(body):
            tree |= {"body": body.decode()} if body else {}
        else:
            beside[file] = body
            tree["body_file"] = file
        if len(body) == len(taken.body) and len(taken.pieces) > 1:
            tree["cuts"] = Flat(Flat(cut) for cut in _cuts(taken))
    return tree | ({} if taken.end == "eof" else {"end": taken.end})


def _cleaned(body: bytes, disguise: Disguise, file: str, refit: Refit | None) -> bytes:
    """The body without secrets, those inside of frames too. Raises NotRecorded."""
    if refit is None:
        return disguise.clean(body)

    def change(payload: bytes) -> bytes:
        clean = disguise.clean(payload)
        for found in disguise.left(clean):  # the frame may be packed: nobody else looks into it
            raise NotRecorded(f"a frame of {file} would hold {found.what}")
        return clean

    try:
        return refit(body, change)
    except FramingError:  # it is in no frames
        return disguise.clean(body)


def _cuts(taken: Taken) -> Iterator[list[int]]:
    """Pieces of one millisecond are one."""
    at = 0
    for milliseconds, pieces in groupby(taken.pieces, lambda piece: piece[0]):
        at += sum(len(data) for _, data in pieces)
        yield [at, milliseconds]


async def _settle(
    hidden: _Hidden, tree: dict[str, Any], beside: Mapping[str, bytes], disguise: Disguise
) -> None:
    """Leave in `expect` what another replay sends, too. Raises NotRecorded.

    Where the route does not work with what stands for its secrets all is left as it was sent.
    """
    order = hidden.order
    loose = {**tree, "exchanges": [{"reply": each["reply"]} for each in tree["exchanges"]]}
    fixture = read_fixture(text_of(loose).encode(), str(order.out), beside.__getitem__)
    route = Bench(order.folders, depth="off", http=False).route(fixture)
    if route is None:
        if order.synthetic:
            raise NotRecorded("the route does not work with what stands for its secrets")
        return
    later = dataclasses.replace(
        fixture.spec, clock=fixture.spec.clock + 7.25, seed=fixture.spec.seed + 1
    )
    again, seen = await _replayed(route, fixture)
    other, _ = await _replayed(route, dataclasses.replace(fixture, spec=later))
    said = [seen.reply.text, seen.reply.reasoning, *(call.args for call in seen.reply.calls)]
    for found in disguise.left(dumps([said, seen.raw.decode("utf-8", "replace")])):
        raise NotRecorded(f"the answer has {found.what} in it, in several pieces")
    hidden.settled(tree, again, seen, disguise)
    if len(again) == len(other) == len(tree["exchanges"]):  # else it is another conversation
        for each, *others in zip(tree["exchanges"], again, other, strict=True):
            each["expect"] = steady(each["expect"], *others)


async def _replayed(route: Route, fixture: Fixture) -> tuple[Trees, Seen]:
    recorded = Recorded(fixture)
    seen = await play(route, fixture, WORLD, recorded)
    return [request_tree(request) for request in recorded.requests], seen[-1]


def _search(disguise: Disguise, files: Mapping[str, bytes], tree: Mapping[str, Any]) -> None:
    """Raises NotRecorded with the first secret that is still there."""
    for name, data in files.items():
        for found in disguise.left(data):
            at = data.count(b"\n", 0, found.at) + 1
            where = f"byte {found.at} of {name}" if name.endswith(".bin") else f"{name}:{at}"
            where = where if found.at >= 0 else f"{name}, in base64 or escapes,"
            kind = "" if found.known else "what looks like a credential, "
            raise NotRecorded(
                f"{where} would hold {kind}{found.what}; --allow {found.what} writes it"
            )
    for found in disguise.left(dumps(tree)):
        raise NotRecorded(f"{next(iter(files))} would hold {found.what}, escaped")
