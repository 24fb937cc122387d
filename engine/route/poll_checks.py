"""What a job has to have and what it does not go with, checked; and what its templates may read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from engine.errors import Problem

from .nodes import Node
from .places import Way, dotted, expressions, find, key_mark, mention_mark
from .poll_spec import FollowSpec, PollSpec
from .polling import LITERAL
from .reach import place_of
from .rule_checks import check_selectors
from .spec import RequestSpec, RouteSpec
from .urls import wrong_url

_PLACE: Way = ("request", "poll")


def asked_of(request: RequestSpec) -> Iterator[tuple[Way, FollowSpec]]:
    """The requests about the job that this one makes, with their places."""
    poll = request.poll
    if poll is None:
        return
    yield _PLACE, poll
    for key, each in (("then", poll.then), ("cancel", poll.cancel)):
        if each is not None:
            yield (*_PLACE, key), each


def check_jobs(spec: RouteSpec, tree: Node) -> Iterator[Problem]:
    """Checks of `request.poll`, and of what reads its finds elsewhere."""
    poll = spec.request.poll if spec.request is not None else None
    if spec.request is None or poll is None:
        return  # then no template of this route may read `poll`: see roots_of
    if spec.request.websocket is not None:
        message = "a job is asked for over HTTP: a websocket tells its answer by itself"
        yield key_mark(tree, _PLACE).problem("E535", message)
    for way, request in asked_of(spec.request):
        yield from _address(tree, way, request)
    if poll.until.empty:
        message = "an empty `until` would take the first answer for that of a job which is done"
        yield key_mark(tree, (*_PLACE, "until")).problem("E535", message)
    yield from check_selectors(tree, (*_PLACE, "until"), poll.until)
    yield from _hosts(tree, poll)
    yield from _reads(spec, tree)


def _address(tree: Node, way: Way, request: FollowSpec) -> Iterator[Problem]:
    if request.path is None and request.url is None:
        message = f"`{dotted(way)}` lacks `path` or `url`: where the job is found"
        yield key_mark(tree, way).problem("E535", message)
    if request.url is None:
        return
    source = request.url.source
    wrong = wrong_url(source) if request.url.constant and source[:1] != "/" else None
    if wrong is None and not LITERAL.match(source) and source[:1] != "/" and source[:2] != "{{":
        wrong = "must be a whole URL, a reference that begins with `/`, or begin with a template"
    if wrong is not None:
        place = (*way, "url")
        yield find(tree, place).mark.problem("E506", f"`{dotted(place)}` {wrong}")


def _hosts(tree: Node, poll: PollSpec) -> Iterator[Problem]:
    for at, name in enumerate(poll.hosts):
        place = place_of(name)
        if place is None or "*" in (*place.host, place.port):
            message = f"`request.poll.hosts`: `{name}` is no host: write `files.example.com`, "
            node = find(tree, (*_PLACE, "hosts", at))
            yield node.mark.problem("E541", message + "perhaps with a port")


def _reads(spec: RouteSpec, tree: Node) -> Iterator[Problem]:
    """What is found in an answer can be read once that answer is there."""
    request = spec.request
    assert request is not None
    assert request.poll is not None
    poll, then = request.poll, request.poll.then
    around = dataclasses.replace(spec, request=dataclasses.replace(request, poll=None))
    for way, name in _finds(around, ()):
        message = f"`{name}` is only known in `request.poll`: the answer to the request gives it"
        yield mention_mark(tree, way, name).problem("E302", message)
    late = set(then.extract) - set(poll.extract) if then is not None else set()
    for way, name in _finds(dataclasses.replace(poll, then=None), _PLACE):
        if name.removeprefix("poll.") in late:
            message = f"`{name}` is found when the job is done: only `then` can read it"
            yield mention_mark(tree, way, name).problem("E302", message)


def _finds(value: object, way: Way) -> Iterator[tuple[Way, str]]:
    for place, mentions in expressions(value, way):
        for name in sorted(mentions):
            if name.partition(".")[0] == "poll":
                yield place, name
