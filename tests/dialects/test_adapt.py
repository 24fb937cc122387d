"""What a profile makes of a request, whatever its dialect."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.chat import (
    ChatRequest,
    Extras,
    Media,
    Message,
    Output,
    Part,
    Reasoning,
    Role,
    Sampling,
    Text,
    Think,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from engine.dialects.adapt import adapt, counted, thinks
from engine.dialects.losses import Lost
from engine.dialects.profile import PROFILE, FixedSampling, ImageProfile, Profile, ToolProfile
from engine.errors import RequestError
from engine.events import Usage

TOOL = Tool("look", strict=True)


def say(role: Role, *parts: str | Part) -> Message:
    return Message(role, [Text(part) if isinstance(part, str) else part for part in parts])


def request(*messages: Message, **fields: Any) -> ChatRequest:
    return ChatRequest("other", "m", list(messages) or [say("user", "hi")], **fields)


def test_an_empty_profile_changes_nothing() -> None:
    asked = request(sampling=Sampling(temperature=1.5), out=Output(max_tokens=1))
    assert adapt(asked, PROFILE) is asked
    assert adapt(asked, Profile()) is asked


def test_what_is_given_stays_as_it_was() -> None:
    asked = request(sampling=Sampling(temperature=1.5))
    adapt(asked, Profile(sampling_refused=["temperature"]))
    assert 1.5 == asked.sampling.temperature


# ---- dials ----


def test_refused_dials_are_left_out_and_named() -> None:
    asked = request(sampling=Sampling(temperature=1, presence=0.5, seed=3))
    found = adapt(asked, Profile(sampling_refused=["temperature", "presence_penalty", "top_p"]))
    assert Sampling(seed=3) == found.sampling
    assert ["temperature", "presence_penalty"] == found.dropped
    assert ["profile", "profile"] == [name.why for name in found.dropped if isinstance(name, Lost)]


def test_a_fixed_dial_is_sent_whatever_the_client_says() -> None:
    profile = Profile(sampling_fixed=FixedSampling(temperature=1))
    for given, named in ((None, []), (1, []), (0.3, ["temperature"])):
        found = adapt(request(sampling=Sampling(temperature=given)), profile)
        assert (1, named) == (found.sampling.temperature, found.dropped)


@pytest.mark.parametrize(
    ("think", "extras", "thinking"),
    [
        (Think(), {}, False),
        (Think(mode="off"), {}, False),
        (Think(effort="none"), {}, False),
        (Think(effort="low"), {}, True),
        (Think(mode="adaptive"), {}, True),
        (Think(budget=2000), {}, True),
        (Think(), {"thinking": {"type": "enabled"}}, True),
        (Think(), {"thinking": {"type": "disabled"}}, False),
        (Think(), {"thinking": "yes"}, False),
    ],
)
def test_thinking_is_known_in_whatever_words_and_has_its_own_limits(
    think: Think, extras: dict[str, object], thinking: bool
) -> None:
    asked = request(think=think, extras=extras, out=Output(max_tokens=100))
    assert thinking == thinks(asked)
    profile = Profile(
        thinking_min_output=16000, thinking_sampling=FixedSampling(temperature=1.0, top_p=0.95)
    )
    found = adapt(asked, profile)
    wanted = (16000, 1.0, 0.95) if thinking else (100, None, None)
    assert wanted == (found.out.max_tokens, found.sampling.temperature, found.sampling.top_p)


@pytest.mark.parametrize(
    ("profile", "given", "told"),
    [
        (Profile(min_output=16), 5, 16),
        (Profile(min_output=16), 0, 0),  # asks for the cache to be filled, not for an answer
        (Profile(min_output=16), None, None),
        (Profile(max_output=100), 500, 100),
        (Profile(default_output=4096), None, 4096),
        (Profile(default_output=4096, max_output=1000), None, 1000),
        (Profile(default_output=4096), 7, 7),
    ],
)
def test_limits_of_an_answer(profile: Profile, given: int | None, told: int | None) -> None:
    assert told == adapt(request(out=Output(max_tokens=given)), profile).out.max_tokens


def test_stop_sequences_beyond_the_most_are_named() -> None:
    found = adapt(request(out=Output(stop=["a", "b", "c"])), Profile(stop_max=2))
    assert (["a", "b"], ["stop"]) == (found.out.stop, found.dropped)


def test_efforts_go_by_the_words_of_the_model() -> None:
    profile = Profile(efforts={"minimal": "low", "*": "high"})
    told = [adapt(request(think=Think(effort=word)), profile).think.effort
            for word in ("minimal", "xhigh", None)]  # fmt: skip
    assert ["low", "high", None] == told


def test_a_model_that_always_thinks_is_not_told_to_stop() -> None:
    found = adapt(request(think=Think(mode="off", effort="none")), Profile(thinking_off="drop"))
    assert (Think(), ["thinking"]) == (found.think, found.dropped)


# ---- tools ----


def test_tools_as_the_profile_takes_them() -> None:
    asked = request(tools=[TOOL], parallel=False, tool_choice=ToolChoice("required"))
    takes = ToolProfile(strict=False, parallel=False, choice=["auto", "none"])
    found = adapt(asked, Profile(tools=takes))
    assert [replace(TOOL, strict=None)] == found.tools
    assert (None, ToolChoice("auto")) == (found.parallel, found.tool_choice)
    assert ["parallel_tool_calls", "tool_choice"] == found.dropped


def test_where_none_is_no_choice_there_are_no_tools() -> None:
    asked = request(tools=[TOOL], tool_choice=ToolChoice("none"))
    found = adapt(asked, Profile(tools=ToolProfile(choice=["auto"])))
    assert ([], None) == (found.tools, found.tool_choice)


# ---- turns ----


def test_a_prefill_that_nobody_goes_on_with_is_refused() -> None:
    profile, last = Profile(prefill="refuse"), say("assistant", "Once")
    with pytest.raises(RequestError) as caught:
        adapt(request(say("user", "tell"), last), profile)
    assert ("messages", last) == (caught.value.param, caught.value.about)
    called = request(say("user", "x"), say("assistant", ToolCall("1", "look", "{}")))
    assert called == adapt(called, profile)


def test_neighbours_are_joined_where_turns_must_alternate() -> None:
    picture = Media("image", url="https://a.example/x.png")
    asked = request(say("user", "a"), say("user", "b", picture), say("user", "c"))
    found = adapt(asked, Profile(alternate=True))
    assert [say("user", "a\n\nb", picture, "c")] == found.messages


def test_thinking_stays_with_its_turn() -> None:
    turns = [say("assistant", "a"), say("assistant", Reasoning("hm"), "b")]
    found = adapt(request(say("user", "x"), *turns), Profile(alternate=True))
    assert turns == found.messages[1:]
    found = adapt(request(say("user", "x"), *reversed(turns)), Profile(alternate=True))
    assert [say("assistant", Reasoning("hm"), "b\n\na")] == found.messages[1:]


def test_leading_system_messages_become_one() -> None:
    asked = request(say("system", "a"), say("developer", "b"), say("user", "x"), say("system", "c"))
    found = adapt(asked, Profile(single_system=True))
    assert [say("system", "a\n\nb"), *asked.messages[2:]] == found.messages


# ---- images ----

URL = Media("image", url="https://a.example/x.png")
DATA = Media("image", mime="image/png", data="iVBORw0KGgo=")


@pytest.mark.parametrize(("takes", "part"), [(ImageProfile(url=False), URL),
                                             (ImageProfile(base64=False), DATA)])  # fmt: skip
def test_images_that_cannot_be_sent_are_refused(takes: ImageProfile, part: Media) -> None:
    for held in (part, ToolResult("1", [part])):
        with pytest.raises(RequestError) as caught:
            adapt(request(say("user", held)), Profile(images=takes))
        assert part is caught.value.about
    adapt(request(say("user", DATA if part is URL else URL)), Profile(images=takes))


def test_pictures_of_results_follow_them() -> None:
    results = say("tool", ToolResult("1", [Text("seen"), DATA]), ToolResult("2", [Text("no")]))
    found = adapt(request(results), Profile(images=ImageProfile(in_tool_result=False)))
    told = ToolResult("1", [Text("seen"), Text("[image attached]")])
    assert [say("user", told, ToolResult("2", [Text("no")]), DATA)] == found.messages


def test_one_answer_at_a_time() -> None:
    with pytest.raises(RequestError) as caught:
        adapt(request(out=Output(n=2)), PROFILE)
    assert "n" == caught.value.param


# ---- answers ----


def test_input_that_counts_cached_tokens_already_is_not_counted_twice() -> None:
    usage = Usage(input=130, cache_read=20, cache_write=10)
    inclusive = Profile(usage_input="inclusive")
    assert usage is counted(usage, PROFILE)
    found = counted(usage, inclusive)
    assert found is not None
    assert 100 == found.input
    assert counted(None, inclusive) is None


MARK: Extras = {"cache_control": {"type": "ephemeral"}}


def test_what_is_lost_where_messages_are_joined_is_named() -> None:
    picture = Media("image", url="https://a.example/x.png")
    asked = request(
        Message("system", [Text("a", extras={**MARK}), picture], dialect="openai_chat"),
        Message("system", [Text("b")], dialect="openai_chat"),
        Message("user", [Text("c")], extras={"x_one": 1}, dialect="openai_chat"),
        Message("user", [Text("d")], extras={"x_two": 1}, dialect="openai_chat"),
    )
    adapt(asked, Profile(single_system=True, alternate=True))
    assert ["text.cache_control", "image", "messages.x_two"] == asked.dropped


def test_marks_of_the_dialect_whose_they_are_are_hints_there_too() -> None:
    asked = request(
        Message("system", [Text("a", extras={**MARK})], dialect="anthropic_messages"),
        Message("system", [Text("b")], dialect="anthropic_messages"), say("user", "c"),
    )  # fmt: skip
    adapt(asked, Profile(single_system=True))
    assert [] == asked.dropped
