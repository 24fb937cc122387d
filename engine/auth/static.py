"""How `basic` credentials look in a route and on the wire."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from engine.options import Template, option


@dataclass(frozen=True, slots=True, kw_only=True)
class Basic:
    username: Template = option(doc="user name")
    password: Template = option(doc="password", credential=True)


def basic(username: str, password: str) -> str:
    """The value of an Authorization header (RFC 7617, UTF-8)."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
