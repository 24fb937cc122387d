"""Hypothesis strategies for Ollama chat request bodies in all their spellings."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.dialects.openai_chat.bodies import fields, json_values, names, texts

PNG = "iVBORw0KGgo="
JPEG = "/9j/4AAQSkZJRg=="
said = {"content": texts, "images": st.lists(st.sampled_from([PNG, JPEG]), max_size=2)}
calls = fields(
    {
        "function": fields(
            {"name": names}, {"arguments": st.dictionaries(names, json_values, max_size=2)}
        )
    },
    {"id": names},
)
messages: st.SearchStrategy[Any] = st.one_of(
    fields({"role": st.just("system")}, said),
    fields({"role": st.just("user")}, said),
    fields(
        {"role": st.just("assistant")},
        {**said, "thinking": texts, "tool_calls": st.lists(calls, min_size=1, max_size=2)},
    ),
    fields({"role": st.just("tool"), "content": texts}, {"tool_name": names}),
)
tools = fields(
    {
        "type": st.just("function"),
        "function": fields(
            {"name": names},
            {"description": texts, "parameters": st.just({"type": "object", "properties": {}})},
        ),
    }
)
options = fields(
    {},
    {
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0, 1),
        "top_k": st.integers(1, 99),
        "seed": st.integers(0, 9),
        "num_predict": st.integers(-2, 99),
        "stop": st.lists(texts, max_size=2),
        "presence_penalty": st.floats(-2, 2),
        "num_ctx": st.just(32768),
    },
)
bodies: st.SearchStrategy[dict[str, Any]] = fields(
    {"model": st.just("m"), "messages": st.lists(messages, min_size=1, max_size=4)},
    {
        "tools": st.lists(tools, max_size=2),
        "stream": st.booleans(),
        "options": options,
        "format": st.sampled_from(["", "json", {"type": "object"}]),
        "think": st.sampled_from([True, False, "low", "high"]),
        "keep_alive": st.sampled_from(["5m", 0, -1]),
        "logprobs": st.booleans(),
        "top_logprobs": st.integers(0, 5),
    },
)
