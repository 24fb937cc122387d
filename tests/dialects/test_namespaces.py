from __future__ import annotations

from typing import Any

import pytest

from .crossing import sent

R = "openai_responses"


def space(words: str | None, *tools: dict[str, Any], **more: Any) -> dict[str, Any]:
    told = {} if words is None else {"description": words}
    return {"type": "namespace", "name": "crm", "tools": [*tools], **told, **more}


def tool(name: str, about: str | None = None) -> dict[str, Any]:
    schema = {"type": "object", "properties": {}}
    return {"type": "function", "name": name, "parameters": schema} | (
        {} if about is None else {"description": about}
    )


def asked(*spaces: dict[str, Any], target: str = "openai_chat") -> tuple[list[str], list[str]]:
    """What is said of each tool, and what is named."""
    held: list[Any] = []
    body = sent(R, {"tools": [*spaces]}, target, request=held)
    inner = [each.get("function", each) for each in body["tools"]]
    return [each.get("description", "") for each in inner], held[0].dropped


@pytest.mark.parametrize("target", ["openai_chat", "anthropic_messages", "ollama"])
def test_the_first_tool_of_a_namespace_tells_of_it(target: str) -> None:
    told, named = asked(space("Customers.", tool("find", "Finds."), tool("add")), target=target)
    assert (["All tools of `crm`: Customers.\n\nFinds.", ""], []) == (told, named)


def test_what_would_be_too_long_is_named() -> None:
    told, named = asked(space("x" * 1024, tool("find", "Finds.")))
    assert (["Finds."], ["namespace.description"]) == (told, named)


def test_what_else_is_said_of_a_namespace_is_named() -> None:
    assert ([""], ["namespace.x_new"]) == asked(space(None, tool("find"), x_new=1))


def test_the_api_itself_gets_it_as_it_came() -> None:
    given = space("Customers.", tool("find", "Finds."))
    assert [given] == sent(R, {"tools": [given]}, R)["tools"]
