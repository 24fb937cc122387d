"""OpenAI Chat Completions: client side (parse, encode) and upstream side (render, decode)."""
