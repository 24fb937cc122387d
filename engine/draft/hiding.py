"""What must not be written into a route: credentials, and the variables that stand for them.

A text is a credential by its place (a header, field or parameter that is named like one) or by its
looks: a JSON Web Token, a known beginning, an e-mail address, a long run without a word in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import log2
from urllib.parse import unquote

from engine.masks import MARKED, SHORTEST
from engine.options import Secret
from engine.wire import JsonError, loads

from .paths import last, leaves

BEARS = re.compile(
    r"(?i)(?:proxy-)?authorization|(?:.*[-_])?(?:api[-_]?key|key|token|secret|password|passwd"
    r"|signature|sig|session|jwt|sid|auth)|.*(?:Token|Secret|Password|ApiKey|SessionId)"
)
_KNOWN = re.compile(MARKED, re.ASCII)
_MAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")
_UUID = re.compile(r"(?i)[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_VARIABLE = re.compile(r"\$\{?([A-Z][A-Z0-9_]*)\}?")


def is_uuid(text: str) -> bool:
    return _UUID.fullmatch(text) is not None


def looks_secret(text: str) -> bool:
    """Whether a text is a credential or a person's address, wherever it stands."""
    if _KNOWN.search(text) or _MAIL.fullmatch(text):
        return True
    return not is_uuid(text) and any(_is_random(run) for run in re.split(r"[^A-Za-z0-9_+/-]", text))


def is_credential(name: str, text: str) -> bool:
    """Whether a text of a name is one, by its place or its looks."""
    return (len(text) >= 8 and BEARS.fullmatch(name) is not None) or looks_secret(text)


def private(body: bytes) -> Iterator[str]:
    """The credentials and addresses in an answer that is not itself what was asked for."""
    try:
        found = list(leaves(loads(body)))
    except JsonError:
        text = body.decode("utf-8", "replace")
        yield from (hit[0] for form in (_KNOWN, _MAIL) for hit in form.finditer(text))
        return
    for path, leaf in found:
        if isinstance(leaf, str) and is_credential(last(path), leaf):
            yield leaf


def _is_random(run: str) -> bool:
    """A long run without a word in it: letters and digits mixed, no character prevailing."""
    pieces = re.split(r"[-_/+]", run)
    mixed = "".join(piece for piece in pieces if not piece.isalpha() and not piece.isdigit())
    longest = max(pieces, key=len)
    if len(longest) < 16 and (len(run) < 16 or len(mixed) < 0.7 * len(run)):
        return False
    digits = sum(char.isdigit() for char in run)
    if digits < 3 or not mixed:
        return False
    counts = [mixed.count(char) / len(mixed) for char in set(mixed)]
    return -sum(share * log2(share) for share in counts) >= 3.0


class Hiding:
    """The secrets of a draft, each under a variable's name.

    env  the variables and what they have to hold; "" where the command itself named a variable
    """

    def __init__(self, route: str) -> None:
        self._prefix = _name(route)
        self.env: dict[str, str] = {}

    def reference(self, label: str, text: str) -> str:
        """`${env:NAME}` for a secret; the same text has the same name."""
        named = _VARIABLE.fullmatch(text)
        if named:
            self.env.setdefault(named[1], "")
            return f"${{env:{named[1]}}}"
        for name, known in self.env.items():
            if known == text:
                return f"${{env:{name}}}"
        base = name = f"{self._prefix}_{_name(label)}"
        number = 1
        while name in self.env:
            number += 1
            name = f"{base}_{number}"
        self.env[name] = text
        return f"${{env:{name}}}"

    def covered(self, text: str) -> str:
        """A text with references for the secrets in it, and nothing else that would be read."""
        for name, known in sorted(self.env.items(), key=lambda item: -len(item[1])):
            if len(known) >= SHORTEST and known in text:
                return f"${{env:{name}}}".join(map(self.covered, text.split(known)))
        text = text.replace("${", "$${")
        if "{{" in text or "{%" in text or "{#" in text:
            return "{{ '" + text.replace("\\", "\\\\").replace("'", "\\'") + "' }}"
        return text

    def secrets(self) -> list[Secret]:
        """All of them, also as they are without the coding of a URL."""
        found = {text: name for name, text in self.env.items() if text}
        found |= {unquote(text): name for text, name in found.items()}
        return [Secret(text, f"env:{name}") for text, name in found.items()]


def _name(text: str) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text)
    return re.sub(r"\W+|_+", "_", words).strip("_").upper() or "X"
