"""Credentials that stand in the route or the environment, and how `basic` looks on the wire."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import ClassVar

from engine.options import Secret, Template, option


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """Where an account comes from: exactly one source."""

    ONE_OF: ClassVar[tuple[str, ...]] = ("env", "inline", "client_key")

    env: str | None = option(None, "an environment variable; its text is `account.key`")
    inline: dict[str, Secret] | None = option(None, "named parts, each `account.<name>`")
    client_key: bool | None = option(None, "the key the client sent is `account.key`")


@dataclass(frozen=True, slots=True, kw_only=True)
class Basic:
    username: Template = option(doc="user name")
    password: Template = option(doc="password")


def basic(username: str, password: str) -> str:
    """The value of an Authorization header (RFC 7617, UTF-8)."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
