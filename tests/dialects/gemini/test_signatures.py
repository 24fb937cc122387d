from __future__ import annotations

from base64 import b64decode, urlsafe_b64encode

import pytest

from engine.chat import Reasoning
from engine.dialects.gemini.signatures import carried, signed, standard


@pytest.mark.parametrize("data", ["", "AB+/", "AB==", "plain"])
def test_the_standard_alphabet_of_base64_stays(data: str) -> None:
    assert data == standard(data)


def test_the_alphabet_for_urls_becomes_the_standard_one() -> None:
    assert standard("A-_B") == "A+/B"


@pytest.mark.parametrize("signature", ["CiQB", "A-_B", "penstock", "???"])
def test_a_signature_of_this_api_goes_and_comes_as_it_is(signature: str) -> None:
    part = Reasoning(signature=signature, origin="gemini")
    assert signature == carried(part)
    assert part == signed(signature, Reasoning())


@pytest.mark.parametrize("signature", ["EqQB+/==", "?ÿ>", "x"])
def test_a_foreign_signature_survives_a_client_that_decodes_it(signature: str) -> None:
    part = Reasoning(signature=signature, origin="anthropic_messages")
    sent = carried(part)
    assert sent is not None
    again = urlsafe_b64encode(b64decode(sent)).decode()  # as Google's SDK writes bytes
    assert part == signed(sent, Reasoning()) == signed(again, Reasoning())


@pytest.mark.parametrize("ident", [None, "rs_1"])
def test_so_does_a_thought_that_another_provider_encrypted(ident: str | None) -> None:
    part = Reasoning(encrypted="gAAA", id=ident, origin="openai_responses")
    sent = carried(part)
    assert sent is not None
    assert part == signed(sent, Reasoning())


@pytest.mark.parametrize("signature", [None, ""])
def test_no_signature_is_none(signature: str | None) -> None:
    assert carried(Reasoning(signature=signature, origin="anthropic_messages")) is None


def test_what_only_begins_like_a_mark_is_a_signature() -> None:
    broken = "cGVuc3RvY2sv*"
    assert Reasoning(signature=broken, origin="gemini") == signed(broken, Reasoning())
