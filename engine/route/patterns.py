"""Regular expressions as route files write them."""

from __future__ import annotations

import re

from .filters import compile_pattern

_FLAGS = {"i": re.I, "s": re.S, "m": re.M}


def compile_regex(text: str) -> re.Pattern[str]:
    """`/pattern/flags` or a bare pattern; a dot takes line ends, too.

    Raises ValueError for nested quantifiers, re.error for bad syntax.
    """
    flags = 0
    hit = re.fullmatch(r"/(.*)/([ism]*)", text, re.S)
    if hit:
        text = hit.group(1)
        flags = sum(_FLAGS[flag] for flag in set(hit.group(2)))
    return compile_pattern(text, flags | re.S)
