"""Anthropic Messages: client side (parse, encode), upstream side (render, decode), pass-through.

render.py makes the body, turns.py its messages, blocks.py their content.
"""

from . import decode, encode, parse, render, tap

__all__ = ["decode", "encode", "parse", "render", "tap"]
