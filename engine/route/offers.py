"""Models under all the names by which a route offers them: ids, aliases, variants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engine.dialects.profile import PROFILE, Profile, adapts
from engine.transform import Model

from .alike import alike_map
from .route import Offer
from .spec import ModelSpec, RouteSpec


def offers_of(
    name: str, spec: RouteSpec, profile_of: Callable[[ModelSpec], Profile] = lambda model: PROFILE
) -> dict[str, Offer]:
    offers: dict[str, Offer] = {}
    for model in spec.models:
        profile = profile_of(model)
        passes = not adapts(profile, spec.profile.max_output)
        offer = _offer(name, spec, model, model.id, {}, profile, passes)
        for alias in (model.id, *model.aliases):
            offers[alias] = offer
        for variant in spec.variants:
            ident = model.id + variant.suffix
            offers[ident] = _offer(name, spec, model, ident, variant.set, profile, passes)
    return offers


def _offer(
    route: str,
    spec: RouteSpec,
    model: ModelSpec,
    ident: str,
    overrides: Mapping[str, Any],
    profile: Profile,
    passes: bool,
) -> Offer:
    upstream = model.upstream or model.id
    known: dict[str, object] = {"id": ident, "upstream": upstream}
    if model.max_output is not None:
        known["max_output"] = model.max_output
    variables = alike_map({**spec.vars, **model.set, **overrides})
    return Offer(
        Model(ident, upstream, model.max_output),
        variables,
        model.owned_by or route,
        known,
        profile,
        passes=passes,
    )
