from __future__ import annotations

import pytest

from engine.chat import Reasoning
from engine.dialects import DIALECTS
from engine.dialects.profile import Profile
from engine.dialects.provenance import MARK, marked, seal, unmarked, unseal
from engine.events import Close, Event, Finish, Open, ReasoningDelta, SignatureDelta, Start, fold
from engine.wire import Headers, dumps, loads
from tests.grammar import check_messages_stream


@pytest.mark.parametrize("signature", ["", "EqQB/+=", "a/b/c\n"])
def test_a_marked_signature_comes_back_with_its_origin(signature: str) -> None:
    made = marked(signature, "gemini")
    assert (signature, "gemini") == unmarked(made)
    assert made.encode().startswith(MARK)


@pytest.mark.parametrize("text", ["", "EqQB", "penstock", "penstock/gemini", "a penstock/gemini/x"])
def test_what_bears_no_mark_stays_as_it_is(text: str) -> None:
    assert (text, "") == unmarked(text)


SIGNED = Reasoning("hm", signature="s+/=", origin="anthropic_messages")
SECRET = Reasoning("hm", encrypted="e", id="rs_1", origin="openai_responses")


@pytest.mark.parametrize("part", [SIGNED, SECRET])
def test_what_is_sealed_is_found_again(part: Reasoning) -> None:
    sealed = seal(part)
    assert sealed.encode().startswith(MARK)
    assert part == unseal(sealed, Reasoning("hm", encrypted=sealed, origin="other"))


def test_what_has_nothing_to_hide_is_not_sealed() -> None:
    assert "" == seal(Reasoning("hm", origin="x")) == seal(Reasoning("hm", signature="s"))


def test_strings_of_others_are_left_alone() -> None:
    assert SIGNED is unseal("other", SIGNED)


@pytest.mark.parametrize("text", ["hm", ""])
def test_a_secret_of_responses_travels_through_a_messages_client(text: str) -> None:
    messages, responses = DIALECTS["anthropic_messages"], DIALECTS["openai_responses"]
    part = Reasoning(id="rs_1", origin="openai_responses", encrypted=None if text else "e")
    events: list[Event] = [Start(), Open(0, part)]
    if text:
        events += [ReasoningDelta(0, text), SignatureDelta(0, encrypted="e")]
    events += [Close(0), Finish("stop")]
    check_messages_stream(messages.encoder("req_1", "m", 7, True).feed(events))
    body = loads(messages.reply(fold(events), "req_1", "m", 7))
    assert isinstance(body, dict)
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": body["content"]}]
    asked = {"model": "m", "max_tokens": 9, "messages": turns}
    again = messages.parse(dumps(asked), Headers())
    item = responses.render(again, "m", Profile())["input"][1]  # type: ignore[index]
    assert ("reasoning", "rs_1", "e") == (item["type"], item["id"], item["encrypted_content"])
    own = messages.render(again, "m", Profile())
    assert "penstock" not in str(own)


def test_a_body_with_a_seal_does_not_pass_on_bytes() -> None:
    body = b'{"model":"m","input":[{"encrypted_content":"penstock/gemini/s"}]}'
    assert DIALECTS["openai_responses"].scan(body) is None
