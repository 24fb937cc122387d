"""The Aws port over botocore's own chain: environment, profiles, single sign-on, roles.

Looking for credentials and renewing them reads files and asks services, so it happens in a thread,
one at a time. Botocore renews what expires by itself; it is asked before each attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from engine.auth.aws_sigv4 import EXTRA
from engine.errors import ExchangeError
from engine.options import Secret


class BotocoreAws:
    """known(secret, …) is told what must never be shown."""

    def __init__(self, known: Callable[..., None] = lambda *secrets: None) -> None:
        self._known = known
        self._found: Any = None
        self._one = asyncio.Lock()

    async def keys(self) -> Mapping[str, Secret]:
        async with self._one:
            frozen = await asyncio.to_thread(self._look)
        parts = {
            "access_key": frozen.access_key,
            "secret_key": frozen.secret_key,
            "session_token": frozen.token,
        }
        found = {name: Secret(text, f"aws.{name}") for name, text in parts.items() if text}
        self._known(*found.values())
        return found

    def _look(self) -> Any:
        try:
            if self._found is None:
                self._found = import_module("botocore.session").Session().get_credentials()
            frozen = self._found.get_frozen_credentials() if self._found is not None else None
        except ImportError:
            raise ExchangeError("fatal", EXTRA) from None
        except Exception as error:  # botocore's own tree, and what its plug-ins raise
            name = type(error).__name__
            raise ExchangeError("unavailable", f"no AWS credentials: {name}") from None
        if frozen is None:
            raise ExchangeError("unavailable", "no AWS credentials were found")
        return frozen
