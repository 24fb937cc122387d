"""Headers of an upstream's answer that its client may know, by an allow-list.

The upstream's own request id goes on under another name, since ours stands in its own. What says
how much of a limit is left describes one credential, so it goes on only where there is one. What
our own head could not hold of a value (RFC 9110 §5.5 lets senders write more) becomes "?".
"""

from __future__ import annotations

from engine.wire import HttpResponse

_IDS = ("x-request-id", "request-id")
_LIMITS = ("x-ratelimit-", "anthropic-ratelimit-", "x-codex-")
_FACTS = ("openai-processing-ms", "openai-version")


def onward(head: HttpResponse, *, alone: bool) -> dict[str, str]:
    """alone: the upstream is called with one credential only."""
    found: dict[str, str] = {}
    for written, value in head.headers:
        name = written.lower()
        if name in _IDS:
            found["x-upstream-request-id"] = _sayable(value)
        elif name in _FACTS or (alone and name.startswith(_LIMITS)):
            found[name] = _sayable(value)
    return found


def _sayable(value: str) -> str:
    if value.isprintable():
        return value
    return "".join(each if each.isprintable() else "?" for each in value)
