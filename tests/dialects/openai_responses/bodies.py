"""Request bodies of every kind that Responses clients send."""

from __future__ import annotations

from typing import Any

SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}}
FUNCTION = {"type": "function", "name": "read", "description": "reads", "strict": False,
            "parameters": SCHEMA}  # fmt: skip
PATCH = {"type": "custom", "name": "patch", "description": "p",
         "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"}}  # fmt: skip
SPACE = {"type": "namespace", "name": "agents", "description": "d", "tools": [
    {"type": "function", "name": "spawn", "strict": False, "parameters": {}},
    {"type": "function", "name": "wait", "strict": False, "parameters": {}}]}  # fmt: skip
SEARCH = {"type": "web_search", "external_web_access": True}


def said(role: str, *content: Any, **more: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": [*content], **more}


def text(words: str) -> dict[str, Any]:
    return {"type": "input_text", "text": words}


def call(ident: str, name: str = "read", **more: Any) -> dict[str, Any]:
    args = {"arguments": '{"path": "a"}'}
    return {"type": "function_call", "call_id": ident, "name": name, **args, **more}


def result(ident: str, output: Any = "done", **more: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": ident, "output": output, **more}


ANSWER = {"type": "message", "role": "assistant", "phase": "commentary", "status": "completed",
          "content": [{"type": "output_text", "text": "I look.", "annotations": []},
                      {"type": "refusal", "refusal": "no"}]}  # fmt: skip
THOUGHT = {"type": "reasoning", "id": "rs_1", "encrypted_content": "secret",
           "summary": [{"type": "summary_text", "text": "hm"}]}  # fmt: skip
PATCHED = {"type": "custom_tool_call", "call_id": "c9", "name": "patch", "input": "*** x"}
# The second request of a Codex turn, in small.
CODEX: dict[str, Any] = {
    "model": "m", "stream": True, "store": False, "tool_choice": "auto",
    "parallel_tool_calls": True, "reasoning": {"summary": "auto"},
    "include": ["reasoning.encrypted_content"], "prompt_cache_key": "k",
    "client_metadata": {"a": "b"},
    "tools": [FUNCTION, PATCH, SPACE, SEARCH],
    "input": [
        said("developer", text("rules"), id="msg_1"),
        said("developer", text("more rules")),
        said("user", text("<env/>")),
        said("user", text("do it")),
        THOUGHT, ANSWER, call("c1", id="fc_1", status="completed"),
        call("c2", "spawn", namespace="agents"), PATCHED,
        result("c1"), result("c2", [text("a"), {"type": "input_image", "detail": "low",
                                                "image_url": "data:image/png;base64,AAAA"}]),
        {"type": "custom_tool_call_output", "call_id": "c9", "output": "patched"},
    ],
}  # fmt: skip
