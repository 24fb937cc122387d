"""flatten_history: one prompt out of many messages, never too long, never without the newest."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.route.transforms import instantiate, load
from engine.transform import (
    OMIT,
    ChatRequest,
    Context,
    Media,
    Message,
    Refuse,
    Role,
    Template,
    Text,
    ToolResult,
)

PATH = Path(__file__).parents[2] / "transforms" / "flatten_history.py"
SHIPPED = load("flatten_history", PATH.read_bytes(), "transforms/flatten_history.py")
LABELS = {"user": "用户", "assistant": "模型", "system": "系统"}


def message(role: Role, *texts: str) -> Message:
    return Message(role, [Text(text) for text in texts])


SYSTEM = message("system", "be brief")
TALK = [message("user", "u1"), message("assistant", "a1"), message("user", "u2"),
        message("assistant", "a2"), message("user", "new")]  # fmt: skip


def make(**options: Any) -> Any:
    assert SHIPPED.options is not None
    return instantiate(SHIPPED, SHIPPED.options(**options), Context("route"))


def flat(messages: list[Message], **options: Any) -> str:
    """The prompt, after a check that the request holds nothing but one user message with it."""
    shaped = make(**options).shape(ChatRequest("openai_chat", "m", messages))
    assert [(m.role, len(m.parts)) for m in shaped.messages] == [("user", 1)]
    text: str = shaped.messages[0].text
    return text


def refused(messages: list[Message], **options: Any) -> tuple[str, str]:
    with pytest.raises(Refuse) as caught:
        flat(messages, **options)
    return caught.value.cls, caught.value.message


def written(text: str) -> Template:
    """A template that writes each message as `role=text;` and ends with `text`."""

    def render(env: Any) -> object:
        return "\n" + "".join(f"{m.role}={m.text};" for m in env["messages"]) + text + "\n"

    return Template("…", render).bind({"vars": {}})


def test_roles_and_labels_give_a_transcript() -> None:
    assert flat(TALK, labels=LABELS) == "用户: u1\n模型: a1\n用户: u2\n模型: a2\n用户: new"


def test_the_system_message_is_included() -> None:
    assert flat([SYSTEM, TALK[-1]], labels=LABELS) == "系统: be brief\n用户: new"


def test_labels_have_english_defaults() -> None:
    roles: list[Role] = ["developer", "user", "assistant", "tool"]
    talk = [message(role, role[0]) for role in roles]
    assert flat(talk) == "System: d\nUser: u\nAssistant: a\nTool: t"


def test_the_system_label_serves_the_developer_too() -> None:
    assert flat([message("developer", "d"), TALK[-1]], labels=LABELS) == "系统: d\n用户: new"


def test_an_empty_label_leaves_the_text_alone() -> None:
    assert flat(TALK[:3], labels={"user": ""}) == "u1\nAssistant: a1\nu2"


def test_content_lists_are_joined_and_messages_without_text_left_out() -> None:
    picture = Message("user", [Media("image", url="https://example.com/a.png")])
    talk = [picture, Message("tool", [ToolResult("c1", [Text("42")])]), message("user", "a", "b")]
    assert flat(talk) == "Tool: 42\nUser: ab"


def test_last_user_sends_the_newest_question_only() -> None:
    assert flat([SYSTEM, *TALK], style="last_user") == "new"
    assert flat(TALK[:4], style="last_user") == "u2"


def test_a_template_writes_the_prompt_and_is_stripped() -> None:
    prompt = flat(TALK[:2], style="template", template=written("assistant="))
    assert prompt == "user=u1;assistant=a1;assistant="


def test_a_conversation_without_text_is_refused() -> None:
    nothing = Template("{{ omit }}", lambda env: OMIT)
    assert refused(TALK, style="template", template=nothing)[0] == "invalid_request"
    assert refused([Message("user", [])])[0] == "invalid_request"


def test_the_oldest_pair_goes_first() -> None:
    whole = "User: u1\nAssistant: a1\nUser: u2\nAssistant: a2\nUser: new"
    assert flat(TALK, max_chars=len(whole)) == whole
    assert flat(TALK, max_chars=len(whole) - 1) == "User: u2\nAssistant: a2\nUser: new"


def test_the_system_text_goes_last_of_all() -> None:
    assert flat([SYSTEM, *TALK], max_chars=28) == "System: be brief\nUser: new"
    assert flat([SYSTEM, *TALK], max_chars=25) == "User: new"


def test_a_system_text_that_never_fits_costs_no_turns() -> None:
    long = message("system", "x" * 90)
    talk = [long, SYSTEM, *TALK]
    assert flat(talk, max_chars=60) == ("System: be brief\nUser: u2\nAssistant: a2\nUser: new")
    assert flat([long, *TALK], max_chars=60) == flat(TALK)


def test_a_system_text_after_the_question_is_not_the_newest_message() -> None:
    after = [*TALK, message("system", "be quick")]
    assert flat(after, require_last="user").endswith("User: new\nSystem: be quick")
    assert flat(after, max_chars=26) == "User: new\nSystem: be quick"
    assert flat(after, max_chars=25) == "User: new"
    assert refused(after, max_chars=8)[0] == "context_length"
    assert refused([*TALK[:4], message("system", "s")], require_last="user") == (
        "invalid_request", "the last message must have the role user",
    )  # fmt: skip


def test_of_system_texts_alone_the_last_one_stays() -> None:
    assert flat([SYSTEM, message("system", "new")], max_chars=11) == "System: new"


def test_a_newest_message_that_is_too_long_is_refused_as_context_length() -> None:
    cls, said = refused([SYSTEM, *TALK], max_chars=8)
    assert cls == "context_length"
    assert said == "the newest message is too long: the prompt would be 9 characters, 8 are allowed"


def test_cut_keeps_the_beginning_of_the_newest_message() -> None:
    assert flat([*TALK, message("user", "abcdef  ")], max_chars=9, too_long="cut") == "User: abc"
    prompt = flat(
        [message("user", "abcdef")],
        max_chars=14,
        too_long="cut",
        style="template",
        template=written("end"),
    )
    assert prompt == "user=abcde;end"


def test_cut_gives_up_when_even_no_text_would_be_too_long() -> None:
    assert refused(TALK, max_chars=6, too_long="cut")[0] == "context_length"
    always = Template("…", lambda env: "0123456789")
    long = [message("user", "x" * 50)]
    options: dict[str, Any] = {"style": "template", "template": always, "max_chars": 9}
    assert refused(long, too_long="cut", **options)[0] == "context_length"


def test_last_user_has_a_limit_too() -> None:
    assert refused(TALK, style="last_user", max_chars=2)[0] == "context_length"
    assert flat(TALK, style="last_user", max_chars=2, too_long="cut") == "ne"


def test_many_turns_are_fitted_in_few_renderings() -> None:
    count = 0

    def render(env: Any) -> object:
        nonlocal count
        count += 1
        return "".join(m.text for m in env["messages"])

    talk = [message("user", "x")] * 5001
    prompt = flat(talk, max_chars=100, style="template", template=Template("…", render))
    assert (len(prompt), count < 20) == (100, True)


@pytest.mark.parametrize(
    ("messages", "options"),
    [([], {}), (TALK[:4], {"require_last": "user"}), (TALK[1:2], {"style": "last_user"})],
)
def test_a_conversation_of_the_wrong_form_is_an_invalid_request(
    messages: list[Message], options: dict[str, Any]
) -> None:
    assert refused(messages, **options)[0] == "invalid_request"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"style": "template"}, "template"),
        ({"template": written("")}, "template"),
        ({"labels": {"asistant": "A"}}, "asistant"),
        ({"max_chars": 0}, "max_chars"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        make(**options)


def test_the_request_of_the_client_stays_as_it_was() -> None:
    request = ChatRequest("openai_chat", "m", [SYSTEM, *TALK], stream=True)
    shaped = make(max_chars=30).shape(request)
    assert request.messages == [SYSTEM, *TALK]
    assert (shaped.stream, shaped.model) == (True, "m")


@given(
    roles=st.lists(st.sampled_from(["system", "user", "assistant", "tool"]), max_size=12),
    limit=st.integers(1, 120),
    cut=st.booleans(),
)
def test_the_limit_holds_and_the_newest_message_is_there(
    roles: list[Role], limit: int, cut: bool
) -> None:
    talk = [message(role, f"text {i}") for i, role in enumerate([*roles, "user"])]
    newest = f"User: text {len(roles)}"
    if len(newest) > limit and not cut:
        assert refused(talk, max_chars=limit)[0] == "context_length"
    elif limit > len("User: "):
        prompt = flat(talk, max_chars=limit, too_long="cut")
        assert len(prompt) <= limit
        assert prompt.endswith(newest[:limit].rstrip())
