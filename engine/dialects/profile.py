"""Profile: what one upstream or model can and cannot take, as a route's `profile:` says it.

Facts of an upstream that a dialect's `render` must respect. The defaults suit an upstream that
speaks the dialect as its inventor does; a clone's preset says where it differs.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Literal

from engine.options import Regex, option

SchemaProfile = Literal["jsonschema", "openai_strict", "anthropic", "gemini"]
Unsupported = Literal["warn", "refuse", "silent"]
Choice = Literal["auto", "none", "required", "named"]
Dial = Literal["temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "seed",
               "logit_bias"]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolProfile:
    """How an upstream takes tools. What is not written is as its dialect demands."""

    custom: bool | None = option(
        None,
        "whether it knows tools of free text (`custom`); false: they go as functions and come "
        "back as they were; default: it knows those of clients of its own dialect",
    )

    strict: bool = option(True, "whether `strict` of a tool is sent")
    parallel: bool = option(True, "whether it may be told to call one tool at a time")
    choice: list[Choice] = option(
        ["auto", "none", "required", "named"], "choices it knows; others are sent as auto"
    )
    name_pattern: Regex | None = option(
        None, "what a whole name must match; others are changed, and changed back in the answer"
    )
    name_max: int | None = option(None, "longest name, in characters")
    id_pattern: Regex | None = option(
        None, "what the whole id of a call must match", example="[a-zA-Z0-9]{9}"
    )
    id_max: int | None = option(None, "longest id of a call, in characters")


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedSampling:
    """Values a model insists on."""

    temperature: float | None = option(None, "the temperature that is sent")
    top_p: float | None = option(None, "the top_p that is sent")

    def values(self) -> dict[str, float]:
        found = {"temperature": self.temperature, "top_p": self.top_p}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageProfile:
    """How an upstream takes images."""

    url: bool = option(True, "by http URL")
    base64: bool = option(True, "by their bytes")
    in_tool_result: bool = option(
        True, "in the result of a tool; false: they follow in the user's turn"
    )


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
        "client's, else reasoning_content; none: it is left out; reasoning: what is encrypted goes "
        "with it, in `reasoning_details`",
    )
    developer_role: Literal["keep", "system"] = option(
        "keep", "what becomes of messages with the role developer"
    )
    null_content: Literal["null", "empty", "omit"] = option(
        "null", 'content of an assistant message that has none: null, "", or no key'
    )
    join_text: str | None = option(
        None,
        "Chat requests: several texts of a message are sent as one, with this between them; "
        "default: as a list",
        example='" "',
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
    on_unsupported: Unsupported | None = option(
        None, "as the route's key of this name, for these models alone"
    )
    sampling_refused: list[Dial] = option(
        [], "sampling fields the model refuses; they are left out", example=["temperature"]
    )
    sampling_fixed: FixedSampling = option(FixedSampling(), "values sent whatever the client says")
    thinking_sampling: FixedSampling = option(
        FixedSampling(), "the same while the client asks for thinking"
    )
    min_output: int | None = option(None, "fewest tokens an answer may be limited to")
    thinking_min_output: int | None = option(
        None, "the same while the client asks for thinking", example=16000
    )
    default_output: int | None = option(
        None, "tokens an answer is limited to when the client does not say; default: not limited"
    )
    efforts: dict[str, str] = option(
        {},
        "words for the effort of thinking in place of the client's; `*` for the rest",
        example={"minimal": "low", "xhigh": "high"},
    )
    thinking_field: Literal["reasoning_effort", "thinking", "enable_thinking", "template"] = option(
        "reasoning_effort",
        "how Chat requests ask for thinking: by effort, by `thinking: {type, effort}`, by "
        "`enable_thinking`, or by that in `chat_template_kwargs`",
    )
    thinking_off: Literal["send", "drop"] = option(
        "send", "drop: a client's wish not to think is left out, for models that always do"
    )
    prefill: Literal["ok", "refuse"] = option(
        "ok", "whether the last turn may be the assistant's, to be gone on with"
    )
    alternate: bool = option(
        False, "user and assistant must take turns: neighbours of one role are joined"
    )
    single_system: bool = option(False, "system messages at the front are joined to one")
    stop_max: int | None = option(None, "most stop sequences")
    json_schema: Literal["native", "tool", "prompt"] = option(
        "native",
        "how an answer of a given schema is asked for: by the dialect's own field, by a tool the "
        "model must call, or in words",
    )
    tool_schemas: SchemaProfile | None = option(
        None, "the JSON Schema that tools may use; default: the dialect's, for foreign tools"
    )
    tools: ToolProfile = option(ToolProfile(), "how tools are taken")
    images: ImageProfile = option(ImageProfile(), "how images are taken")
    betas: list[str] | None = option(
        None,
        "flags of `anthropic-beta` that go on to a Messages upstream, as globs; fields that belong "
        "to others are left out with them; default: all",
        example=["context-management-*"],
    )
    cache_marks: Literal["drop", "send"] = option(
        "drop",
        "marks of what to keep in the prompt cache, from clients of another dialect: Messages' "
        "cache_control and Chat's prompt_cache_breakpoint stand for one another; Chat clients that "
        "say cache_control have it sent to Messages in any case",
    )
    usage_input: Literal["exclusive", "inclusive"] = option(
        "exclusive",
        "whether a Messages upstream counts cached tokens in input_tokens; the API itself does not",
    )
    web_search: Literal["none", "alone", "with_tools"] = option(
        "none",
        "whether the provider searches the web for clients that ask their own API for that; alone: "
        "not beside other tools; none: it is left out or refused as other tools of a provider",
    )
    same_dialect: Literal["adapt", "pass"] = option(
        "adapt",
        "clients of the upstream's own dialect: their requests are adapted to the profile too, or "
        "pass through as they are",
    )
    encoding_format: Literal["send", "drop"] = option(
        "send",
        "drop: requests for embeddings leave `encoding_format` out, for upstreams that refuse it; "
        "the client gets the form it asked for",
    )
    forward_extras: list[str] = option(
        [],
        "names of top-level request fields that are sent on although the client speaks another "
        "dialect",
        example=["enable_thinking", "chat_template_kwargs"],
    )


PROFILE = Profile()

# Fields that say nothing to a client of the upstream's own dialect: its bytes may pass through.
FOREIGN = frozenset({"encoding_format", "forward_extras", "on_unsupported", "web_search"})

_names = {item.name for item in fields(Profile)} - FOREIGN - {"max_output"}
_own = attrgetter(*sorted(_names))
_USUAL = _own(PROFILE)


def adapts(profile: Profile, max_output: int | None) -> bool:
    """Whether a request of the upstream's own dialect has to be written anew for it.

    max_output: that of the route's profile; what a model says of its own asks for no other request
    """
    if profile.same_dialect == "pass":
        return False
    return max_output is not None or bool(_own(profile) != _USUAL)
