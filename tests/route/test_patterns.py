import re

import pytest

from engine.route.patterns import compile_regex


def test_a_regular_expression_may_stand_between_slashes_with_flags() -> None:
    assert compile_regex("/^a.b$/im").flags & (re.I | re.M | re.S) == re.I | re.M | re.S
    assert compile_regex("/a/").search("bab")
    assert compile_regex("a/b").search("a/b")


@pytest.mark.parametrize("text", ["(a+)+", "(a*b)*", "/(x|a+){9}/i"])
def test_a_group_that_repeats_what_repeats_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="may take for ever"):
        compile_regex(text)
