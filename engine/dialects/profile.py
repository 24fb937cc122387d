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
    forward_extras: list[str] = option(
        [],
        "names of top-level request fields that are sent on although the client speaks another "
        "dialect",
        example=["enable_thinking", "chat_template_kwargs"],
    )


PROFILE = Profile()
