"""Watches a chat answer that is passed through: whole lines in, whole lines out.

What goes on is what came, byte for byte, with these exceptions: blank lines go, since clients read
them as broken JSON; a byte order mark goes; the model is renamed if it was asked for; lone
surrogates become U+FFFD; after the `done` line nothing follows. A line that is no object ends the
answer with an error, and so does an error line, in its own words. Every line is decoded once.
"""

from __future__ import annotations

from typing import Any

from engine.dialects.frames import BOM, Observations, Tapping, decode, whole_answer
from engine.dialects.outcomes import classify_text, error_event, read_error
from engine.events import ErrorEvent
from engine.wire import dumps

from .decode import decode_whole, finish_of, read_usage
from .encode import stream_failure

Fields = dict[str, object]


class Tap(Tapping):
    """One answer. What it has shown stands in the attributes of Observations."""

    def __init__(self, include_usage: bool = True, **how: Any) -> None:
        super().__init__(include_usage, **how)
        self._called = False

    def feed(self, frames: list[bytes]) -> bytes:
        """What to send on of some lines, each with its line end."""
        return b"".join(self._line(line) for line in frames if not self._over)

    def _line(self, line: bytes) -> bytes:
        line = line.removeprefix(BOM)
        if not line.strip():
            return b""
        value, exact = decode(line)
        if not isinstance(value, dict):
            cls, words = classify_text(line) if value is None else ("retryable", "")
            return self._fail(
                ErrorEvent(cls, words or "the upstream sent a line that is no object")
            )
        found = read_error(value)
        if found is not None:
            return self._fail(error_event(found))
        self._look(value)
        if self._model is not None and "model" in value:
            value["model"], exact = self._model, False
        return line if exact else dumps(value) + b"\n"

    def _look(self, value: Fields) -> None:
        message = value.get("message")
        if isinstance(message, dict):
            self._called = self._called or bool(message.get("tool_calls"))
            says = ("content", "thinking", "tool_calls", "images")
            self.content = self.content or any(message.get(name) for name in says)
        if value.get("done") is True:
            self._over = self.done = True
            self.usage = read_usage(value)
            self.finish = finish_of(value, self._called)

    def failed(self, error: ErrorEvent, type: str) -> bytes:
        return stream_failure(error)


def check_whole(body: bytes) -> Observations:
    """What a whole answer says that is passed through."""
    return whole_answer(body, decode_whole, lambda value: bool(value["message"]))
