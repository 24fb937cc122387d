"""Rules that say nothing, or look for something where nothing of it can be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from engine.errors import Problem
from engine.options import Path, Selector

from .answer_spec import RuleSpec
from .nodes import Node
from .pick import parse
from .places import Way, dotted, find, key_mark
from .spec import RouteSpec
from .transforms import Loaded

_EMITTERS = (
    "text", "reasoning", "reasoning_signature", "image", "tool_calls", "usage", "finish", "error",
    "annotation", "set", "note", "end",
)  # fmt: skip
_READERS = ("has", "text", "reasoning", "image", "annotation")
_TEXTUAL = frozenset({
    "b64", "b64d", "hmac_sha256", "join", "json", "lower", "md5", "regex_replace", "regex_search",
    "sha256", "strip", "truncate_chars", "unescape_html", "upper", "urlpath", "urlquery",
})  # fmt: skip
_LAST_FILTER = re.compile(r"(\w+)\s*(\([^|]*\))?\s*$")


def check_idle(spec: RouteSpec, tree: Node) -> Iterator[Problem]:
    for way, rules, _ in _rules(spec):
        for at, rule in enumerate(rules):
            said = [key for key in _EMITTERS if getattr(rule, key)]
            if rule.ignore and said:
                message = f"`ignore` and `{said[0]}`: a record means nothing, or it means something"
                yield key_mark(tree, (*way, at, said[0])).problem("E106", message)
            elif not said and not rule.ignore:
                message = "this rule does nothing: `ignore: true` says that nothing is meant"
                yield find(tree, (*way, at)).mark.problem("W512", message, "warning")


def check_text_records(
    spec: RouteSpec, tree: Node, loaded: Mapping[str, Loaded]
) -> Iterator[Problem]:
    """Paths that look for fields in what is text."""
    if any("feed_record" in stage.methods for stage in loaded.values()):
        return
    for way, rules, textual in _rules(spec):
        for at, rule in enumerate(rules):
            key = _astray(rule, textual)
            if key is not None:
                opened = "$" if textual else "$.…"
                message = (
                    f"`{dotted((*way, at, key))}` looks for a field, and this is text: "
                    f"`each: {opened} | from_json` opens it"
                )
                yield find(tree, (*way, at, key)).mark.problem("W513", message, "warning")


def _rules(spec: RouteSpec) -> Iterator[tuple[Way, list[RuleSpec], bool]]:
    """(way, rules, whether they see text) of both kinds of answers."""
    stream, response = spec.stream, spec.response
    if stream is not None and stream.events:
        framing = stream.format
        named = framing is not None and framing.name in ("text", "lines")
        text = named or bool(framing and framing.frames and framing.frames.text)
        yield ("stream", "events"), stream.events, text
    if response is not None and response.events:
        yield ("response", "events"), response.events, response.format == "text"


def _astray(rule: RuleSpec, textual: bool) -> str | None:
    """The key of the first path of a rule that goes on inside of text."""
    if rule.each is not None:
        if textual and _steps(rule.each.source):
            return "each"
        first = rule.each.source.partition(", $")[0]  # of several alternatives
        hit = _LAST_FILTER.search(parse(first, selector=False).pipe)
        textual = hit[1] in _TEXTUAL if hit else textual
    if not textual:
        return None
    paths: dict[str, list[str]] = {}
    for key in _READERS:
        path: Path | None = getattr(rule, key)
        paths[key] = [path.source] if path is not None else []
    for key, selector in (("match", rule.match), ("not_", rule.not_)):
        paths[key] = _keys(selector)
    astray = (key for key, sources in paths.items() if any(map(_steps, sources)))
    found = next(astray, None)
    return found.rstrip("_") if found is not None else None


def _keys(selector: Selector | None) -> list[str]:
    source = selector.source if selector is not None else {}
    return [key if key.startswith("$") else f"$.{key}" for key in source]


def _steps(source: str) -> bool:
    """Whether a path leads further than `$`; of several alternatives the first counts."""
    return source.strip()[1:2] in (".", "[")
