"""Speech of an answer: as it was to clients of the same API, its words to all others."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import pytest

from engine.chat import Media
from engine.dialects.openai_chat.sounds import AUDIO, Sound, audio, said
from engine.wire import dumps, loads
from tests.dialects.crossing import answered
from tests.kit import cuts

WAV = b64encode(b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(32)).decode()
WHOLE = {"id": "audio_1", "data": WAV, "expires_at": 1729234747, "transcript": "Hello, you."}
OTHERS = ("openai_responses", "anthropic_messages", "gemini", "ollama")


def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"data: " + dumps({**head, "choices": [choice]}) + b"\n\n"


def streamed() -> bytes:
    pieces: list[dict[str, Any]] = [
        {"id": "audio_1", "transcript": "Hello"},
        *({"id": "audio_1", "data": WAV[at : at + 8]} for at in range(0, len(WAV), 8)),
        {"id": "audio_1", "transcript": ", you."},
        {"id": "audio_1", "expires_at": 1729234747},
    ]
    chunks = [chunk({"role": "assistant", "content": None})]
    chunks += [chunk({"audio": piece}) for piece in pieces]
    return b"".join([*chunks, chunk({}, "stop"), b"data: [DONE]\n\n"])


def complete() -> bytes:
    message = {"role": "assistant", "content": None, "refusal": None, "audio": WHOLE}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    return dumps(
        {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    )


def test_a_whole_answer_keeps_its_speech() -> None:
    got = answered("openai_chat", complete(), "openai_chat", stream=False)
    body: Any = loads(got.data)
    message = body["choices"][0]["message"]
    assert (None, WHOLE) == (message["content"], message["audio"])


def test_a_stream_keeps_its_speech_wherever_it_is_cut() -> None:
    for pieces in cuts(streamed()):
        got = answered("openai_chat", pieces, "openai_chat")
        deltas = [choice["delta"] for frame in got.frames for choice in frame["choices"]]
        assert [WHOLE] == [delta["audio"] for delta in deltas if "audio" in delta]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("client", OTHERS)
def test_other_clients_get_the_words_and_a_note_or_the_sound(client: str, stream: bool) -> None:
    got = answered("openai_chat", streamed() if stream else complete(), client, stream=stream)
    assert got.reply.text.startswith("Hello, you.")
    if client == "gemini":
        (sound,) = [part for part in got.reply.parts if isinstance(part, Media)]
        assert ("audio/wav", WAV) == (sound.mime, sound.data)
    else:
        note = "\n[audio (audio/wav) of 48 bytes left out: this API's answers cannot hold it]"
        assert "Hello, you." + note == got.reply.text


def test_pieces_that_are_padded_each_are_joined_as_bytes() -> None:
    sound = Sound()
    for piece in (b"a", b"bc", b"defg"):
        sound.add({"data": b64encode(piece).decode()})
    media = sound.media()
    assert media is not None
    assert b"abcdefg" == b64decode(media.data or "")
    assert "audio/pcm" == media.mime


def test_pieces_that_are_no_base64_stay_as_they_are() -> None:
    sound = Sound()
    for piece in ("a", "é"):
        sound.add({"data": piece})
    media = sound.media()
    assert media is not None
    assert "aé" == media.data


NONE: list[object] = [None, [], "x", {}, {"data": 1}, {"data": "", "transcript": None}]


@pytest.mark.parametrize("found", NONE)
def test_what_is_no_speech_is_none(found: object) -> None:
    sound = Sound()
    sound.add(found)
    assert None is sound.media()


def test_it_is_given_once() -> None:
    sound = Sound()
    sound.add(WHOLE)
    part = sound.media()
    assert part is not None
    assert said(part)
    assert WHOLE == audio(part)
    assert None is sound.media()


def test_a_sound_of_another_api_is_none_of_its_own() -> None:
    assert not said(Media("audio", extras={}))
    assert said(Media("audio", extras={AUDIO: {}}))
