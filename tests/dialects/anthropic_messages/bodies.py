"""Hypothesis strategies for Messages request bodies in all their spellings."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.dialects.openai_chat.bodies import fields, json_values, names, texts, unknown

PNG = "iVBORw0KGgo="
words = texts.filter(lambda text: text != "" and text == text.strip())  # the API wants no blanks
marks: dict[str, st.SearchStrategy[Any]] = {
    "cache_control": st.sampled_from([{"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}])
}
text_blocks = fields({"type": st.just("text"), "text": words}, marks)
image_sources = st.one_of(
    fields({"type": st.just("base64"), "media_type": st.just("image/png"), "data": st.just(PNG)}),
    fields({"type": st.just("url"), "url": st.just("https://example.com/a.png")}),
    fields({"type": st.just("file"), "file_id": st.just("file_1")}),
    fields({"type": st.just("x_source")}),
)
document_sources = st.one_of(
    fields(
        {"type": st.just("base64"), "media_type": st.just("application/pdf"),
         "data": st.just("JVBERi0x")}
    ),
    fields({"type": st.just("url"), "url": st.just("https://example.com/a.pdf")}),
    fields({"type": st.just("text"), "media_type": st.just("text/plain"), "data": texts}),
    fields({"type": st.just("content"), "content": st.lists(text_blocks, max_size=2)}),
)  # fmt: skip
images = fields({"type": st.just("image"), "source": image_sources}, marks)
documents = fields(
    {"type": st.just("document"), "source": document_sources},
    {**marks, "title": words, "context": texts, "citations": st.just({"enabled": True})},
)
search_results = fields(
    {"type": st.just("search_result"), "source": words, "title": words,
     "content": st.lists(text_blocks, max_size=2)}
)  # fmt: skip
server_blocks = st.one_of(
    fields({"type": st.just("server_tool_use"), "id": names, "name": st.just("web_search"),
            "input": json_values}),
    fields({"type": st.just("web_search_tool_result"), "tool_use_id": names,
            "content": json_values}),
    fields({"type": st.just("x_block")}),
)  # fmt: skip
calls = fields(
    {"type": st.just("tool_use"), "id": names, "name": names,
     "input": st.dictionaries(names, json_values, max_size=2)},
    marks,
)  # fmt: skip
results = fields(
    {"type": st.just("tool_result"), "tool_use_id": names},
    {
        **marks,
        "is_error": st.booleans(),
        "content": words | st.lists(text_blocks | images | documents | search_results, max_size=2),
    },
)
thoughts = st.one_of(
    fields({"type": st.just("thinking"), "thinking": texts, "signature": words}),
    fields({"type": st.just("redacted_thinking"), "data": texts}),
)
user_blocks = st.lists(
    text_blocks | images | documents | results | search_results | server_blocks, max_size=3
)
assistant_blocks = st.lists(text_blocks | thoughts | calls | server_blocks, max_size=3)
users = fields({"role": st.just("user"), "content": words | user_blocks})
assistants = fields({"role": st.just("assistant"), "content": words | assistant_blocks})
systems = fields({"role": st.just("system"), "content": words | st.lists(text_blocks, max_size=2)})
tools = st.one_of(
    fields(
        {"name": names, "input_schema": st.just({"type": "object", "properties": {}})},
        {**marks, "type": st.just("custom"), "description": texts, "strict": st.booleans()},
    ),
    fields({"type": st.just("web_search_20260318"), "name": st.just("web_search")}),
)
choices = st.one_of(
    fields(
        {"type": st.sampled_from(["auto", "any", "none"])},
        {"disable_parallel_tool_use": st.booleans()},
    ),
    fields({"type": st.just("tool"), "name": names}),
    fields({"type": st.just("x_choice")}),
)
thinking = st.one_of(
    fields({"type": st.just("enabled"), "budget_tokens": st.integers(1024, 9999)}),
    fields({"type": st.sampled_from(["adaptive", "disabled", "between_tools", "x_thought"])}),
)
configs = fields(
    {},
    {
        "effort": st.sampled_from(["low", "high", "max"]),
        "format": fields({"type": st.sampled_from(["json_schema", "x_form"])},
                         {"schema": st.just({"type": "object"})}),
    },
).filter(bool)  # fmt: skip
bodies = fields(
    {
        "model": names,
        "max_tokens": st.integers(0, 10**6),
        "messages": st.builds(
            lambda first, more: [first, *more],
            users,
            st.lists(users | assistants | systems, max_size=3),
        ),
    },
    {
        "system": words | st.lists(text_blocks, min_size=1, max_size=2),
        "stream": st.just(True),
        "temperature": st.sampled_from([0, 0.5, 1]),
        "top_p": st.sampled_from([0.5, 1]),
        "top_k": st.integers(1, 40),
        "stop_sequences": st.lists(texts, min_size=1, max_size=2),
        "metadata": st.just({"user_id": "u"}),
        "thinking": thinking,
        "output_config": configs,
        "service_tier": st.just("auto"),
        "context_management": st.just({"edits": []}),
    },
)
tool_fields = st.fixed_dictionaries(
    {"tools": st.lists(tools, min_size=1, max_size=2)}, optional={"tool_choice": choices}
)
requests = st.builds(lambda one, two: one | two, bodies, st.just({}) | tool_fields)

__all__ = ["PNG", "json_values", "requests", "unknown"]
