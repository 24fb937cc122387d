"""Log probabilities of an answer: `logprobsResult` of a candidate, and Chat's form of it.

    {"chosenCandidates": [{"token", "tokenId", "logProbability"}],
     "topCandidates": [{"candidates": [{"token", "tokenId", "logProbability"}]}]}

Inside the engine they have the form of Chat Completions: `{content: [{token, logprob, bytes,
top_logprobs}]}`.
"""

from __future__ import annotations

from collections.abc import Iterable

Fields = dict[str, object]


def read_logprobs(found: object) -> Fields | None:
    """What a candidate tells, None if it is nothing."""
    fields = found if isinstance(found, dict) else {}
    tops = _list(fields.get("topCandidates"))
    content: list[Fields] = []
    for at, chosen in enumerate(_list(fields.get("chosenCandidates"))):
        others = _list(tops[at].get("candidates")) if at < len(tops) else []
        content.append({**_token(chosen), "top_logprobs": [_token(other) for other in others]})
    return {"content": content} if content else None


def _token(found: Fields) -> Fields:
    text = found.get("token")
    token = text if isinstance(text, str) else ""
    octets = list(token.encode("utf-8", "replace"))
    return {"token": token, "logprob": found.get("logProbability", 0.0), "bytes": octets}


def logprobs_result(told: Iterable[object]) -> Fields:
    """The field of a candidate, for the pieces of its text; empty if they tell none."""
    tokens = [
        token
        for piece in told
        for token in _list(piece.get("content") if isinstance(piece, dict) else None)
    ]
    if not tokens:
        return {}
    tops = [
        {"candidates": [_candidate(top) for top in _list(token.get("top_logprobs"))]}
        for token in tokens
    ]
    result = {"chosenCandidates": [_candidate(token) for token in tokens], "topCandidates": tops}
    return {"logprobsResult": result}


def _candidate(token: Fields) -> Fields:
    return {"token": token.get("token", ""), "logProbability": token.get("logprob", 0.0)}


def _list(value: object) -> list[Fields]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
