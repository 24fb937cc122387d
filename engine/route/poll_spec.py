"""The keys of `request.poll`: a job that is asked for until its answer is there."""

from __future__ import annotations

from dataclasses import dataclass

from engine.options import Duration, Path, Selector, Template, option

from .answer_spec import AnswerSelectors
from .http_spec import CallSpec, StepSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class UntilSpec(AnswerSelectors):
    """What an answer looks like in which the job is done. All that is written must hold."""

    not_: Selector | None = option(None, "values that must not stand there", name="not")
    has: Path | None = option(None, "something must stand there", example="$.output")

    @property
    def empty(self) -> bool:
        """Whether nothing is asked of an answer."""
        words = (self.status, self.header, self.body, self.content_type, self.when, self.has)
        selectors = (self.match, self.not_)
        return not any(words) and not any(each and each.source for each in selectors)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceSpec:
    initial: Duration = option(Duration(1.0), "wait before the first time")
    factor: float = option(1.0, "growth from one wait to the next")
    max: Duration = option(Duration(30.0), "longest wait")


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowSpec(CallSpec):
    """A request about the job. It carries what the route's requests carry, rendered anew."""

    url: Template | None = option(
        None,
        "a whole URL instead, perhaps one that an answer gave; a reference such as `/jobs/1` "
        "counts from the URL of the request that made the job",
        example="{{ poll.next }}",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ThenSpec(FollowSpec):
    """The request whose answer is read, where it is not the one that says that the job is done."""

    extract: dict[str, Path | StepSpec] = option(
        {},
        "what is found in the answer that says so, for `{{ poll.… }}` in this request",
        example={"file": "$.output_file"},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PollSpec(FollowSpec):
    """How a job is asked for. The answer that makes it may say itself that it is done."""

    extract: dict[str, Path | StepSpec] = option(
        {},
        "what is found in the answer that made the job, by a path or a step, for `{{ poll.… }}`",
        example={"id": "$.id"},
    )
    until: UntilSpec = option(
        doc="the answer in which the job is done; without `status` only a good one is",
        example="{match: {status: done}}",
    )
    every: Duration | PaceSpec = option(
        Duration(1.0),
        "how often it is asked for; `Retry-After` of an answer makes the next wait longer",
        example={"initial": "500ms", "factor": 1.5, "max": "5s"},
    )
    tolerate: int = option(
        5, "how often in a row asking may fail, in a way that may pass, before the attempt does"
    )
    hosts: list[str] = option(
        [],
        "other hosts that a URL of an answer may lead to, by name, perhaps with a port; they get "
        "no credentials, and of the headers only those of the request itself",
        lone=True,
        example="[results.example.com]",
    )
    then: ThenSpec | None = option(
        None, "the request for the answer, once the job is done; default: the answer that says so"
    )
    cancel: FollowSpec | None = option(
        None,
        "a request that is sent when a job is given up: its client has left, or time is up",
        example={"method": "DELETE", "path": "/jobs/{{ poll.id | urlpath }}"},
    )
