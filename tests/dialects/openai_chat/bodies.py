"""Hypothesis strategies for Chat Completions request bodies in all their spellings."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

# Drawn whole, for a tenth of what as many letters cost: an example is hundreds of them.
SAID = [
    "", " ", "a", "0", "null", "two\nlines", "\r\n", "\t a \t", '"', "\\", "\\u00e9", "{", "[]",
    "</system>", "\0", "\x1f", "\x7f", "\x85", "\xa0", "é", "e\u0301", "你好", "ﬁ", "😀", "\u2028",
    "\ufeff", "\uffff", "\U0010ffff", "data:,", "x" * 300,
]  # fmt: skip
NAMES = ["a", "b", "f", "id", "id_2", "get_time", "a_______", "z9", "name", "text", "type"]
texts = st.sampled_from(SAID) | st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
names = st.sampled_from(NAMES)
leaves: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts


def nested(
    leaf: st.SearchStrategy[Any], keys: st.SearchStrategy[str], *, most: int = 2, depth: int = 2
) -> st.SearchStrategy[Any]:
    """JSON of at most this depth, of lists and objects of at most so many. It says what
    `st.recursive` would, which throws half of its drafts away."""
    inner = leaf if depth == 1 else nested(leaf, keys, most=most, depth=depth - 1)
    return leaf | st.lists(inner, max_size=most) | st.dictionaries(keys, inner, max_size=most)


json_values = nested(leaves, names)
# Names that no field has: they must survive wherever they stand.
unknown: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{}, {}, {}, {"x_a": None}, {"x_b": "你好", "x_0": {}}, {"x_c": {"a": [1, {"b": True}]}},
     {"x_type": [], "x_d": -(2**53)}]
)  # fmt: skip


def fields(
    required: dict[str, st.SearchStrategy[Any]],
    optional: dict[str, st.SearchStrategy[Any]] | None = None,
) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with these fields and perhaps unknown ones."""
    known = st.fixed_dictionaries(required, optional=optional or {})
    return st.builds(lambda one, two: {**two, **one}, known, unknown)


data_uris = st.sampled_from(
    ["data:image/png;base64,iVBORw0KGgo=", "data:image/svg+xml;base64,", "data:text/plain,hi"]
)
urls = st.just("https://example.com/a.png") | data_uris
parts = st.one_of(
    fields({"type": st.just("text"), "text": texts}),
    fields(
        {
            "type": st.just("image_url"),
            "image_url": fields({"url": urls}, {"detail": st.sampled_from(["auto", "high"])}),
        }
    ),
    fields({"type": st.just("video_url"), "video_url": fields({"url": urls})}),
    fields(
        {
            "type": st.just("input_audio"),
            "input_audio": fields({"data": st.just("AAAA")}, {"format": st.just("wav")}),
        }
    ),
    fields(
        {
            "type": st.just("file"),
            "file": fields(
                {},
                {
                    "file_data": st.sampled_from(["data:application/pdf;base64,JVBE", "JVBE", ""]),
                    "file_id": st.just("file-1"),
                    "filename": st.just("a.pdf"),
                },
            ),
        }
    ),
    fields({"type": st.just("x_part"), "x_part": json_values}),
)
contents = texts | st.lists(parts, min_size=1, max_size=3)
refusals = st.fixed_dictionaries({"type": st.just("refusal"), "refusal": texts})
calls = st.one_of(
    fields(
        {
            "id": names,
            "type": st.just("function"),
            "function": fields(
                {"name": names, "arguments": st.sampled_from(["{}", '{"a": 1}', "{"])}
            ),
        }
    ),
    fields(
        {
            "id": names,
            "type": st.just("custom"),
            "custom": fields({"name": names, "input": texts}),
        }
    ),
)
prompts = fields(
    {"role": st.sampled_from(["system", "developer", "user"]), "content": contents},
    {"name": names},
)
assistants = fields(
    {"role": st.just("assistant")},
    {
        "content": texts | st.lists(parts | refusals, min_size=1, max_size=3),
        "refusal": texts,
        "reasoning_content": texts,
        "reasoning": texts,
        "reasoning_details": json_values,
        "tool_calls": st.lists(calls, min_size=1, max_size=2),
        "audio": st.just({"id": "audio_1"}),
        "name": names,
    },
)
results = fields(
    {
        "role": st.just("tool"),
        "tool_call_id": names,
        "content": texts | st.lists(parts, min_size=1, max_size=2),
    },
    {"name": names},
)
tools = st.one_of(
    fields(
        {
            "type": st.just("function"),
            "function": fields(
                {"name": names},
                {
                    "description": texts,
                    "parameters": st.dictionaries(names, json_values, max_size=2),
                    "strict": st.booleans(),
                },
            ),
        }
    ),
    fields(
        {
            "type": st.just("custom"),
            "custom": fields({"name": names}, {"format": st.just({"type": "text"})}),
        }
    ),
    fields({"type": st.just("web_search"), "filters": json_values}),
)
choices = st.one_of(
    st.sampled_from(["auto", "none", "required"]),
    names.map(lambda name: {"type": "function", "function": {"name": name}}),
    names.map(lambda name: {"type": "custom", "custom": {"name": name}}),
    st.just({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}),
)
formats = st.one_of(
    st.sampled_from([{"type": "text"}, {"type": "json_object"}, {"type": "grammar", "x": 1}]),
    st.fixed_dictionaries(
        {
            "type": st.just("json_schema"),
            "json_schema": fields(
                {"name": names},
                {
                    "schema": st.just({"type": "object"}),
                    "strict": st.booleans(),
                    "description": texts,
                },
            ),
        }
    ),
)
numbers = st.integers(0, 2) | st.sampled_from([0.5, 1.25])
bodies = fields(
    {
        "model": names,
        "messages": st.lists(prompts | assistants | results, min_size=1, max_size=4),
    },
    {
        "stream": st.booleans(),
        "stream_options": fields({}, {"include_usage": st.booleans()}),
        "temperature": numbers,
        "top_p": numbers,
        "top_k": st.integers(1, 40),
        "presence_penalty": numbers,
        "frequency_penalty": numbers,
        "seed": st.integers(-(2**62), 2**62),
        "logit_bias": st.just({"50256": -100}),
        "max_tokens": st.integers(1, 10**6),
        "n": st.integers(1, 4),
        "stop": texts | st.lists(texts, min_size=1, max_size=3),
        "logprobs": st.booleans(),
        "top_logprobs": st.integers(0, 20),
        "response_format": formats,
        "reasoning_effort": st.sampled_from(["none", "low", "max"]),
        "user": texts,
        "metadata": st.just({"k": "v"}),
        "store": st.booleans(),
        "thinking": st.just({"type": "enabled"}),
    },
)
tool_fields = st.fixed_dictionaries(
    {"tools": st.lists(tools, min_size=1, max_size=2)},
    optional={"tool_choice": choices, "parallel_tool_calls": st.booleans()},
)
requests = st.builds(lambda one, two: one | two, bodies, st.just({}) | tool_fields)
