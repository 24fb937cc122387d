"""What a route's rules mean, checked: events, finish reasons, error rules, renewal of values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from engine.errors import OUTCOMES, Problem
from engine.options import Word
from engine.parsers import PARSERS
from engine.parsers.frames import framing

from .answer_spec import AnswerSelectors, RuleSpec
from .classify import BY_STATUS, Classifier, good_status, header_pattern
from .hints import did_you_mean
from .idle_checks import check_idle, check_text_records
from .nodes import Node
from .places import Way, dotted, find, key_mark
from .shadows import check_shadows
from .spec import RouteSpec
from .transforms import Loaded
from .waits import bad_wait

FINISHES = ("stop", "length", "tool_calls", "content_filter")


def _event_rules(spec: RouteSpec) -> Iterator[tuple[Way, list[RuleSpec]]]:
    for key, part in (("stream", spec.stream), ("response", spec.response)):
        if part is not None and part.events is not None:
            yield (key, "events"), part.events


def _framing(spec: RouteSpec, tree: Node) -> Iterator[Problem]:
    read = spec.stream.format.frames if spec.stream and spec.stream.format else None
    sent = spec.request.frames if spec.request else None
    for way, frames, make in (
        (("stream", "format", "frames"), read, PARSERS["frames"].make),
        (("request", "frames"), sent, framing),
    ):
        try:
            if frames is not None:
                make(frames)
        except ValueError as error:
            yield find(tree, way).mark.problem("E106", f"`{dotted(way)}`: {error}")


def _ending(spec: RouteSpec, tree: Node) -> Iterator[Problem]:
    stream = spec.stream
    if stream is None or stream.events is None or stream.done or stream.finish_optional:
        return
    if not any(rule.finish or rule.end for rule in stream.events):
        message = (
            "nothing tells the end of the answer, so each will count as truncated: add `finish` or "
            "`end` to a rule, or `stream.done`, or `stream.finish_optional: true`"
        )
        yield key_mark(tree, ("stream", "events")).problem("W502", message, "warning")


def _finishes(spec: RouteSpec, tree: Node) -> Iterator[Problem]:
    for way, rules in _event_rules(spec):
        for at, rule in enumerate(rules):
            if rule.finish is None:
                continue
            place = (*way, at, "finish")
            yield from _words(tree, place, "path", rule.finish.path, rule.finish.map, FINISHES)
            if rule.finish.path.path is not None and rule.finish.map and "*" not in rule.finish.map:
                message = '`finish.map` has no `"*"`: any other word counts as `stop`'
                yield key_mark(tree, (*place, "map")).problem("W503", message, "warning")


def _errors_told(spec: RouteSpec, tree: Node) -> Iterator[Problem]:
    for way, rules in _event_rules(spec):
        for at, rule in enumerate(rules):
            if rule.error is not None:
                place = (*way, at, "error")
                yield from _words(
                    tree, place, "class", rule.error.class_, rule.error.map, tuple(OUTCOMES)
                )
                yield from _waits(tree, place, rule.error.retry_after, headers=False)


def _waits(tree: Node, way: Way, sources: list[str], *, headers: bool = True) -> Iterator[Problem]:
    for place, source in enumerate(sources):
        wrong = bad_wait(source, headers=headers)
        if wrong is not None:
            message = f"`{dotted(way)}.retry_after`: `{source}`: {wrong}"
            yield find(tree, (*way, "retry_after", place)).mark.problem("E510", message)


def _words(
    tree: Node, way: Way, key: str, word: Word, mapping: dict[str, str], known: tuple[str, ...]
) -> Iterator[Problem]:
    """A constant, and the right side of a map, are of a closed set."""
    said: dict[Way, str] = {(*way, "map", left): right for left, right in mapping.items()}
    if word.path is None and word.constant not in mapping:
        said[(*way, key)] = word.constant
    for place, text in said.items():
        if text not in known:
            message = f"`{dotted(way)}`: unknown `{text}`{did_you_mean(text, known)}"
            yield find(tree, place).mark.problem("E519", message)


def _error_rules(spec: RouteSpec, tree: Node) -> Iterator[Problem]:
    socket = spec.request is not None and spec.request.websocket is not None
    for at, rule in enumerate(spec.errors.rules):
        way: Way = ("errors", "rules", at)
        yield from check_selectors(tree, way, rule, socket=socket)
        yield from _waits(tree, way, rule.retry_after)
        selectors = (rule.status, rule.match, rule.header, rule.body, rule.content_type, rule.when)
        if not any(selectors):
            message = "this rule has no selector: it would make an error of every answer"
            yield find(tree, way).mark.problem("E520", message)


def check_selectors(
    tree: Node, way: Way, rule: AnswerSelectors, *, socket: bool = False
) -> Iterator[Problem]:
    """What is asked of an answer, checked as far as its type does not tell."""
    for place, code in enumerate(rule.status):
        if not good_status(str(code), socket=socket):
            message = f"`{code}` is neither a status code nor a family such as `5xx`"
            yield find(tree, (*way, "status", place)).mark.problem("E509", message)
    for name, pattern in rule.header.items():
        try:
            header_pattern(pattern)
        except (re.error, ValueError) as error:
            message = f"`header`: bad regular expression {pattern}: {error}"
            yield find(tree, (*way, "header", name)).mark.problem("E304", message)


RULE_CHECKS = (_framing, _ending, _finishes, _errors_told, check_shadows, check_idle, _error_rules)

# Classes that come about without any rule: by status, and by the engine itself.
_BY_ITSELF = {
    *BY_STATUS.values(), "retryable", "invalid_request", "context_length", "fatal", "timeout",
    "connect", "truncated", "empty_response", "unavailable",
}  # fmt: skip


def check_stages(
    spec: RouteSpec, tree: Node, stages: Iterable[Loaded], problems: list[Problem]
) -> None:
    """Checks that need the transforms of `transforms:`, loaded."""
    loaded = {stage.name: stage for stage in stages}
    checks = (_never_failing, _never_renewed, _misplaced, _never_other, _signers)
    for check in (*checks, check_text_records):
        problems += check(spec, tree, loaded)


def _never_failing(spec: RouteSpec, tree: Node, loaded: Mapping[str, Loaded]) -> Iterator[Problem]:
    """A job that fails says so in a good answer, as it says that it is done."""
    poll = spec.request.poll if spec.request is not None else None
    if poll is None or any("classify" in stage.methods for stage in loaded.values()):
        return
    until, response = poll.until, spec.response
    told = response is not None and any(rule.error for rule in response.events or ())
    by_body = any((until.match, until.not_, until.has, until.when))
    if by_body and not told and not Classifier(spec.errors).good:
        message = (
            "nothing says what a job looks like that has failed, so it is asked for until time is "
            "up: give `errors.rules` one such as `{ match: { status: failed }, as: fatal }`"
        )
        mark = key_mark(tree, ("request", "poll", "until"))
        yield mark.problem("W510", message, "warning")


def _never_renewed(spec: RouteSpec, tree: Node, loaded: Mapping[str, Loaded]) -> Iterator[Problem]:
    yielded = _yielded(spec)
    if yielded is None or any("classify" in stage.methods for stage in loaded.values()):
        return
    for name, value in spec.values.items():
        for at, cls in enumerate(value.refresh_for):
            if cls not in yielded:
                message = f"no rule yields `{cls}`, so it never renews `values.{name}`"
                mark = find(tree, ("values", name, "refresh_for", at)).mark
                yield mark.problem("W507", message, "warning")


def _misplaced(spec: RouteSpec, tree: Node, loaded: Mapping[str, Loaded]) -> Iterator[Problem]:
    """A transform that stands above one that its AFTER names."""
    names = [_named(node) for node in spec.transforms]
    for at, name in enumerate(names):
        after = loaded[name].after if name in loaded else ()
        late = [other for other in names[at + 1 :] if other in after]
        if late:
            message = f"`{name}` has to stand below {', '.join(f'`{other}`' for other in late)}"
            yield spec.transforms[at].mark.problem("W421", message, "warning")


def _never_other(spec: RouteSpec, tree: Node, loaded: Mapping[str, Loaded]) -> Iterator[Problem]:
    """A conversation that is too long is tried again, and is as long as before."""
    for at, cls in enumerate(spec.retry.for_ or []):
        if cls == "context_length" and not any(cls in t.retries for t in loaded.values()):
            message = f"`{cls}` tried again comes to the same: no transform here then sends less"
            yield find(tree, ("retry", "for", at)).mark.problem("W422", message, "warning")


def _signers(spec: RouteSpec, tree: Node, loaded: Mapping[str, Loaded]) -> Iterator[Problem]:
    """A route has one signer, and AWS's puts its own header where `bearer` puts one."""
    signs = {name for name, stage in loaded.items() if "sign" in stage.methods}
    names = [name for name in map(_named, spec.transforms) if name in signs]
    if spec.auth.sign is not None and names:
        names.insert(0, "auth.sign")
    if len(names) > 1:
        message = f"`{names[1]}` signs what `{names[0]}` has signed: a route has one signer"
        node = next(node for node in spec.transforms if _named(node) == names[1])
        yield node.mark.problem("E530", message)
    rivals = [key for key in ("bearer", "basic") if getattr(spec.auth, key) is not None]
    if rivals and spec.auth.sign is not None and spec.auth.sign.aws_sigv4 is not None:
        message = f"`auth.{rivals[0]}` and `auth.sign.aws_sigv4` both write `Authorization`"
        yield key_mark(tree, ("auth", rivals[0])).problem("E530", message)
    yield from _signed_over(spec, tree)


def _signed_over(spec: RouteSpec, tree: Node) -> Iterator[Problem]:
    """Headers that the signature takes the place of."""
    hmac = spec.auth.sign.hmac if spec.auth.sign is not None else None
    signed = {name.lower() for name in hmac.headers} if hmac is not None else set()
    sent = spec.request.headers if spec.request is not None else {}
    for way, headers in ((("request", "headers"), sent), (("auth", "header"), spec.auth.header)):
        for name in headers:
            if name.lower() in signed:
                message = f"`{dotted(way)}` and `auth.sign.hmac.headers` both write `{name}`"
                yield key_mark(tree, (*way, name)).problem("E530", message)


def _named(node: Node) -> str:
    if node.kind != "map":
        return str(node.text)
    return next((key for key in node.value if key != "when"), "")


def _yielded(spec: RouteSpec) -> set[str] | None:
    """The outcome classes that this route can come to, None if that is up to the upstream."""
    classes = _BY_ITSELF | {rule.as_ for rule in spec.errors.rules}
    for _, rules in _event_rules(spec):
        for rule in rules:
            if rule.error is None:
                continue
            if rule.error.class_.path is not None and not rule.error.map:
                return None
            classes |= {rule.error.class_.constant, *rule.error.map.values()}
    return classes
