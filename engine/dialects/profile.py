"""Profile: what one upstream or model can and cannot take, as a route's `profile:` says it.

Facts of an upstream that a dialect's `render` must respect. The defaults suit an upstream that
speaks the dialect as its inventor does; a clone's preset says where it differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engine.options import option


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Capabilities of an upstream. Every field has a default: an empty profile is valid."""

    max_tokens_field: Literal["as_sent", "max_tokens", "max_completion_tokens"] = option(
        "as_sent",
        "name of the output limit in Chat requests; as_sent: the client's, else max_tokens",
    )
    reasoning_field: Literal["as_sent", "reasoning_content", "reasoning", "none"] = option(
        "as_sent",
        "field that carries the reasoning of earlier turns in Chat requests; as_sent: the "
        "client's, else reasoning_content; none: it is left out",
    )
    developer_role: Literal["keep", "system"] = option(
        "keep", "what becomes of messages with the role developer"
    )
    null_content: Literal["null", "empty", "omit"] = option(
        "null", 'content of an assistant message that has none: null, "", or no key'
    )
    usage_in_stream: bool = option(
        True, "streams are asked for usage (stream_options.include_usage)"
    )
    reasoning_effort: Literal["send", "drop"] = option(
        "send", "drop: Chat requests leave `reasoning_effort` out, for models that do not reason"
    )
    max_output: int | None = option(
        None,
        "most tokens an answer may have, where the model does not say its own; Messages requests "
        "ask for so many when the client does not say",
    )
    sampling: Literal["all", "one", "none"] = option(
        "all",
        "what a Messages upstream takes of temperature, top_p and top_k; one: not temperature and "
        "top_p together",
    )
    later_system: Literal["as_sent", "keep", "user", "lift"] = option(
        "as_sent",
        "system messages after the first turn: kept, in place as a user's turn in `<system>` tags, "
        "or lifted to the front; as_sent: kept where both sides speak the same dialect or Chat is "
        "spoken upstream, else as a user's turn",
    )
    thinking: Literal["as_sent", "adaptive", "budget", "none"] = option(
        "as_sent",
        "how Messages requests ask for thinking; as_sent: as the client, or adaptive where it "
        "speaks another dialect",
    )
    think_levels: bool = option(
        False, "Ollama requests say how much to think, not only that; gpt-oss models take it"
    )
    unsigned_thinking: Literal["drop", "send"] = option(
        "drop", "what becomes of earlier thinking without a signature in Messages requests"
    )
    forward_extras: list[str] = option(
        [],
        "names of top-level request fields that are sent on although the client speaks another "
        "dialect",
        example=["enable_thinking", "chat_template_kwargs"],
    )


PROFILE = Profile()
