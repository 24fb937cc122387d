"""What a route's `media` means, checked: its hosts are hosts, and what is needed can be told."""

from __future__ import annotations

from collections.abc import Iterator

from engine.dialects.profile import PROFILE
from engine.errors import Problem

from .nodes import Node
from .places import find, key_mark
from .reach import literal, place_of
from .spec import RouteSpec


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
