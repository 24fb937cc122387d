"""system_prompt: add to the system text, replace it, or let another role carry it."""

from pathlib import Path
from typing import Any

import pytest

from engine.route.transforms import instantiate, load
from engine.transform import OMIT, ChatRequest, Context, Media, Message, Role, Template, Text

PATH = Path(__file__).parents[2] / "transforms" / "system_prompt.py"
SHIPPED = load("system_prompt", PATH.read_bytes(), "transforms/system_prompt.py")


def say(role: Role, *texts: str) -> Message:
    return Message(role, [Text(text) for text in texts])


def says(value: object) -> Template:
    return Template("{{ … }}", lambda env: value).bind({})


HI: tuple[Role, str] = ("user", "hi")
U, S, D = say(*HI), say("system", "own"), say("developer", "dev")


def shaped(messages: list[Message], **options: Any) -> list[tuple[str, str]]:
    assert SHIPPED.options is not None
    transform = instantiate(SHIPPED, SHIPPED.options(**options), Context("route"))
    request: ChatRequest = transform.shape(ChatRequest("openai_chat", "m", list(messages)))
    return [(message.role, message.text) for message in request.messages]


@pytest.mark.rows("FL-20")
@pytest.mark.parametrize(
    ("messages", "options", "expected"),
    [
        ([S, U], {"prepend": says("A")}, [("system", "A\n\nown"), HI]),
        ([S, U], {"append": says("Z\n")}, [("system", "own\n\nZ"), HI]),
        ([S, U], {"prepend": says("A"), "append": says("Z")}, [("system", "A\n\nown\n\nZ"), HI]),
        ([U], {"prepend": says("A"), "append": says("Z")}, [("system", "A\n\nZ"), HI]),
        ([U, S, D], {"append": says("Z")},
         [HI, ("system", "own\n\nZ"), ("developer", "dev")]),
        ([D, U], {"append": says("Z")}, [("developer", "dev\n\nZ"), HI]),
        ([say("system", ""), U], {"append": says("Z")}, [("system", "Z"), HI]),
        ([S, U, D], {"replace": says("R")}, [("system", "R"), HI]),
        ([S, U], {"replace": says("R"), "append": says("Z")}, [("system", "R\n\nZ"), HI]),
        ([S, U], {"append": says(7)}, [("system", "own\n\n7"), HI]),
        ([S, D, U], {"role": "developer"}, [("developer", "own"), ("developer", "dev"), HI]),
        ([D, U], {"role": "system", "append": says("Z")}, [("system", "dev\n\nZ"), HI]),
        ([S, U, D], {"role": "user"}, [("user", "own\n\ndev\n\nhi")]),
        ([S, Message("user", [])], {"role": "user"}, [("user", "own")]),
        ([S, say("assistant", "a")], {"role": "user"}, [("user", "own"), ("assistant", "a")]),
        ([say("system", ""), U], {"role": "user"}, [HI]),
        ([U], {"role": "user", "prepend": says("A")}, [("user", "A\n\nhi")]),
    ],
)  # fmt: skip
def test_the_system_text_goes_where_the_options_say(
    messages: list[Message], options: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert shaped(messages, **options) == expected


@pytest.mark.parametrize("nothing", [OMIT, "", None, " \n"])
def test_a_template_that_says_nothing_changes_nothing(nothing: object) -> None:
    options = {"prepend": says(nothing), "append": says(nothing), "replace": says(nothing)}
    assert shaped([S, U, D], **options) == [("system", "own"), HI, ("developer", "dev")]


def test_other_parts_and_their_extras_stay() -> None:
    picture = Media("image", url="https://example.com/a.png")
    own = Message("system", [Text("own", extras={"cache_control": {"type": "ephemeral"}})])
    request = ChatRequest("openai_chat", "m", [own, Message("user", [picture])])
    assert SHIPPED.options is not None
    options = SHIPPED.options(append=says("Z"), role="user")
    sent = instantiate(SHIPPED, options, Context("route")).shape(request)
    assert [part for part in sent.messages[0].parts if part is picture] == [picture]
    appended = instantiate(SHIPPED, SHIPPED.options(append=says("Z")), Context("route")).shape(
        request
    )
    assert appended.messages[0].parts[0] is own.parts[0]


def test_the_request_of_the_client_stays_as_it_was() -> None:
    request = ChatRequest("openai_chat", "m", [S, U])
    assert SHIPPED.options is not None
    for options in ({"append": says("Z")}, {"replace": says("R")}, {"role": "user"}):
        instantiate(SHIPPED, SHIPPED.options(**options), Context("route")).shape(request)
    assert [(m.role, m.text, len(m.parts)) for m in request.messages] == [
        ("system", "own", 1),
        ("user", "hi", 1),
    ]


def test_a_list_item_without_any_option_is_refused() -> None:
    with pytest.raises(ValueError, match="prepend"):
        shaped([U])
