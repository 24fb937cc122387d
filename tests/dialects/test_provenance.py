from __future__ import annotations

import pytest

from engine.dialects.provenance import MARK, marked, unmarked


@pytest.mark.parametrize("signature", ["", "EqQB/+=", "a/b/c\n"])
def test_a_marked_signature_comes_back_with_its_origin(signature: str) -> None:
    made = marked(signature, "gemini")
    assert (signature, "gemini") == unmarked(made)
    assert made.encode().startswith(MARK)


@pytest.mark.parametrize("text", ["", "EqQB", "penstock", "penstock/gemini", "a penstock/gemini/x"])
def test_what_bears_no_mark_stays_as_it_is(text: str) -> None:
    assert (text, "") == unmarked(text)
