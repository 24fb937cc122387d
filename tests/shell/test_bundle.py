from pathlib import Path

import pytest

from engine.shell import bundle

ROOT = Path(__file__).parents[2]


def test_a_checkout_uses_the_folders_of_the_repository() -> None:
    found = [
        bundle.bundled_routes(),
        bundle.bundled_presets(),
        bundle.bundled_transforms(),
        bundle.bundled_fixtures(),
    ]
    names = ["routes", "routes/presets", "transforms", "tests/fixtures"]
    assert [ROOT / name for name in names] == found


def test_an_installed_package_uses_what_was_packed_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "_BUNDLE", tmp_path)
    found = [bundle.bundled_routes(), bundle.bundled_transforms(), bundle.bundled_fixtures()]
    assert [tmp_path / name for name in ("routes", "transforms", "fixtures")] == found
