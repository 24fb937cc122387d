"""Whose signature it is: opaque strings that prove thinking, on their way through clients.

A signature is good where it was made and nowhere else. One that goes to a client of another dialect
gets a tag in front, `penstock.<origin>.`, by which it is known when the client sends it back. It is
then given to an upstream of that origin, without the tag, byte for byte, and to no other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from engine.chat import Reasoning
from engine.events import Event, Open, SignatureDelta

_TAG = "penstock."
CARRIERS = frozenset({"anthropic_messages", "openai_responses", "gemini"})  # clients that keep them


def tagged(signature: str, origin: str) -> str:
    """The signature as foreign clients carry it; "" stays, a tag that is there already too."""
    if not signature or not origin or signature.startswith(_TAG):
        return signature
    return f"{_TAG}{origin}.{signature}"


def untagged(signature: str, home: str) -> tuple[str, str]:
    """The signature as its maker wrote it, and its origin: `home` where it has no tag."""
    if not signature.startswith(_TAG):
        return signature, home
    origin, dot, bare = signature[len(_TAG) :].partition(".")
    return (bare, origin) if dot else (signature, home)


def read_thought(part: Reasoning, home: str) -> Reasoning:
    """Thinking that came back from a client of the dialect `home`, with its true origin."""
    signature, origin = untagged(part.signature or "", home)
    encrypted, other = untagged(part.encrypted or "", home)
    if (signature, encrypted) == (part.signature or "", part.encrypted or ""):
        return part
    return replace(
        part,
        signature=signature if part.signature else part.signature,
        encrypted=encrypted if part.encrypted else part.encrypted,
        origin=origin if origin != home else other,
    )


def tagger(origin: str) -> Callable[[Event], list[Event]]:
    """What puts the tag on the signatures of one answer of an upstream of that origin."""

    def tag(event: Event) -> list[Event]:
        if isinstance(event, SignatureDelta):
            signature = tagged(event.signature, origin)
            return [SignatureDelta(event.block, signature, tagged(event.encrypted, origin))]
        if isinstance(event, Open) and isinstance(event.part, Reasoning):
            part = event.part
            if part.signature or part.encrypted is not None:
                signed = part.signature and tagged(part.signature, origin)
                hidden = part.encrypted and tagged(part.encrypted, origin)
                return [Open(event.block, replace(part, signature=signed, encrypted=hidden))]
        return [event]

    return tag
