"""Server-sent events: `event:` and `data:` lines, a blank line after each event.

All care about cuts lives in `_Cut`, which hands on nothing but whole frames; what reads them
(`SseParser` into records, `SseFrames` as bytes for pass-through) keeps no state. The three newline
styles may be mixed. `id:`, `retry:`, unknown fields and comments give no record. An event that the
end of the stream leaves without its blank line is given by `finish`: an upstream that ends that way
meant it, and one that was cut off is found out by its missing finish.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.options import option
from engine.wire import Record

from .bounds import BOM, MAX_FRAME, too_large

_EOL = b"\r\n"
_CR, _LF = _EOL  # looked for as numbers: a quarter of the time


@dataclass(frozen=True, slots=True, kw_only=True)
class Sse:
    text: bool = option(
        False, "the data of an event is text, not JSON: words, XML; to rules the whole of it is `$`"
    )


def sse_parser(options: Sse | None = None, limit: int = MAX_FRAME) -> SseParser:
    """The parser of such a stream; `value` is the data as text if asked."""
    return SseTexts(limit) if options is not None and options.text else SseParser(limit)


class SseParser:
    """Bytes -> one Record per event with data; `data:` lines joined by a newline.

    frames counts every whole frame, comments and pings too.
    """

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self.frames = 0
        self._cut = _Cut(limit)
        self.one = self._cut.one

    def feed(self, data: bytes) -> list[Record]:
        line = self.one(data)
        if line is not None:
            self.frames += 1
            return [Record("", line)]
        whole = self._cut.take(data)
        return self._read(whole) if whole else []

    def finish(self) -> list[Record]:
        return self._read(self._cut.drain())

    def _read(self, whole: bytes) -> list[Record]:
        records, frames = _read_plain(whole) or _read_any(whole)
        self.frames += frames
        return records


class SseTexts(SseParser):
    """The same with the data as text."""

    def feed(self, data: bytes) -> list[Record]:
        return list(map(_as_text, super().feed(data)))

    def finish(self) -> list[Record]:
        return list(map(_as_text, super().finish()))


def _as_text(record: Record) -> Record:
    return Record(record.event, record.data, record.data.decode("utf-8", "replace"))


class SseFrames:
    """Bytes -> whole frames as they came, each with the blank line that ends it.

    Blank lines between frames and a byte-order mark are left out: clients stumble over both. What
    `finish` gives has its blank line added. frames counts as in `SseParser`.
    """

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self.frames = 0
        self._cut = _Cut(limit)

    def feed(self, data: bytes) -> list[bytes]:
        if self._cut.one(data) is not None:
            self.frames += 1
            return [data]
        return self._split(self._cut.take(data))

    def finish(self) -> list[bytes]:
        return self._split(self._cut.drain())

    def _split(self, whole: bytes) -> list[bytes]:
        frames = _split(whole)
        self.frames += len(frames)
        return frames


class _Cut:
    """Holds back what is not yet a whole frame, at most `limit` bytes of it.

    idle tells that nothing is held back and the start of the stream (a mark may stand there) is
    over: what comes next is the beginning of a frame.
    """

    def __init__(self, limit: int) -> None:
        self.idle = False
        self._limit = limit
        self._rest = bytearray()
        self._fresh = True

    def one(self, data: bytes) -> bytes | None:
        """The data of a chunk that is one frame, a `data: ` line and its blank line, as most reads
        are; None if it is not. Nothing is taken."""
        size = len(data)
        if (
            self.idle
            and data[:6] == b"data: "
            and data.find(_LF) == size - 2
            and data[-1] == _LF
            and _CR not in data
            and size <= self._limit
        ):
            return data[6:-2]
        return None

    def take(self, data: bytes) -> bytes:
        """Everything up to the last blank line that is certain; b"" if there is none."""
        rest = self._rest
        if not rest:
            data = data.lstrip(_EOL)
            end = _after_blank(data)
        else:
            self._check_rest()
            seen = bytes(rest[-2:])
            end = _after_blank(seen + data) - len(seen)
        if end < 0:
            rest += data
            self.idle = self.idle and not rest
            self._check_rest()
            return b""
        whole = bytes(rest) + data[:end] if rest else data[:end]
        rest[:] = data[end:].lstrip(_EOL)
        whole = self._bounded(whole) if len(whole) > self._limit else whole
        whole = self._without_bom(whole) if self._fresh else whole
        self.idle = not rest
        return whole

    def drain(self) -> bytes:
        """What is left at the end of the stream, made a whole frame."""
        self._check_rest()
        left = self._without_bom(bytes(self._rest)).rstrip(_EOL)
        self._rest.clear()
        return left + b"\n\n" if left else b""

    def _without_bom(self, whole: bytes) -> bytes:
        if not self._fresh:
            return whole
        self._fresh = False
        return whole.removeprefix(BOM)

    def _bounded(self, whole: bytes) -> bytes:
        """The frames before the first one that is too large, which is left at the front."""
        good: list[bytes] = []
        for frame in _split(whole):
            if len(frame) > self._limit:
                self._rest[:] = frame
                break
            good.append(frame)
        if not good:
            self._check_rest()
        return b"".join(good)

    def _check_rest(self) -> None:
        if len(self._rest) > self._limit:
            raise too_large(self._limit)


def _after_blank(data: bytes) -> int:
    """The place after the last blank line, -1 if there is none.

    A line may end in LF, CR LF or CR. CR CR is a blank line at once, since a stream that ends its
    lines so may pause there; after a LF, CR waits to see whether it is half of a CR LF.
    """
    if _CR not in data:
        at = data.rfind(b"\n\n")
        return at + 2 if at >= 0 else -1
    stop = len(data) - data.endswith(b"\n\r")
    at = max(
        data.rfind(b"\n\n", 0, stop), data.rfind(b"\n\r", 0, stop), data.rfind(b"\r\r", 0, stop)
    )
    if at < 0:
        return -1
    return at + 3 if data[at : at + 3] == b"\n\r\n" else at + 2


def _split(whole: bytes) -> list[bytes]:
    """Whole frames one by one. The LF of CR CR LF is left out: a cut there has no place for it."""
    frames: list[bytes] = []
    lines: list[bytes] = []
    for line in whole.splitlines(keepends=True):
        lines.append(line)
        if line[0] not in _EOL:
            continue
        if len(lines) > 1:
            frame = b"".join(lines)
            frames.append(frame[:-1] if frame.endswith(b"\r\r\n") else frame)
        lines = []
    return frames


def _read_plain(whole: bytes) -> tuple[list[Record], int] | None:
    """The fast road: every frame is one `data: ` line and nothing else. None if that is not so."""
    if whole[:6] != b"data: " or _CR in whole:
        return None
    lines = whole.split(b"\n")
    if any(lines[1::2]):
        return None
    bodies = lines[:-1:2]
    records = [Record("", line[6:]) for line in bodies if line[:6] == b"data: "]
    return (records, len(records)) if len(records) == len(bodies) else None


def _read_any(whole: bytes) -> tuple[list[Record], int]:
    records: list[Record] = []
    frames = lines = 0
    event, body = b"", []
    for line in whole.splitlines():
        if line:
            lines += 1
            name, _, value = line.partition(b":")
            if name == b"data":
                body.append(value.removeprefix(b" "))
            elif name == b"event":
                event = value.removeprefix(b" ")
            continue
        frames += lines > 0
        if body:
            records.append(Record(event.decode("utf-8", "replace"), b"\n".join(body)))
        lines, event, body = 0, b"", []
    return records, frames
