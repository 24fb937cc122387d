"""The body of a request in an upstream's dialect: adapted to the profile, then written.

This is the way from the model to the wire; nobody else calls a dialect's `render`.
"""

from __future__ import annotations

from engine.chat import ChatRequest

from . import losses
from .adapt import adapt
from .contract import Dialect
from .profile import Profile


def write(
    dialect: Dialect, request: ChatRequest, model: str, profile: Profile
) -> dict[str, object]:
    """Raises RequestError(unsupported) for what neither dialect nor policy lets go."""

    def once(given: ChatRequest) -> dict[str, object]:
        return dialect.render(adapt(given, profile), model, profile)

    return losses.render(request, once, profile)
