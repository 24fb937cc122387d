"""Rules that nothing reaches: a rule above takes all that they would.

Only what the selectors themselves say counts: the same path with the same or more values, a family
of codes, the beginning of a content type. A parent's rule may stand in a child's shadow; that is
how a child overrules it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from engine.errors import Problem
from engine.options import Selector

from .answer_spec import ErrorRuleSpec, RuleSpec
from .nodes import Node
from .places import Way, find
from .spec import RouteSpec

R = TypeVar("R")


def check_shadows(spec: RouteSpec, tree: Node) -> Iterator[Problem]:
    for key, part in (("stream", spec.stream), ("response", spec.response)):
        if part is not None and part.events is not None:
            yield from _events(tree, (key, "events"), part.events)
    way: Way = ("errors", "rules")
    for at, line in _shadowed(tree, way, spec.errors.rules, _takes_errors):
        yield _problem(tree, (*way, at), f"{_TAKEN.format(line)}; put this one above it")


_TAKEN = "never reached: the rule in line {} takes all that this one would"


def _events(tree: Node, way: Way, rules: list[RuleSpec]) -> Iterator[Problem]:
    wide = next((at for at, rule in enumerate(rules[:-1]) if _takes_all(rule)), len(rules))
    for at, line in _shadowed(tree, way, rules[: wide + 1], _takes_records):
        message = f"{_TAKEN.format(line)}; put this one above it, or give that one `continue: true`"
        yield _problem(tree, (*way, at), message)
    if wide < len(rules):
        line = find(tree, (*way, wide)).mark.line
        message = (
            f"never reached: the rule in line {line} takes every record; give it a selector "
            "or `continue: true`"
        )
        yield _problem(tree, (*way, wide + 1), message)


def _shadowed(
    tree: Node, way: Way, rules: Sequence[R], takes: Callable[[R, R], bool]
) -> Iterator[tuple[int, int]]:
    """(its number, the line of the one above) of each rule in a shadow."""
    marks = [find(tree, (*way, at)).mark for at in range(len(rules))]
    for at, rule in enumerate(rules):
        for other in range(at):
            if marks[other].file == marks[at].file and takes(rules[other], rule):
                yield at, marks[other].line
                break


def _problem(tree: Node, way: Way, message: str) -> Problem:
    return find(tree, way).mark.problem("W504", message, "warning")


# ---- what one rule takes from another ----


def _takes_all(rule: RuleSpec) -> bool:
    selectors = (rule.event, rule.match, rule.not_, rule.when, rule.each)
    anything = rule.has is None or rule.has.source == "$"
    return anything and not rule.continue_ and not any(selectors)


def _takes_records(above: RuleSpec, rule: RuleSpec) -> bool:
    """Whether every record of this rule is one of the rule above, where it stays."""
    if above.continue_ or (above.event and not (rule.event and {*rule.event} <= {*above.event})):
        return False
    if _source(above.each) != _source(rule.each):
        inside = (above.match, above.not_, above.has, above.when)
        return above.each is None and not any(inside)  # else they look at different things
    return (
        _wider(above.match, rule.match)
        and _same(above.not_, rule.not_)
        and _same(above.has, rule.has)
        and _same(above.when, rule.when)
    )


def _takes_errors(above: ErrorRuleSpec, rule: ErrorRuleSpec) -> bool:
    kind = (rule.content_type or "").lower()
    return (
        _has_codes(above.status, rule.status)
        and above.header.items() <= rule.header.items()
        and kind.startswith((above.content_type or "").lower())
        and _wider(above.match, rule.match)
        and _same(above.body, rule.body)
        and _same(above.when, rule.when)
    )


def _has_codes(above: Sequence[object], codes: Sequence[object]) -> bool:
    if not above:
        return True
    known = {str(code) for code in above}
    named = [str(code) for code in codes]
    families = {code[0] for code in known if code.endswith("xx")}
    return bool(named) and all(c in known or (len(c) == 3 and c[0] in families) for c in named)


def _wider(above: Selector | None, selector: Selector | None) -> bool:
    """Whether all that fits the second fits the first: no path more, no value less."""
    wanted = selector.source if selector else {}
    return above is None or all(
        path in wanted and _values(wanted[path]) <= _values(value)
        for path, value in above.source.items()
    )


def _values(wanted: object) -> set[tuple[str, object]]:
    values = wanted if isinstance(wanted, list) else [wanted]
    return {(type(value).__name__, value) for value in values}  # 1 is not true


def _same(above: object, option: object) -> bool:
    return above is None or _source(above) == _source(option)


def _source(option: object) -> object:
    """What was written; a regular expression is that itself, with its flags."""
    return getattr(option, "source", option)
