"""What a route says of media, checked: hosts are hosts, what is needed can be told, and uploads are
values of a kind that can be kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from engine.dialects.profile import PROFILE
from engine.errors import Problem

from .nodes import Node
from .places import expressions, find, key_mark, mention_mark
from .reach import literal, place_of
from .spec import RouteSpec, ValueSpec


def check_media(spec: RouteSpec, tree: Node) -> Iterator[Problem]:
    for key in ("hosts", "internal"):
        for at, text in enumerate(getattr(spec.media, key)):
            wrong = _wrong(key, text)
            if wrong is not None:
                node = find(tree, ("media", key, at))
                yield node.mark.problem("E541", f"`media.{key}`: `{text}` {wrong}")
    if spec.media.fetch == "needed" and not _tells(spec):
        message = "`fetch: needed`: nothing says what the upstream takes by URL; write `always`"
        yield key_mark(tree, ("media", "fetch")).problem("E106", message)


def _wrong(key: str, text: str) -> str | None:
    place = place_of(text)
    if place is None:
        return "is no host: write `files.example.com` or `files.example.com:8443`"
    if key == "internal" and "*" in place.host:
        return "names too many: internal hosts are named one by one"
    if place.port not in ("", "*") and not 1 <= int(place.port) <= 65535:
        return "has no port between 1 and 65535"
    if ":" in place.host and not literal(place.host):
        return "is no address"
    return None


def _tells(spec: RouteSpec) -> bool:
    """Whether the dialect, or the profile of some model, says what goes by URL."""
    profiles = (spec.profile, *spec.profiles.values())
    return spec.dialect is not None or any(p.images != PROFILE.images for p in profiles)


def wrong_upload(value: ValueSpec) -> str | None:
    """What is wrong with a value that has `each`, or `item` without it."""
    if not value.each:
        return "has an `item` without `each`: there is no list for it"
    if value.scope == "request":
        return "is kept for other requests: `each` takes `scope: account`, `session` or `route`"
    for key in ("refresh_after", "prefetch", "cleanup"):
        if getattr(value, key):
            return f"takes `each` or `{key}`, not both"
    return None


def misplaced_media(spec: RouteSpec, tree: Node) -> Iterator[Problem]:
    """`media` is one picture or file, and only a value with `each` has one."""
    if not any(value.each for value in spec.values.values()):
        return  # then no template of this route may read it: see roots_of
    bare = {name: replace(value, request=None, item=None) if value.each else value
            for name, value in spec.values.items()}  # fmt: skip
    for way, mentions in expressions(replace(spec, values=bare)):
        name = next((m for m in sorted(mentions) if m.partition(".")[0] == "media"), None)
        if name is not None:
            message = f"`{name}` is only known in the request and the item of a value with `each`"
            yield mention_mark(tree, way, name).problem("E302", message)
