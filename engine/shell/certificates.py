"""Imports aiohttp, which then loads the bundle of certificates once, not twice.

At its import it makes two TLS contexts: one that checks certificates, and one that checks none, for
`upstream.tls.verify: false`. Both load the bundle, each a twelfth of what starting with a few
routes costs; the second never looks into it. To be imported before anything else of aiohttp.
"""

from __future__ import annotations

import ssl
from typing import Any

_kind: Any = ssl.SSLContext
_load = _kind.set_default_verify_paths


def _load_to_check(context: ssl.SSLContext) -> None:
    if context.verify_mode != ssl.CERT_NONE:
        _load(context)


_kind.set_default_verify_paths = _load_to_check
try:
    import aiohttp  # noqa: F401
finally:
    _kind.set_default_verify_paths = _load
