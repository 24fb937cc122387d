"""Watches a chat answer that is passed through: whole lines in, whole lines out.

What goes on is what came, byte for byte, with these exceptions: blank lines go, since clients read
them as broken JSON; the model is renamed if it was asked for; lone surrogates become U+FFFD; after
the `done` line nothing follows. A line that is no object ends the answer with an error, and so does
an error line, in its own words. Every line is decoded once.
"""

from __future__ import annotations

from engine.dialects.frames import Observations, decode, whole_answer
from engine.dialects.outcomes import classify_text, error_event, read_error
from engine.events import ErrorEvent
from engine.wire import dumps

from .decode import decode_whole, finish_of, read_usage
from .encode import stream_failure

Fields = dict[str, object]


class Tap(Observations):
    """One answer. What it has shown stands in the attributes of Observations.

    include_usage    the client asked for usage: this API always tells it
    model            name that the answer shall bear, None to leave the upstream's
    finish_optional  the end of the stream alone makes an answer whole
    """

    def __init__(
        self,
        include_usage: bool = True,
        *,
        model: str | None = None,
        finish_optional: bool = False,
    ) -> None:
        super().__init__()
        self._model = model
        self._finish_optional = finish_optional
        self._called = False
        self._over = False

    def feed(self, frames: list[bytes]) -> bytes:
        """What to send on of some lines, each with its line end."""
        return b"".join(self._line(line) for line in frames if not self._over)

    def end(self) -> bytes:
        """The upstream's stream is over: nothing if it was done, or `error` is set."""
        if self._over or (self._finish_optional and self.content):
            return b""
        if self.content:
            error = ErrorEvent("truncated", "the upstream's answer ended before it was whole")
        else:
            error = ErrorEvent("empty_response", "the upstream's answer has no content")
        return self._fail(error)

    def _line(self, line: bytes) -> bytes:
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
            says = ("content", "thinking", "tool_calls")
            self.content = self.content or any(message.get(name) for name in says)
        if value.get("done") is True:
            self._over = self.done = True
            self.usage = read_usage(value)
            self.finish = finish_of(value, self._called)

    def _fail(self, error: ErrorEvent) -> bytes:
        self._over = True
        self.error = error
        self.failure = stream_failure(error)
        return b""


def check_whole(body: bytes) -> Observations:
    """What a whole answer says that is passed through."""
    return whole_answer(body, decode_whole, lambda value: bool(value["message"]))
