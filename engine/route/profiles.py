"""Which profile holds for a model: the route's, and over it those of `profiles` whose name fits.

Names are globs (`*` any text, `?` one character) held against the model as the upstream calls it
and as clients do, small letters like capitals. All that fit are laid over one another in the order
of the file, key by key.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from engine.dialects.profile import PROFILE, Profile, Unsupported
from engine.errors import Problem

from .alike import once
from .extends import merge
from .nodes import Node
from .reader import WRONG, Reader
from .spec import ModelSpec, RouteSpec

ProfileOf = Callable[[ModelSpec], Profile]


def fits(glob: str, model: ModelSpec) -> bool:
    """Whether a name of the model fits the glob."""
    fits = _pattern(glob).fullmatch
    return any(fits(name) for name in (model.upstream or model.id, model.id))


@lru_cache(maxsize=1024)  # routes inherit the globs of a preset
def _pattern(glob: str) -> re.Pattern[str]:
    pattern = "".join({"*": ".*", "?": "."}.get(char) or re.escape(char) for char in glob)
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)


def profiles_of(spec: RouteSpec, tree: Node, reader: Reader) -> ProfileOf:
    """profile(model), each different one built once."""
    problems: list[Problem] = []  # found already, when the parts were read
    made: dict[tuple[str, ...], Profile] = {(): spec.profile}

    def build(globs: tuple[str, ...]) -> Profile:
        node = tree.get("profile") or Node("map", {}, tree.mark)
        for glob in globs:
            node = merge(node, tree.value["profiles"].value[glob], "", problems)
        profile = reader.options(node, Profile, "profiles")
        return spec.profile if profile is WRONG else profile

    def find(model: ModelSpec) -> Profile:
        globs = tuple(glob for glob in spec.profiles if fits(glob, model))
        if globs not in made:
            made[globs] = build(globs)
        return _with(made[globs], spec.on_unsupported, model.max_output)

    return find


@once
def _with(profile: Profile, on_unsupported: Unsupported | None, max_output: int | None) -> Profile:
    """The profile with what the route and the model say elsewhere."""
    if max_output is not None:
        profile = replace(profile, max_output=max_output)
    if on_unsupported is not None and profile.on_unsupported is None:
        profile = replace(profile, on_unsupported=on_unsupported)
    return PROFILE if profile == PROFILE else profile
