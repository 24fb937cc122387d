"""From the bytes of one attempt to events: framing, record transforms, rules or decoder, event
transforms, numbering; and at the end the judgement whether the answer was whole.

A pipeline is made per attempt and never reused. `feed` gives content events only; the finish,
the usage, an error and what the answer taught the session are kept as attributes until the end.
`finish` answers what was held back; then `verdict` is the one Finish or ErrorEvent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from typing import Any, Protocol

from engine.dialects.outcomes import classify_text
from engine.dialects.unsaid import Beside
from engine.errors import OUTCOMES, ExchangeError
from engine.events import (
    End,
    ErrorEvent,
    Event,
    Finish,
    Start,
    StateSet,
    TextDelta,
    Usage,
    UsageEvent,
    merge_usage,
)
from engine.parsers import FramingError, Parser
from engine.wire import JsonError, Record, TornText, loads, loads_frame, loads_text, mend

from .blocks import Blocks
from .sniff import sniff


class Reader(Protocol):
    """Rules or a dialect's decoder: records in, events out.

    One may have `text(value) -> str` besides: the text of a record without a name that goes on with
    the open text and says nothing else, "" where only `feed` can read it.
    """

    def feed(self, record: Record) -> list[Event]: ...
    def finish(self) -> list[Event]: ...


# Says whether a first record or a whole body is an error after all.
Judge = Callable[[bytes, object], ErrorEvent | None]
Step = Callable[[Any], list[Any]]


@dataclass(frozen=True, slots=True)
class Road:
    """One way to read an answer: a framing and what stands behind it, compiled.

    json       records hold JSON (else text)
    finishes   an answer that does not say its finish is truncated
    done       payloads that mark the end
    whole      the answer is one document, not a stream
    exact      whole JSON values are handed on, so integers of any length must stay exact
    patch      makes the reducer of `reduce: path_patch`
    unlike     `document` or `stream`: contents that are read on another road
    sse        it reads server-sent events
    pieces     a record is whatever was read, as text
    """

    parser: Callable[[], Parser]
    reader: Callable[[dict[str, object], Callable[[], str]], Reader]
    json: bool
    finishes: bool
    done: frozenset[bytes] = frozenset()
    finish_optional: bool = False
    min_text: int = 0
    unmatched: str = "warn"
    whole: bool = False
    patch: Callable[[], Step] | None = None
    exact: bool = True
    unlike: str = ""
    sse: bool = False
    pieces: bool = False


class Pipeline:
    """One attempt's answer.

    parser      its `frames` count the complete ones; the event-gap timer watches them
    over        the finish or the end marker was seen: nothing of content follows
    error       set as soon as the answer is known to have failed
    cause       what a transform raised, for the log
    least       bytes that are waited for before the first are judged, lest it depends on their cut
    unmatched   records that no rule knew
    """

    __slots__ = (
        "_blocks", "_doubted", "_ending", "_env", "_events", "_feed", "_head", "_judge",
        "_judged", "_least", "_loads", "_marked", "_new_id", "_one", "_other",
        "_own_records", "_plain", "_reader", "_records", "_smooth", "_steps", "_text",
        "_torn", "cause", "error", "finish_event", "over", "parser", "road", "seen",
        "start", "state", "text_length", "usage",
    )  # fmt: skip

    def __init__(
        self,
        road: Road,
        env: dict[str, object],
        new_id: Callable[[], str],
        *,
        judge: Judge,
        records: Sequence[Step] = (),
        events: Sequence[tuple[Step | None, Callable[[], list[Event]] | None]] = (),
        other: Road | None = None,
        least: int = 0,
    ) -> None:
        self._env, self._new_id = env, new_id
        self._own_records = list(records)
        self._take(road)
        self._other = other if road.unlike else None  # until the first bytes tell
        self._head, self._least = b"", least
        self._blocks = Blocks(new_id)
        self._judge = judge
        self._judged = False
        self._steps = [step for step, _ in events if step is not None]
        self._events = list(events)
        self.over = False
        self.error: ErrorEvent | None = None
        self.cause: BaseException | None = None
        self.finish_event: Finish | None = None
        self.usage: Usage | None = None
        self.state: dict[str, object] = {}
        self.start: Start | None = None
        self.text_length = 0
        self.seen = 0
        self._marked = False
        self._torn: Record | None = None  # its text ends in half a character
        self._ending = False  # what comes now is what no frame's end was seen of
        self._smooth = False  # what was read last only went on with the open text
        self._doubted = False  # what came then was more than a text

    def _take(self, road: Road) -> None:
        self.road = road
        self.parser = road.parser()
        self._loads: Callable[[bytes], object] = loads_frame
        if road.exact:
            self._loads = loads if road.whole else partial(loads, torn=True)
        self._reader = road.reader(self._env, self._new_id)
        self._feed = self._feed_strictly if road.unmatched == "error" else self._reader.feed
        self._records = ([road.patch()] if road.patch else []) + self._own_records
        self._one: Any = getattr(self.parser, "one", None)
        self._text: Any = getattr(self._reader, "text", None)
        known = self._one is not None and self._text is not None
        self._plain = known and road.json and not self._records

    def _decide(self, data: bytes) -> bytes:
        """Choose the road by the first bytes, which are kept until they tell what comes."""
        self._head += data
        content = sniff(self._head)
        if content is None:
            return b""
        other = self._other
        unlike = self.road.unlike
        page = content == "page" and unlike == "document" and other is not None and other.json
        if other is not None and (page or content == unlike):
            self._take(other)
        self._other = None
        return self._head

    def _enough(self, data: bytes) -> bytes:
        """What there is to judge an answer by, which is kept until it is `least` bytes."""
        self._head += data
        if len(self._head) < self._least:
            return b""
        self._least = 0
        return self._head

    @property
    def ended(self) -> bool:
        """Nothing follows, not even usage: the end marker was seen, or all that has none tells."""
        if self._marked or not self.over or self.road.done:
            return self._marked
        return self.usage is not None and self.usage.output is not None

    @property
    def beside(self) -> Sequence[Beside]:
        """What only some clients have a place for."""
        return self._blocks.beside

    @property
    def unmatched(self) -> Mapping[str, int]:
        found = getattr(self._reader, "unmatched", None)
        return found if isinstance(found, Counter) else {}

    block = property(attrgetter("_blocks.at"), doc="The number of the open text.")

    def text(self, data: bytes) -> str:
        """What a chunk adds to the open text, where it is one frame that says nothing else and no
        transform wants to see it; "" where it is for `feed`: then nothing of it was taken."""
        if not self._smooth:
            return ""
        frame = self._one(data)
        if frame is None:
            return ""
        try:
            text: str = self._text(loads_text(frame))
        except ValueError:
            text = ""
        done = self.road.done
        if not text or (done and frame.strip() in done):
            self._plain, self._doubted = not self._doubted, True  # twice in vain is enough
            return ""
        self._doubted = False
        self.parser.frames += 1
        self.text_length += len(text)
        self.seen += 1
        return text

    def feed(self, data: bytes) -> list[Event]:
        """Events found so far. After `error` is set nothing comes any more."""
        self._smooth = False
        if self.error is not None or self._marked:
            return []
        if self._other is not None:
            data = self._decide(data)
        elif self._least:
            data = self._enough(data)
        try:
            records = self.parser.feed(data)
        except FramingError as error:
            return self._misframed(error)
        return self._read(records) if records else []

    def _misframed(self, error: FramingError) -> list[Event]:
        self._fail(ErrorEvent("retryable", f"the answer cannot be read: {error}"))
        return []

    def _read(self, records: list[Record]) -> list[Event]:
        out: list[Event] = []
        done, decode, feed = self.road.done, self.road.json, self._feed
        failed: ErrorEvent | None = None
        todo = iter(records if self._torn is None else self._mended(self._torn, records))
        for record in todo:
            if done and record.data.strip() in done:
                self._marked = True
                break  # nothing after the terminator is part of the answer
            if not record.data:
                continue  # an empty frame keeps the line alive and says nothing
            try:
                if decode and record.value is None:
                    record.value = self._loads(record.data)
                failed = None if self._judged else self._refused(record)
                if failed is not None:
                    break
                out += self._shaped(record) if self._records else feed(record)
            except (JsonError, ExchangeError) as error:
                failed = self._failed(record, error)
                if failed is not None or self._torn is not None:
                    break
            self.seen += 1
        if out:
            out = self._chain(out)
        self.over = self.over or self._marked
        if failed is not None or self._torn is not None:
            out += self._halted(failed, list(todo))
        return out

    def _halted(self, failed: ErrorEvent | None, rest: list[Record]) -> list[Event]:
        """rest: records after one that failed, or that needs them to be read."""
        if failed is None:
            return self._read(rest) if rest else []
        self._fail(failed)
        return []

    def _fail(self, error: ErrorEvent) -> None:
        """After the finish nothing fails an answer any more."""
        if not self.over:
            self.error = self.error or error

    def _failed(self, record: Record, error: JsonError | ExchangeError) -> ErrorEvent | None:
        """What it means that a record cannot be read; None: it is passed over."""
        if isinstance(error, ExchangeError):
            self.cause = error.__cause__
            return _event(error)
        if isinstance(error, TornText):
            self._torn = record  # read with the next one
            return None
        if self.road.unmatched == "ignore":
            return None
        failed = None if self._judged else self._judge(record.data, None)
        if failed is None and not self.seen and sniff(record.data) == "page":
            failed = ErrorEvent(*classify_text(record.data))
        if failed is None and self._ending and self.seen and not self.road.whole:
            return self._incomplete()
        what = "an answer" if self.road.whole else "a frame"
        return failed or ErrorEvent("retryable", f"the upstream sent {what} that is not JSON")

    def _mended(self, torn: Record, records: list[Record]) -> list[Record]:
        """The record that waited and those after it, the halves of its character together."""
        self._torn = None
        first, rest = torn.data, b""
        if records:
            first, rest = mend(torn.data, records[0].data)
            records = [Record(records[0].event, rest, records[0].value), *records[1:]]
        value = loads(first) if self.road.exact else loads_frame(first, torn=False)
        return [Record(torn.event, first, value), *records]

    def _refused(self, record: Record) -> ErrorEvent | None:
        self._judged = True
        return self._judge(record.data, record.value)

    def _feed_strictly(self, record: Record) -> list[Event]:
        """`unmatched: error`: what no rule knows ends the answer, unless it was over before."""
        out = self._reader.feed(record)
        if self.unmatched and not getattr(self._reader, "finished", False):
            raise ExchangeError("fatal", "the upstream sent something that no rule knows")
        return out

    def _shaped(self, record: Record) -> list[Event]:
        """What is read from a record once `path_patch` and the transforms have seen it."""
        records = [record]
        for step in self._records:
            records = [made for item in records for made in step(item)]
        return [event for made in records for event in self._feed(made)]

    def _chain(self, events: list[Event]) -> list[Event]:
        """Transforms, then the sieve that keeps what is not content, then numbering."""
        if not self._steps:
            blocks, length = self._blocks, 0
            for event in events:  # do they only go on with the text that is open, as nearly all do?
                if type(event) is not TextDelta or event.block != blocks.at or not event.text:
                    return blocks.feed(self._sieve(events))
                length += len(event.text)
            if blocks.kind is not TextDelta:
                return blocks.feed(self._sieve(events))
            self.text_length += length
            self._smooth = self._plain and not (self.over or self._marked or self._torn)
            return events
        out: list[Event] = []
        for event in events:  # one by one: what came before a failure goes out, however it was cut
            made = [event]
            try:
                for step in self._steps:
                    made = [new for old in made for new in step(old)]
            except ExchangeError as error:
                self.cause = error.__cause__
                self._fail(_event(error))
                break
            out += self._blocks.feed(self._sieve(made))
        return out

    def _sieve(self, events: list[Event]) -> list[Event]:
        kept: list[Event] = []
        for event in events:
            kind = type(event)
            if kind is TextDelta:
                self.text_length += len(event.text)  # type: ignore[union-attr]
                kept.append(event)
            elif kind in _HELD:
                self._hold(event)
                if self.error is not None:
                    break
            else:
                kept.append(event)
        return kept

    def _hold(self, event: Event) -> None:
        if isinstance(event, UsageEvent):
            self.usage = merge_usage(self.usage, event.usage)
        elif isinstance(event, Finish):
            self.finish_event = self.finish_event or event
            self.over = True
        elif isinstance(event, ErrorEvent):
            known = event.cls in OUTCOMES  # a transform may have made it
            made = event if known else ErrorEvent("fatal", event.message)
            self.error = self.error or made  # what is missed at the end may be missing for that
        elif isinstance(event, StateSet):
            self.state.update(event.values)
        elif isinstance(event, Start):
            self.start = self.start or event
        elif isinstance(event, End):
            self._marked = self.over = True

    def finish(self) -> list[Event]:
        """End of input: what was held back, all blocks closed. Then ask `verdict`."""
        out: list[Event] = []
        if self.error is None and not self._marked:
            out += self._last()
            if self._torn is not None:
                out += self._read([])
        try:
            if self.error is None:
                out += self._chain(self._reader.finish())
            out += self._flush()
        except ExchangeError as error:
            self.cause = self.cause or error.__cause__
            self.error = self.error or _event(error)
        if self.error is None:
            cut = self.finish_event is not None and self.finish_event.reason == "length"
            out += self._blocks.finish(whole=not cut)
        return out

    def _last(self) -> list[Event]:
        """What the parser has held back."""
        out: list[Event] = []
        try:
            if (self._other or self._least) and (records := self.parser.feed(self._head)):
                out += self._read(records)  # its bytes never told the road, or were few
            if records := self.parser.finish():
                self._ending = True
                out += self._read(records)
        except FramingError as error:
            out += self._misframed(error)
        return out

    def _flush(self) -> list[Event]:
        """`finish` of each transform; its events pass the transforms below it."""
        out: list[Event] = []
        for at, (_, finish) in enumerate(self._events):
            if finish is None:
                continue
            events = finish()
            for step, _ in self._events[at + 1 :]:
                if step is not None:
                    events = [made for event in events for made in step(event)]
            out += self._blocks.feed(self._sieve(events))
        return out

    def verdict(self) -> Finish | ErrorEvent:
        """How the answer ended. Call it after `finish`."""
        if self.error is not None:
            return self.error
        finish = self.finish_event or self._implied()
        if finish is None:
            return self._incomplete()
        if self._blocks.nameless and finish.reason != "length":
            return ErrorEvent("retryable", "the upstream called a tool without naming it")
        short = self.text_length < self.road.min_text and finish.reason != "content_filter"
        if short and not (self._blocks.calls or self._blocks.shown):
            return ErrorEvent("empty_response", "the upstream's answer has no text")
        if finish.reason in _SAYS_SOMETHING and self._overlooked():
            return ErrorEvent("empty_response", "the upstream's answer has no text the route reads")
        if self._blocks.calls and finish.reason in ("stop", "other"):
            return replace(finish, reason="tool_calls")
        if finish.reason == "tool_calls" and not self._blocks.calls:
            return replace(finish, reason="stop")
        return finish

    def _overlooked(self) -> bool:
        """Whether an answer without text seems to have had some, where rules do not look for it."""
        missed = getattr(self._reader, "missed", None)  # a dialect's decoder knows all there is
        if missed is None or self.text_length or self._blocks.calls or self._blocks.shown:
            return False
        if missed or (self.unmatched and self.road.unmatched != "ignore"):
            return True
        written = self.usage.output if self.usage and not self._blocks.opened else None
        return written is not None and written > 1  # the mark of the end may count as one

    def _implied(self) -> Finish | None:
        """The finish of an answer that does not tell one, where that is allowed."""
        road = self.road
        something = self.text_length or self._blocks.opened
        if road.whole:
            return Finish("stop") if something else None
        if road.finish_optional and (self._marked or something):
            return Finish("stop")
        return Finish("stop") if self._marked and not road.finishes else None

    def _incomplete(self) -> ErrorEvent:
        if self.seen == 0:
            return ErrorEvent("empty_response", "the upstream's answer was empty")
        if self.road.whole:
            return ErrorEvent("retryable", "the upstream's answer holds nothing the route reads")
        return ErrorEvent("truncated", "the upstream's answer ended before it was whole")


def _event(error: ExchangeError) -> ErrorEvent:
    return ErrorEvent(error.cls, error.message, error.status, error.code, error.retry_after)


_SAYS_SOMETHING = ("stop", "other", "tool_calls")
_HELD = {UsageEvent, Finish, ErrorEvent, StateSet, Start, End}
