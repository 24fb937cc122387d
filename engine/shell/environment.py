"""The process's environment: read in this one place, and files of variables."""

from __future__ import annotations

import os
import re
from pathlib import Path

from engine.errors import ConfigError, Problem

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*)", re.ASCII)
_QUOTED = re.compile(r"""(["'])(.*?)\1\s*(?:#.*)?""")


def environment() -> dict[str, str]:
    """The environment variables that references may read, as a copy."""
    return dict(os.environ)


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of a `.env` file: `NAME=value` lines, `#` comments, text perhaps quoted.

    Nothing in a value is expanded. Raises ConfigError with every line that is none.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8"
        problem = Problem(str(path), 0, 0, "E203", f"cannot read it: {why}")
        raise ConfigError([problem]) from None
    found: dict[str, str] = {}
    wrong: list[Problem] = []
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        hit = _LINE.fullmatch(line)
        if hit is None:  # the line is not shown: it may hold a secret
            wrong.append(Problem(str(path), number, 1, "E207", "not `NAME=value`"))
        else:
            found[hit[1]] = _value(hit[2])
    if wrong:
        raise ConfigError(wrong)
    return found


def _value(text: str) -> str:
    quoted = _QUOTED.fullmatch(text)
    return quoted[2] if quoted else re.split(r"(?:^|\s)#", text, maxsplit=1)[0].strip()
