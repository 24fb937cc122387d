"""Where the files are that come with the package: routes, presets, transforms, fixtures.

An installed package has them in `engine/_bundled`; a checkout uses the folders of the repository,
so that an edit there is seen at once. The search starts at the package's own file, never at the
working directory.
"""

from __future__ import annotations

from pathlib import Path

import engine

_PACKAGE = Path(engine.__file__).parent
_BUNDLE = _PACKAGE / "_bundled"


def bundled_routes() -> Path:
    """The shipped routes; `presets` and `examples` are folders in it."""
    return _root() / "routes"


def bundled_presets() -> Path:
    """The abstract routes that `extends: NAME` means."""
    return bundled_routes() / "presets"


def bundled_transforms() -> Path:
    """The shipped transforms, one file each."""
    return _root() / "transforms"


def bundled_fixtures() -> Path:
    """The shipped fixtures, one folder for each route."""
    return _BUNDLE / "fixtures" if _BUNDLE.is_dir() else _PACKAGE.parent / "tests" / "fixtures"


def _root() -> Path:
    return _BUNDLE if _BUNDLE.is_dir() else _PACKAGE.parent
