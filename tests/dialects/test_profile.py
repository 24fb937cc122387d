from __future__ import annotations

import dataclasses

import pytest

from engine.dialects.profile import PROFILE, Profile


def test_an_empty_profile_is_valid() -> None:
    assert Profile() == PROFILE


@pytest.mark.parametrize("field", dataclasses.fields(Profile), ids=lambda field: field.name)
def test_every_field_is_documented(field: dataclasses.Field[object]) -> None:
    assert field.metadata["doc"]


def test_a_profile_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        PROFILE.usage_in_stream = False  # type: ignore[misc]
