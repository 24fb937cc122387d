"""A language model of 300 KB with random weights, written on the spot as a GGUF file (version 3).

It has a vocabulary of bytes and a few words, one layer, and a chat template. What it says has no
meaning; but at temperature 0 it is the same each time, of letters and digits, and within a grammar:
so it calls the tool that it has to call.
"""

from __future__ import annotations

import random
import struct
from array import array
from collections.abc import Iterator
from pathlib import Path

WIDTH, INNER, HEADS, CONTEXT = 64, 128, 4, 32768
WORDS = ("▁the", "▁a", "▁cat", "▁dog", "▁sees", "▁and", "▁old", "▁runs", "e", "t", "o", "▁")
UNKNOWN, BEGIN, END = 0, 1, 2
STEADY, ENDS, NEVER = 3.0, 6.0, -90.0
ALIGNED = 32

# The form of Functionary 3.2 (llama.cpp knows it by `>>>${recipient}`): the first word says to whom
# the answer goes, to `all` or to a tool; so a model that must call a tool begins with its name. To
# whom it talks without tools, and after the result of one, is said here.
TEMPLATE = """\
{# >>>${recipient} #}
{%- for tool in tools or [] %}{{ tool | tojson }}
{% endfor %}
{%- for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>

{{ '>>>all\\n' if message.role == 'assistant' and message.content }}{{ message.content or '' }}
{%- for call in message.tool_calls or [] %}>>>{{ call.function.name }}
{{ call.function.arguments | tojson }}
{%- endfor %}<|eot_id|>
{%- endfor %}
{%- if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>

>>>{{ '' if tools and messages[-1].role != 'tool' else 'all\\n' }}{% endif %}"""


def write(path: Path) -> None:
    """Write the model: key and value pairs, what tensors there are, then the tensors."""
    pairs = list(_pairs())
    tensors = [(name, shape, data.tobytes()) for name, shape, data in _tensors()]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join(pairs)
    at = 0
    for name, shape, data in tensors:
        head += _string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, at)
        at += len(_padded(data))
    path.write_bytes(_padded(head) + b"".join(_padded(data) for _, _, data in tensors))


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % ALIGNED)


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _vocabulary() -> Iterator[tuple[str, float, int]]:
    """Each token, its score and its kind: 1 a word, 2 unknown, 3 control, 6 a byte."""
    yield from (("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3))
    yield from ((f"<0x{byte:02X}>", 0.0, 6) for byte in range(256))
    yield from ((word, -1.0 - at, 1) for at, word in enumerate(WORDS))


def _pairs() -> Iterator[bytes]:
    """Keys with a value each: strings, 32-bit integers, a float, and arrays of these."""
    texts = {
        "general.architecture": "llama",
        "general.name": "tiny",
        "tokenizer.ggml.model": "llama",
        "tokenizer.chat_template": TEMPLATE,
    }
    numbers = {
        "llama.context_length": CONTEXT,
        "llama.embedding_length": WIDTH,
        "llama.block_count": 1,
        "llama.feed_forward_length": INNER,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": HEADS,
        "llama.rope.dimension_count": WIDTH // HEADS,
        "tokenizer.ggml.unknown_token_id": UNKNOWN,
        "tokenizer.ggml.bos_token_id": BEGIN,
        "tokenizer.ggml.eos_token_id": END,
    }
    for key, text in texts.items():
        yield _string(key) + struct.pack("<I", 8) + _string(text)
    for key, number in numbers.items():
        yield _string(key) + struct.pack("<II", 4, number)
    yield _string("llama.attention.layer_norm_rms_epsilon") + struct.pack("<If", 6, 1e-5)
    tokens, scores, kinds = zip(*_vocabulary(), strict=True)
    named = b"".join(_string(token) for token in tokens)
    for key, kind, data in (
        ("tokens", 8, named),
        ("scores", 6, array("f", scores).tobytes()),
        ("token_type", 5, array("i", kinds).tobytes()),
    ):
        yield _string(f"tokenizer.ggml.{key}") + struct.pack("<IIQ", 9, kind, len(tokens)) + data


def _tensors() -> Iterator[tuple[str, tuple[int, ...], array[float]]]:
    """Name, shape (innermost first) and 32-bit floats of each.

    The first number of every token's embedding is the same and stays as it is, so that a row of the
    output that has nothing else gives its token a likelihood that never changes.
    """
    chance = random.Random(0)
    size = len(list(_vocabulary()))

    def some(rows: int, columns: int = WIDTH, first: float | None = None) -> array[float]:
        """A matrix. first: what stands in the first column instead."""
        made = array("f", (chance.gauss(0, 0.3) for _ in range(rows * columns)))
        if first is not None:
            made[::columns] = array("f", [first] * rows)
        return made

    def onto(columns: int) -> array[float]:
        """A matrix whose result leaves the first number alone."""
        made = some(WIDTH, columns)
        made[:columns] = array("f", [0.0] * columns)
        return made

    ones = array("f", [1.0] * WIDTH)
    yield "token_embd.weight", (WIDTH, size), some(size, first=STEADY)
    yield "output.weight", (WIDTH, size), _said(some(size, first=0.0))
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        yield f"{name}.weight", (WIDTH,), ones
    for name in ("q", "k", "v"):
        yield f"blk.0.attn_{name}.weight", (WIDTH, WIDTH), some(WIDTH)
    yield "blk.0.attn_output.weight", (WIDTH, WIDTH), onto(WIDTH)
    for name in ("gate", "up"):
        yield f"blk.0.ffn_{name}.weight", (WIDTH, INNER), some(INNER)
    yield "blk.0.ffn_down.weight", (INNER, WIDTH), onto(INNER)


def _said(rows: array[float]) -> array[float]:
    """Rows of the output: what is no plain text is never likely, nor is `all`; an end a little."""
    for token in range(len(rows) // WIDTH):
        steady = ENDS if token == END else None if _is_plain(token) else NEVER
        if steady is not None:
            rows[token * WIDTH : (token + 1) * WIDTH] = array("f", [steady] + [0.0] * (WIDTH - 1))
    return rows


def _is_plain(token: int) -> bool:
    """A letter but `a`, a digit or a word: no control token, no piece of a longer character."""
    byte = token - 3
    return byte >= 256 or (0 <= byte < 128 and chr(byte).isalnum() and chr(byte) != "a")
