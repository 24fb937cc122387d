"""Which fields of an answer are its text, its thinking, its end and its counts, by their looks.

Records are told apart by a field that names their kind, or by the event's name. The text is the
field whose pieces, put together, read most like language; where each piece begins with the one
before, they are snapshots. What is not certain has a comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from engine.wire import HttpResponse

from .framing import Framed, framed, opened
from .hiding import is_uuid, looks_secret
from .layout import Noted, written
from .paths import bare, last, leaves

_THINKS = re.compile(r"(?i)think|reasoning|thought|\bcot\b|^reason$")
_MARK = re.compile(r"\[(?:DONE|END|EOF)\]")
_KIND = re.compile(
    r"(?i)(?:.*_)?(?:type|event|tag|kind|phase|op|object|cmd|action|stage|step|mode|channel)"
)
_SAYS = re.compile(
    r"(?i).*(?:text|content|delta|answer|message|token|reply|output|word|piece|chunk)|v|t|data|response"
)
_ELSE = re.compile(
    r"(?i)(?:.*_)?(?:id|ids|time|timestamp|date|created\w*|updated\w*|model|role|author|url|title|name"
    r"|version|avatar|query|question|prompt|signature|fingerprint|status|state|type|uuid|lang)|\w+(?:Id|At)"
)
_WHY = re.compile(r"(?i)(?:finish|stop|done|end)_?reason|finish|why|reason")
_OVER = re.compile(
    r"(?i)(?:is_?)?(?:done|finished|finish|end|ended|complete|completed|final|stop|last)"
)
_OVER_WORD = re.compile(r"(?i).*(?:done|finish|end|complete|stop|close|success).*")
_COUNTS = {
    "input": re.compile(r"(?i)(?:prompt|input|read|in)(?:_?tokens?|_?count|_?eval_count)*"),
    "output": re.compile(
        r"(?i)(?:completion|output|generated|written|wrote|out)(?:_?tokens?|_?count)*"
    ),
}
_COUNTED = re.compile(r"(?i)usage|token|stat|count|metric")
_GOOD = re.compile(r"(?i)success|ok|succeeded")
_ENDS: dict[str, str] = {"length": "length", "max_tokens": "length", "*": "stop"}

Key = tuple[object, ...]


@dataclass(slots=True)
class Reading:
    """How an answer is read. part: `stream` or `response`; text, reasoning: what it says then."""

    part: str
    tree: dict[str, Any]
    text: str
    reasoning: str = ""
    transforms: list[Any] = field(default_factory=list)
    errors: list[Any] = field(default_factory=list)


@dataclass(slots=True)
class Said:
    """What one field of one kind of records says, piece by piece."""

    key: Key
    path: str
    pieces: list[str]
    at: list[int]
    snapshot: bool = False

    @property
    def text(self) -> str:
        return self.pieces[-1] if self.snapshot else "".join(self.pieces)


def read_answer(answer: HttpResponse, prompt: str) -> Reading | None:
    """None where nothing in the answer reads like language."""
    found = framed(answer)
    if found is None:
        return None
    if found.format == "text":
        return _plain(found)
    nested = opened(found)
    reading = _Inference(found, prompt).reading()
    used = written(reading.tree) if reading else ""
    if reading and (inside := [path for path in nested if f"$.{path}." in used]):
        at = [name for name in nested if any(path.startswith(name) for path in inside)]
        dotted = [re.sub(r"\[(\d+)\]", r".\1", path) for path in at]
        reading.transforms.insert(0, {"nested_json": {"at": dotted}})
    return reading


def _plain(found: Framed) -> Reading:
    text = str(found.records[0].value)
    tree = {
        "format": "text", "use": "always",
        "finish_optional": Noted(True, "guess: nothing in the answer tells that it is whole"),
        "min_text": 1, "events": [{"text": "$"}],
    }  # fmt: skip
    return _with_tags(Reading("stream", tree, text))


class _Inference:
    def __init__(self, found: Framed, prompt: str) -> None:
        self.found, self.prompt = found, prompt
        self.leaves = [dict(leaves(record.value)) for record in found.records]
        self.kinds = list(self._kinds())
        self.keys = [self._key(at) for at in range(len(self.leaves))]
        self.said = sorted(self._said(), key=self._score, reverse=True)

    # ---- kinds of records ----

    def _kinds(self) -> Iterator[str]:
        """What tells records apart: "" is the event's name, all others are paths. Two at most."""
        names = {record.event for record in self.found.records}
        if len(names) > 1 or self.found.lettered:
            yield ""
            return
        every = dict.fromkeys(path for each in self.leaves for path in each)
        named = [path for path in every if _KIND.fullmatch(last(path)) and self._tells(path)]
        thinks = [
            path for path in every
            if self._tells(path) and self._thinks_by(path)
            and (path in named or self._is_flag(path))
        ]  # fmt: skip
        yield from dict.fromkeys([*named[:1], *thinks[:1]])

    def _tells(self, path: str) -> bool:
        values = [each[path] for each in self.leaves if path in each]
        words = {value for value in values if isinstance(value, str | bool)}
        short = all(isinstance(v, bool) or re.fullmatch(r"\S{1,40}", str(v)) for v in values)
        return 2 <= len(words) <= 12 and short and len(values) >= 0.6 * len(self.leaves)

    def _is_flag(self, path: str) -> bool:
        return all(isinstance(each.get(path, False), bool) for each in self.leaves)

    def _thinks_by(self, path: str) -> bool:
        values = {each.get(path) for each in self.leaves}
        return bool(_THINKS.search(path) or any(_THINKS.search(str(value)) for value in values))

    def _key(self, at: int) -> Key:
        return tuple(
            self.leaves[at].get(kind) if kind else self.found.records[at].event
            for kind in self.kinds
        )

    def _is_thought(self, said: Said) -> bool:
        for kind, value in zip(self.kinds, said.key, strict=True):
            if value is True and _THINKS.search(kind):
                return True
            if isinstance(value, str) and _THINKS.search(value):
                return True
        if self.found.lettered and said.key == ("g",):  # so the AI SDK's streams have it
            return True
        return bool(_THINKS.search(last(said.path)))

    # ---- what is said ----

    def _said(self) -> Iterator[Said]:
        found: dict[tuple[Key, str], Said] = {}
        for at, each in enumerate(self.leaves):
            for path, leaf in each.items():
                if isinstance(leaf, str) and leaf and path not in self.kinds:
                    if _WHY.fullmatch(last(path)) or _MARK.fullmatch(leaf):
                        continue
                    key = self.keys[at]
                    said = found.setdefault((key, path), Said(key, path, [], []))
                    said.pieces.append(leaf)
                    said.at.append(at)
        for said in found.values():
            said.snapshot = _is_snapshot(said.pieces)
            yield said

    def _score(self, said: Said) -> float:
        """How much it reads like an answer; 0 for what cannot be one."""
        text, pieces, name = said.text, said.pieces, last(said.path)
        distinct = len(set(pieces)) / len(pieces)
        if text.strip() == self.prompt.strip() or is_uuid(text) or looks_secret(pieces[0]):
            return 0.0
        same = len(pieces) > 2 and len(set(pieces)) == 1
        if same or re.match(r"https?://|\d{4}-\d\d-\d\d", text):
            return 0.0
        words = sum(char.isalpha() or char in " \n,.!?'" for char in text) / len(text)
        looks = 0.3 if _ELSE.fullmatch(name) else 3.0 if _SAYS.fullmatch(name) else 1.0
        many = min(1.0, 0.3 + len(pieces) / 10) if len(self.leaves) > 3 else 1.0
        return (
            min(len(text), 2000) * words**2 * (distinct if len(pieces) > 8 else 1.0) * looks * many
        )

    # ---- the rules ----

    def reading(self) -> Reading | None:
        good = [said for said in self.said if self._score(said) > 0]
        spoken = next((said for said in good if not self._is_thought(said)), None)
        if spoken is None:
            return None
        spoken = next((said for said in good if self._is_finer(said, spoken)), spoken)
        thought = next((said for said in good if self._is_thought(said)), None)
        rivals = (said for said in good if said is not spoken and not self._is_thought(said))
        other = next((said for said in rivals if self._rivals(said, spoken)), None)
        doubt = ""
        if other is not None:
            doubt = f"guess: `{other.path}`{self._of(other)} reads like text, too"
        if self.found.format == "json":
            return self._whole(spoken, thought, doubt)
        return self._stream(spoken, thought, doubt)

    def _is_finer(self, said: Said, spoken: Said) -> bool:
        """Whether it says in pieces what the other one repeats as a whole."""
        return len(said.pieces) > len(spoken.pieces) and said.text.strip() in spoken.text != ""

    def _rivals(self, said: Said, spoken: Said) -> bool:
        """Whether it may be text as well: it stands at the same place, or reads nearly as well."""
        return said.path == spoken.path or self._score(said) > self._score(spoken) / 2

    def _of(self, said: Said) -> str:
        words = [str(value) for value in said.key if value is not None]
        return f" of {' '.join(words)}" if words else ""

    def _whole(self, spoken: Said, thought: Said | None, doubt: str) -> Reading:
        each = self.leaves[0]
        good = next(
            (path for path, leaf in each.items() if leaf is True and _GOOD.fullmatch(last(path))),
            "",
        )
        rule: dict[str, Any] = {"match": {bare(good): True}} if good else {}
        rule |= self._emitters(spoken.key, spoken, thought, doubt)
        rule["finish"] = self._why() or "stop"
        reading = Reading("response", {"events": [rule]}, spoken.text)
        reading.reasoning = thought.text if thought else ""
        if good:
            reading.errors.append(
                Noted(
                    {"match": {bare(good): False}, "as": "retryable"},
                    "guess: how a failure looks",
                )
            )
        return _with_tags(reading)

    def _stream(self, spoken: Said, thought: Said | None, doubt: str) -> Reading:
        tree: dict[str, Any] = {"format": self.found.format, "use": "always"}
        if self.found.done:
            tree["done"] = self.found.done[-1] if len(self.found.done) == 1 else self.found.done
        if spoken.snapshot:
            strict = all(late.startswith(early) for early, late in pairwise(spoken.pieces))
            word = "snapshot" if strict else "snapshot_tolerant"
            few = "guess: from two records only" if len(spoken.pieces) < 3 else ""
            tree["reduce"] = Noted(word, few) if few else word
        rules = list(self._rules(spoken, thought, doubt))
        ended = any("finish" in rule or "end" in rule for rule in rules)
        if not ended and not self.found.done:
            tree["finish_optional"] = Noted(
                True, "guess: nothing in the answer tells that it is whole"
            )
        reading = Reading("stream", tree | {"events": rules}, spoken.text)
        reading.reasoning = thought.text if thought else ""
        return _with_tags(reading)

    def _rules(self, spoken: Said, thought: Said | None, doubt: str) -> Iterator[dict[str, Any]]:
        mark = self.leaves[-1].get(spoken.path)
        if isinstance(mark, str) and _MARK.fullmatch(mark):
            yield {"match": {bare(spoken.path): mark}, "end": True}
        rules = list(self._by_kind(spoken, thought, doubt))
        over = self._over(spoken)
        if over and not any("finish" in rule for rule in rules):
            emitters = self._emitters(self.keys[-1], spoken, thought, "")
            yield {"match": {bare(over[0]): over[1]}, **emitters, "finish": "stop"}
        yield from rules

    def _by_kind(self, spoken: Said, thought: Said | None, doubt: str) -> Iterator[dict[str, Any]]:
        silent: list[Key] = []
        plain: list[dict[str, Any]] = []  # what nothing selects fits every record, and is last
        for key in dict.fromkeys(self.keys):
            emitters = self._emitters(key, spoken, thought, doubt)
            if self.kinds and "finish" not in emitters and self._ends(key, spoken):
                emitters["finish"] = "stop"
            named = any(value not in (None, "") for value in key)
            if emitters and named:
                yield self._selected(key, emitters)
            elif emitters:
                plain.append(emitters)
            elif named:
                silent.append(key)
        yield from (*self._ignored(silent), *plain)

    def _ignored(self, silent: list[Key]) -> Iterator[dict[str, Any]]:
        if len(self.kinds) != 1 or self.found.lettered or len(silent) < 2:
            yield from (self._selected(key, {"ignore": True}) for key in silent)
        else:
            words = [key[0] for key in silent]
            kind = self.kinds[0]
            selector = {"match": {bare(kind): words}} if kind else {"event": words}
            yield {**selector, "ignore": True}

    def _selected(self, key: Key, emitters: dict[str, Any]) -> dict[str, Any]:
        """A rule for one kind of records."""
        if self.found.lettered:
            return _lettered(str(key[0]), emitters)
        named = {
            bare(kind): value
            for kind, value in zip(self.kinds, key, strict=True)
            if kind and value is not None
        }
        if self.kinds == [""]:
            return {"event": key[0], **emitters}
        return {"match": named, **emitters}

    def _emitters(self, key: Key, spoken: Said, thought: Said | None, doubt: str) -> dict[str, Any]:
        out: dict[str, Any] = {}
        if thought is not None and thought.key == key:
            odd = len(thought.pieces) > 1 and thought.snapshot is not spoken.snapshot
            why = "guess: its pieces are of another kind than those of the text"
            out["reasoning"] = Noted(thought.path, why) if odd else thought.path
        if spoken.key == key:
            out["text"] = Noted(spoken.path, doubt) if doubt else spoken.path
        mine = [at for at, each in enumerate(self.keys) if each == key]
        if self.found.format != "json" and (finish := self._why(mine)):
            out["finish"] = finish
        if usage := self._usage(mine):
            out["usage"] = usage
        return out

    # ---- the end ----

    def _why(self, mine: list[int] | None = None) -> dict[str, Any] | None:
        """The `finish` where a reason is told."""
        for at in reversed(range(len(self.leaves)) if mine is None else mine):
            for path, leaf in self.leaves[at].items():
                if (
                    isinstance(leaf, str)
                    and _WHY.fullmatch(last(path))
                    and re.match(r"\w{2,24}$", leaf)
                ):
                    words = Noted(dict(_ENDS), f"guess: only `{leaf}` was seen")
                    return {"path": path, "map": words}
        return None

    def _over(self, spoken: Said) -> tuple[str, object] | None:
        """A field that changes when the answer is over."""
        final, begun = self.leaves[-1], self.leaves[0]
        for path, leaf in final.items():
            flag = leaf is True and _OVER.fullmatch(last(path))
            word = isinstance(leaf, str) and path != spoken.path and re.match(r"\w{3,12}$", leaf)
            if not flag and not (word and _OVER_WORD.fullmatch(str(leaf))):
                continue
            before = [each.get(path) for each in self.leaves[:-1]]
            if begun.get(path) != leaf and leaf not in before and len(self.leaves) > 1:
                return path, leaf
        return None

    def _ends(self, key: Key, spoken: Said) -> bool:
        """Whether records of a kind come only behind the text, and are named like an end."""
        first = self.keys.index(key)
        named = any(isinstance(value, str) and _OVER_WORD.fullmatch(value) for value in key)
        others = [k for k in dict.fromkeys(self.keys[first:]) if k != key]
        return (
            first > max(spoken.at)
            and named
            and not any(
                self.keys.index(k) > first
                and any(isinstance(v, str) and _OVER_WORD.fullmatch(v) for v in k)
                for k in others
            )
        )

    def _usage(self, mine: list[int]) -> dict[str, str]:
        for at in reversed(mine):
            found: dict[str, str] = {}
            for kind, pattern in _COUNTS.items():
                for path, leaf in self.leaves[at].items():
                    counts = isinstance(leaf, int) and not isinstance(leaf, bool)
                    if counts and pattern.fullmatch(last(path)) and _COUNTED.search(path):
                        found.setdefault(kind, path)
            if found:
                return found
        return {}


def _is_snapshot(pieces: list[str]) -> bool:
    """Whether each piece has all the text so far: it begins as the one before, nearly always."""
    pairs = list(pairwise(pieces))
    grown = [late.startswith(early) for early, late in pairs]
    longer = len(pieces[-1]) > len(pieces[0]) > 0
    return longer and len(pairs) > 0 and sum(grown) >= 0.8 * len(pairs)


def _lettered(letter: str, emitters: dict[str, Any]) -> dict[str, Any]:
    """A rule about lines that begin with a letter and a colon."""
    inside = f"$ | regex_search('^{letter}:(.*)') | from_json"
    texts = {key: value for key, value in emitters.items() if key in ("text", "reasoning")}
    if any((value.value if isinstance(value, Noted) else value) == "$" for value in texts.values()):
        return {"match": {"$": f"/^{letter}:/"}, **dict.fromkeys(texts, inside)}
    if emitters.get("ignore"):
        return {"match": {"$": f"/^{letter}:/"}, "ignore": True}
    return {"each": inside, **emitters}


def _with_tags(reading: Reading) -> Reading:
    """The same where thinking stands in the text, between tags."""
    hit = re.match(r"\s*<(think|thinking|thought|reasoning)>(.*?)</\1>", reading.text, re.S)
    if hit:
        reading.transforms.append({"think_tags": {"tags": {hit[1]: "reasoning"}}})
        reading.reasoning, reading.text = hit[2], reading.text[hit.end() :]
    return reading
