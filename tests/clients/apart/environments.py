"""Python programs that live in environments of their own: they want other versions than the engine.

`make test-clients` makes `build/clients/NAME` of `tests/clients/requirements/NAME.txt`.
"""

from __future__ import annotations

from pathlib import Path

from tests.clients.cli.programs import without

BUILT = Path(__file__).parents[3] / "build/clients"


def program(environment: str, name: str = "python") -> str:
    """The path of a program; skips the test, naming it, where it is not installed."""
    path = BUILT / environment / "bin" / name
    if not path.exists():
        without(f"{name} of {environment} is not installed: `make test-clients` does that")
    return str(path)
