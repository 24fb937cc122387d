"""The process's environment: read in this one place."""

from __future__ import annotations

import os


def environment() -> dict[str, str]:
    """The environment variables that references may read, as a copy."""
    return dict(os.environ)
